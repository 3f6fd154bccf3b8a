//! What the schema of a custom resource says about the types of its values, and the names its fields have in
//! expressions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::types::{StructType, Type};

/// Names that are words of the language, so that fields of these names are written between `__`.
pub const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
/// What letters of names that an identifier cannot have are written as; the first must be first.
const ESCAPES: [(&str, &str); 4] = [
    ("__", "__underscores__"),
    (".", "__dot__"),
    ("-", "__dash__"),
    ("/", "__slash__"),
];

/// The type expressions give the values of a schema; none if they may not see them. `root` are objects that have
/// `apiVersion`, `kind` and `metadata` whether their schema says so or not; `name` is what objects are called in
/// messages.
pub fn type_of_schema(schema: &Json, root: bool, name: &str) -> Option<Type> {
    if schema["x-kubernetes-int-or-string"] == true {
        return Some(Type::Dyn);
    }
    let embedded = |schema: &Json| schema["x-kubernetes-embedded-resource"] == true;
    match schema["type"].as_str()? {
        "array" => {
            let items = schema.get("items")?;
            Some(Type::list(type_of_schema(
                items,
                embedded(items),
                &format!("{name}.@idx"),
            )?))
        }
        "object" => {
            if let Some(values) = schema.get("additionalProperties").filter(|of| of.is_object())
                && !root
            {
                let values = type_of_schema(values, embedded(values), &format!("{name}.@elem"))?;
                return Some(Type::map(Type::String, values));
            }
            let mut fields = BTreeMap::new();
            for (property, of) in schema["properties"].as_object().into_iter().flatten() {
                if let (Some(field), Some(of)) = (
                    escape(property),
                    type_of_schema(of, embedded(of), &format!("{name}.{property}")),
                ) {
                    fields.insert(field, of);
                }
            }
            if root {
                add_identity(&mut fields, name);
            }
            Some(Type::Struct(Arc::new(StructType {
                name: name.to_owned(),
                fields,
            })))
        }
        "string" => Some(match schema["format"].as_str() {
            Some("byte") => Type::Bytes,
            Some("duration") => Type::Duration,
            Some("date" | "date-time") => Type::Timestamp,
            _ => Type::String,
        }),
        "boolean" => Some(Type::Bool),
        "number" => Some(Type::Double),
        "integer" => Some(Type::Int),
        _ => None,
    }
}

/// The fields every object has, of which expressions see the names only.
fn add_identity(fields: &mut BTreeMap<String, Type>, name: &str) {
    let known = |fields: &BTreeMap<String, Type>| {
        let metadata = match fields.get("metadata") {
            Some(Type::Struct(of)) => of.fields.clone(),
            _ => return false,
        };
        ["kind", "apiVersion"]
            .iter()
            .all(|field| fields.get(*field) == Some(&Type::String))
            && ["name", "generateName"]
                .iter()
                .all(|field| metadata.get(*field) == Some(&Type::String))
    };
    if known(fields) {
        return;
    }
    let names = ["name", "generateName"].map(|field| (field.to_owned(), Type::String));
    fields.insert("kind".to_owned(), Type::String);
    fields.insert("apiVersion".to_owned(), Type::String);
    fields.insert("metadata".to_owned(), Type::object(&format!("{name}.metadata"), names));
}

/// The name of a property as an expression must write it; none if no expression can.
pub fn escape(property: &str) -> Option<String> {
    if RESERVED.contains(&property) {
        return Some(format!("__{property}__"));
    }
    let first = property.chars().next()?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.-/".contains(letter);
    if first.is_ascii_digit() || !property.chars().all(fits) {
        return None;
    }
    Some(ESCAPES.iter().fold(property.to_owned(), |name, (plain, escaped)| {
        name.replace(plain, escaped)
    }))
}

/// The property that is meant by a name in an expression.
pub fn unescape(field: &str) -> String {
    if let Some(word) = field.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
        && RESERVED.contains(&word)
    {
        return word.to_owned();
    }
    let mut property = String::with_capacity(field.len());
    let mut rest = field;
    'letters: while let Some(letter) = rest.chars().next() {
        for (plain, escaped) in ESCAPES {
            if let Some(after) = rest.strip_prefix(escaped) {
                property.push_str(plain);
                rest = after;
                continue 'letters;
            }
        }
        property.push(letter);
        rest = &rest[letter.len_utf8()..];
    }
    property
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_properties() {
        for (property, field) in [
            ("namespace", "__namespace__"),
            ("a-b", "a__dash__b"),
            ("a.b/c", "a__dot__b__slash__c"),
            ("a__b", "a__underscores__b"),
            ("plain_name", "plain_name"),
        ] {
            assert_eq!(escape(property).as_deref(), Some(field));
            assert_eq!(unescape(field), property);
        }
        assert_eq!(escape("1a"), None);
        assert_eq!(escape("a b"), None);
        assert_eq!(escape(""), None);
    }

    #[test]
    fn types_of_schemas() {
        let schema = json!({"type": "object", "properties": {
            "n": {"type": "integer"},
            "at": {"type": "string", "format": "date-time"},
            "either": {"x-kubernetes-int-or-string": true},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
            "list": {"type": "array", "items": {"type": "object", "properties": {"if": {"type": "number"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
        }});
        let Some(Type::Struct(of)) = type_of_schema(&schema, true, "self") else {
            panic!("no object")
        };
        let written = |field: &str| of.fields.get(field).map(Type::to_string);
        assert_eq!(written("n").as_deref(), Some("int"));
        assert_eq!(written("at").as_deref(), Some("timestamp"));
        assert_eq!(written("either").as_deref(), Some("dyn"));
        assert_eq!(written("any"), None);
        assert_eq!(written("list").as_deref(), Some("list(self.list.@idx)"));
        assert_eq!(written("map").as_deref(), Some("map(string, string)"));
        assert_eq!(written("metadata").as_deref(), Some("self.metadata"));
        assert_eq!(type_of_schema(&json!({}), false, "self"), None);
    }
}

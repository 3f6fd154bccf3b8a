//! Checking that values are what a typed decoder takes: of the JSON types their schema asks for, and times, amounts and
//! bytes that can be read.

use engenho_quantity::{Quantity, QuantityError};
use serde_json::Value;

use crate::go_text::{self, TimeLayout};
use crate::meta::json_type;
use crate::schema::{Additional, SchemaNode, SchemaType};

/// Why a typed decoder refuses a value. Kubernetes answers 400 with this text where an object is decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A field of another JSON type than the schema's.
    #[error("json: cannot unmarshal {found} into Go struct field {path} of type {wanted}")]
    Type {
        /// Path of the field, without indices and keys, after the innermost struct: `Container.spec.containers.name`.
        path: String,
        /// JSON type of what is there, or the number itself where it doesn't fit.
        found: String,
        /// Name of what should be there.
        wanted: String,
    },
    /// A resource quantity that is none.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// A time that is none, in the words of Go's parser.
    #[error("{0}")]
    Time(String),
    /// Bytes that are not in base64.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
}

/// Checks every field that the schema knows; unknown fields and nulls are passed over.
///
/// # Errors
/// The first value that does not fit.
pub fn check<S: SchemaNode>(value: &Value, schema: &S) -> Result<(), Mismatch> {
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    let mut place = Place {
        owner: kind,
        path: Vec::new(),
    };
    visit(value, schema, &mut place)
}

/// Where in an object a value is.
struct Place {
    /// Name of the innermost struct.
    owner: String,
    /// Names of the fields that lead here.
    path: Vec<String>,
}

impl Place {
    fn mismatch(&self, found: String, wanted: String) -> Mismatch {
        let path = [self.owner.as_str()]
            .into_iter()
            .filter(|owner| !owner.is_empty())
            .chain(self.path.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(".");
        Mismatch::Type { path, found, wanted }
    }
}

fn visit<S: SchemaNode>(value: &Value, schema: &S, place: &mut Place) -> Result<(), Mismatch> {
    if value.is_null() {
        return Ok(());
    }
    let definition = schema.definition_name();
    let definition = definition.as_deref().unwrap_or_default();
    if definition.ends_with(".Quantity") {
        return Ok(Quantity::read(value).map(|_| ())?);
    }
    match (schema.schema_type(), value) {
        (SchemaType::String, Value::String(text)) => check_text(text, schema, definition),
        (SchemaType::Any | SchemaType::IntOrString, Value::String(_))
        | (SchemaType::Boolean, Value::Bool(_))
        | (SchemaType::Number, Value::Number(_))
        | (SchemaType::Any, Value::Bool(_) | Value::Number(_)) => Ok(()),
        (SchemaType::Integer, Value::Number(number)) => {
            let wanted = go_type(schema);
            let fits = number
                .as_i64()
                .is_some_and(|n| wanted != "int32" || i32::try_from(n).is_ok());
            if fits {
                Ok(())
            } else {
                Err(place.mismatch(format!("number {number}"), wanted))
            }
        }
        (SchemaType::IntOrString, Value::Number(number)) if number.is_i64() => Ok(()),
        (SchemaType::Object | SchemaType::Any, Value::Object(object)) => {
            let additional = schema.additional_properties();
            let is_struct = schema.has_properties() && !definition.is_empty();
            let outer = is_struct.then(|| std::mem::replace(&mut place.owner, short(definition).to_owned()));
            for (name, value) in object {
                match (schema.property(name), &additional) {
                    (Some(property), _) => {
                        place.path.push(name.clone());
                        visit(value, &property, place)?;
                        place.path.pop();
                    }
                    (None, Additional::Schema(values)) => visit(value, values, place)?,
                    _ => {}
                }
            }
            if let Some(outer) = outer {
                place.owner = outer;
            }
            Ok(())
        }
        (SchemaType::Array | SchemaType::Any, Value::Array(list)) => {
            let Some(items) = schema.items() else { return Ok(()) };
            list.iter().try_for_each(|value| visit(value, &items, place))
        }
        _ => Err(place.mismatch(json_type(value).to_owned(), go_type(schema))),
    }
}

/// Texts that stand for something else have to be readable.
fn check_text<S: SchemaNode>(text: &str, schema: &S, definition: &str) -> Result<(), Mismatch> {
    let format = schema.format();
    match format.as_deref() {
        Some("byte") => go_text::check_base64(text).map_err(Mismatch::Base64),
        Some("date-time") if definition.ends_with(".MicroTime") => {
            go_text::check_time(text, TimeLayout::Micro).map_err(Mismatch::Time)
        }
        Some("date-time") if definition.ends_with(".Time") => {
            go_text::check_time(text, TimeLayout::Seconds).map_err(Mismatch::Time)
        }
        _ => Ok(()),
    }
}

/// The last part of a definition's name: `Container`.
fn short(definition: &str) -> &str {
    definition.rsplit('.').next().unwrap_or(definition)
}

/// What Go calls the type of a field.
fn go_type<S: SchemaNode>(schema: &S) -> String {
    let definition = schema.definition_name();
    match schema.schema_type() {
        SchemaType::String if schema.format().as_deref() == Some("byte") => "[]uint8".to_owned(),
        SchemaType::String => "string".to_owned(),
        SchemaType::Boolean => "bool".to_owned(),
        SchemaType::Integer if schema.format().as_deref() == Some("int32") => "int32".to_owned(),
        SchemaType::Integer => "int64".to_owned(),
        SchemaType::Number => "float64".to_owned(),
        SchemaType::IntOrString => "intstr.IntOrString".to_owned(),
        SchemaType::Array => format!("[]{}", schema.items().map(|items| go_type(&items)).unwrap_or_default()),
        SchemaType::Object | SchemaType::Any => match (definition.as_deref(), schema.additional_properties()) {
            (Some(name), _) => {
                let mut parts = name.rsplit('.');
                let (ty, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                format!("{package}.{ty}")
            }
            (None, Additional::Schema(values)) => format!("map[string]{}", go_type(&values)),
            _ => "struct".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TreeSchema;
    use crate::testing::json_value;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema() -> TreeSchema {
        TreeSchema::from_structural(&json!({"type": "object", "properties": {
            "a": {"type": "integer", "format": "int32"},
            "b": {"type": "array", "items": {"type": "string"}},
            "c": {"type": "object", "additionalProperties": {"type": "boolean"}},
            "d": {"x-kubernetes-int-or-string": true},
            "any": {},
            "n": {"type": "number"},
        }}))
        .unwrap()
    }

    #[test]
    fn mismatches_name_the_field() {
        let ok =
            json!({"a": 1, "b": ["x", null], "c": {"x": true}, "d": "25%", "any": {"x": []}, "n": 1.5, "unknown": 1});
        assert_eq!(check(&ok, &schema()), Ok(()));
        let cases = [
            (
                json!({"a": "1"}),
                "json: cannot unmarshal string into Go struct field a of type int32",
            ),
            (
                json!({"a": 1.5}),
                "json: cannot unmarshal number 1.5 into Go struct field a of type int32",
            ),
            (
                json!({"a": 3_000_000_000u64}),
                "json: cannot unmarshal number 3000000000 into Go struct field a of type int32",
            ),
            (
                json!({"b": ["x", 1]}),
                "json: cannot unmarshal number into Go struct field b of type string",
            ),
            (
                json!({"b": {}}),
                "json: cannot unmarshal object into Go struct field b of type []string",
            ),
            (
                json!({"c": {"x": 1}}),
                "json: cannot unmarshal number into Go struct field c of type bool",
            ),
            (
                json!({"d": true}),
                "json: cannot unmarshal bool into Go struct field d of type intstr.IntOrString",
            ),
        ];
        for (value, text) in cases {
            assert_eq!(check(&value, &schema()).unwrap_err().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_values_never_panic(value in json_value()) {
            let _ = check(&value, &schema());
        }
    }
}

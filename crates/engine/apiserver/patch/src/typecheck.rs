//! Checking that values have the JSON types their schema asks for, as a typed decoder would.

use crate::meta::{FieldPath, json_type};
use crate::schema::{Additional, SchemaNode, SchemaType};
use serde_json::Value;

/// A field of another JSON type than the schema's. Kubernetes answers 400 where an object is decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("json: cannot unmarshal {found} into Go struct field {path} of type {wanted}")]
pub struct TypeMismatch {
    /// Path of the field: `spec.replicas`.
    pub path: String,
    /// JSON type of what is there, or the number itself where it doesn't fit.
    pub found: String,
    /// Name of what should be there.
    pub wanted: &'static str,
}

/// Checks every field that the schema knows; unknown fields and nulls are passed over.
pub fn check<S: SchemaNode>(value: &Value, schema: &S) -> Result<(), TypeMismatch> {
    visit(value, schema, &mut FieldPath::root())
}

fn visit<S: SchemaNode>(value: &Value, schema: &S, path: &mut FieldPath) -> Result<(), TypeMismatch> {
    let mismatch = |found: String, wanted: &'static str| TypeMismatch {
        path: path.to_string(),
        found,
        wanted,
    };
    let wrong = |wanted: &'static str| Err(mismatch(json_type(value).to_owned(), wanted));
    match (schema.schema_type(), value) {
        (_, Value::Null)
        | (SchemaType::Any | SchemaType::IntOrString, Value::String(_))
        | (SchemaType::String, Value::String(_))
        | (SchemaType::Boolean, Value::Bool(_))
        | (SchemaType::Number, Value::Number(_))
        | (SchemaType::Any, Value::Bool(_) | Value::Number(_)) => Ok(()),
        (SchemaType::Integer, Value::Number(number)) => {
            let wanted = if schema.format().as_deref() == Some("int32") {
                "int32"
            } else {
                "int64"
            };
            let fits = number
                .as_i64()
                .is_some_and(|n| wanted != "int32" || i32::try_from(n).is_ok());
            if fits {
                Ok(())
            } else {
                Err(mismatch(format!("number {number}"), wanted))
            }
        }
        (SchemaType::IntOrString, Value::Number(number)) if number.is_i64() => Ok(()),
        (SchemaType::Object | SchemaType::Any, Value::Object(object)) => {
            let additional = schema.additional_properties();
            for (name, value) in object {
                let child = match (schema.property(name), &additional) {
                    (Some(property), _) => property,
                    (None, Additional::Schema(values)) => values.clone(),
                    _ => continue,
                };
                path.push_field(name);
                visit(value, &child, path)?;
                path.pop();
            }
            Ok(())
        }
        (SchemaType::Array | SchemaType::Any, Value::Array(list)) => {
            let Some(items) = schema.items() else { return Ok(()) };
            for (index, value) in list.iter().enumerate() {
                path.push_index(index);
                visit(value, &items, path)?;
                path.pop();
            }
            Ok(())
        }
        (SchemaType::String, _) => wrong("string"),
        (SchemaType::Boolean, _) => wrong("bool"),
        (SchemaType::Integer, _) => wrong(if schema.format().as_deref() == Some("int32") {
            "int32"
        } else {
            "int64"
        }),
        (SchemaType::Number, _) => wrong("float64"),
        (SchemaType::IntOrString, _) => wrong("intstr.IntOrString"),
        (SchemaType::Array, _) => wrong("[]"),
        (SchemaType::Object, _) => wrong(if schema.has_properties() {
            "struct"
        } else {
            "map[string]string"
        }),
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
                "json: cannot unmarshal number into Go struct field b[1] of type string",
            ),
            (
                json!({"b": {}}),
                "json: cannot unmarshal object into Go struct field b of type []",
            ),
            (
                json!({"c": {"x": 1}}),
                "json: cannot unmarshal number into Go struct field c.x of type bool",
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

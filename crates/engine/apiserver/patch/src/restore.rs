//! Untyped objects as Go's converter (apimachinery's `DefaultUnstructuredConverter`) takes or refuses them: the words
//! that a strategic merge patch with a wrong shape is answered with.

use serde_json::Value;

use crate::schema::{Additional, SchemaNode, SchemaType};

/// Whether each value has the shape of its field: the converter's error of the first that has not. What is written in a
/// text (times, quantities, base64) is not looked at.
///
/// # Errors
/// The converter's words.
pub fn check<S: SchemaNode>(value: &Value, schema: &S) -> Result<(), String> {
    if value.is_null() || reads_itself(schema) {
        return Ok(());
    }
    match (schema.schema_type(), value) {
        (SchemaType::Object, Value::Object(object)) => {
            let additional = schema.additional_properties();
            object
                .iter()
                .try_for_each(|(name, child)| match (schema.property(name), &additional) {
                    (Some(property), _) => check(child, &property),
                    (None, Additional::Schema(values)) => check(child, values),
                    _ => Ok(()),
                })
        }
        (SchemaType::Object, _) if schema.has_properties() => {
            Err(format!("cannot restore struct from: {}", kind(value)))
        }
        (SchemaType::Object, _) => Err(format!("cannot restore map from {}", kind(value))),
        (SchemaType::Array, Value::Array(list)) => match schema.items() {
            Some(items) => list.iter().try_for_each(|child| check(child, &items)),
            None => Ok(()),
        },
        (SchemaType::Array, _) => Err(format!("cannot restore slice from {}", kind(value))),
        _ => Ok(()),
    }
}

/// Types with a reader of their own.
fn reads_itself<S: SchemaNode>(schema: &S) -> bool {
    let definition = schema.definition_name();
    let definition = definition.as_deref().unwrap_or_default();
    [
        ".Quantity",
        ".Time",
        ".MicroTime",
        ".IntOrString",
        ".RawExtension",
        ".FieldsV1",
        ".JSON",
    ]
    .iter()
    .any(|name| definition.ends_with(name))
}

/// Go's kind of a decoded value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

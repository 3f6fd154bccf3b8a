//! Lists that are sets or maps hold each item once.

use std::collections::BTreeMap;

use engenho_validation::{FieldError, Path};
use serde_json::{Map, Value};

use super::shown;
use crate::go;
use crate::schema::{Additional, Schema};

/// What stands twice in the lists of an object.
pub(super) fn validate(object: &Value, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(object, schema, &Path::Root, &mut errors);
    errors
}

fn walk(value: &Value, schema: &Schema, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match value {
        Value::Array(items) => {
            match schema.list_type.as_deref() {
                Some("set") => {
                    for index in repeated(items) {
                        errors.push(go::duplicate(&shown(&path.index(index)), &items[index]));
                    }
                }
                Some("map") => keyed(items, schema, path, errors),
                _ => {}
            }
            if let Some(schema) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    walk(item, schema, &path.index(index), errors);
                }
            }
        }
        Value::Object(map) => {
            if let Additional::Schema(values) = &schema.additional {
                for (name, inner) in map {
                    walk(inner, values, &path.key(name), errors);
                }
            }
            for (name, inner) in map {
                if let Some(property) = schema.properties.get(name) {
                    walk(inner, property, &path.child(name), errors);
                }
            }
        }
        _ => {}
    }
}

/// Where items stand for the second time.
fn repeated(items: &[Value]) -> Vec<usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let times = seen.entry(item.to_string()).or_default();
        if *times == 1 {
            found.push(index);
        }
        *times += 1;
    }
    found
}

fn keyed(items: &[Value], schema: &Schema, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let other = items.iter().position(|item| !item.is_null() && !item.is_object());
    if let Some(index) = other {
        let detail = "must be an object for an array of list-type map";
        errors.push(super::invalid(&path.index(index), &items[index], detail));
        return;
    }
    let key = |item: &Value| -> Value {
        let of = |name: &String| Some((name.clone(), item.get(name)?.clone()));
        Value::Object(schema.list_map_keys.iter().filter_map(of).collect::<Map<_, _>>())
    };
    let keys: Vec<Value> = items.iter().map(key).collect();
    for index in repeated(&keys) {
        errors.push(FieldError::duplicate(shown(&path.index(index)), keys[index].clone()));
    }
}

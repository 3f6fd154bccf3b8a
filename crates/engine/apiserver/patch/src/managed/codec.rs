//! FieldsV1: the JSON form of field sets in `metadata.managedFields[].fieldsV1`.
//!
//! An object whose keys are path elements; `.` marks the object itself as a member where it also has children.

use super::element::{ElementError, PathElement};
use super::set::FieldSet;
use crate::meta::json_type;
use serde_json::{Map, Value};

/// A `fieldsV1` value can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error(transparent)]
    Element(#[from] ElementError),
    #[error("managed fields hold a {found} where an object must be")]
    NotAnObject { found: &'static str },
}

impl FieldSet {
    /// Reads a `fieldsV1` value. Path elements of forms unknown to this version are left out.
    pub fn from_fields_v1(fields: &Value) -> Result<Self, CodecError> {
        read(fields).map(|(set, _)| set)
    }

    /// Writes the set as a `fieldsV1` value; equal sets give equal values.
    #[must_use]
    pub fn to_fields_v1(&self) -> Value {
        write(self, false)
    }
}

/// Reads the members below a path element, and whether the element itself is one.
fn read(fields: &Value) -> Result<(FieldSet, bool), CodecError> {
    let object = match fields {
        Value::Object(object) => object,
        Value::Null => return Ok((FieldSet::new(), true)),
        other => {
            return Err(CodecError::NotAnObject {
                found: json_type(other),
            });
        }
    };
    let mut set = FieldSet::new();
    let mut is_member = false;
    for (key, below) in object {
        if key == "." {
            is_member = true;
            continue;
        }
        let Some(element) = PathElement::parse(key)? else {
            continue;
        };
        let (children, member) = read(below)?;
        if member {
            set.members.insert(element.clone());
        }
        if !children.is_empty() {
            set.children.insert(element, children);
        }
    }
    let is_member = is_member || set.is_empty();
    Ok((set, is_member))
}

fn write(set: &FieldSet, is_member: bool) -> Value {
    let mut object = Map::new();
    if is_member && !set.is_empty() {
        object.insert(".".to_owned(), Value::Object(Map::new()));
    }
    let mut elements: Vec<&PathElement> = set.members.iter().chain(set.children.keys()).collect();
    elements.sort_unstable();
    elements.dedup();
    for element in elements {
        let below = match set.children.get(element) {
            Some(children) => write(children, set.members.contains(element)),
            None => Value::Object(Map::new()),
        };
        object.insert(element.to_text(), below);
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::set::tests::field_set;
    use crate::testing::json_value;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_form_of_kubernetes() {
        let fields = json!({"f:spec": {"f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}},
            "f:selector": {}}, "f:list": {"v:\"a\"": {}, "i:0": {}}});
        let set = FieldSet::from_fields_v1(&fields).unwrap();
        assert_eq!(set.to_fields_v1(), fields);
        assert_eq!(set.len(), 6);
        let key = PathElement::key(vec![("port".into(), json!(80)), ("protocol".into(), json!("TCP"))]);
        let path = [PathElement::field("spec"), PathElement::field("ports"), key];
        assert!(set.has(&path) && set.has(&path[..2]) && !set.has(&path[..1]));
    }

    #[test]
    fn later_forms_are_left_out_and_garbage_is_refused() {
        let set = FieldSet::from_fields_v1(&json!({"x:new": {}, "f:a": {}})).unwrap();
        assert_eq!(set, FieldSet::of_fields(&[&["a"]]));
        assert!(FieldSet::from_fields_v1(&json!({"f:a": 1})).is_err());
        assert!(FieldSet::from_fields_v1(&json!({"a": {}})).is_err());
    }

    proptest! {
        #[test]
        fn sets_survive_the_round_trip(set in field_set()) {
            let fields = set.to_fields_v1();
            prop_assert_eq!(FieldSet::from_fields_v1(&fields).unwrap(), set.clone());
            prop_assert_eq!(fields.to_string(), set.clone().to_fields_v1().to_string());
        }

        #[test]
        fn arbitrary_values_never_panic(value in json_value(), key in "[fkvi.]:?.{0,6}") {
            let _ = FieldSet::from_fields_v1(&value);
            let _ = FieldSet::from_fields_v1(&json!({key: value}));
        }
    }
}

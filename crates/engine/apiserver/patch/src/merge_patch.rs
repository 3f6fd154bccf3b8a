//! JSON merge patch (RFC 7386).

use crate::decode::{self, Decoded};
use crate::error::PatchError;
use crate::meta::json_type;
use serde_json::{Map, Value};

/// Reads a merge patch; anything but a JSON object is refused. `strict_errors` of the result feed field validation.
pub fn parse(bytes: &[u8]) -> Result<Decoded, PatchError> {
    let decoded = decode::json_untyped(bytes)?;
    match &decoded.value {
        Value::Object(_) => Ok(decoded),
        Value::Null => Err(PatchError::NullPatch),
        other => Err(PatchError::WrongType {
            found: json_type(other),
            wanted: "map[string]interface {}",
        }),
    }
}

/// Applies `patch` to `target`: nulls remove, objects merge, everything else replaces.
#[must_use]
pub fn apply(mut target: Value, patch: &Value) -> Value {
    merge(&mut target, patch);
    target
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{json_object, json_value};
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_the_rfc() {
        let cases = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ];
        for (target, patch, expected) in cases {
            assert_eq!(apply(target, &patch), expected);
        }
    }

    #[test]
    fn only_objects_are_patches() {
        assert_eq!(parse(b"null"), Err(PatchError::NullPatch));
        let message = parse(b"[]").unwrap_err().to_string();
        assert_eq!(
            message,
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        );
        assert_eq!(
            parse(b"{").unwrap_err().to_string(),
            "error decoding patch: unexpected end of JSON input"
        );
        assert_eq!(parse(b"{").unwrap_err().http_status(), 400);
    }

    proptest! {
        #[test]
        fn applying_twice_changes_nothing_more(target in json_value(), patch in json_object()) {
            let once = apply(target, &patch);
            prop_assert_eq!(apply(once.clone(), &patch), once);
        }

        #[test]
        fn an_empty_patch_keeps_an_object(target in json_object()) {
            prop_assert_eq!(apply(target.clone(), &json!({})), target);
        }
    }
}

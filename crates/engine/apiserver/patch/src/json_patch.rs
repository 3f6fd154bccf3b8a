//! JSON patch (RFC 6902), within the limits of the Kubernetes API server.

use crate::decode;
use crate::error::PatchError;
use crate::meta::json_type;
use json_patch::jsonptr::{Pointer, PointerBuf};
use json_patch::{PatchOperation, patch_unsafe};
use serde_json::{Map, Value};

/// Operations one patch may have.
pub const OPERATIONS_MAX: usize = 10_000;
/// Bytes that `copy` operations of one patch may add in all.
pub const COPY_SIZE_MAX_BYTES: usize = 3 * 1024 * 1024;

/// A JSON patch that was read; whether its operations fit shows only when it is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPatch {
    operations: Vec<Map<String, Value>>,
    /// Fields given twice in an operation and unknown members, worded for field validation.
    pub strict_errors: Vec<String>,
}

/// Reads a patch: a list of objects. What each operation means is looked at by [`JsonPatch::apply`].
pub fn parse(bytes: &[u8]) -> Result<JsonPatch, PatchError> {
    const WANTED: &str = "[]handlers.jsonPatchOp";
    let decoded = decode::json_untyped(bytes)?;
    let items = match decoded.value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        other => {
            return Err(PatchError::WrongType {
                found: json_type(&other),
                wanted: WANTED,
            });
        }
    };
    if items.len() > OPERATIONS_MAX {
        return Err(PatchError::TooManyOperations {
            count: items.len(),
            limit: OPERATIONS_MAX,
        });
    }
    let mut strict_errors: Vec<String> = decoded
        .strict_errors
        .into_iter()
        .map(|duplicate| format!("json patch {duplicate}"))
        .collect();
    let mut operations = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let Value::Object(operation) = item else {
            return Err(PatchError::WrongType {
                found: json_type(&item),
                wanted: "handlers.jsonPatchOp",
            });
        };
        for name in operation.keys() {
            if !matches!(name.as_str(), "op" | "path" | "from" | "value") {
                strict_errors.push(format!("json patch unknown field \"[{index}].{name}\""));
            }
        }
        operations.push(operation);
    }
    Ok(JsonPatch {
        operations,
        strict_errors,
    })
}

impl JsonPatch {
    /// Applies the operations one after the other; the first that doesn't fit refuses the whole patch.
    pub fn apply(&self, mut target: Value) -> Result<Value, PatchError> {
        let mut copied_bytes = 0;
        for (index, operation) in self.operations.iter().enumerate() {
            apply_one(&mut target, index, operation, &mut copied_bytes)?;
        }
        Ok(target)
    }

    /// How many operations the patch has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether the patch has no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

fn apply_one(
    target: &mut Value,
    index: usize,
    operation: &Map<String, Value>,
    copied_bytes: &mut usize,
) -> Result<(), PatchError> {
    let text = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
    let (op, path) = (text("op"), text("path"));
    let failed = |reason: String| PatchError::OperationFailed {
        index,
        op: op.to_owned(),
        path: path.to_owned(),
        reason,
    };

    let mut fields = operation.clone();
    if matches!(op, "add" | "replace" | "test") {
        // A missing value counts as null.
        fields.entry("value").or_insert(Value::Null);
    }
    let mut operation: PatchOperation =
        serde_json::from_value(Value::Object(fields)).map_err(|error| failed(error.to_string()))?;
    match &mut operation {
        PatchOperation::Add(add) => add.path = from_the_end(target, &add.path, true),
        PatchOperation::Remove(remove) => remove.path = from_the_end(target, &remove.path, false),
        PatchOperation::Replace(replace) => replace.path = from_the_end(target, &replace.path, false),
        PatchOperation::Test(test) => {
            test.path = from_the_end(target, &test.path, false);
            // Testing for null holds for a field that isn't there.
            if test.value.is_null() && target.pointer(test.path.as_str()).is_none() {
                return Ok(());
            }
        }
        PatchOperation::Move(moved) => {
            moved.from = from_the_end(target, &moved.from, false);
            moved.path = from_the_end(target, &moved.path, true);
        }
        PatchOperation::Copy(copy) => {
            copy.from = from_the_end(target, &copy.from, false);
            copy.path = from_the_end(target, &copy.path, true);
            if let Some(source) = target.pointer(copy.from.as_str()) {
                *copied_bytes = copied_bytes.saturating_add(size_bytes(source));
                if *copied_bytes > COPY_SIZE_MAX_BYTES {
                    let (size_bytes, limit_bytes) = (*copied_bytes, COPY_SIZE_MAX_BYTES);
                    return Err(PatchError::CopyTooLarge {
                        size_bytes,
                        limit_bytes,
                    });
                }
            }
        }
    }
    if depth_after(target, &operation) > decode::DEPTH_MAX {
        return Err(failed(format!(
            "the object would be nested deeper than {} levels",
            decode::DEPTH_MAX
        )));
    }
    patch_unsafe(target, std::slice::from_ref(&operation)).map_err(|error| failed(error.kind.to_string()))
}

/// How deep the object nests where the operation puts a value.
fn depth_after(target: &Value, operation: &PatchOperation) -> usize {
    let source = |from: &PointerBuf| target.pointer(from.as_str()).map_or(0, depth);
    match operation {
        PatchOperation::Add(add) => add.path.count() + depth(&add.value),
        PatchOperation::Replace(replace) => replace.path.count() + depth(&replace.value),
        PatchOperation::Move(moved) => moved.path.count() + source(&moved.from),
        PatchOperation::Copy(copy) => copy.path.count() + source(&copy.from),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => 0,
    }
}

/// Levels of nesting: 0 for a scalar.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Replaces negative list indices by positive ones, which Kubernetes accepts beside the RFC's: -1 is the last item, or
/// the place behind it where an item is `inserted`.
fn from_the_end(target: &Value, path: &Pointer, inserted: bool) -> PointerBuf {
    let mut rewritten = PointerBuf::new();
    let mut at = Some(target);
    let count = path.count();
    for (position, token) in path.tokens().enumerate() {
        let decoded = token.decoded();
        let mut step = decoded.to_string();
        if let Some(Value::Array(items)) = at
            && step.starts_with('-')
            && let Ok(negative) = step.parse::<i64>()
        {
            let length = items.len() + usize::from(inserted && position + 1 == count);
            if let Some(from_end) = usize::try_from(negative.unsigned_abs())
                .ok()
                .filter(|back| *back <= length)
            {
                step = (length - from_end).to_string();
            }
        }
        at = at.and_then(|value| match value {
            Value::Object(object) => object.get(&step),
            Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        });
        rewritten.push_back(step);
    }
    rewritten
}

/// Length of the value as JSON text.
fn size_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::json_value;
    use proptest::prelude::*;
    use serde_json::json;

    fn run(target: Value, patch: Value) -> Result<Value, PatchError> {
        parse(patch.to_string().as_bytes())?.apply(target)
    }

    #[test]
    fn operations_apply_in_order() {
        let target = json!({"spec": {"list": ["a", "b"], "n": 1}});
        let patch = json!([
            {"op": "test", "path": "/spec/n", "value": 1},
            {"op": "add", "path": "/spec/list/-", "value": "c"},
            {"op": "remove", "path": "/spec/list/0"},
            {"op": "replace", "path": "/spec/n", "value": 2},
            {"op": "move", "from": "/spec/n", "path": "/spec/m"},
            {"op": "copy", "from": "/spec/list", "path": "/spec/copy"},
        ]);
        let expected = json!({"spec": {"list": ["b", "c"], "copy": ["b", "c"], "m": 2}});
        assert_eq!(run(target, patch), Ok(expected));
    }

    #[test]
    fn negative_indices_count_from_the_end() {
        let target = json!({"l": [1, 2, 3]});
        assert_eq!(
            run(target.clone(), json!([{"op": "remove", "path": "/l/-1"}])),
            Ok(json!({"l": [1, 2]}))
        );
        let add = json!([{"op": "add", "path": "/l/-1", "value": 4}]);
        assert_eq!(run(target.clone(), add), Ok(json!({"l": [1, 2, 3, 4]})));
        assert!(run(target, json!([{"op": "remove", "path": "/l/-4"}])).is_err());
    }

    #[test]
    fn refusals_have_the_status_of_kubernetes() {
        let status = |patch: &str| {
            parse(patch.as_bytes())
                .and_then(|p| p.apply(json!({})))
                .unwrap_err()
                .http_status()
        };
        assert_eq!(status("{}"), 400);
        assert_eq!(status("[1]"), 400);
        assert_eq!(status("[{\"op\":\"spin\",\"path\":\"/a\"}]"), 422);
        assert_eq!(status("[{\"op\":\"remove\",\"path\":\"/a\"}]"), 422);
        assert_eq!(status("[{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]"), 422);
        let many = format!("[{}]", vec!["{}"; OPERATIONS_MAX + 1].join(","));
        assert_eq!(status(&many), 413);
    }

    #[test]
    fn copies_cannot_grow_without_bound() {
        let doubling: Vec<Value> = (0..200)
            .map(|i| json!({"op": "copy", "from": "", "path": format!("/c{i}")}))
            .collect();
        let result = run(json!({"a": "x".repeat(1000)}), Value::from(doubling));
        assert!(matches!(result, Err(PatchError::CopyTooLarge { .. })));
    }

    #[test]
    fn nesting_cannot_grow_without_bound() {
        let deeper: Vec<Value> = (1..200)
            .map(|i| json!({"op": "add", "path": "/a".repeat(i), "value": {}}))
            .collect();
        let error = run(json!({}), Value::from(deeper)).unwrap_err();
        assert!(error.to_string().contains("nested deeper"), "{error}");
    }

    #[test]
    fn a_missing_field_is_null_for_test() {
        assert_eq!(
            run(json!({}), json!([{"op": "test", "path": "/a", "value": null}])),
            Ok(json!({}))
        );
    }

    proptest! {
        #[test]
        fn arbitrary_operations_never_panic(
            target in json_value(),
            operations in prop::collection::vec(
                ("(add|remove|replace|move|copy|test)", "(/[a-d0-2~-]{0,2}){0,3}", "(/[a-d0-2-]){0,3}", json_value()), 0..5),
        ) {
            let patch: Vec<Value> = operations.into_iter()
                .map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}))
                .collect();
            let _ = run(target, Value::from(patch));
        }

        #[test]
        fn replacing_the_whole_document(target in json_value(), value in json_value()) {
            let patch = json!([{"op": "replace", "path": "", "value": value.clone()}]);
            prop_assert_eq!(run(target, patch), Ok(value));
        }
    }
}

//! Writes that change nothing but the times in managed fields.

use crate::meta;
use serde_json::Value;

/// Puts back the times of `old`'s managed fields if `new` differs from it in nothing else, so that a write without
/// effect isn't stored. `resourceVersion` differing counts as a difference.
pub fn ignore_timestamps(old: &Value, new: &mut Value) {
    let (Some(before), Some(after)) = (meta::managed_fields(old), meta::managed_fields(new)) else {
        return;
    };
    let same_entries = !after.is_empty()
        && before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .all(|(before, after)| without_time(before) == without_time(after));
    if !same_entries {
        return;
    }
    let before = before.clone();
    let Some(after) = meta::remove(new, "managedFields") else {
        return;
    };
    let mut bare = old.clone();
    meta::remove(&mut bare, "managedFields");
    let entries = if bare == *new { Value::Array(before) } else { after };
    if let Some(metadata) = meta::metadata_mut(new) {
        metadata.insert("managedFields".to_owned(), entries);
    }
}

fn without_time(entry: &Value) -> Value {
    let mut entry = entry.clone();
    if let Some(object) = entry.as_object_mut() {
        object.remove("time");
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_times_are_put_back() {
        let object = |time: &str, data: &str| json!({"metadata": {"managedFields": [{"manager": "m", "time": time, "fieldsV1": {}}]}, "data": data});
        let old = object("2025-01-01T00:00:00Z", "a");
        let mut same = object("2025-01-02T00:00:00Z", "a");
        ignore_timestamps(&old, &mut same);
        assert_eq!(same, old);
        let mut other = object("2025-01-02T00:00:00Z", "b");
        let expected = other.clone();
        ignore_timestamps(&old, &mut other);
        assert_eq!(other, expected);
    }
}

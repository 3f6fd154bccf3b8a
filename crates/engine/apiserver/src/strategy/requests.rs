//! Certificate signing requests: when their conditions were reported.

use serde_json::Value;

/// Gives conditions without times the present one; the time of a transition stays that of the same condition in `old`.
pub fn stamp_conditions(new: &mut Value, old: &Value, now: &str) {
    let had = old["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let Some(conditions) = new.pointer_mut("/status/conditions").and_then(Value::as_array_mut) else {
        return;
    };
    for condition in conditions.iter_mut().filter(|condition| condition.is_object()) {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = now.into();
        }
        if condition["lastTransitionTime"].is_null() {
            let same = had.iter().find(|had| {
                had["type"] == condition["type"]
                    && had["status"] == condition["status"]
                    && !had["lastTransitionTime"].is_null()
            });
            condition["lastTransitionTime"] = same.map_or_else(|| now.into(), |had| had["lastTransitionTime"].clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_say_when() {
        let old = json!({"status": {"conditions": [
            {"type": "Approved", "status": "True", "lastUpdateTime": "a", "lastTransitionTime": "a"}]}});
        let mut new = json!({"status": {"conditions": [
            {"type": "Approved", "status": "True", "lastUpdateTime": null},
            {"type": "Failed", "status": "True", "lastTransitionTime": "b"}, 1]}});
        stamp_conditions(&mut new, &old, "now");
        let expected = json!([
            {"type": "Approved", "status": "True", "lastUpdateTime": "now", "lastTransitionTime": "a"},
            {"type": "Failed", "status": "True", "lastUpdateTime": "now", "lastTransitionTime": "b"}, 1]);
        assert_eq!(new["status"]["conditions"], expected);
    }
}

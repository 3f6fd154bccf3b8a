//! The condition `Dangling` of flow schemas.

use serde_json::{Value, json};

/// The condition that a FlowSchema should have, if it is not the one it has; `exists` says whether there is the level
/// that it names, `now` is the time of the change.
pub fn dangling(schema: &Value, exists: bool, now: &str) -> Option<Value> {
    let level = schema
        .pointer("/spec/priorityLevelConfiguration/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let found = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, message) = if exists {
        ("False", "Found", format!("{found} and it exists"))
    } else {
        ("True", "NotFound", format!("{found} but there is no such object"))
    };
    let conditions = schema.pointer("/status/conditions").and_then(Value::as_array);
    let current = conditions.into_iter().flatten().find(|c| c["type"] == "Dangling");
    let is_told = current.is_some_and(|c| c["status"] == status && c["reason"] == reason && c["message"] == message);
    (!is_told).then(|| {
        json!({
            "type": "Dangling", "status": status, "lastTransitionTime": now, "reason": reason, "message": message,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_written_on_change_only() {
        let mut schema = json!({"spec": {"priorityLevelConfiguration": {"name": "l"}}});
        let told = dangling(&schema, false, "t1").expect("a condition");
        assert_eq!((&told["status"], &told["reason"]), (&json!("True"), &json!("NotFound")));
        schema["status"] = json!({"conditions": [told]});
        assert_eq!(dangling(&schema, false, "t2"), None);
        let told = dangling(&schema, true, "t2").expect("a condition");
        assert_eq!(
            told["message"],
            "This FlowSchema references the PriorityLevelConfiguration object named \"l\" and it exists"
        );
    }
}

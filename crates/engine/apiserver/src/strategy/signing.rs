//! Certificate signing requests: who asked, and what each endpoint may change.

use serde_json::{Value, json};

use crate::authorizer::Identity;
use crate::object;

/// Conditions that only `/approval` sets.
const VERDICTS: [&str; 2] = ["Approved", "Denied"];

/// A request says who made it, whatever the client wrote.
pub fn prepare_create(request: &mut Value, who: &Identity) {
    if !request["spec"].is_object() {
        return;
    }
    let spec = &mut request["spec"];
    spec["username"] = who.user.as_str().into();
    let facts = [
        ("uid", json!(who.uid), who.uid.is_empty()),
        ("groups", json!(who.groups), who.groups.is_empty()),
        ("extra", json!(who.extra), who.extra.is_empty()),
    ];
    for (field, value, empty) in facts {
        if !empty {
            spec[field] = value;
        } else if let Some(map) = spec.as_object_mut() {
            map.remove(field);
        }
    }
}

/// What was asked for never changes.
pub fn prepare_update(new: &mut Value, old: &Value) {
    new["spec"] = old["spec"].clone();
}

/// Through `/status` a verdict stays as it is; to add or take one away is an error that validation tells.
pub fn prepare_status(new: &mut Value, old: &Value, now: &str) {
    for verdict in VERDICTS {
        let (before, after) = (positions(old, verdict), positions(new, verdict));
        if before.len() == after.len() {
            for (from, to) in before.into_iter().zip(after) {
                new["status"]["conditions"][to] = old["status"]["conditions"][from].clone();
            }
        }
    }
    fill_times(new, old, now);
}

/// Through `/approval` only the conditions count.
pub fn prepare_approval(new: &mut Value, old: &Value, now: &str) {
    fill_times(new, old, now);
    let conditions = new["status"].get("conditions").cloned();
    let managed = new["metadata"].get("managedFields").cloned();
    let revision = new["metadata"].get("resourceVersion").cloned();
    *new = old.clone();
    if let Some(conditions) = conditions {
        new["status"]["conditions"] = conditions;
    } else if let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("conditions");
    }
    for (field, value) in [("managedFields", managed), ("resourceVersion", revision)] {
        if let Some(value) = value {
            object::set_meta(new, field, value);
        }
    }
}

fn positions(request: &Value, kind: &str) -> Vec<usize> {
    let conditions = request["status"]["conditions"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    (0..conditions.len())
        .filter(|i| conditions[*i]["type"] == kind)
        .collect()
}

/// Conditions without times get them: an unchanged one keeps the time of its last transition.
fn fill_times(new: &mut Value, old: &Value, now: &str) {
    let Some(conditions) = new
        .get_mut("status")
        .and_then(|status| status.get_mut("conditions"))
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    let before = old["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    for condition in conditions.iter_mut().filter(|condition| condition.is_object()) {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = now.into();
        }
        if condition["lastTransitionTime"].is_null() {
            let same = |b: &&Value| b["type"] == condition["type"] && b["status"] == condition["status"];
            let mut since = before.iter().filter(same).map(|b| &b["lastTransitionTime"]);
            let since = since.find(|time| !time.is_null()).cloned();
            condition["lastTransitionTime"] = since.unwrap_or_else(|| now.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(conditions: Value) -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"request": "x"}, "status": {"conditions": conditions}})
    }

    #[test]
    fn conditions_get_the_times_they_lack() {
        let old = with(json!([{"type": "Approved", "status": "True", "lastTransitionTime": "t1"}]));
        let mut new = with(json!([
            {"type": "Approved", "status": "True"},
            {"type": "Other", "status": "True", "lastUpdateTime": "t0"},
        ]));
        new["spec"]["request"] = "y".into();
        prepare_approval(&mut new, &old, "t9");
        let wanted = json!([
            {"type": "Approved", "status": "True", "lastUpdateTime": "t9", "lastTransitionTime": "t1"},
            {"type": "Other", "status": "True", "lastUpdateTime": "t0", "lastTransitionTime": "t9"},
        ]);
        assert_eq!(new["status"]["conditions"], wanted);
        assert_eq!(new["spec"], old["spec"]);
    }

    #[test]
    fn a_verdict_stays_through_status() {
        let old = with(json!([{"type": "Denied", "status": "True", "reason": "No"}]));
        let mut new =
            with(json!([{"type": "Failed", "status": "True"}, {"type": "Denied", "status": "True", "reason": "X"}]));
        prepare_status(&mut new, &old, "t9");
        assert_eq!(new["status"]["conditions"][1]["reason"], "No");
        assert_eq!(new["status"]["conditions"][0]["lastTransitionTime"], "t9");
    }
}

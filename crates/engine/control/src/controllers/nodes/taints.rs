//! Taints of a Node: those of its condition as upstream's node lifecycle sets them, the one of a member without a
//! pod runtime, and those of the member's configuration.

use serde_json::{Map, Value, json};

use super::metadata::{OWNED_TAINTS, annotate, owned, remember};
use crate::facts::NodeFacts;
use crate::times;

/// Taint, and annotation that explains it, of a Node that can run no pod.
const NO_RUNTIME: &str = "engenho.io/no-runtime";
const NO_RUNTIME_VALUE: &str = "member-runs-no-pods";
const NO_RUNTIME_TEXT: &str =
    "This member has no pod runtime: pods that are scheduled here would never start, so none should be.";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";

/// Key, value, effect, and whether it says since when.
struct Taint<'a>(&'a str, &'a str, &'a str, bool);

/// Brings the taints in line.
pub(super) fn merge(node: &mut Value, facts: &NodeFacts, now_unix_ms: u64) {
    let mut wanted = Vec::new();
    if !facts.is_alive {
        wanted.push(Taint(UNREACHABLE, "", NO_SCHEDULE, true));
        wanted.push(Taint(UNREACHABLE, "", NO_EXECUTE, true));
    }
    if node["spec"]["unschedulable"] == true {
        wanted.push(Taint(UNSCHEDULABLE, "", NO_SCHEDULE, true));
    }
    let mut remove: Vec<(String, String)> = [
        (NOT_READY, NO_SCHEDULE),
        (NOT_READY, NO_EXECUTE),
        (UNREACHABLE, NO_SCHEDULE),
        (UNREACHABLE, NO_EXECUTE),
        (UNSCHEDULABLE, NO_SCHEDULE),
    ]
    .map(|(key, effect)| (key.to_owned(), effect.to_owned()))
    .into();
    if let Some(report) = &facts.report {
        let runs_nothing = report.versions.runtime.is_none();
        if runs_nothing {
            wanted.push(Taint(NO_RUNTIME, NO_RUNTIME_VALUE, NO_SCHEDULE, false));
        }
        remove.push((NO_RUNTIME.to_owned(), NO_SCHEDULE.to_owned()));
        let mut own = Vec::new();
        for taint in &report.taints {
            let id = format!("{}:{}", taint.key, taint.effect);
            let is_taken = wanted.iter().any(|w| w.0 == taint.key && w.2 == taint.effect);
            if !is_taken && !own.contains(&id) {
                wanted.push(Taint(&taint.key, &taint.value, &taint.effect, false));
                own.push(id);
            }
        }
        remove.extend(owned(node, OWNED_TAINTS).iter().filter_map(|id| {
            let (key, effect) = id.rsplit_once(':')?;
            Some((key.to_owned(), effect.to_owned()))
        }));
        remember(node, OWNED_TAINTS, own);
        annotate(node, NO_RUNTIME, runs_nothing.then_some(NO_RUNTIME_TEXT));
    }
    let before = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let after = merged(&before, &wanted, &remove, now_unix_ms);
    if after == before {
        return;
    }
    if after.is_empty() {
        if let Some(spec) = node["spec"].as_object_mut() {
            spec.remove("taints");
        }
    } else {
        node["spec"]["taints"] = after.into();
    }
}

/// Users' taints keep their places; ours keep theirs while they are wanted, and their time while they don't change.
fn merged(before: &[Value], wanted: &[Taint<'_>], remove: &[(String, String)], now_unix_ms: u64) -> Vec<Value> {
    let is = |taint: &Value, key: &str, effect: &str| taint["key"] == key && taint["effect"] == effect;
    let mut after = Vec::with_capacity(before.len() + wanted.len());
    for taint in before {
        if let Some(want) = wanted.iter().find(|w| is(taint, w.0, w.2)) {
            let same = taint["value"].as_str().unwrap_or_default() == want.1;
            after.push(if same { taint.clone() } else { object(want, now_unix_ms) });
        } else if !remove.iter().any(|(key, effect)| is(taint, key, effect)) {
            after.push(taint.clone());
        }
    }
    for want in wanted {
        if !before.iter().any(|taint| is(taint, want.0, want.2)) {
            after.push(object(want, now_unix_ms));
        }
    }
    after
}

fn object(taint: &Taint<'_>, now_unix_ms: u64) -> Value {
    let Taint(key, value, effect, since) = taint;
    let mut object = Map::from_iter([("key".to_owned(), json!(key)), ("effect".to_owned(), json!(effect))]);
    if !value.is_empty() {
        object.insert("value".into(), json!(value));
    }
    if *since {
        object.insert("timeAdded".into(), times::text(now_unix_ms).into());
    }
    object.into()
}

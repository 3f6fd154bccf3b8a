//! RuntimeClass: a pod costs what its runtime class says, and goes where that runtime is.

use serde_json::Value;

use crate::get::{fields, items, quoted, section, set, text};
use crate::{Lookup, Outcome, Refusal, Request};
use engenho_quantity::amounts::read;

/// A pod may not say of itself what its runtime costs.
const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

pub(crate) fn mutate<L: Lookup>(request: &Request<'_>, pod: &mut Value, lookup: &L) -> Outcome<L::Error> {
    if !request.creates("", "pods") {
        return Ok(());
    }
    let Some(class) = find(pod, lookup)? else {
        return Ok(());
    };
    if !class["overhead"].is_null() {
        let fixed = &class["overhead"]["podFixed"];
        let given = &pod["spec"]["overhead"];
        if !given.is_null() && read(given) != read(fixed) {
            return Err(Refusal::forbidden(MISMATCH));
        }
        if !fixed.is_null() {
            set(&mut pod["spec"], "overhead", fixed.clone());
        }
    }
    schedule(pod, &class["scheduling"])
}

pub(crate) fn validate<L: Lookup>(request: &Request<'_>, pod: &Value, lookup: &L) -> Outcome<L::Error> {
    if !request.creates("", "pods") {
        return Ok(());
    }
    let class = find(pod, lookup)?;
    let defined = class.as_ref().map_or(&Value::Null, |class| &class["overhead"]);
    let given = &pod["spec"]["overhead"];
    if defined.is_null() {
        if !given.is_null() {
            return Err(Refusal::forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            ));
        }
    } else if read(given) != read(&defined["podFixed"]) {
        return Err(Refusal::forbidden(MISMATCH));
    }
    Ok(())
}

fn find<L: Lookup>(pod: &Value, lookup: &L) -> Result<Option<Value>, Refusal<L::Error>> {
    let Some(name) = pod["spec"]["runtimeClassName"].as_str() else {
        return Ok(None);
    };
    match lookup.get("node.k8s.io", "runtimeclasses", "", name)? {
        Some(class) => Ok(Some(class)),
        None => Err(Refusal::forbidden(format!(
            "pod rejected: RuntimeClass {} not found",
            quoted(name)
        ))),
    }
}

/// The pod goes only to nodes that have the runtime, and tolerates their taints.
fn schedule<E>(pod: &mut Value, scheduling: &Value) -> Outcome<E> {
    for (key, wanted) in fields(&scheduling["nodeSelector"]) {
        let Some(selector) = section(&mut pod["spec"], "nodeSelector") else {
            return Ok(());
        };
        match selector.get(key) {
            Some(given) if given != wanted => {
                return Err(Refusal::forbidden(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    text(wanted),
                    text(given)
                )));
            }
            _ => set(selector, key, wanted.clone()),
        }
    }
    let wanted = items(&scheduling["tolerations"]);
    let given = items(&pod["spec"]["tolerations"]);
    // What is tolerated twice is dropped even where the class adds nothing, if it has a say at all.
    let is_bare = given.is_empty() && wanted.is_empty();
    if !scheduling.is_null() && !is_bare {
        let merged = merge(given, wanted);
        set(&mut pod["spec"], "tolerations", merged);
    }
    Ok(())
}

/// All tolerations but those that another one includes.
fn merge(first: &[Value], second: &[Value]) -> Vec<Value> {
    let all: Vec<&Value> = first.iter().chain(second).collect();
    let mut merged: Vec<&Value> = Vec::with_capacity(all.len());
    for (index, toleration) in all.iter().enumerate() {
        let before = merged.iter().any(|other| includes(other, toleration));
        let mut later = all[index + 1..].iter();
        if !before && !later.any(|other| !is_same(other, toleration) && includes(other, toleration)) {
            merged.push(toleration);
        }
    }
    merged.into_iter().cloned().collect()
}

fn is_same(one: &Value, two: &Value) -> bool {
    let texts = ["key", "operator", "value", "effect"];
    texts.iter().all(|field| text(&one[*field]) == text(&two[*field]))
        && one["tolerationSeconds"].as_i64() == two["tolerationSeconds"].as_i64()
}

/// Whether `wide` tolerates whatever `narrow` does.
fn includes(wide: &Value, narrow: &Value) -> bool {
    if is_same(wide, narrow) {
        return true;
    }
    let [key, operator, effect] = ["key", "operator", "effect"].map(|field| text(&wide[field]));
    let is_any_key = key.is_empty() && operator == "Exists";
    let is_any_effect = effect.is_empty();
    if !(is_any_key || key == text(&narrow["key"])) || !(is_any_effect || effect == text(&narrow["effect"])) {
        return false;
    }
    let seconds = |toleration: &Value| toleration["tolerationSeconds"].as_i64();
    if effect == "NoExecute"
        && let Some(limit) = seconds(wide)
        && seconds(narrow).is_none_or(|narrow| narrow > limit)
    {
        return false;
    }
    match operator {
        "Exists" => true,
        "" | "Equal" => text(&narrow["operator"]) == "Equal" && text(&narrow["value"]) == text(&wide["value"]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;
    use crate::lookup::tests::{Stored, pods, refused};
    use serde_json::json;
    use std::slice::from_ref;

    fn stored() -> Stored {
        let class = |name: &str, extra: Value| {
            let mut object = extra;
            object["metadata"] = json!({"name": name});
            ("node.k8s.io", "runtimeclasses", object)
        };
        Stored::of(&[
            class(
                "vm",
                json!({
                    "overhead": {"podFixed": {"cpu": "10m"}},
                    "scheduling": {"nodeSelector": {"rt": "x"}, "tolerations": [{"key": "rt", "operator": "Exists"}]},
                }),
            ),
            class("plain", json!({})),
        ])
    }

    fn admitted(spec: Value) -> Result<Value, String> {
        let mut pod = json!({"spec": spec});
        let request = pods(Operation::Create, "");
        let outcome = mutate(&request, &mut pod, &stored());
        match refused(outcome.and_then(|()| validate(&request, &pod, &stored()))) {
            text if text.is_empty() => Ok(pod["spec"].take()),
            text => Err(text),
        }
    }

    #[test]
    fn the_class_is_applied() {
        let spec = admitted(json!({
            "runtimeClassName": "vm", "nodeSelector": {"q": "y"}, "tolerations": [{"key": "a", "operator": "Exists"}],
        }))
        .unwrap();
        assert_eq!(spec["overhead"], json!({"cpu": "10m"}));
        assert_eq!(spec["nodeSelector"], json!({"q": "y", "rt": "x"}));
        let tolerations = json!([{"key": "a", "operator": "Exists"}, {"key": "rt", "operator": "Exists"}]);
        assert_eq!(spec["tolerations"], tolerations);
        assert!(admitted(json!({"runtimeClassName": "vm", "overhead": {"cpu": "0.010"}})).is_ok());
        let plain = json!({"runtimeClassName": "plain", "nodeSelector": {"a": "b"}});
        assert_eq!(admitted(plain.clone()), Ok(plain));
    }

    #[test]
    fn what_contradicts_the_class_is_refused() {
        let without = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
        let conflict = "conflict: runtimeClass.scheduling.nodeSelector[rt] = x; pod.spec.nodeSelector[rt] = y";
        let table = [
            (json!({"runtimeClassName": "vm", "overhead": {"cpu": "20m"}}), MISMATCH),
            (json!({"runtimeClassName": "vm", "nodeSelector": {"rt": "y"}}), conflict),
            (json!({"runtimeClassName": "plain", "overhead": {"cpu": "1"}}), without),
            (json!({"overhead": {}}), without),
            (
                json!({"runtimeClassName": "no"}),
                "pod rejected: RuntimeClass \"no\" not found",
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(admitted(spec), Err(expected.to_owned()));
        }
    }

    #[test]
    fn tolerations_that_add_nothing_are_dropped() {
        let any = json!({"operator": "Exists"});
        let narrow = json!({"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"});
        let same_key = json!({"key": "a", "operator": "Exists", "effect": "NoSchedule"});
        let short = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
        let long = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 50});
        let merged = |one: &Value, two: &Value| Value::from(merge(from_ref(one), from_ref(two)));
        assert_eq!(merged(&narrow, &same_key), json!([same_key]));
        assert_eq!(merged(&same_key, &narrow), json!([same_key]));
        assert_eq!(merged(&short, &any), json!([any]));
        assert_eq!(merged(&short, &long), json!([long]));
        assert_eq!(merged(&same_key, &long), json!([same_key, long]));
        assert_eq!(merged(&any, &any), json!([any]));
    }
}

//! Priority: the priority of a pod follows from its class, and one class at most is the default.

use serde_json::Value;

use crate::get::{name, set, text};
use crate::{Lookup, Operation, Outcome, Refusal, Request};

/// API group of priority classes.
const GROUP: &str = "scheduling.k8s.io";
/// Classes that there always are, also while they are not stored yet.
const SYSTEM_CLASSES: [(&str, i64); 2] = [
    ("system-cluster-critical", 2_000_000_000),
    ("system-node-critical", 2_000_001_000),
];
/// What a pod may do to pods of lower priority unless its class says otherwise.
const PREEMPT: &str = "PreemptLowerPriority";

pub(crate) fn mutate<L: Lookup>(
    request: &Request<'_>,
    pod: &mut Value,
    old: Option<&Value>,
    lookup: &L,
) -> Outcome<L::Error> {
    if !request.is_to("", "pods") || !pod["spec"].is_object() {
        return Ok(());
    }
    match request.operation {
        Operation::Create => resolve(pod, lookup),
        Operation::Update => {
            keep(pod, old);
            Ok(())
        }
        Operation::Delete => Ok(()),
    }
}

/// What was resolved once stays when it is left out later.
fn keep(pod: &mut Value, old: Option<&Value>) {
    for field in ["priority", "preemptionPolicy"] {
        let before = old.map_or(&Value::Null, |old| &old["spec"][field]);
        if pod["spec"][field].is_null() && !before.is_null() {
            set(&mut pod["spec"], field, before.clone());
        }
    }
}

fn resolve<L: Lookup>(pod: &mut Value, lookup: &L) -> Outcome<L::Error> {
    let spec = &mut pod["spec"];
    let (priority, policy) = match text(&spec["priorityClassName"]) {
        "" => match default_class(lookup)? {
            Some(class) => {
                set(spec, "priorityClassName", name(&class));
                meaning(&class)
            }
            None => (0, PREEMPT.to_owned()),
        },
        class => named(class, lookup)?,
    };
    let given = &spec["priority"];
    if !given.is_null() && given.as_i64() != Some(priority) {
        return Err(Refusal::forbidden(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {priority} from the given PriorityClass name"
        )));
    }
    let given = &spec["preemptionPolicy"];
    if !given.is_null() && text(given) != policy {
        return Err(Refusal::forbidden(format!(
            "the string value of PreemptionPolicy ({}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name",
            text(given)
        )));
    }
    set(spec, "priority", priority);
    set(spec, "preemptionPolicy", policy);
    Ok(())
}

fn named<L: Lookup>(class: &str, lookup: &L) -> Result<(i64, String), Refusal<L::Error>> {
    if let Some(found) = lookup.get(GROUP, "priorityclasses", "", class)? {
        return Ok(meaning(&found));
    }
    match SYSTEM_CLASSES.iter().find(|(system, _)| *system == class) {
        Some((_, priority)) => Ok((*priority, PREEMPT.to_owned())),
        None => Err(Refusal::forbidden(format!(
            "no PriorityClass with name {class} was found"
        ))),
    }
}

fn meaning(class: &Value) -> (i64, String) {
    let policy = match text(&class["preemptionPolicy"]) {
        "" => PREEMPT,
        given => given,
    };
    (class["value"].as_i64().unwrap_or_default(), policy.to_owned())
}

/// The class of pods that name none: of several that two writers may have made at once, the lowest.
fn default_class<L: Lookup>(lookup: &L) -> Result<Option<Value>, L::Error> {
    let classes = lookup.list(GROUP, "priorityclasses", "")?;
    let defaults = classes.into_iter().filter(|class| class["globalDefault"] == true);
    Ok(defaults.min_by_key(|class| class["value"].as_i64().unwrap_or_default()))
}

pub(crate) fn validate<L: Lookup>(request: &Request<'_>, class: &Value, lookup: &L) -> Outcome<L::Error> {
    if !request.is_to(GROUP, "priorityclasses")
        || request.operation == Operation::Delete
        || class["globalDefault"] != true
    {
        return Ok(());
    }
    match default_class(lookup)? {
        Some(default) if request.operation == Operation::Create || name(&default) != name(class) => {
            Err(Refusal::forbidden(format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                name(&default)
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::tests::{Stored, pods, refused, request};
    use serde_json::json;

    fn class(name: &str, value: i64, is_default: bool) -> (&'static str, &'static str, Value) {
        let object = json!({
            "metadata": {"name": name}, "value": value, "globalDefault": is_default, "preemptionPolicy": "Never",
        });
        (GROUP, "priorityclasses", object)
    }

    fn created(spec: Value, stored: &Stored) -> Result<Value, String> {
        let mut pod = json!({"spec": spec});
        match refused(mutate(&pods(Operation::Create, ""), &mut pod, None, stored)) {
            text if text.is_empty() => Ok(pod["spec"].take()),
            text => Err(text),
        }
    }

    #[test]
    fn priority_follows_from_the_class() {
        let stored = Stored::of(&[class("hi", 77, false)]);
        let hi = json!({"priorityClassName": "hi", "priority": 77, "preemptionPolicy": "Never"});
        assert_eq!(created(json!({"priorityClassName": "hi"}), &stored).as_ref(), Ok(&hi));
        assert_eq!(created(hi.clone(), &stored).as_ref(), Ok(&hi));
        let none = json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"});
        assert_eq!(created(json!({}), &stored).as_ref(), Ok(&none));
        let system = created(json!({"priorityClassName": "system-node-critical"}), &stored).unwrap();
        assert_eq!(system["priority"], 2_000_001_000);
    }

    #[test]
    fn a_default_class_is_named_in_the_pod() {
        let stored = Stored::of(&[class("b", 9, true), class("a", 5, true), class("c", 1, false)]);
        let expected = json!({"priorityClassName": "a", "priority": 5, "preemptionPolicy": "Never"});
        assert_eq!(created(json!({"priorityClassName": ""}), &stored), Ok(expected));
    }

    #[test]
    fn what_is_given_has_to_agree() {
        let stored = Stored::of(&[class("hi", 77, false)]);
        let rest = "must not be provided in pod spec; priority admission controller computed";
        let table = [
            (
                json!({"priorityClassName": "hi", "priority": 5}),
                format!("the integer value of priority (5) {rest} 77 from the given PriorityClass name"),
            ),
            (
                json!({"preemptionPolicy": "X"}),
                format!(
                    "the string value of PreemptionPolicy (X) {rest} PreemptLowerPriority from the given PriorityClass name"
                ),
            ),
            (
                json!({"priorityClassName": "no"}),
                "no PriorityClass with name no was found".to_owned(),
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(created(spec, &stored), Err(expected));
        }
    }

    #[test]
    fn an_update_keeps_what_was_resolved() {
        let old = json!({"spec": {"priority": 7, "preemptionPolicy": "Never"}});
        let mut pod = json!({"spec": {"priority": null}});
        let stored = Stored::default();
        mutate(&pods(Operation::Update, ""), &mut pod, Some(&old), &stored).unwrap();
        assert_eq!(pod, old);
    }

    #[test]
    fn one_class_is_the_default() {
        let stored = Stored::of(&[class("a", 5, true)]);
        let check = |operation, new: &str, is_default: bool| {
            let object = class(new, 3, is_default).2;
            refused(validate(
                &request(operation, GROUP, "priorityclasses"),
                &object,
                &stored,
            ))
        };
        let taken = "PriorityClass a is already marked as default. Only one default can exist";
        assert_eq!(check(Operation::Create, "b", true), taken);
        assert_eq!(check(Operation::Update, "b", true), taken);
        assert_eq!(check(Operation::Update, "a", true), "");
        assert_eq!(check(Operation::Create, "b", false), "");
    }
}

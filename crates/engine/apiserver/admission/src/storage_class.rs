//! DefaultStorageClass: claims that ask for no class get the default one.

use serde_json::Value;

use crate::get::{annotation, name, newest, section, set};
use crate::{Lookup, Outcome, Request};

/// Where a claim could name its class before there was a field.
pub(crate) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
/// Either makes a class the default.
const DEFAULT_ANNOTATIONS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

pub(crate) fn mutate<L: Lookup>(request: &Request<'_>, claim: &mut Value, lookup: &L) -> Outcome<L::Error> {
    if !request.creates("", "persistentvolumeclaims")
        || annotation(claim, CLASS_ANNOTATION).is_some()
        || !claim["spec"]["storageClassName"].is_null()
    {
        return Ok(());
    }
    let classes = lookup.list("storage.k8s.io", "storageclasses", "")?;
    let is_default = |class: &Value| {
        DEFAULT_ANNOTATIONS
            .iter()
            .any(|key| annotation(class, key) == Some("true"))
    };
    if let Some(class) = newest(classes, is_default)
        && let Some(spec) = section(claim, "spec")
    {
        set(spec, "storageClassName", name(&class));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;
    use crate::lookup::tests::{Stored, request};
    use serde_json::json;

    fn class(name: &str, time: &str, key: &str, value: &str) -> (&'static str, &'static str, Value) {
        let object = json!({"metadata": {"name": name, "creationTimestamp": time, "annotations": {key: value}}});
        ("storage.k8s.io", "storageclasses", object)
    }

    fn chosen(claim: Value, stored: &Stored) -> Value {
        let mut claim = claim;
        mutate(
            &request(Operation::Create, "", "persistentvolumeclaims"),
            &mut claim,
            stored,
        )
        .unwrap();
        claim["spec"]["storageClassName"].take()
    }

    #[test]
    fn the_newest_default_is_chosen() {
        let [stable, beta] = DEFAULT_ANNOTATIONS;
        let classes = [
            class("old", "2024-01-01T00:00:00Z", stable, "true"),
            class("b", "2025-01-01T00:00:00Z", stable, "true"),
            class("a", "2025-01-01T00:00:00Z", beta, "true"),
            class("never", "2026-01-01T00:00:00Z", stable, "false"),
        ];
        assert_eq!(chosen(json!({"spec": {}}), &Stored::of(&classes)), "a");
        assert_eq!(chosen(json!({"spec": {}}), &Stored::of(&classes[3..])), Value::Null);
        assert_eq!(
            chosen(json!({"spec": {"storageClassName": ""}}), &Stored::of(&classes)),
            ""
        );
        let annotated = json!({"metadata": {"annotations": {CLASS_ANNOTATION: "x"}}, "spec": {}});
        assert_eq!(chosen(annotated, &Stored::of(&classes)), Value::Null);
    }
}

//! What a terminating Namespace says, and when it is let go.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::times;

/// The finalizer in `spec` that stands for the content of a Namespace.
const FINALIZER: &str = "kubernetes";

/// What is still in a Namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Remains {
    /// Number of objects of each resource, `deployments.apps`; those of the core group end in the dot, as upstream's do.
    pub resources: BTreeMap<String, usize>,
    /// Number of objects that each finalizer keeps.
    pub finalizers: BTreeMap<String, usize>,
}

impl Remains {
    /// Notes an object that is still there.
    pub fn note(&mut self, resource: &str, object: &Value) {
        *self.resources.entry(resource.to_owned()).or_default() += 1;
        let finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        for finalizer in finalizers.filter_map(Value::as_str) {
            *self.finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }
}

/// Whether a Namespace is being deleted and still has to be emptied.
pub(super) fn is_to_empty(namespace: &Value) -> bool {
    let finalizers = namespace["spec"]["finalizers"].as_array();
    namespace["metadata"]["deletionTimestamp"].is_string()
        && finalizers.is_some_and(|finalizers| finalizers.iter().any(|f| f == FINALIZER))
}

/// The Namespace without the finalizer of its content.
pub(super) fn released(namespace: &Value) -> Value {
    let mut released = namespace.clone();
    if let Some(finalizers) = released["spec"]["finalizers"].as_array_mut() {
        finalizers.retain(|f| f != FINALIZER);
    }
    released
}

/// The Namespace with conditions that say what keeps it, in upstream's words; `None` if it says so already.
pub(super) fn with_conditions(
    namespace: &Value,
    remains: &Remains,
    failures: &[String],
    now_unix_ms: u64,
) -> Option<Value> {
    let listed = |counts: &BTreeMap<String, usize>, word: &str| {
        let texts = counts
            .iter()
            .map(|(name, count)| format!("{name} {word} {count} resource instances"));
        texts.collect::<Vec<_>>().join(", ")
    };
    let mut failures = failures.to_vec();
    failures.sort();
    let told = [
        (
            "NamespaceDeletionDiscoveryFailure",
            None,
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            (!failures.is_empty()).then(|| {
                let text = failures.join(", ");
                let count = failures.len();
                (
                    "ContentDeletionFailed",
                    format!("Failed to delete all resource types, {count} remaining: {text}"),
                )
            }),
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            (!remains.resources.is_empty()).then(|| {
                let text = listed(&remains.resources, "has");
                ("SomeResourcesRemain", format!("Some resources are remaining: {text}"))
            }),
            "ContentRemoved",
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            (!remains.finalizers.is_empty()).then(|| {
                let text = listed(&remains.finalizers, "in");
                (
                    "SomeFinalizersRemain",
                    format!("Some content in the namespace has finalizers remaining: {text}"),
                )
            }),
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    ];
    let mut new = namespace.clone();
    let mut conditions = new["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for (name, bad, good_reason, good_message) in told {
        let status = if bad.is_some() { "True" } else { "False" };
        let (reason, message) = bad.unwrap_or_else(|| (good_reason, good_message.to_owned()));
        let at = conditions.iter().position(|c| c["type"] == name);
        let since = at.and_then(|at| {
            let same = conditions[at]["status"] == status;
            same.then(|| conditions[at]["lastTransitionTime"].clone())
                .filter(Value::is_string)
        });
        let condition = json!({
            "type": name,
            "status": status,
            "lastTransitionTime": since.unwrap_or_else(|| times::text(now_unix_ms).into()),
            "reason": reason,
            "message": message,
        });
        match at {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    new["status"]["conditions"] = conditions.into();
    (new != *namespace).then_some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace() -> Value {
        json!({
            "metadata": {"name": "a", "deletionTimestamp": "2023-11-14T22:13:20Z"},
            "spec": {"finalizers": ["kubernetes", "example.com/mine"]},
            "status": {"phase": "Terminating"},
        })
    }

    #[test]
    fn only_the_own_finalizer_goes() {
        let namespace = namespace();
        assert!(is_to_empty(&namespace));
        let released = released(&namespace);
        assert_eq!(released["spec"]["finalizers"], json!(["example.com/mine"]));
        assert!(!is_to_empty(&released));
        assert!(!is_to_empty(
            &json!({"metadata": {}, "spec": {"finalizers": ["kubernetes"]}})
        ));
    }

    #[test]
    fn conditions_say_what_remains_and_settle() {
        let mut remains = Remains::default();
        let kept = json!({"metadata": {"finalizers": ["example.com/f"]}});
        remains.note("configmaps.", &kept);
        remains.note("configmaps.", &kept);
        remains.note("deployments.apps", &json!({"metadata": {}}));
        let told = with_conditions(&namespace(), &remains, &[], 1_700_000_000_000).unwrap();
        let message = |namespace: &Value, name: &str| {
            let conditions = namespace["status"]["conditions"].as_array().unwrap();
            let found = conditions.iter().find(|c| c["type"] == name).unwrap().clone();
            (
                found["status"].as_str().unwrap().to_owned(),
                found["message"].as_str().unwrap().to_owned(),
            )
        };
        assert_eq!(
            message(&told, "NamespaceContentRemaining"),
            (
                "True".into(),
                "Some resources are remaining: configmaps. has 2 resource instances, deployments.apps has 1 resource instances".into()
            )
        );
        let finalizers =
            "Some content in the namespace has finalizers remaining: example.com/f in 2 resource instances";
        assert_eq!(
            message(&told, "NamespaceFinalizersRemaining"),
            ("True".into(), finalizers.into())
        );
        assert_eq!(message(&told, "NamespaceDeletionContentFailure").0, "False");
        assert_eq!(with_conditions(&told, &remains, &[], 1_800_000_000_000), None);

        let failed = with_conditions(&told, &remains, &["b".into(), "a".into()], 1_800_000_000_000).unwrap();
        let text = "Failed to delete all resource types, 2 remaining: a, b";
        assert_eq!(
            message(&failed, "NamespaceDeletionContentFailure"),
            ("True".into(), text.into())
        );
        let conditions = failed["status"]["conditions"].as_array().unwrap();
        let times = conditions.iter().map(|c| c["lastTransitionTime"].as_str().unwrap());
        assert_eq!(times.filter(|at| at.starts_with("2027")).count(), 1);
    }
}

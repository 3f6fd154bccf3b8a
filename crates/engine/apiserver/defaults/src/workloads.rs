//! Workloads: replication controllers, replica sets, deployments, stateful sets, daemon sets.

use serde_json::{Map, Value};

use crate::fields::{Fields, is_bare, items, object, set_if_empty, set_if_missing, structure, text};
use crate::pod;
use crate::storage;

/// How many old revisions are kept.
const REVISIONS: i64 = 10;
/// How long a deployment may go without progress.
const PROGRESS_SECONDS: i64 = 600;
const ROLLING: &str = "RollingUpdate";

/// A ReplicationController: it selects, and is labelled as, the pods it makes.
pub fn replication_controller(controller: &mut Fields) {
    let labels = template_labels(controller);
    if let Some(spec) = structure(controller, "spec") {
        set_if_missing(spec, "replicas", 1);
        // The schema names zero as a default, but zero is never written out.
        if spec.get("minReadySeconds").is_some_and(|seconds| seconds == 0) {
            spec.remove("minReadySeconds");
        }
        if let Some(labels) = &labels
            && is_bare(spec, "selector")
        {
            spec.insert("selector".to_owned(), labels.clone());
        }
        pod::template(spec);
    }
    label_as_template(controller, labels);
}

/// The labels of the pods a workload makes, if they have any.
pub fn template_labels(workload: &Fields) -> Option<Value> {
    let labels = workload.get("spec")?.get("template")?.get("metadata")?.get("labels")?;
    labels.as_object().filter(|labels| !labels.is_empty())?;
    Some(labels.clone())
}

/// A workload without labels takes those of its pods.
pub fn label_as_template(workload: &mut Fields, labels: Option<Value>) {
    if let Some(labels) = labels
        && let Some(meta) = structure(workload, "metadata")
        && is_bare(meta, "labels")
    {
        meta.insert("labels".to_owned(), labels);
    }
}

/// A ReplicaSet.
pub fn replica_set(set: &mut Fields) {
    if let Some(spec) = structure(set, "spec") {
        set_if_missing(spec, "replicas", 1);
        pod::template(spec);
    }
}

/// A Deployment.
pub fn deployment(deployment: &mut Fields) {
    let Some(spec) = structure(deployment, "spec") else {
        return;
    };
    set_if_missing(spec, "replicas", 1);
    set_if_missing(spec, "revisionHistoryLimit", REVISIONS);
    set_if_missing(spec, "progressDeadlineSeconds", PROGRESS_SECONDS);
    if let Some(rolling) = structure(spec, "strategy").and_then(rolling_update) {
        set_if_missing(rolling, "maxUnavailable", "25%");
        set_if_missing(rolling, "maxSurge", "25%");
    }
    pod::template(spec);
}

/// A DaemonSet.
pub fn daemon_set(set: &mut Fields) {
    let Some(spec) = structure(set, "spec") else {
        return;
    };
    set_if_missing(spec, "revisionHistoryLimit", REVISIONS);
    if let Some(rolling) = structure(spec, "updateStrategy").and_then(rolling_update) {
        set_if_missing(rolling, "maxUnavailable", 1);
        set_if_missing(rolling, "maxSurge", 0);
    }
    pod::template(spec);
}

/// The settings of a strategy that replaces pods step by step, which is what happens unless something else is said.
fn rolling_update(strategy: &mut Fields) -> Option<&mut Fields> {
    set_if_empty(strategy, "type", ROLLING);
    if text(strategy, "type") == ROLLING {
        structure(strategy, "rollingUpdate")
    } else {
        None
    }
}

/// A StatefulSet.
pub fn stateful_set(set: &mut Fields) {
    let Some(spec) = structure(set, "spec") else {
        return;
    };
    set_if_empty(spec, "podManagementPolicy", "OrderedReady");
    set_if_missing(spec, "replicas", 1);
    set_if_missing(spec, "revisionHistoryLimit", REVISIONS);
    if let Some(strategy) = structure(spec, "updateStrategy") {
        if text(strategy, "type").is_empty() {
            set_if_missing(strategy, "rollingUpdate", Map::new());
            set_if_empty(strategy, "type", ROLLING);
        }
        // A strategy that was named, but not set up, has no partition.
        if text(strategy, "type") == ROLLING
            && let Some(rolling) = object(strategy, "rollingUpdate")
        {
            set_if_missing(rolling, "partition", 0);
        }
    }
    if let Some(policy) = structure(spec, "persistentVolumeClaimRetentionPolicy") {
        set_if_empty(policy, "whenDeleted", "Retain");
        set_if_empty(policy, "whenScaled", "Retain");
    }
    pod::template(spec);
    for claim in items(spec, "volumeClaimTemplates") {
        claim.insert("apiVersion".to_owned(), "v1".into());
        claim.insert("kind".to_owned(), "PersistentVolumeClaim".into());
        storage::claim(claim);
    }
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::{Value, json};

    fn applied(group: &str, plural: &str, mut object: Value) -> Value {
        apply(group, "v1", plural, &mut object);
        object
    }

    #[test]
    fn deployments() {
        let object = applied(
            "apps",
            "deployments",
            json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 1}}}}),
        );
        let expected = json!({"spec": {
            "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
        }});
        assert_eq!(object, expected);
        let object = applied(
            "apps",
            "deployments",
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        );
        assert_eq!(object["spec"]["strategy"], json!({"type": "Recreate"}));
    }

    #[test]
    fn daemon_sets() {
        let object = applied("apps", "daemonsets", json!({}));
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
        assert_eq!(
            object,
            json!({"spec": {"revisionHistoryLimit": 10, "updateStrategy": strategy}})
        );
        let object = applied(
            "apps",
            "daemonsets",
            json!({"spec": {"updateStrategy": {"type": "OnDelete"}}}),
        );
        assert_eq!(object["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
    }

    #[test]
    fn stateful_sets() {
        let claim = json!({"metadata": {"name": "c"}, "spec": {}});
        let object = applied(
            "apps",
            "statefulsets",
            json!({"spec": {"volumeClaimTemplates": [claim]}}),
        );
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
            "spec": {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"},
        });
        let expected = json!({"spec": {
            "replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "volumeClaimTemplates": [claim],
        }});
        assert_eq!(object, expected);
        let named = json!({"spec": {"updateStrategy": {"type": "RollingUpdate"}}});
        let object = applied("apps", "statefulsets", named.clone());
        assert_eq!(object["spec"]["updateStrategy"], named["spec"]["updateStrategy"]);
    }

    #[test]
    fn a_replication_controller_is_what_its_pods_are() {
        let template = json!({"metadata": {"labels": {"a": "b"}}});
        let object = applied("", "replicationcontrollers", json!({"spec": {"template": template}}));
        assert_eq!(object["spec"]["selector"], json!({"a": "b"}));
        assert_eq!(object["metadata"]["labels"], json!({"a": "b"}));
        assert_eq!(object["spec"]["template"]["spec"]["restartPolicy"], "Always");
        let bare = applied("", "replicationcontrollers", json!({"spec": {"minReadySeconds": 0}}));
        assert_eq!(bare, json!({"spec": {"replicas": 1}}));
    }

    #[test]
    fn replica_sets() {
        assert_eq!(
            applied("apps", "replicasets", json!({"spec": {"replicas": 0}})),
            json!({"spec": {"replicas": 0}})
        );
        assert_eq!(
            applied("apps", "replicasets", json!({"spec": "x"})),
            json!({"spec": "x"})
        );
    }
}

//! Sets of pods with a state.

use serde_json::Value;

use super::{at_most_all, collisions, is_usable, labels_selected, selector};
use crate::core::claim;
use crate::core::pod::options::Options;
use crate::core::pod::{restarting_always, template, template_options};
use crate::core::replication::not_more_than;
use crate::errors::Errors;
use crate::get::{given, items, same, text};
use crate::names::dns_label;
use crate::scalars::timing::{int_or_percent_value, non_negative_int_or_percent};
use crate::{FieldError, Path, labels, shapes};

/// Fields of the spec that may change.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
];

fn spec(set: &Value, options: Options, new: bool, errors: &mut Errors) {
    let (spec, path) = (&set["spec"], Path::Root.child("spec"));
    match text(&spec["podManagementPolicy"]) {
        "" => errors.required(path.child("podManagementPolicy"), ""),
        "OrderedReady" | "Parallel" => {}
        other => {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            errors.invalid(path.child("podManagementPolicy"), other, detail);
        }
    }
    strategy(&spec["updateStrategy"], &path.child("updateStrategy"), errors);
    let retention = "persistentVolumeClaimRetentionPolicy";
    if given(&spec[retention]) {
        for when in ["whenDeleted", "whenScaled"] {
            let field = path.child(retention);
            errors.one_of(text(&spec[retention][when]), &["Retain", "Delete"], &field.child(when));
        }
    }
    errors.none_negative(spec, &["replicas", "minReadySeconds"], &path);
    errors.non_negative(&spec["ordinals"]["start"], &path.child("ordinals").child("start"));
    let field = path.child("selector");
    selector(&spec["selector"], "statefulset", &field, errors);
    let path_template = path.child("template");
    if !is_usable(&spec["selector"]) {
        errors.invalid_selector(field, &spec["selector"], "");
    } else {
        if !given(&spec["selector"]) || !labels::selects_all(&spec["selector"]) {
            labels_selected(&spec["selector"], &spec["template"], &path_template, errors);
        }
        pods(spec, options, &path_template, errors);
    }
    restarting_always(&spec["template"], "StatefulSet", &path_template, errors);
    if new {
        created(spec, &path, errors);
    }
}

/// The template may mount what its claims will provide.
fn pods(spec: &Value, options: Options, path: &Path, errors: &mut Errors) {
    let claims: Vec<&str> = items(&spec["volumeClaimTemplates"])
        .iter()
        .map(|claim| text(&claim["metadata"]["name"]))
        .collect();
    let mut pods = spec["template"].clone();
    let volumes = pods
        .get_mut("spec")
        .and_then(Value::as_object_mut)
        .map(|spec| spec.entry("volumes").or_insert_with(|| Value::Array(Vec::new())));
    if let Some(Value::Array(volumes)) = volumes {
        let missing = claims
            .iter()
            .filter(|claim| !volumes.iter().any(|v| text(&v["name"]) == **claim))
            .map(|claim| serde_json::json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}))
            .collect::<Vec<_>>();
        volumes.extend(missing);
    }
    template(&pods, options, path, errors);
}

/// What is checked only when a set is made.
fn created(spec: &Value, path: &Path, errors: &mut Errors) {
    match text(&spec["serviceName"]) {
        "" => {}
        name => errors.check(dns_label, name, &path.child("serviceName")),
    }
    let claims = path.child("volumeClaimTemplates");
    for (i, template) in items(&spec["volumeClaimTemplates"]).iter().enumerate() {
        claim::spec(
            &template["spec"],
            claim::Options::default(),
            &claims.index(i).child("spec"),
            errors,
        );
    }
}

fn strategy(strategy: &Value, path: &Path, errors: &mut Errors) {
    let (rolling, field) = (&strategy["rollingUpdate"], path.child("rollingUpdate"));
    match text(&strategy["type"]) {
        "" => errors.required(path, ""),
        "OnDelete" => {
            if given(rolling) {
                let printed = shapes::compact("RollingUpdateStatefulSet", rolling);
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                errors.push(FieldError::invalid_printed(field, &printed, detail));
            }
        }
        "RollingUpdate" => {
            errors.non_negative(&rolling["partition"], &field.child("partition"));
            let max = &rolling["maxUnavailable"];
            if given(max) {
                let most = field.child("maxUnavailable");
                errors.extend(non_negative_int_or_percent(max, &most));
                if int_or_percent_value(max) == 0 {
                    errors.invalid(most, max.clone(), "cannot be 0");
                }
                at_most_all(rolling, "maxUnavailable", &field, errors);
            }
        }
        _ => {
            let printed = shapes::compact("StatefulSetUpdateStrategy", strategy);
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid_printed(path, &printed, detail));
        }
    }
}

/// A new set.
pub(crate) fn create(set: &Value) -> Vec<FieldError> {
    Errors::of(|errors| spec(set, Options::new(false), true, errors))
}

/// A set that replaces another one: little of its spec may change.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    const DETAIL: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    const CLAIMS: &str = "volumeClaimTemplates";
    Errors::of(|errors| {
        spec(new, template_options(Some(&old["spec"]["template"])), false, errors);
        let kept = |set: &Value| {
            let mut spec = set["spec"].clone();
            if let Some(fields) = spec.as_object_mut() {
                fields.retain(|name, _| !CHANGEABLE.contains(&name.as_str()) && name != CLAIMS);
            }
            spec
        };
        let claims = claim::same_templates(&new["spec"][CLAIMS], &old["spec"][CLAIMS]);
        if !same(&kept(new), &kept(old)) || !claims {
            errors.forbidden("spec", DETAIL);
        }
    })
}

/// The status of a set.
pub(crate) fn update_status(new: &Value, old: &Value) -> Vec<FieldError> {
    const COUNTS: [&str; 7] = [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    let (status, path) = (&new["status"], Path::Root.child("status"));
    Errors::of(|errors| {
        errors.none_negative(status, &COUNTS, &path);
        let counts = [
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
        ];
        not_more_than(status, &counts, "replicas", "status.replicas", &path, errors);
        let ready = "status.readyReplicas";
        not_more_than(status, &["availableReplicas"], "readyReplicas", ready, &path, errors);
        collisions(new, old, &path, errors);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set() -> Value {
        let container = json!({
            "name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File",
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        });
        let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        json!({"spec": {
            "podManagementPolicy": "OrderedReady", "updateStrategy": {"type": "OnDelete"}, "serviceName": "s",
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
                "containers": [container], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
                "terminationGracePeriodSeconds": 30,
            }},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        }})
    }

    #[test]
    fn claims_may_be_mounted() {
        assert!(create(&set()).is_empty());
    }

    #[test]
    fn little_may_change() {
        let (old, mut new) = (set(), set());
        new["spec"]["replicas"] = json!(3);
        assert!(update(&new, &old).is_empty());
        new["spec"]["serviceName"] = json!("z");
        assert_eq!(update(&new, &old)[0].field, "spec");
    }
}

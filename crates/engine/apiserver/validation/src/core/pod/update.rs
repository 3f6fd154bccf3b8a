//! What may change with a pod.

use std::collections::HashSet;

use serde_json::Value;

use super::annotations::{self, MIRROR};
use super::metadata_and_spec;
use super::options::Options;
use super::scheduling;
use crate::errors::Errors;
use crate::get::{entries, int, items, optional_int, same, text};
use crate::scalars::formats::range_text;
use crate::{FieldError, Path, shapes};

const CHANGEABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                          `spec.tolerations` (only additions to existing tolerations),\
                          `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// Annotations and spec of a pod that replaces another one.
pub(super) fn common(new: &Value, old: &Value, errors: &mut Errors) -> Options {
    let options = Options::replacing(true, &old["metadata"], &old["spec"]);
    metadata_and_spec(new, options, errors);
    options
}

/// Changed annotations, and all of them once more.
pub(super) fn annotation_changes(new: &Value, old: &Value, options: Options, errors: &mut Errors) {
    let metadata = Path::Root.child("metadata");
    let path = metadata.child("annotations");
    let (new_annotations, old_annotations) = (&new["metadata"]["annotations"], &old["metadata"]["annotations"]);
    annotations::update(new_annotations, old_annotations, &path, errors);
    annotations::all(new_annotations, &new["spec"], options, &path, errors);
}

/// A pod that replaces another one.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        let options = common(new, old, errors);
        annotation_changes(new, old, options, errors);
        changes(&new["spec"], &old["spec"], errors);
    })
}

fn changes(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::Root.child("spec");
    for list in ["containers", "initContainers"] {
        if !images(&new[list], &old[list], &path.child(list), errors) {
            return;
        }
    }
    if !deadline(new, old, &path.child("activeDeadlineSeconds"), errors) {
        return;
    }
    added_tolerations(
        &new["tolerations"],
        &old["tolerations"],
        &path.child("tolerations"),
        errors,
    );
    removed_gates(new, old, &path.child("schedulingGates"), errors);
    if same(new, old) {
        return;
    }
    let mut kept = with_old_values(new, old);
    if !items(&old["schedulingGates"]).is_empty() {
        gated(&mut kept, old, &path, errors);
    }
    let (kept, old) = (shapes::pod_spec(&kept), shapes::pod_spec(old));
    if !shapes::same("PodSpec", &kept, &old) {
        let difference = shapes::difference("PodSpec", &old, &kept);
        let detail = format!("pod updates may not change fields other than {CHANGEABLE}\n{difference}");
        errors.forbidden(path, &detail);
    }
}

/// Whether there are as many containers as before.
fn images(new: &Value, old: &Value, path: &Path, errors: &mut Errors) -> bool {
    if items(new).len() != items(old).len() {
        errors.forbidden(path, "pod updates may not add or remove containers");
        return false;
    }
    for (i, container) in items(new).iter().enumerate() {
        let item = path.index(i);
        if text(&container["image"]).is_empty() {
            errors.required(item.child("image"), "");
        }
        super::containers::only_of_pods(container, &item, errors);
    }
    true
}

/// A deadline may be set and brought nearer; whether to go on.
fn deadline(new: &Value, old: &Value, path: &Path, errors: &mut Errors) -> bool {
    let old = optional_int(&old["activeDeadlineSeconds"]);
    match (optional_int(&new["activeDeadlineSeconds"]), old) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.invalid(path, new, &range_text(0, i64::from(i32::MAX)));
            false
        }
        (Some(new), Some(old)) if old < new => {
            errors.invalid(path, new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.invalid(path, Value::Null, detail);
            true
        }
        _ => true,
    }
}

fn added_tolerations(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    const FIELDS: [&str; 4] = ["key", "operator", "value", "effect"];
    let alike = |a: &Value, b: &Value| FIELDS.iter().all(|f| text(&a[*f]) == text(&b[*f]));
    if items(old)
        .iter()
        .any(|old| !items(new).iter().any(|new| alike(old, new)))
    {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(path, detail);
        return;
    }
    scheduling::tolerations(new, path, errors);
}

fn removed_gates(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let known: HashSet<&str> = items(&old["schedulingGates"])
        .iter()
        .map(|g| text(&g["name"]))
        .collect();
    for (i, gate) in items(&new["schedulingGates"]).iter().enumerate() {
        let name = text(&gate["name"]);
        if !known.contains(name) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.forbidden(path.index(i).child("name"), &detail);
        }
    }
}

fn put(target: &mut Value, field: &str, value: &Value) {
    if let Some(fields) = target.as_object_mut() {
        match value {
            Value::Null => fields.remove(field),
            value => fields.insert(field.to_owned(), value.clone()),
        };
    }
}

/// The new spec with the old values of all that may change.
fn with_old_values(new: &Value, old: &Value) -> Value {
    let mut kept = new.clone();
    for list in ["containers", "initContainers"] {
        let containers = kept.get_mut(list).and_then(Value::as_array_mut);
        for (container, old) in containers.into_iter().flatten().zip(items(&old[list])) {
            put(container, "image", &old["image"]);
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        put(&mut kept, field, &old[field]);
    }
    let grace = "terminationGracePeriodSeconds";
    if int(&old[grace]) < 0 && int(&new[grace]) == 1 {
        put(&mut kept, grace, &old[grace]);
    }
    kept
}

/// Where a pod may run may be narrowed while it is gated.
fn gated(kept: &mut Value, old: &Value, path: &Path, errors: &mut Errors) {
    let (new_selector, old_selector) = (&kept["nodeSelector"], &old["nodeSelector"]);
    if !same(new_selector, old_selector) {
        if entries(old_selector)
            .iter()
            .any(|(k, v)| new_selector.get(k) != Some(v))
        {
            let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.invalid(path.child("nodeSelector"), new_selector.clone(), detail);
        }
        put(kept, "nodeSelector", old_selector);
    }
    let (new_affinity, old_affinity) = (&kept["affinity"]["nodeAffinity"], &old["affinity"]["nodeAffinity"]);
    if same(new_affinity, old_affinity) {
        return;
    }
    let affinity = path.child("affinity");
    node_affinity(new_affinity, old_affinity, &affinity.child("nodeAffinity"), errors);
    if kept["affinity"].is_null() && !old_affinity.is_null() {
        put(kept, "affinity", &serde_json::json!({"nodeAffinity": old_affinity}));
    } else if let Some(affinity) = kept.get_mut("affinity") {
        put(affinity, "nodeAffinity", old_affinity);
        if old["affinity"].is_null() && crate::get::is_nothing(affinity) {
            put(kept, "affinity", &Value::Null);
        }
    }
}

fn node_affinity(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let (new_terms, old_terms) = (&new[REQUIRED]["nodeSelectorTerms"], &old[REQUIRED]["nodeSelectorTerms"]);
    let required = path.child(REQUIRED);
    let field = required.child("nodeSelectorTerms");
    let (added, had) = (items(new_terms), items(old_terms));
    if had.is_empty() {
        return;
    }
    if added.len() != had.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        let printed = shapes::compact("[]NodeSelectorTerm", new_terms);
        errors.push(FieldError::invalid_printed(field, &printed, detail));
        return;
    }
    for (i, (new, old)) in added.iter().zip(had).enumerate() {
        if !only_added(new, old) {
            let detail = "only additions are allowed (no mutations or deletions)";
            let printed = shapes::compact("NodeSelectorTerm", new);
            errors.push(FieldError::invalid_printed(field.index(i), &printed, detail));
        }
    }
}

fn only_added(new: &Value, old: &Value) -> bool {
    const LISTS: [&str; 2] = ["matchExpressions", "matchFields"];
    let empty = |term: &Value| LISTS.iter().all(|list| items(&term[*list]).is_empty());
    if empty(old) {
        return empty(new);
    }
    LISTS.iter().all(|list| {
        let (new, old) = (items(&new[*list]), items(&old[*list]));
        new.len() >= old.len() && new.iter().zip(old).all(|(a, b)| same(a, b))
    })
}

/// Ephemeral containers may be added, and neither changed nor removed.
pub(crate) fn ephemeral_containers(new: &Value, old: &Value) -> Vec<FieldError> {
    if !old["metadata"]["annotations"][MIRROR].is_null() {
        let detail = "static pods do not support ephemeral containers";
        return vec![FieldError::forbidden("[]", detail)];
    }
    Errors::of(|errors| {
        let options = common(new, old, errors);
        annotation_changes(new, old, options, errors);
        let spec = Path::Root.child("spec");
        let path = spec.child("ephemeralContainers");
        let added = items(&new["spec"]["ephemeralContainers"]);
        for old in items(&old["spec"]["ephemeralContainers"]) {
            let name = crate::go_quoted(text(&old["name"]));
            match added.iter().rfind(|c| c["name"] == old["name"]) {
                None => {
                    let detail = format!("existing ephemeral containers {name} may not be removed\n");
                    errors.forbidden(path, &detail);
                }
                Some(new) if !shapes::same("EphemeralContainer", old, new) => {
                    let difference = shapes::difference("EphemeralContainer", old, new);
                    let detail = format!("existing ephemeral containers {name} may not be changed\n{difference}");
                    errors.forbidden(path, &detail);
                }
                Some(_) => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: Value) -> Value {
        let mut whole = json!({
            "containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
        });
        if let (Value::Object(whole), Value::Object(spec)) = (&mut whole, spec) {
            whole.extend(spec);
        }
        json!({"metadata": {"name": "p"}, "spec": whole})
    }

    #[test]
    fn images_tolerations_and_nearer_deadlines_may_change() {
        let old = pod(json!({"activeDeadlineSeconds": 9}));
        let mut new = pod(json!({"activeDeadlineSeconds": 3, "tolerations": [{"key": "k", "operator": "Exists"}]}));
        new["spec"]["containers"][0]["image"] = json!("other");
        assert!(update(&new, &old).is_empty());
        let later = update(&pod(json!({"activeDeadlineSeconds": 10})), &old);
        assert_eq!(later[0].field, "spec.activeDeadlineSeconds");
    }

    #[test]
    fn other_changes_are_told_line_by_line() {
        let errors = update(&pod(json!({"restartPolicy": "Never"})), &pod(json!({})));
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0]
                .message
                .contains("\n- \"RestartPolicy\": \"Always\",\n+ \"RestartPolicy\": \"Never\",\n")
        );
    }

    #[test]
    fn a_gated_pod_may_be_narrowed() {
        let old = pod(json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"}}));
        let narrowed = pod(json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b", "c": "d"}}));
        assert!(update(&narrowed, &old).is_empty());
        let moved = pod(json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "x"}}));
        assert_eq!(update(&moved, &old)[0].field, "spec.nodeSelector");
    }
}

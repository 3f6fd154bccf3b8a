//! Pods and pod templates.

pub(crate) mod annotations;
pub(crate) mod containers;
pub(crate) mod env;
pub(crate) mod mounts;
pub(crate) mod options;
pub(crate) mod probes;
pub(crate) mod resize;
pub(crate) mod resources;
pub(crate) mod scheduling;
pub(crate) mod security;
pub(crate) mod spec;
pub(crate) mod status;
pub(crate) mod update;
pub(crate) mod windows;

use serde_json::Value;

use crate::errors::Errors;
use crate::get::{given, is_nothing, items, text};
use crate::{FieldError, Path, labels};
use options::Options;

/// A pod's annotations and spec, new or updated.
fn metadata_and_spec(pod: &Value, options: Options, errors: &mut Errors) {
    let metadata = Path::Root.child("metadata");
    let path = Path::Root.child("spec");
    let spec = &pod["spec"];
    let annotations = &pod["metadata"]["annotations"];
    annotations::all(annotations, spec, options, &metadata.child("annotations"), errors);
    spec::spec(spec, Some(text(&pod["metadata"]["name"])), options, &path, errors);
    if text(&spec["serviceAccountName"]).is_empty() {
        tokens_without_account(spec, &path.child("volumes"), errors);
    }
    for list in ["containers", "initContainers"] {
        let path = path.child(list);
        for (i, container) in items(&spec[list]).iter().enumerate() {
            containers::only_of_pods(container, &path.index(i), errors);
        }
    }
}

fn tokens_without_account(spec: &Value, path: &Path, errors: &mut Errors) {
    for (i, volume) in items(&spec["volumes"]).iter().enumerate() {
        let volume_path = path.index(i);
        let projected = volume_path.child("projected");
        let sources = projected.child("sources");
        for (j, source) in items(&volume["projected"]["sources"]).iter().enumerate() {
            if given(&source["serviceAccountToken"]) {
                let detail = "must not be specified when serviceAccountName is not set";
                errors.forbidden(sources.index(j).child("serviceAccountToken"), detail);
            }
        }
    }
}

/// How to check annotations of a pod that replaces another one.
fn annotation_options(old: &Value) -> Options {
    Options::replacing(true, &old["metadata"], &old["spec"])
}

/// A new pod.
pub(crate) fn create(pod: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        metadata_and_spec(pod, Options::new(true), errors);
        let path = Path::Root.child("spec");
        let spec = &pod["spec"];
        if !items(&spec["ephemeralContainers"]).is_empty() {
            errors.forbidden(path.child("ephemeralContainers"), "cannot be set on create");
        }
        if !text(&spec["nodeName"]).is_empty() && !items(&spec["schedulingGates"]).is_empty() {
            let detail = "cannot be set until all schedulingGates have been cleared";
            errors.forbidden(path.child("nodeName"), detail);
        }
        annotations::match_fields(&pod["metadata"]["annotations"], spec, &path, errors);
    })
}

/// How to check a template that replaces another one, or none.
pub(crate) fn template_options(old: Option<&Value>) -> Options {
    match old {
        Some(old) => Options::replacing(false, &old["metadata"], &old["spec"]),
        None => Options::new(false),
    }
}

/// A template of pods.
pub(crate) fn template(template: &Value, options: Options, path: &Path, errors: &mut Errors) {
    let (metadata, spec, path_spec) = (&template["metadata"], &template["spec"], path.child("spec"));
    let annotations = path.child("annotations");
    errors.extend(labels::labels(&metadata["labels"], &path.child("labels")));
    errors.extend(labels::annotations(&metadata["annotations"], &annotations));
    annotations::all(&metadata["annotations"], spec, options, &annotations, errors);
    spec::spec(spec, None, options, &path_spec, errors);
    annotations::match_fields(&metadata["annotations"], spec, &path_spec, errors);
    if !items(&spec["ephemeralContainers"]).is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.forbidden(path_spec.child("ephemeralContainers"), detail);
    }
}

/// Templates of controllers that keep pods running: their labels are selected, their containers restart always.
pub(crate) fn running_template(template_value: &Value, kind: &str, options: Options, path: &Path, errors: &mut Errors) {
    template(template_value, options, path, errors);
    restarting_always(template_value, kind, path, errors);
}

/// Containers must restart always and without a deadline.
pub(crate) fn restarting_always(template: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    let spec = path.child("spec");
    errors.one_of(
        text(&template["spec"]["restartPolicy"]),
        &["Always"],
        &spec.child("restartPolicy"),
    );
    if given(&template["spec"]["activeDeadlineSeconds"]) {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(spec.child("activeDeadlineSeconds"), &detail);
    }
}

/// Labels of a template as messages print them.
pub(crate) fn printed_labels(template: &Value) -> Value {
    match &template["metadata"]["labels"] {
        nothing if is_nothing(nothing) => Value::Null,
        labels => labels.clone(),
    }
}

/// A template of its own.
pub(crate) fn create_template(object: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        template(
            &object["template"],
            Options::new(false),
            &Path::Root.child("template"),
            errors,
        );
    })
}

/// A template of its own that replaces another one.
pub(crate) fn update_template(new: &Value, old: &Value) -> Vec<FieldError> {
    let options = template_options(Some(&old["template"]));
    Errors::of(|errors| template(&new["template"], options, &Path::Root.child("template"), errors))
}

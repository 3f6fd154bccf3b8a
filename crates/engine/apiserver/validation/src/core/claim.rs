//! Claims of persistent volumes.

use serde_json::Value;

use crate::core::persistent_volume::access_modes;
use crate::core::resource_names::{is_native, quantity};
use crate::errors::Errors;
use crate::get::{entries, given, items, optional_text, same, text};
use crate::names::{dns_label, dns_subdomain, qualified};
use crate::{FieldError, Path, labels, shapes};
use engenho_quantity::Quantity;

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const NOT_POSITIVE: &str = "must be greater than zero";

/// What is let pass because the claim had it before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    lenient_selector: bool,
    any_api_group: bool,
}

impl Options {
    fn replacing(old: &Value) -> Self {
        let spec = &old["spec"];
        Self {
            lenient_selector: !labels::selector(&spec["selector"], false, &Path::Root).is_empty(),
            any_api_group: given(&spec["dataSource"]["apiGroup"]) || given(&spec["dataSourceRef"]["apiGroup"]),
        }
    }
}

/// The spec of a claim, or of a template of claims.
pub(crate) fn spec(spec: &Value, options: Options, path: &Path, errors: &mut Errors) {
    if items(&spec["accessModes"]).is_empty() {
        errors.required(path.child("accessModes"), "at least 1 access mode is required");
    }
    let selector = path.child("selector");
    errors.extend(labels::selector(&spec["selector"], options.lenient_selector, &selector));
    access_modes(&spec["accessModes"], &path.child("accessModes"), errors);
    storage(&spec["resources"]["requests"]["storage"], path, errors);
    match text(&spec["storageClassName"]) {
        "" => {}
        class => errors.check(dns_subdomain, class, &path.child("storageClassName")),
    }
    if let Some(mode) = optional_text(&spec["volumeMode"]) {
        errors.one_of(mode, &["Block", "Filesystem"], &path.child("volumeMode"));
    }
    let (source, reference) = (&spec["dataSource"], &spec["dataSourceRef"]);
    data_source(source, options, &path.child("dataSource"), errors);
    data_source(reference, options, &path.child("dataSourceRef"), errors);
    if !text(&reference["namespace"]).is_empty() {
        if given(source) {
            let detail = "may not be specified when dataSourceRef.namespace is specified";
            errors.push(path_as_value(path, detail));
        }
    } else if given(source) && given(reference) {
        let alike = |name: &str| source[name] == reference[name];
        if !["apiGroup", "kind", "name"].into_iter().all(alike) {
            errors.push(path_as_value(path, "must match dataSourceRef"));
        }
    }
    match text(&spec["volumeAttributesClassName"]) {
        "" => {}
        class => errors.check(dns_subdomain, class, &path.child("volumeAttributesClassName")),
    }
}

/// Upstream gives the path itself for the value, which prints as an empty structure.
fn path_as_value(path: &Path, detail: &str) -> FieldError {
    FieldError::invalid_printed(path, "{}", detail)
}

fn storage(amount: &Value, path: &Path, errors: &mut Errors) {
    let resources = path.child("resources");
    let field = resources.key("storage");
    if !given(amount) {
        errors.required(field, "");
    } else if Quantity::of(amount) <= Quantity::ZERO {
        errors.invalid(field, Quantity::of(amount).to_string(), NOT_POSITIVE);
    } else {
        quantity("storage", amount, &field, errors);
    }
}

fn data_source(source: &Value, options: Options, path: &Path, errors: &mut Errors) {
    if !given(source) {
        return;
    }
    let (kind, group) = (text(&source["kind"]), text(&source["apiGroup"]));
    for field in ["name", "kind"] {
        if text(&source[field]).is_empty() {
            errors.required(path.child(field), "");
        }
    }
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.invalid(path, kind, detail);
    }
    if !group.is_empty() && !options.any_api_group {
        errors.check(dns_subdomain, group, &path.child("apiGroup"));
    }
    match text(&source["namespace"]) {
        "" => {}
        namespace => errors.check(dns_label, namespace, &path.child("namespace")),
    }
}

/// A new claim.
pub(crate) fn create(claim: &Value) -> Vec<FieldError> {
    Errors::of(|errors| spec(&claim["spec"], Options::default(), &Path::Root.child("spec"), errors))
}

fn put(spec: &mut Value, field: &str, value: &Value) {
    if let Some(fields) = spec.as_object_mut() {
        fields.insert(field.to_owned(), value.clone());
    }
}

fn annotation(claim: &Value) -> Option<&str> {
    optional_text(&claim["metadata"]["annotations"][BETA_CLASS])
}

/// A claim that replaces another one: little of its spec may change. It is checked as a new one and as a changed one, and
/// both is reported.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let path = Path::Root.child("spec");
    Errors::of(|errors| {
        let options = Options::replacing(old);
        spec(&new["spec"], options, &path, errors);
        spec(&new["spec"], options, &path, errors);
        let (mut kept, mut before) = (new["spec"].clone(), old["spec"].clone());
        if text(&before["volumeName"]).is_empty() {
            put(&mut before, "volumeName", &new["spec"]["volumeName"]);
        }
        class(new, old, &mut kept, errors);
        if text(&new["status"]["phase"]) == "Bound" {
            if let Some(requests) = kept.pointer_mut("/resources/requests").and_then(Value::as_object_mut) {
                requests.insert(
                    "storage".to_owned(),
                    old["spec"]["resources"]["requests"]["storage"].clone(),
                );
            }
            if given(&kept["volumeAttributesClassName"]) {
                put(
                    &mut kept,
                    "volumeAttributesClassName",
                    &before["volumeAttributesClassName"],
                );
            }
        }
        if !shapes::same("PersistentVolumeClaimSpec", &kept, &before) {
            let difference = shapes::difference("PersistentVolumeClaimSpec", &before, &kept);
            let detail = format!(
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                 claims\n{difference}"
            );
            errors.forbidden(path, &detail);
        }
        size(new, old, &path, errors);
        let mode = Path::Root.child("volumeMode");
        errors.immutable(&new["spec"]["volumeMode"], &old["spec"]["volumeMode"], &mode);
        attributes_class(new, old, &path.child("volumeAttributesClassName"), errors);
    })
}

/// The class may move from an annotation of old into its field, or be set if there was none.
fn class(new: &Value, old: &Value, kept: &mut Value, errors: &mut Errors) {
    let (had, has) = (
        &old["spec"]["storageClassName"],
        optional_text(&new["spec"]["storageClassName"]),
    );
    let (old_annotation, new_annotation) = (annotation(old), annotation(new));
    let moved = old_annotation.is_some_and(|class| {
        !given(had) && has == Some(class) && new_annotation.is_none_or(|annotation| annotation == class)
    });
    if moved {
        put(kept, "storageClassName", &Value::Null);
        return;
    }
    if new_annotation.unwrap_or_default() != old_annotation.unwrap_or_default() {
        let metadata = Path::Root.child("metadata");
        let field = metadata.child("annotations");
        errors.invalid(
            field.child(BETA_CLASS),
            new_annotation.unwrap_or_default(),
            "field is immutable",
        );
    }
    if !given(had) && has.is_some_and(|class| old_annotation.is_none_or(|a| a == class)) {
        put(kept, "storageClassName", had);
    }
}

fn size(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let requested = |claim: &Value| Quantity::of(&claim["spec"]["resources"]["requests"]["storage"]);
    let capacity = Quantity::of(&old["status"]["capacity"]["storage"]);
    // What could not be grown may be asked for smaller again, but not below what there is.
    if requested(new) < requested(old) && requested(new) <= capacity {
        let resources = path.child("resources");
        let field = resources.child("requests");
        errors.forbidden(field.child("storage"), "field can not be less than status.capacity");
    }
}

fn attributes_class(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let (new, old) = (
        &new["spec"]["volumeAttributesClassName"],
        &old["spec"]["volumeAttributesClassName"],
    );
    if !given(old) || new == old {
        return;
    }
    match optional_text(new) {
        None => errors.forbidden(path, "update from non-nil value to nil is forbidden"),
        Some("") => errors.forbidden(path, "update from non-nil value to an empty string is forbidden"),
        Some(_) => {}
    }
}

/// The status of a claim.
pub(crate) fn update_status(new: &Value, _old: &Value) -> Vec<FieldError> {
    const RESIZE: [&str; 5] = [
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "NodeResizePending",
    ];
    let mut resize = RESIZE;
    resize.sort_unstable();
    let status = Path::Root.child("status");
    Errors::of(|errors| {
        if items(&new["spec"]["accessModes"]).is_empty() {
            errors.required("Spec.accessModes", "");
        }
        let capacity = status.child("capacity");
        for (name, amount) in entries(&new["status"]["capacity"]) {
            basic_amount(amount, &capacity.key(name), errors);
        }
        let states = status.child("allocatedResourceStatus");
        for (name, state) in entries(&new["status"]["allocatedResourceStatuses"]) {
            resource_key(name, &states, errors);
            if !resize.contains(&text(state)) {
                errors.not_supported(states, name, &resize);
            }
        }
        let allocated = status.child("allocatedResources");
        for (name, amount) in entries(&new["status"]["allocatedResources"]) {
            let before = errors.count();
            resource_key(name, &allocated, errors);
            if errors.count() == before && basic_amount(amount, &allocated.key(name), errors) {
                quantity("storage", amount, &allocated.key(name), errors);
            }
        }
    })
}

/// An amount that is not negative; whether it is not.
pub(crate) fn basic_amount(amount: &Value, path: &Path, errors: &mut Errors) -> bool {
    let value = Quantity::of(amount).value();
    if value < 0 {
        errors.invalid(path, value, "must be a valid resource quantity");
    }
    value >= 0
}

fn resource_key(name: &str, path: &Path, errors: &mut Errors) {
    let before = errors.count();
    errors.check(qualified, name, path);
    if errors.count() == before && is_native(name) && name != "storage" {
        errors.not_supported(path, name, &["storage"]);
    }
}

/// Whether two lists of templates of claims mean the same.
pub(crate) fn same_templates(new: &Value, old: &Value) -> bool {
    let (new, old) = (items(new), items(old));
    new.len() == old.len()
        && new.iter().zip(old).all(|(a, b)| {
            same(&a["metadata"], &b["metadata"]) && shapes::same("PersistentVolumeClaimSpec", &a["spec"], &b["spec"])
        })
}

//! Validation of `metadata`, at creation and update (upstream `ValidateObjectMeta` and `ValidateObjectMetaUpdate`).

use engenho_catalog::Resource;
use engenho_validation::names;
use serde_json::Value;

use crate::kinds;
use crate::object;
use crate::status::FieldError;

/// Bytes of all annotations at most.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
/// Finalizers that need no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];

/// What is wrong with the metadata of an object that is to be created.
pub fn validate(object: &Value, resource: &Resource) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let check = names::check_of(&resource.group, &resource.plural);
    let generate = object::generate_name(object);
    // A prefix may end where a name may not.
    for wrong in check(&mask_trailing_dash(generate))
        .into_iter()
        .filter(|_| !generate.is_empty())
    {
        errors.push(FieldError::invalid("metadata.generateName", generate, &wrong));
    }
    let name = object::name(object);
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        errors.extend(
            check(name)
                .iter()
                .map(|wrong| FieldError::invalid("metadata.name", name, wrong)),
        );
    }
    let namespace = object::namespace(object);
    match (resource.namespaced, namespace.is_empty()) {
        (true, true) => errors.push(FieldError::required("metadata.namespace", "")),
        (true, false) => {
            let wrong = names::dns_label(namespace);
            errors.extend(
                wrong
                    .iter()
                    .map(|w| FieldError::invalid("metadata.namespace", namespace, w)),
            );
        }
        (false, false) => errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type")),
        (false, true) => {}
    }
    if object::generation(object) < 0 {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            "metadata.generation",
            object::generation(object),
            detail,
        ));
    }
    errors.extend(shared(object, resource));
    errors
}

/// What is wrong with labels, annotations, owners and finalizers.
fn shared(object: &Value, resource: &Resource) -> Vec<FieldError> {
    let mut errors = labels(&object["metadata"]["labels"], "metadata.labels");
    errors.extend(annotations(object));
    errors.extend(owners(object));
    errors.extend(finalizers(object, resource));
    errors
}

fn mask_trailing_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(head) => format!("{head}a"),
        None => prefix.to_owned(),
    }
}

/// What is wrong with a map of labels.
pub fn labels(labels: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        errors.extend(
            names::qualified(key)
                .iter()
                .map(|w| FieldError::invalid(field, key.as_str(), w)),
        );
        let value = value.as_str().unwrap_or_default();
        errors.extend(
            names::label_value(value)
                .iter()
                .map(|w| FieldError::invalid(field, value, w)),
        );
    }
    errors
}

fn annotations(object: &Value) -> Vec<FieldError> {
    let field = "metadata.annotations";
    let mut errors = Vec::new();
    let mut bytes = 0;
    for (key, value) in object::annotations(object).into_iter().flatten() {
        let wrong = names::qualified(&key.to_lowercase());
        errors.extend(wrong.iter().map(|w| FieldError::invalid(field, key.as_str(), w)));
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(field, ANNOTATIONS_BYTES_MAX));
    }
    errors
}

fn owners(object: &Value) -> Vec<FieldError> {
    let field = "metadata.ownerReferences";
    let owners = object::owner_references(object);
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    for owner in owners {
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        let version = text("apiVersion").rsplit('/').next().unwrap_or_default();
        if version.is_empty() {
            errors.push(FieldError::invalid(
                format!("{field}.apiVersion"),
                text("apiVersion"),
                "version must not be empty",
            ));
        }
        for key in ["kind", "name", "uid"] {
            if text(key).is_empty() {
                errors.push(FieldError::invalid(format!("{field}.{key}"), "", "must not be empty"));
            }
        }
        if text("kind") == "Event" && matches!(text("apiVersion"), "v1" | "events.k8s.io/v1") {
            errors.push(FieldError::invalid(
                field,
                owner.clone(),
                "/v1, Kind=Event is disallowed from being an owner",
            ));
        }
        if owner["controller"].as_bool() == Some(true) {
            let this = format!("{}/{}", text("kind"), text("name"));
            if let Some(first) = &controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                );
                errors.push(FieldError::invalid(field, Value::Array(owners.to_vec()), &detail));
            } else {
                controller = Some(this);
            }
        }
    }
    errors
}

fn finalizers(object: &Value, resource: &Resource) -> Vec<FieldError> {
    let field = "metadata.finalizers";
    let mut errors = Vec::new();
    let (mut orphan, mut foreground) = (false, false);
    for name in object::finalizers(object) {
        errors.extend(
            names::qualified(name)
                .iter()
                .map(|w| FieldError::invalid(field, name, w)),
        );
        orphan |= name == "orphan";
        foreground |= name == "foregroundDeletion";
    }
    if orphan && foreground {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(
            field,
            object["metadata"]["finalizers"].clone(),
            detail,
        ));
    }
    // Kinds that are served beside upstream's core know no standard finalizers.
    let beside = matches!(&*resource.group, "apiextensions.k8s.io" | "apiregistration.k8s.io");
    if !kinds::is_custom(resource) && !beside {
        for (i, name) in object::finalizers(object).enumerate() {
            if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
                let detail = "name is neither a standard finalizer name nor is it fully qualified";
                errors.push(FieldError::invalid(format!("{field}[{i}]"), name, detail));
            }
        }
    }
    errors
}

/// What is wrong with the metadata of `new`, which is to replace `old`. Fields that the server sets were copied
/// from `old` where the client left them out.
pub fn validate_update(new: &Value, old: &Value, resource: &Resource) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if object::is_terminating(old) {
        let old_names: Vec<&str> = object::finalizers(old).collect();
        let added: Vec<&str> = object::finalizers(new).filter(|f| !old_names.contains(f)).collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", &detail));
        }
    }
    if object::generation(new) < object::generation(old) {
        let detail = "must not be decremented";
        errors.push(FieldError::invalid(
            "metadata.generation",
            object::generation(new),
            detail,
        ));
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let (a, b) = (&new["metadata"][field], &old["metadata"][field]);
        if a != b {
            errors.push(FieldError::invalid(
                format!("metadata.{field}"),
                a.clone(),
                "field is immutable",
            ));
        }
    }
    errors.extend(shared(new, resource));
    // Upstream checks the metadata of built-in kinds in two places, and both findings are causes.
    if !kinds::is_custom(resource) {
        errors.extend(errors.clone());
    }
    errors
}

//! CustomResourceDefinition.

mod columns;
mod default_rules;
mod defaults;
mod expressions;
pub(crate) mod field_path;
mod internal;
mod names;
mod pattern;
mod schema;
mod spec;
mod structural;
mod values;
mod walk;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::get::{flag, items, text};
use crate::shared::{Errors, condition_is_true, immutable};
use crate::{FieldError, Path};

/// How often the stored versions are shown at most, each time for another version of storage.
const SHOWN_MAX: usize = 64;
const APPROVAL: &str = "api-approved.kubernetes.io";

/// What is asked of schemas; an update asks no more than the old object fulfils.
#[derive(Debug, Clone, Copy)]
struct Asked {
    known_review_versions: bool,
    schemas: bool,
    known_types: bool,
    pruned_defaults: bool,
    atomic_sets: bool,
    map_keys: bool,
}

const ALL: Asked = Asked {
    known_review_versions: true,
    schemas: true,
    known_types: true,
    pruned_defaults: true,
    atomic_sets: true,
    map_keys: true,
};

/// What is wrong with a new CustomResourceDefinition.
pub(crate) fn create(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = &object["spec"];
    let name = text(&object["metadata"]["name"]);
    if name != format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"])) {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", name, detail));
    }
    errors.extend(spec::validate(spec, None, ALL));
    errors.extend(stored_versions(spec, with_storage_version(spec, &Value::Null)));
    errors.extend(approval(object, None));
    errors.extend(preserves(spec, None));
    errors
}

/// What is wrong with a CustomResourceDefinition that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let (spec, before) = (&new["spec"], &old["spec"]);
    let mut errors = spec::validate(spec, Some(before), asked(before));
    let path = Path::Root.child("spec");
    let names = path.child("names");
    if condition_is_true(old, "Established") {
        errors.extend(immutable(&spec["scope"], &before["scope"], &path.child("scope")));
        errors.extend(immutable(
            &spec["names"]["kind"],
            &before["names"]["kind"],
            &names.child("kind"),
        ));
    }
    errors.extend(immutable(&spec["group"], &before["group"], &path.child("group")));
    errors.extend(immutable(
        &spec["names"]["plural"],
        &before["names"]["plural"],
        &names.child("plural"),
    ));
    errors.extend(accepted_names(new));
    errors.extend(stored_versions(
        spec,
        with_storage_version(spec, &new["status"]["storedVersions"]),
    ));
    errors.extend(approval(new, Some(old)));
    errors.extend(preserves(spec, Some(before)));
    errors
}

/// What is wrong with a status that replaces another.
pub(crate) fn update_status(new: &Value, _old: &Value) -> Errors {
    accepted_names(new)
}

fn accepted_names(object: &Value) -> Errors {
    let status = Path::Root.child("status");
    names::validate(&object["status"]["acceptedNames"], &status.child("acceptedNames"))
}

fn asked(old: &Value) -> Asked {
    let versions = items(&old["versions"]);
    let schemas = || versions.iter().map(|version| &version["schema"]["openAPIV3Schema"]);
    let none = |fault: fn(&Value) -> bool| !schemas().any(|schema| walk::any(schema, fault));
    let reviews = &old["conversion"]["webhook"]["conversionReviewVersions"];
    Asked {
        known_review_versions: items(reviews).is_empty() || spec::has_known_review_version(reviews),
        schemas: schemas().all(Value::is_object),
        known_types: none(schema::has_unknown_type),
        pruned_defaults: !schemas().any(defaults::any_unpruned),
        atomic_sets: none(schema::has_set_of_composites),
        map_keys: none(schema::has_bad_map_keys),
    }
}

/// The stored versions as the server records them: the version of storage is always among them.
fn with_storage_version<'a>(spec: &'a Value, stored: &'a Value) -> Vec<&'a str> {
    let mut stored: Vec<&str> = items(stored).iter().map(text).collect();
    let storage = items(&spec["versions"])
        .iter()
        .find(|version| flag(&version["storage"]));
    if let Some(name) = storage.map(|version| text(&version["name"]))
        && !stored.contains(&name)
    {
        stored.push(name);
    }
    stored
}

fn stored_versions(spec: &Value, stored: Vec<&str>) -> Errors {
    let status = Path::Root.child("status");
    let path = status.child("storedVersions");
    if stored.is_empty() {
        return vec![FieldError::invalid(
            path,
            Value::Null,
            "must have at least one stored version",
        )];
    }
    let mut errors = Errors::new();
    let known: BTreeSet<&str> = stored.iter().copied().collect();
    let versions = items(&spec["versions"]);
    let storage = versions.iter().filter(|version| flag(&version["storage"]));
    let missing = storage
        .map(|version| text(&version["name"]))
        .filter(|name| !known.contains(name));
    // Each error shows all stored versions.
    for name in missing.take(SHOWN_MAX) {
        let detail = format!("must have the storage version {name}");
        errors.push(FieldError::invalid(path, stored.clone(), &detail));
    }
    let defined: BTreeSet<&str> = versions.iter().map(|version| text(&version["name"])).collect();
    for (i, name) in stored.iter().enumerate().filter(|(_, name)| !defined.contains(**name)) {
        let detail = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        );
        errors.push(FieldError::invalid(path.index(i), *name, &detail));
    }
    errors
}

/// How a group that belongs to the community was approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Approval {
    Invalid,
    Approved,
    Bypassed,
    Missing,
}

fn approval_of(object: &Value) -> Approval {
    match text(&object["metadata"]["annotations"][APPROVAL]) {
        "" => Approval::Missing,
        reason if reason.starts_with("unapproved") => Approval::Bypassed,
        url => match url.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) && !rest.split('/').next().unwrap_or_default().is_empty() => {
                Approval::Approved
            }
            _ => Approval::Invalid,
        },
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn approval(new: &Value, old: Option<&Value>) -> Errors {
    let group = text(&new["spec"]["group"]);
    let protected = ["k8s.io", "kubernetes.io"].iter().any(|domain| {
        let above = group.strip_suffix(domain);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    });
    let state = approval_of(new);
    if !protected || old.map(approval_of) == Some(state) {
        return Errors::new();
    }
    let field = format!("metadata.annotations[{APPROVAL}]");
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    match state {
        Approval::Approved | Approval::Bypassed => Errors::new(),
        Approval::Missing => {
            let detail = format!("protected groups must have approval annotation \"{APPROVAL}\", {see}");
            vec![FieldError::required(field, &detail)]
        }
        Approval::Invalid => {
            let detail = format!(
                "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason starting with \"unapproved\", {see}"
            );
            let value = text(&new["metadata"]["annotations"][APPROVAL]);
            vec![FieldError::invalid(field, value, &detail)]
        }
    }
}

fn preserves(spec: &Value, old: Option<&Value>) -> Errors {
    let preserves = |spec: &Value| flag(&spec["preserveUnknownFields"]);
    if !preserves(spec) || old.is_some_and(preserves) {
        return Errors::new();
    }
    let detail =
        "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
    vec![FieldError::invalid("spec.preserveUnknownFields", true, detail)]
}

#[cfg(test)]
mod tests;

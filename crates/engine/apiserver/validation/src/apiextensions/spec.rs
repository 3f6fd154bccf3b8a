//! The spec of a definition.

use std::collections::BTreeSet;

use serde_json::Value;

use super::internal::Spec;
use super::{Asked, columns, names, schema};
use crate::get::{flag, given, items, optional_text, same, text, texts};
use crate::labels::check;
use crate::names::{dns_1035_label, dns_subdomain};
use crate::shared::{Errors, webhook_client};
use crate::{FieldError, Path};

const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const WARNING_BYTES_MAX: usize = 256;

/// What is wrong with a spec. `before` is that of the definition that it replaces.
pub(super) fn validate(spec: &Value, before: Option<&Value>, asked: Asked) -> Errors {
    let path = Path::Root.child("spec");
    let internal = Spec::of(spec);
    let validation = internal.shared("validation");
    let mut errors = group(text(&spec["group"]), &path.child("group"));
    let field = path.child("scope");
    match text(&spec["scope"]) {
        "" => errors.push(FieldError::required(field, "")),
        "Cluster" | "Namespaced" => {}
        other => errors.push(FieldError::not_supported(field, other, &["Cluster", "Namespaced"])),
    }
    let preserves = flag(&spec["preserveUnknownFields"]);
    let versions_path = path.child("versions");
    if !validation["openAPIV3Schema"].is_object() && (asked.schemas || !preserves) {
        for (i, version) in internal.versions.iter().enumerate() {
            let missing = !version["schema"]["openAPIV3Schema"].is_object();
            if missing && (asked.schemas || flag(&version["served"])) {
                let at = versions_path.index(i);
                let detail = match asked.schemas {
                    true => "",
                    false => "because otherwise all fields are pruned",
                };
                errors.push(FieldError::required(
                    at.child("schema").child("openAPIV3Schema"),
                    detail,
                ));
            }
        }
    }
    let schemas = || {
        items(&spec["versions"])
            .iter()
            .map(|version| &version["schema"]["openAPIV3Schema"])
    };
    let has_defaults = schemas().any(|schema| super::walk::any(schema, |schema| given(&schema["default"])));
    if preserves && has_defaults {
        let detail = "must be false in order to use defaults in the schema";
        errors.push(FieldError::invalid(path.child("preserveUnknownFields"), true, detail));
    }
    let has_extensions = schemas().any(|schema| super::walk::any(schema, schema::has_extension));
    let rules = schema::Rules {
        asked,
        structural: !preserves || has_defaults || has_extensions,
    };
    let unchanged =
        |version: &str| before.is_some_and(|before| same(schema_of(spec, version), schema_of(before, version)));
    errors.extend(versions(&internal, &unchanged, rules, &versions_path));
    if let Some(version) = internal.versions.first().map(|version| text(&version["name"])) {
        let wrong = dns_1035_label(version);
        if !version.is_empty() && !wrong.is_empty() {
            errors.push(FieldError::invalid(path.child("version"), version, &wrong.join(",")));
        }
    }
    let names_path = path.child("names");
    for key in ["plural", "singular", "kind", "listKind"] {
        if text(&spec["names"][key]).is_empty() {
            errors.push(FieldError::required(names_path.child(key), ""));
        }
    }
    errors.extend(names::validate(&spec["names"], &names_path));
    let with_status = items(&spec["versions"])
        .iter()
        .any(|version| given(&version["subresources"]["status"]));
    errors.extend(schema::validation(
        validation,
        with_status,
        internal
            .versions
            .first()
            .is_some_and(|version| unchanged(text(&version["name"]))),
        rules,
        &path.child("validation"),
    ));
    let subresources = path.child("subresources");
    errors.extend(columns::subresources(internal.shared("subresources"), &subresources));
    let at = path.child("additionalPrinterColumns");
    errors.extend(columns::columns(internal.shared("additionalPrinterColumns"), &at));
    let fields = internal.shared("selectableFields");
    if !items(fields).is_empty() {
        let at = path.child("selectableFields");
        match given(validation) {
            true => errors.extend(columns::selectable(fields, &validation["openAPIV3Schema"], &at)),
            false => {
                let detail = "may only be set when validations.schema is included";
                errors.push(FieldError::invalid(at, "", detail));
            }
        }
    }
    let conversion_path = path.child("conversion");
    let strategy = text(&spec["conversion"]["strategy"]);
    if given(&spec["conversion"]) && strategy != "None" && preserves {
        let detail = "must be None if spec.preserveUnknownFields is true";
        errors.push(FieldError::invalid(conversion_path.child("strategy"), strategy, detail));
    }
    errors.extend(conversion(&spec["conversion"], asked, &conversion_path));
    errors
}

fn group(group: &str, path: &Path<'_>) -> Errors {
    let wrong = dns_subdomain(group);
    if group.is_empty() {
        vec![FieldError::required(path, "")]
    } else if !wrong.is_empty() {
        vec![FieldError::invalid(path, group, &wrong.join(","))]
    } else if !group.contains('.') {
        vec![FieldError::invalid(
            path,
            group,
            "should be a domain with at least one dot",
        )]
    } else {
        Errors::new()
    }
}

/// The schema of the version of that name.
fn schema_of<'a>(spec: &'a Value, version: &str) -> &'a Value {
    let found = items(&spec["versions"])
        .iter()
        .find(|one| text(&one["name"]) == version);
    found.map_or(&Value::Null, |version| &version["schema"])
}

fn versions(spec: &Spec, unchanged: &dyn Fn(&str) -> bool, rules: schema::Rules, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = BTreeSet::new();
    let (mut storages, mut unique) = (0, true);
    let own_subresources = spec.versions.iter().any(|version| given(&version["subresources"]));
    for (i, version) in spec.versions.iter().enumerate() {
        let at = path.index(i);
        let name = text(&version["name"]);
        storages += usize::from(flag(&version["storage"]));
        unique &= seen.insert(name);
        let wrong = dns_1035_label(name);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(at.child("name"), name, &wrong.join(",")));
        }
        let subresources = match own_subresources {
            true => &version["subresources"],
            false => spec.shared("subresources"),
        };
        errors.extend(warning(version, &at.child("deprecationWarning")));
        let with_status = given(&subresources["status"]);
        errors.extend(schema::validation(
            &version["schema"],
            with_status,
            unchanged(name),
            rules,
            &at.child("schema"),
        ));
        errors.extend(columns::subresources(
            &version["subresources"],
            &at.child("subresources"),
        ));
        let columns_path = at.child("additionalPrinterColumns");
        errors.extend(columns::columns(&version["additionalPrinterColumns"], &columns_path));
        let fields = &version["selectableFields"];
        if !items(fields).is_empty() {
            let fields_path = at.child("selectableFields");
            let schema = &version["schema"]["openAPIV3Schema"];
            match schema.is_object() {
                true => errors.extend(columns::selectable(fields, schema, &fields_path)),
                false => {
                    let detail = "may only be set when `version.schema.openAPIV3Schema` is not included";
                    errors.push(FieldError::invalid(fields_path, "", detail));
                }
            }
        }
    }
    let mut wrong = |detail| errors.push(FieldError::invalid_printed(path, &spec.versions_text(), detail));
    if !unique {
        wrong("must contain unique version names");
    }
    if storages != 1 {
        wrong("must have exactly one version marked as storage version");
    }
    errors
}

fn warning(version: &Value, path: &Path<'_>) -> Errors {
    let Some(warning) = optional_text(&version["deprecationWarning"]) else {
        return Errors::new();
    };
    let mut wrong = Vec::new();
    if !flag(&version["deprecated"]) {
        wrong.push("can only be set for deprecated versions".to_owned());
    } else {
        if warning.len() > WARNING_BYTES_MAX {
            wrong.push(format!("must be <= {WARNING_BYTES_MAX} characters long"));
        }
        if warning.is_empty() {
            wrong.push("must not be an empty string".to_owned());
        }
        let unprintable = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
        if let Some(at) = warning.find(unprintable) {
            wrong.push(format!(
                "must only contain printable UTF-8 characters; non-printable character found at index {at}"
            ));
        }
    }
    wrong
        .iter()
        .map(|detail| FieldError::invalid(path, warning, detail))
        .collect()
}

/// Whether versions of conversion reviews include one that is known.
pub(super) fn has_known_review_version(versions: &Value) -> bool {
    texts(versions).any(|version| REVIEW_VERSIONS.contains(&version))
}

fn conversion(conversion: &Value, asked: Asked, path: &Path<'_>) -> Errors {
    if !given(conversion) {
        return Errors::new();
    }
    let mut errors = Errors::new();
    let strategies = ["None", "Webhook"];
    let strategy = text(&conversion["strategy"]);
    let field = path.child("strategy");
    if strategy.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if !strategies.contains(&strategy) {
        errors.push(FieldError::not_supported(field, strategy, &strategies));
    }
    // The paths are those of an older version, upstream too.
    let webhook = &conversion["webhook"];
    let client = path.child("webhookClientConfig");
    let reviews = path.child("conversionReviewVersions");
    let versions = &webhook["conversionReviewVersions"];
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if given(&webhook["clientConfig"]) {
            errors.push(FieldError::forbidden(client, detail));
        }
        if !items(versions).is_empty() {
            errors.push(FieldError::forbidden(reviews, detail));
        }
        return errors;
    }
    if given(&webhook["clientConfig"]) {
        errors.extend(webhook_client(&webhook["clientConfig"], &client));
    } else {
        errors.push(FieldError::required(client, "required when strategy is set to Webhook"));
    }
    if items(versions).is_empty() {
        errors.push(FieldError::required(reviews, ""));
        return errors;
    }
    let mut seen = BTreeSet::new();
    for (i, version) in texts(versions).enumerate() {
        match seen.insert(version) {
            true => errors.extend(check(dns_1035_label, version, &reviews.index(i))),
            false => errors.push(FieldError::invalid(reviews.index(i), version, "duplicate version")),
        }
    }
    if asked.known_review_versions && !has_known_review_version(versions) {
        let detail = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        errors.push(FieldError::invalid(reviews, versions.clone(), &detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn webhooks_convert_if_they_are_to() {
        let path = Path::Root.child("c");
        let client = json!({"url": "https://a.b"});
        let webhook = json!({"clientConfig": client, "conversionReviewVersions": ["v1"]});
        let by = |strategy: &str| {
            conversion(
                &json!({"strategy": strategy, "webhook": webhook}),
                super::super::ALL,
                &path,
            )
        };
        assert!(by("Webhook").is_empty());
        assert_eq!(by("None").len(), 2);
        assert_eq!(
            conversion(&json!({"strategy": "Webhook"}), super::super::ALL, &path).len(),
            2
        );
    }

    #[test]
    fn warnings_are_of_deprecated_versions() {
        let path = Path::Root.child("w");
        let warn = |deprecated: bool, text: &str| {
            warning(&json!({"deprecated": deprecated, "deprecationWarning": text}), &path).len()
        };
        assert_eq!(
            (warn(true, "a b"), warn(false, "a"), warn(true, ""), warn(true, "a\nb")),
            (0, 1, 1, 1)
        );
    }
}

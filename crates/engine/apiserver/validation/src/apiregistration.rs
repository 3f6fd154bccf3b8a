//! APIService.

use serde_json::Value;

use crate::get::{flag, given, int, items, text};
use crate::labels::check;
use crate::names::{dns_1035_label, dns_subdomain, path_segment};
use crate::scalars::formats::port_number;
use crate::shared::Errors;
use crate::{FieldError, Path, go_quoted};

/// What is wrong with a new APIService.
pub(crate) fn create(object: &Value) -> Errors {
    let spec = &object["spec"];
    let path = Path::Root.child("spec");
    let mut errors = Errors::new();
    let (group, version) = (text(&spec["group"]), text(&spec["version"]));
    let name = text(&object["metadata"]["name"]);
    let expected = format!("{version}.{group}");
    if path_segment(name).is_empty() && name != expected {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {}", go_quoted(&expected));
        errors.push(FieldError::invalid("metadata.name", name, &detail));
    }
    if !group.is_empty() {
        errors.extend(check(dns_subdomain, group, &path.child("group")));
    } else if version != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required(path.child("group"), detail));
    }
    errors.extend(check(dns_1035_label, version, &path.child("version")));
    for (key, max) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let priority = int(&spec[key]);
        if priority <= 0 || priority > max {
            let detail = format!("must be positive and less than {max}");
            errors.push(FieldError::invalid(path.child(key), priority, &detail));
        }
    }
    let (bundle, skips) = (text(&spec["caBundle"]), flag(&spec["insecureSkipTLSVerify"]));
    if !given(&spec["service"]) {
        if !bundle.is_empty() {
            let shown = format!("{} bytes", bundle.trim_end_matches('=').len() * 3 / 4);
            let detail = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid(path.child("caBundle"), shown, detail));
        }
        if skips {
            let detail = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(FieldError::invalid(path.child("insecureSkipTLSVerify"), true, detail));
        }
        return errors;
    }
    let service = path.child("service");
    for key in ["namespace", "name"] {
        if text(&spec["service"][key]).is_empty() {
            errors.push(FieldError::required(service.child(key), ""));
        }
    }
    let port = int(&spec["service"]["port"]);
    let wrong = port_number(port);
    if !wrong.is_empty() {
        let detail = format!("port is not valid: {}", wrong.join(", "));
        errors.push(FieldError::invalid(service.child("port"), port, &detail));
    }
    if skips && !bundle.is_empty() {
        let detail = "may not be true if caBundle is present";
        errors.push(FieldError::invalid(path.child("insecureSkipTLSVerify"), true, detail));
    }
    errors
}

/// What is wrong with an APIService that replaces another.
pub(crate) fn update(new: &Value, _old: &Value) -> Errors {
    create(new)
}

/// What is wrong with a status that replaces another.
pub(crate) fn update_status(new: &Value, _old: &Value) -> Errors {
    let above = Path::Root.child("status");
    let path = above.child("conditions");
    let statuses = ["True", "False", "Unknown"];
    let conditions = items(&new["status"]["conditions"]).iter().enumerate();
    conditions
        .map(|(i, condition)| (i, text(&condition["status"])))
        .filter(|(_, status)| !statuses.contains(status))
        .map(|(i, status)| FieldError::not_supported(path.index(i).child("status"), status, &statuses))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(name: &str, extra: Value) -> Value {
        let mut spec = json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"metadata": {"name": name}, "spec": spec})
    }

    #[test]
    fn the_name_follows_from_group_and_version() {
        assert!(create(&service("v1.a.b", json!({}))).is_empty());
        let errors = create(&service("x", json!({})));
        assert!(
            errors[0]
                .message
                .ends_with(r#"must be `spec.version+"."+spec.group`: "v1.a.b""#)
        );
    }

    #[test]
    fn trust_is_for_remote_ones() {
        let local = create(&service(
            "v1.a.b",
            json!({"caBundle": "eA==", "insecureSkipTLSVerify": true}),
        ));
        assert!(local[0].message.starts_with("Invalid value: \"1 bytes\""));
        assert_eq!(local.len(), 2);
        assert_eq!(create(&service("v1.a.b", json!({"service": {}}))).len(), 3);
    }
}

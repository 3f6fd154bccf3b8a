//! Custom resource definitions and API services.

use serde_json::{Value, json};

use crate::admission::SERVICE_PORT;
use crate::fields::{Fields, is_bare, object, set_if_empty, set_if_missing, structure, text};

/// An APIService.
pub fn api_service(service: &mut Fields) {
    if let Some(service) = object(service, "spec").and_then(|spec| object(spec, "service")) {
        set_if_missing(service, "port", SERVICE_PORT);
    }
}

/// A CustomResourceDefinition: names that follow from the kind, and the version that is stored first.
pub fn resource_definition(definition: &mut Fields) {
    let Some(spec) = structure(definition, "spec") else {
        return;
    };
    if let Some(names) = structure(spec, "names") {
        let kind = text(names, "kind").to_owned();
        if !kind.is_empty() {
            set_if_empty(names, "singular", &kind.to_lowercase());
            set_if_empty(names, "listKind", &format!("{kind}List"));
        }
    }
    set_if_missing(spec, "conversion", json!({"strategy": "None"}));
    let service = object(spec, "conversion")
        .and_then(|conversion| object(conversion, "webhook"))
        .and_then(|webhook| object(webhook, "clientConfig"))
        .and_then(|config| object(config, "service"));
    if let Some(service) = service {
        set_if_missing(service, "port", SERVICE_PORT);
    }
    let stored = stored_version(spec).map(Value::from);
    if let Some(stored) = stored
        && let Some(status) = structure(definition, "status")
        && is_bare(status, "storedVersions")
    {
        status.insert("storedVersions".to_owned(), vec![stored].into());
    }
}

fn stored_version(spec: &Fields) -> Option<&str> {
    let versions = spec.get("versions")?.as_array()?;
    let stored = versions
        .iter()
        .find(|version| version.get("storage").is_some_and(|s| s == true))?;
    stored.get("name")?.as_str()
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::json;

    #[test]
    fn names_follow_from_the_kind() {
        let versions = json!([{"name": "v1"}, {"name": "v2", "storage": true}]);
        let mut object = json!({"spec": {"names": {"kind": "FooBar"}, "versions": versions}});
        apply("apiextensions.k8s.io", "v1", "customresourcedefinitions", &mut object);
        let names = json!({"kind": "FooBar", "singular": "foobar", "listKind": "FooBarList"});
        let expected = json!({
            "spec": {"names": names, "versions": versions, "conversion": {"strategy": "None"}},
            "status": {"storedVersions": ["v2"]},
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn services_have_a_port() {
        let service = json!({"webhook": {"clientConfig": {"service": {"name": "s"}}}});
        let mut object = json!({"spec": {"conversion": service}});
        apply("apiextensions.k8s.io", "v1", "customresourcedefinitions", &mut object);
        assert_eq!(
            object["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["port"],
            443
        );
        let mut object = json!({"spec": {"service": {"name": "s"}}});
        apply("apiregistration.k8s.io", "v1", "apiservices", &mut object);
        assert_eq!(object["spec"]["service"]["port"], 443);
        let local = json!({"spec": {}});
        let mut object = local.clone();
        apply("apiregistration.k8s.io", "v1", "apiservices", &mut object);
        assert_eq!(object, local);
    }
}

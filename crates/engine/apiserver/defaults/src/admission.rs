//! Admission webhooks and policies.

use serde_json::Map;

use crate::fields::{Fields, items, object, set_if_missing, structure};

/// How long a webhook may take.
const TIMEOUT_SECONDS: i64 = 10;
/// The port of a service that is called.
pub const SERVICE_PORT: i64 = 443;

/// A MutatingWebhookConfiguration.
pub fn mutating_webhooks(configuration: &mut Fields) {
    for hook in items(configuration, "webhooks") {
        webhook(hook);
        set_if_missing(hook, "reinvocationPolicy", "Never");
    }
}

/// A ValidatingWebhookConfiguration.
pub fn validating_webhooks(configuration: &mut Fields) {
    items(configuration, "webhooks").for_each(webhook);
}

fn webhook(hook: &mut Fields) {
    set_if_missing(hook, "failurePolicy", "Fail");
    set_if_missing(hook, "timeoutSeconds", TIMEOUT_SECONDS);
    matches_all(hook);
    rules(hook, "rules");
    if let Some(service) = object(hook, "clientConfig").and_then(|config| object(config, "service")) {
        set_if_missing(service, "port", SERVICE_PORT);
    }
}

/// Without selectors every object is matched, by any version of its kind.
fn matches_all(matcher: &mut Fields) {
    set_if_missing(matcher, "matchPolicy", "Equivalent");
    set_if_missing(matcher, "namespaceSelector", Map::new());
    set_if_missing(matcher, "objectSelector", Map::new());
}

fn rules(owner: &mut Fields, list: &str) {
    for rule in items(owner, list) {
        set_if_missing(rule, "scope", "*");
    }
}

/// A ValidatingAdmissionPolicy.
pub fn policy(policy: &mut Fields) {
    if let Some(spec) = structure(policy, "spec") {
        set_if_missing(spec, "failurePolicy", "Fail");
        match_resources(spec, "matchConstraints");
    }
}

/// A ValidatingAdmissionPolicyBinding.
pub fn policy_binding(binding: &mut Fields) {
    if let Some(spec) = object(binding, "spec") {
        match_resources(spec, "matchResources");
    }
}

fn match_resources(spec: &mut Fields, field: &str) {
    if let Some(matcher) = object(spec, field) {
        matches_all(matcher);
        rules(matcher, "resourceRules");
        rules(matcher, "excludeResourceRules");
    }
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::{Value, json};

    fn applied(plural: &str, mut object: Value) -> Value {
        apply("admissionregistration.k8s.io", "v1", plural, &mut object);
        object
    }

    #[test]
    fn webhooks() {
        let hook = json!({"clientConfig": {"service": {"name": "s"}}, "rules": [{"resources": ["pods"]}]});
        let configuration = json!({"webhooks": [hook]});
        let mut expected = json!({
            "clientConfig": {"service": {"name": "s", "port": 443}}, "rules": [{"resources": ["pods"], "scope": "*"}],
            "failurePolicy": "Fail", "timeoutSeconds": 10, "matchPolicy": "Equivalent", "namespaceSelector": {},
            "objectSelector": {},
        });
        let validating = applied("validatingwebhookconfigurations", configuration.clone());
        assert_eq!(validating["webhooks"][0], expected);
        expected["reinvocationPolicy"] = json!("Never");
        let mutating = applied("mutatingwebhookconfigurations", configuration);
        assert_eq!(mutating["webhooks"][0], expected);
    }

    #[test]
    fn policies() {
        let object = applied(
            "validatingadmissionpolicies",
            json!({"spec": {"matchConstraints": {"resourceRules": [{}]}}}),
        );
        let matcher = json!({
            "resourceRules": [{"scope": "*"}], "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
        });
        assert_eq!(
            object["spec"],
            json!({"failurePolicy": "Fail", "matchConstraints": matcher})
        );
        let object = applied(
            "validatingadmissionpolicybindings",
            json!({"spec": {"matchResources": {}}}),
        );
        assert_eq!(object["spec"]["matchResources"]["matchPolicy"], "Equivalent");
        let open = json!({"spec": {"policyName": "p"}});
        assert_eq!(applied("validatingadmissionpolicybindings", open.clone()), open);
    }
}

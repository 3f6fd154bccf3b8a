//! Nodes, classes of runtimes and service accounts.

use engenho_validation::get::{given, is_empty, texts};
use serde_json::Value;

use crate::{addresses, labels};

const ENFORCE_SECRETS: &str = "kubernetes.io/enforce-mountable-secrets";

/// A Node.
pub(crate) fn node(node: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let spec = &node["spec"];
    if given(&spec["configSource"]) {
        warnings.push("spec.configSource: the feature is removed".into());
    }
    if !is_empty(&spec["externalID"]) {
        warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".into());
    }
    for (i, network) in texts(&spec["podCIDRs"]).enumerate() {
        addresses::cidr(format_args!("spec.podCIDRs[{i}]"), network, &mut warnings);
    }
    warnings
}

/// A RuntimeClass.
pub(crate) fn runtime_class(class: &Value) -> Vec<String> {
    labels::in_keys(&class["scheduling"]["nodeSelector"])
        .map(|(_, message)| format!("scheduling.nodeSelector: {message}"))
        .collect()
}

/// A new ServiceAccount.
pub(crate) fn create_account(account: &Value) -> Vec<String> {
    update_account(account, &Value::Null)
}

/// A ServiceAccount that replaces an old one: what was there already is not warned of.
pub(crate) fn update_account(new: &Value, old: &Value) -> Vec<String> {
    let enforces = |account: &Value| given(&account["metadata"]["annotations"][ENFORCE_SECRETS]);
    if enforces(new) && !enforces(old) {
        vec![format!(
            "metadata.annotations[{ENFORCE_SECRETS}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes() {
        let object =
            json!({"spec": {"configSource": {}, "externalID": "x", "podCIDRs": ["10.0.0.0/24", "10.0.1.9/24"]}});
        assert_eq!(
            node(&object),
            [
                "spec.configSource: the feature is removed",
                "spec.externalID: this field is deprecated, and is unused by Kubernetes",
                "spec.podCIDRs[1]: CIDR value \"10.0.1.9/24\" is ambiguous in this context (should be \"10.0.1.0/24\" or \"10.0.1.9/32\"?)",
            ]
        );
    }

    #[test]
    fn classes_and_accounts() {
        let class = json!({"scheduling": {"nodeSelector": {"a": "b", "beta.kubernetes.io/arch": "x"}}});
        assert_eq!(
            runtime_class(&class),
            ["scheduling.nodeSelector: deprecated since v1.14; use \"kubernetes.io/arch\" instead"]
        );
        let account = json!({"metadata": {"annotations": {ENFORCE_SECRETS: "false"}}});
        assert_eq!(
            create_account(&account),
            [
                "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
            ]
        );
        assert!(update_account(&account, &account).is_empty());
    }
}

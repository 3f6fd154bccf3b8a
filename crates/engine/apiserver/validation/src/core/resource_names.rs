//! Names of resources, which ones are whole numbers, which ones may be promised twice.

use serde_json::Value;

use crate::Path;
use crate::errors::Errors;
use crate::names::qualified;
use crate::scalars::timing::NEGATIVE;
use engenho_quantity::Quantity;

const QUOTA: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
const WHOLE: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Huge pages of some size.
pub(crate) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_huge_page_of_quota(name: &str) -> bool {
    is_huge_page(name) || name.starts_with("requests.hugepages-")
}

/// A resource of Kubernetes itself.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && qualified(&format!("requests.{name}")).is_empty()
}

/// Whether more may be promised than there is.
pub(crate) fn is_overcommit_allowed(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// Whether a quota knows the resource.
pub(crate) fn is_quota(name: &str) -> bool {
    QUOTA.contains(&name) || is_huge_page_of_quota(name)
}

/// Whether resources of whole pods may name it.
pub(crate) fn supported_for_pods(name: &str) -> bool {
    name == "cpu" || name == "memory" || is_huge_page(name)
}

/// A name of any resource.
pub(crate) fn resource_name(name: &str, path: &Path, errors: &mut Errors) {
    let before = errors.count();
    errors.check(qualified, name, path);
    if errors.count() == before && !name.contains('/') && !is_quota(name) && name != "storage" {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
    }
}

/// A name of a resource containers can have.
pub(crate) fn container_name(name: &str, path: &Path, errors: &mut Errors) {
    resource_name(name, path, errors);
    if name.split('/').count() == 1 {
        if !["cpu", "memory", "ephemeral-storage"].contains(&name) && !is_huge_page(name) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

/// A name of a resource quotas can limit.
pub(crate) fn quota_name(name: &str, path: &Path, errors: &mut Errors) {
    resource_name(name, path, errors);
    if name.split('/').count() == 1 && !is_quota(name) {
        errors.invalid(path, name, "must be a standard resource for quota");
    }
}

/// An amount of a resource: not negative, whole if the resource is counted.
pub(crate) fn quantity(name: &str, value: &Value, path: &Path, errors: &mut Errors) {
    let amount = Quantity::of(value);
    if amount < Quantity::ZERO {
        errors.invalid(path, amount.to_string(), NEGATIVE);
    }
    if (WHOLE.contains(&name) || is_extended(name)) && amount.milli_value() % 1000 != 0 {
        errors.invalid(path, amount.to_string(), "must be an integer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_amounts() {
        let path = Path::Root.child("r");
        assert_eq!(Errors::of(|e| container_name("gpus", &path, e)).len(), 2);
        assert_eq!(Errors::of(|e| container_name("storage", &path, e)).len(), 1);
        assert!(Errors::of(|e| container_name("example.com/g", &path, e)).is_empty());
        assert_eq!(Errors::of(|e| quantity("pods", &json!("1500m"), &path, e)).len(), 1);
        assert_eq!(Errors::of(|e| quota_name("foo", &path, e)).len(), 2);
    }
}

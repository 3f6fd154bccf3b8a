//! Fields that an update may not change, beside metadata.

use engenho_catalog::Resource;
use serde_json::Value;

use crate::status::FieldError;

/// What `new` changes of `old` that cannot be changed.
pub fn validate(resource: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    match (&*resource.group, &*resource.plural) {
        ("", "configmaps" | "secrets") => sealed_data(new, old),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") if new["roleRef"] != old["roleRef"] => {
            vec![FieldError::invalid(
                "roleRef",
                new["roleRef"].clone(),
                "cannot change roleRef",
            )]
        }
        ("storage.k8s.io", "storageclasses") => ["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"]
            .into_iter()
            .filter(|field| new[*field] != old[*field])
            .map(|field| FieldError::forbidden(field, "updates to this field are forbidden."))
            .collect(),
        _ => Vec::new(),
    }
}

fn sealed_data(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if new.get("type") != old.get("type") {
        errors.push(FieldError::invalid("type", new["type"].clone(), "field is immutable"));
    }
    if old["immutable"].as_bool() == Some(true) {
        let detail = "field is immutable when `immutable` is set";
        if new["immutable"].as_bool() != Some(true) {
            errors.push(FieldError::forbidden("immutable", detail));
        }
        for field in ["data", "binaryData"] {
            if new[field] != old[field] {
                errors.push(FieldError::forbidden(field, detail));
            }
        }
    }
    errors
}

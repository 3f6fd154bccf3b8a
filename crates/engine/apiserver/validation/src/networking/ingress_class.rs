//! IngressClass.

use serde_json::Value;

use crate::get::{given, optional_text, text};
use crate::labels::check;
use crate::names::dns_label;
use crate::scalars::formats::domain_prefixed_path;
use crate::shared::{Errors, immutable, typed_reference};
use crate::{FieldError, Path};

const CONTROLLER_BYTES_MAX: usize = 250;

/// What is wrong with a new IngressClass.
pub(crate) fn create(object: &Value) -> Errors {
    let spec = &object["spec"];
    let path = Path::Root.child("spec");
    let mut errors = Errors::new();
    let controller = text(&spec["controller"]);
    let field = path.child("controller");
    if controller.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else {
        if controller.len() > CONTROLLER_BYTES_MAX {
            errors.push(FieldError::too_long(field, CONTROLLER_BYTES_MAX));
        }
        let wrong = domain_prefixed_path(controller);
        errors.extend(
            wrong
                .iter()
                .map(|(part, w)| FieldError::invalid(field, part.as_str(), w)),
        );
    }
    if given(&spec["parameters"]) {
        errors.extend(parameters(&spec["parameters"], &path.child("parameters")));
    }
    errors
}

/// What is wrong with an IngressClass that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let spec = Path::Root.child("spec");
    let mut errors = immutable(
        &new["spec"]["controller"],
        &old["spec"]["controller"],
        &spec.child("controller"),
    );
    errors.extend(create(new));
    errors
}

fn parameters(parameters: &Value, path: &Path<'_>) -> Errors {
    let mut errors = typed_reference(parameters, path);
    let namespace = optional_text(&parameters["namespace"]);
    match optional_text(&parameters["scope"]) {
        None => errors.push(FieldError::required(path.child("scope"), "")),
        Some("Namespace") => match namespace {
            None => {
                let detail = "`parameters.scope` is set to 'Namespace'";
                errors.push(FieldError::required(path.child("namespace"), detail));
            }
            Some(namespace) => errors.extend(check(dns_label, namespace, &path.child("namespace"))),
        },
        Some("Cluster") if namespace.is_some() => {
            let detail = "`parameters.scope` is set to 'Cluster'";
            errors.push(FieldError::forbidden(path.child("namespace"), detail));
        }
        Some("Cluster") => {}
        Some(other) => {
            let scopes = ["Cluster", "Namespace"];
            errors.push(FieldError::not_supported(path.child("scope"), other, &scopes));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_controller_is_a_path_with_a_domain_and_stays() {
        let class = |controller: &str| json!({"spec": {"controller": controller}});
        assert!(create(&class("example.com/ingress")).is_empty());
        assert_eq!(create(&class("plain")).len(), 1);
        assert_eq!(update(&class("a.b/c"), &class("a.b/d")).len(), 1);
    }

    #[test]
    fn parameters_are_in_a_namespace_only_if_they_say_so() {
        let parameters = |extra: Value| {
            let mut parameters = json!({"kind": "K", "name": "n"});
            parameters
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            create(&json!({"spec": {"controller": "a.b/c", "parameters": parameters}}))
        };
        assert!(parameters(json!({"scope": "Cluster"})).is_empty());
        assert_eq!(parameters(json!({"scope": "Cluster", "namespace": "x"})).len(), 1);
        assert_eq!(parameters(json!({"scope": "Namespace"})).len(), 1);
        assert_eq!(parameters(json!({"scope": "X"})).len(), 1);
    }
}

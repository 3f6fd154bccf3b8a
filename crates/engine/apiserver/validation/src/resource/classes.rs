//! DeviceClass.

use serde_json::Value;

use super::common::{CONFIGS_MAX, configuration, each, selectors};
use crate::get::{optional_text, same};
use crate::names::qualified;
use crate::shared::Errors;
use crate::{FieldError, Path};

/// What is wrong with a new DeviceClass.
pub(crate) fn create(object: &Value) -> Errors {
    spec(&object["spec"], false)
}

/// What is wrong with a DeviceClass that replaces another; upstream checks it twice.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = spec(&new["spec"], false);
    errors.extend(spec(&new["spec"], same(&new["spec"]["config"], &old["spec"]["config"])));
    errors
}

fn spec(spec: &Value, stored: bool) -> Errors {
    let path = Path::Root.child("spec");
    let mut errors = selectors(&spec["selectors"], &path.child("selectors"));
    errors.extend(each(
        &spec["config"],
        CONFIGS_MAX,
        &path.child("config"),
        |config, at| configuration(config, stored, at),
    ));
    if let Some(name) = optional_text(&spec["extendedResourceName"])
        && !is_extended(name)
    {
        let detail = "must be a valid extended resource name";
        errors.push(FieldError::invalid(path.child("extendedResourceName"), name, detail));
    }
    errors
}

/// Whether a name is one of a resource that others than Kubernetes define.
fn is_extended(name: &str) -> bool {
    name.contains('/')
        && !name.contains("kubernetes.io/")
        && !name.starts_with("requests.")
        && qualified(&format!("requests.{name}")).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes_configure_drivers() {
        let config = json!([{"opaque": {"driver": "d.example.com", "parameters": {}}}]);
        let class = json!({"spec": {"config": config, "extendedResourceName": "example.com/gpu"}});
        assert_eq!(create(&class), []);
        let bad = json!({"spec": {"config": [{}, {"opaque": {"parameters": 5}}], "extendedResourceName": "cpu"}});
        assert_eq!(create(&bad).len(), 5);
        assert!(update(&class, &class).is_empty());
    }
}

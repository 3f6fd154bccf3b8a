//! Annotations for AppArmor, which fields have taken the place of.

use engenho_validation::get::{given, same, text};
use serde_json::{Value, json};

use super::Target;

const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
const PROFILE_BYTES_MAX: usize = 4095;

fn warning(target: &Target<'_>, key: &str) -> String {
    format!(
        "{}: deprecated since v1.30; use the \"appArmorProfile\" field instead",
        target.annotation(key)
    )
}

/// Annotations of a template whose containers lack the field.
pub(super) fn of_template(target: &Target<'_>, container: &Value, warnings: &mut Vec<String>) {
    let key = format!("{PREFIX}{}", text(&container["name"]));
    let has_field = given(&target.spec["securityContext"]["appArmorProfile"])
        || given(&container["securityContext"]["appArmorProfile"]);
    if !has_field && target.has_annotation(&key) {
        warnings.push(warning(target, &key));
    }
}

/// Annotations of a pod whose containers lack the field: fine only where they say what the pod's own field says.
pub(super) fn of_pod(target: &Target<'_>, warnings: &mut Vec<String>) {
    if text(&target.spec["os"]["name"]) == "windows" {
        return;
    }
    for (container, _) in target.containers() {
        let key = format!("{PREFIX}{}", text(&container["name"]));
        if !target.has_annotation(&key) || given(&container["securityContext"]["appArmorProfile"]) {
            continue;
        }
        let said = profile(text(&target.annotations[&key]));
        let of_pod = &target.spec["securityContext"]["appArmorProfile"];
        if !said.is_some_and(|said| given(of_pod) && same(&said, of_pod)) {
            warnings.push(warning(target, &key));
        }
    }
}

/// The field that says what an annotation says; none if the annotation is malformed.
fn profile(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        other => {
            let name = other.strip_prefix("localhost/")?;
            let valid = !name.is_empty() && name.trim() == name && name.len() <= PROFILE_BYTES_MAX;
            valid.then(|| json!({"type": "Localhost", "localhostProfile": name}))
        }
    }
}

//! Which users containers may run as.

use serde_json::Value;

use super::Violation;
use super::pod::{Pod, containers_named, setters};

// Pods in a user namespace of their own (`hostUsers: false`) are not excused here: 1.34 does so only behind a feature
// gate that is off.

pub fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let asks = |security: &Value| security["runAsNonRoot"].as_bool();
    let of_pod = asks(pod.security());

    let refusing = pod.containers_where(|container| asks(container.security) == Some(false));
    if let Some(setters) = setters(of_pod == Some(false), &refusing) {
        return Some(Violation {
            reason: REASON,
            detail: format!("{setters} must not set securityContext.runAsNonRoot=false"),
        });
    }
    if of_pod == Some(true) {
        return None;
    }
    let silent = pod.containers_where(|container| asks(container.security).is_none());
    (!silent.is_empty()).then(|| Violation {
        reason: REASON,
        detail: format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            containers_named(&silent)
        ),
    })
}

pub fn user(pod: &Pod<'_>) -> Option<Violation> {
    let is_root = |security: &Value| security["runAsUser"].as_i64() == Some(0);
    let bad = pod.containers_where(|container| is_root(container.security));
    setters(is_root(pod.security()), &bad).map(|setters| Violation {
        reason: "runAsUser=0",
        detail: format!("{setters} must not set runAsUser=0"),
    })
}

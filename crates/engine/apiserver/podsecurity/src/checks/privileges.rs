//! What privileges a container may have: privileged mode, escalation, capabilities.

use engenho_validation::get::{flag, texts};

use super::Violation;
use super::pod::{Pod, Set, containers_named, quoted};

/// Capabilities that runtimes give by default.
const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

pub fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.containers_where(|container| flag(&container.security["privileged"]));
    (!bad.is_empty()).then(|| Violation {
        reason: "privileged",
        detail: format!(
            "{} must not set securityContext.privileged=true",
            containers_named(&bad)
        ),
    })
}

pub fn escalation(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.containers_where(|container| container.security["allowPrivilegeEscalation"].as_bool() != Some(false));
    (!bad.is_empty()).then(|| Violation {
        reason: "allowPrivilegeEscalation != false",
        detail: format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            containers_named(&bad)
        ),
    })
}

/// Level baseline: nothing is added to what runtimes give by default.
pub fn added_capabilities(pod: &Pod<'_>) -> Option<Violation> {
    additions_beyond(pod, &DEFAULT_CAPABILITIES).map(|detail| Violation {
        reason: "non-default capabilities",
        detail,
    })
}

/// Level restricted: all are dropped, and at most one is added.
pub fn dropped_capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let keeping = pod.containers_where(|container| !texts(&container.security["capabilities"]["drop"]).any(is_all));
    let missing = (!keeping.is_empty()).then(|| {
        format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            containers_named(&keeping)
        )
    });
    let details: Vec<String> = missing
        .into_iter()
        .chain(additions_beyond(pod, &["NET_BIND_SERVICE"]))
        .collect();
    (!details.is_empty()).then(|| Violation {
        reason: "unrestricted capabilities",
        detail: details.join("; "),
    })
}

fn is_all(capability: &str) -> bool {
    capability == "ALL"
}

/// Which containers add capabilities that are not allowed, and which.
fn additions_beyond(pod: &Pod<'_>, allowed: &[&str]) -> Option<String> {
    let mut forbidden = Set::new();
    let mut bad = Vec::new();
    for container in pod.containers() {
        let added = texts(&container.security["capabilities"]["add"]);
        let beyond: Vec<&str> = added.filter(|capability| !allowed.contains(capability)).collect();
        if !beyond.is_empty() {
            bad.push(container.name);
            forbidden.extend(beyond);
        }
    }
    (!bad.is_empty()).then(|| {
        format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers_named(&bad),
            quoted(&forbidden)
        )
    })
}

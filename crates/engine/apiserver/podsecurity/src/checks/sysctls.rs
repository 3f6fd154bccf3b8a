//! Which kernel parameters a pod may set: more with each release that found some safe.

use engenho_validation::get::{items, text};

use super::Violation;
use super::pod::Pod;

/// Safe parameters, each with the minor release it is allowed from.
const SAFE: [(u64, &str); 12] = [
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];

pub fn allowed_1_0(pod: &Pod<'_>) -> Option<Violation> {
    allowed_at(pod, 0)
}

pub fn allowed_1_27(pod: &Pod<'_>) -> Option<Violation> {
    allowed_at(pod, 27)
}

pub fn allowed_1_29(pod: &Pod<'_>) -> Option<Violation> {
    allowed_at(pod, 29)
}

pub fn allowed_1_32(pod: &Pod<'_>) -> Option<Violation> {
    allowed_at(pod, 32)
}

fn allowed_at(pod: &Pod<'_>, minor: u64) -> Option<Violation> {
    let safe = |name: &str| SAFE.iter().any(|(since, safe)| *since <= minor && *safe == name);
    let set = items(&pod.security()["sysctls"])
        .iter()
        .map(|sysctl| text(&sysctl["name"]));
    let forbidden: Vec<&str> = set.filter(|name| !safe(name)).collect();
    (!forbidden.is_empty()).then(|| Violation {
        reason: "forbidden sysctls",
        detail: forbidden.join(", "),
    })
}

//! What of the host a pod may not use: namespaces, ports, probes of other hosts, host processes of Windows.

use std::collections::BTreeSet;

use engenho_validation::get::{flag, int, items, text};
use serde_json::Value;

use super::Violation;
use super::pod::{Pod, Set, containers_named, plural, quoted, setters};

pub fn namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| flag(&pod.spec[*field]))
        .map(|field| format!("{field}=true"))
        .collect();
    (!shared.is_empty()).then(|| Violation {
        reason: "host namespaces",
        detail: shared.join(", "),
    })
}

pub fn ports(pod: &Pod<'_>) -> Option<Violation> {
    // Sorted as texts, as clients see them.
    let mut forbidden = BTreeSet::new();
    let mut bad = Vec::new();
    for container in pod.containers() {
        let ports = items(&container.fields["ports"])
            .iter()
            .map(|port| int(&port["hostPort"]));
        let ports: Vec<String> = ports.filter(|port| *port != 0).map(|port| port.to_string()).collect();
        if !ports.is_empty() {
            bad.push(container.name);
            forbidden.extend(ports);
        }
    }
    (!bad.is_empty()).then(|| Violation {
        reason: "hostPort",
        detail: format!(
            "{} {} {} {}",
            containers_named(&bad),
            plural("uses", "use", bad.len()),
            plural("hostPort", "hostPorts", forbidden.len()),
            forbidden.into_iter().collect::<Vec<_>>().join(", "),
        ),
    })
}

pub fn probes_and_lifecycle(pod: &Pod<'_>) -> Option<Violation> {
    let mut forbidden = Set::new();
    let mut bad = Set::new();
    for container in pod.containers() {
        let hosts: Vec<&str> = handlers(container.fields).flat_map(hosts).collect();
        if !hosts.is_empty() {
            bad.insert(container.name);
            forbidden.extend(hosts);
        }
    }
    (!bad.is_empty()).then(|| {
        let bad: Vec<&str> = bad.into_iter().collect();
        Violation {
            reason: "probe or lifecycle host",
            detail: format!(
                "{} {} {} {}",
                containers_named(&bad),
                plural("uses", "use", bad.len()),
                plural("probe or lifecycle host", "probe or lifecycle hosts", forbidden.len()),
                quoted(&forbidden),
            ),
        }
    })
}

/// The probes and hooks of a container.
fn handlers(container: &Value) -> impl Iterator<Item = &Value> {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
    let hooks = ["postStart", "preStop"].map(|hook| &container["lifecycle"][hook]);
    probes.into_iter().chain(hooks)
}

/// The hosts that a probe or hook names.
fn hosts(handler: &Value) -> impl Iterator<Item = &str> {
    ["httpGet", "tcpSocket"]
        .into_iter()
        .map(|action| text(&handler[action]["host"]))
        .filter(|host| !host.is_empty())
}

pub fn windows_process(pod: &Pod<'_>) -> Option<Violation> {
    let asks = |security: &Value| flag(&security["windowsOptions"]["hostProcess"]);
    let bad = pod.containers_where(|container| asks(container.security));
    setters(asks(pod.security()), &bad).map(|setters| Violation {
        reason: "hostProcess",
        detail: format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"),
    })
}

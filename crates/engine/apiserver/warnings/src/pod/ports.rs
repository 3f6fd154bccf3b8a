//! Ports that repeat each other, across all containers.

use std::collections::BTreeMap;

use engenho_validation::get::{int, items, text};
use engenho_validation::go_quoted;
use serde_json::Value;

use super::Target;

fn all<'a>(target: &Target<'a>) -> impl Iterator<Item = (&'a Value, String)> {
    target.containers().flat_map(|(container, at)| {
        let ports = items(&container["ports"]).iter().enumerate();
        ports.map(move |(i, port)| (port, format!("{at}.ports[{i}]")))
    })
}

/// Ports of the same number and protocol.
pub(super) fn definitions(target: &Target<'_>, warnings: &mut Vec<String>) {
    let mut earlier: BTreeMap<(i64, &str), Vec<(&Value, String)>> = BTreeMap::new();
    for (port, at) in all(target) {
        let (host_port, host_ip) = (int(&port["hostPort"]), text(&port["hostIP"]));
        let (number, protocol) = (int(&port["containerPort"]), text(&port["protocol"]));
        if !host_ip.is_empty() && host_port == 0 {
            warnings.push(format!(
                "{at}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{number} Protocol:{protocol} HostIP:{host_ip}}}",
                text(&port["name"])
            ));
        }
        let others = earlier.entry((number, protocol)).or_default();
        for (other, other_at) in others.iter() {
            let (other_port, other_ip) = (int(&other["hostPort"]), text(&other["hostIP"]));
            let problem = if (host_port, host_ip) == (other_port, other_ip) {
                "duplicate"
            } else if host_port == 0 || other_port == 0 {
                "overlapping"
            } else if host_port == other_port && host_ip.is_empty() != other_ip.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            warnings.push(format!("{at}: {problem} port definition with {other_at}"));
        }
        others.push((port, at));
    }
}

/// Ports of the same name.
pub(super) fn names(target: &Target<'_>, warnings: &mut Vec<String>) {
    let mut first: BTreeMap<&str, String> = BTreeMap::new();
    for (port, at) in all(target) {
        let name = text(&port["name"]);
        if name.is_empty() {
            continue;
        }
        if let Some(other) = first.get(name) {
            warnings.push(format!(
                "{at}: duplicate port name {} with {other}, services and probes that select ports by name will use {other}",
                go_quoted(name)
            ));
        } else {
            first.insert(name, at);
        }
    }
}

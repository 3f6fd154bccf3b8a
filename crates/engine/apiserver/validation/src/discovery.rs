//! EndpointSlice.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use crate::get::{count, given, items, optional_text, text, texts};
use crate::labels::{check, labels};
use crate::names::{dns_label, dns_subdomain, label_value, qualified};
use crate::scalars::addresses::{is_ipv6, legacy_ip, parse_legacy_ip};
use crate::shared::{Errors, immutable};
use crate::{FieldError, Path};

const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const TOPOLOGY_LABELS_MAX: usize = 16;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const ENDPOINTS_MAX: usize = 1000;
const HINTS_MAX: usize = 8;

/// What is wrong with a new EndpointSlice.
pub(crate) fn create(object: &Value) -> Errors {
    validate(object, &BTreeSet::new())
}

/// What is wrong with an EndpointSlice that replaces another: addresses that it had are not checked again.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let known: BTreeSet<&str> = items(&old["endpoints"])
        .iter()
        .flat_map(|endpoint| texts(&endpoint["addresses"]))
        .collect();
    let mut errors = validate(new, &known);
    errors.extend(immutable(
        &new["addressType"],
        &old["addressType"],
        &Path::Root.child("addressType"),
    ));
    errors
}

fn validate(object: &Value, known: &BTreeSet<&str>) -> Errors {
    let mut errors = Errors::new();
    let kind = text(&object["addressType"]);
    if kind.is_empty() {
        errors.push(FieldError::required("addressType", ""));
    } else if !ADDRESS_TYPES.contains(&kind) {
        errors.push(FieldError::not_supported("addressType", kind, &ADDRESS_TYPES));
    }
    let path = Path::Root.child("endpoints");
    let endpoints = items(&object["endpoints"]);
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(FieldError::too_many(path, endpoints.len(), ENDPOINTS_MAX));
    } else {
        for (i, one) in endpoints.iter().enumerate() {
            errors.extend(endpoint(one, kind, known, &path.index(i)));
        }
    }
    errors.extend(ports(items(&object["ports"])));
    errors
}

fn endpoint(endpoint: &Value, kind: &str, known: &BTreeSet<&str>, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let addresses_path = path.child("addresses");
    let addresses = items(&endpoint["addresses"]);
    if addresses.is_empty() {
        errors.push(FieldError::required(addresses_path, "must contain at least 1 address"));
    } else if addresses.len() > ADDRESSES_MAX {
        errors.push(FieldError::too_many(addresses_path, addresses.len(), ADDRESSES_MAX));
    }
    for (i, one) in addresses.iter().enumerate() {
        let (one, at) = (text(one), addresses_path.index(i));
        match kind {
            "IPv4" | "IPv6" => errors.extend(address(one, kind, known, &addresses_path, &at)),
            "FQDN" => errors.extend(domain(one, &at)),
            _ => {}
        }
    }
    if let Some(node) = optional_text(&endpoint["nodeName"]) {
        errors.extend(check(dns_subdomain, node, &path.child("nodeName")));
    }
    let topology = path.child("deprecatedTopology");
    let labels_count = count(&endpoint["deprecatedTopology"]);
    if labels_count > TOPOLOGY_LABELS_MAX {
        errors.push(FieldError::too_many(topology, labels_count, TOPOLOGY_LABELS_MAX));
    }
    errors.extend(labels(&endpoint["deprecatedTopology"], &topology));
    if let Some(host) = optional_text(&endpoint["hostname"]) {
        errors.extend(check(dns_label, host, &path.child("hostname")));
    }
    if given(&endpoint["hints"]) {
        let hints_path = path.child("hints");
        for (key, rule) in [
            ("forZones", label_value as fn(&str) -> Vec<String>),
            ("forNodes", dns_subdomain),
        ] {
            let at = hints_path.child(key);
            let hints = items(&endpoint["hints"][key]);
            if hints.len() > HINTS_MAX {
                errors.push(FieldError::too_many(at, hints.len(), HINTS_MAX));
                break;
            }
            let mut seen: Vec<&str> = Vec::new();
            for (i, hint) in hints.iter().enumerate() {
                let (name, at) = (text(&hint["name"]), at.index(i));
                if seen.contains(&name) {
                    errors.push(FieldError::duplicate(at.child("name"), name));
                }
                seen.push(name);
                errors.extend(check(rule, name, &at.child("name")));
            }
        }
    }
    errors
}

fn address(one: &str, kind: &str, known: &BTreeSet<&str>, list: &Path<'_>, at: &Path<'_>) -> Errors {
    let mut errors = match known.contains(one) {
        true => Errors::new(),
        false => check(legacy_ip, one, at),
    };
    if !errors.is_empty() {
        return errors;
    }
    let parsed = parse_legacy_ip(one);
    if parsed.is_none_or(|ip| is_ipv6(ip) != (kind == "IPv6")) {
        errors.push(FieldError::invalid(list, one, &format!("must be an {kind} address")));
    }
    errors.extend(special(one, parsed, at));
    errors
}

/// Addresses that no endpoint can have (upstream `ValidateNonSpecialIP`).
fn special(one: &str, parsed: Option<IpAddr>, at: &Path<'_>) -> Errors {
    let Some(ip) = parsed else {
        return vec![FieldError::invalid(at, one, "must be a valid IP address")];
    };
    let ip = match ip {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        four => four,
    };
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(four) => (four.is_link_local(), four.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(six) => (six.is_unicast_link_local(), six.segments()[0] & 0xff0f == 0xff02),
    };
    let unspecified = format!("may not be unspecified ({one})");
    let faults = [
        (ip.is_unspecified(), unspecified.as_str()),
        (
            ip.is_loopback(),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            link_local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            link_local_multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ];
    faults
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, detail)| FieldError::invalid(at, one, detail))
        .collect()
}

/// A name with at least two segments (upstream `IsFullyQualifiedDomainName`).
fn domain(name: &str, at: &Path<'_>) -> Errors {
    if name.is_empty() {
        return vec![FieldError::required(at, "")];
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let wrong = dns_subdomain(name);
    if !wrong.is_empty() {
        return vec![FieldError::invalid(at, name, &wrong.join(","))];
    }
    if !name.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        return vec![FieldError::invalid(at, name, detail)];
    }
    let faults = name.split('.').map(|label| (label, dns_label(label)));
    faults
        .filter(|(_, wrong)| !wrong.is_empty())
        .map(|(label, wrong)| FieldError::invalid(at, label, &wrong.join(",")))
        .take(1)
        .collect()
}

fn ports(ports: &[Value]) -> Errors {
    let mut errors = Errors::new();
    let path = Path::Root.child("ports");
    if ports.len() > PORTS_MAX {
        return vec![FieldError::too_many(path, ports.len(), PORTS_MAX)];
    }
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let at = path.index(i);
        let name = text(&port["name"]);
        if !name.is_empty() {
            errors.extend(check(dns_label, name, &at.child("name")));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(at.child("name"), name));
        }
        match optional_text(&port["protocol"]) {
            None => errors.push(FieldError::required(at.child("protocol"), "")),
            Some(protocol) if !PROTOCOLS.contains(&protocol) => {
                errors.push(FieldError::not_supported(at.child("protocol"), protocol, &PROTOCOLS));
            }
            Some(_) => {}
        }
        if let Some(protocol) = optional_text(&port["appProtocol"]) {
            errors.extend(check(qualified, protocol, &at.child("appProtocol")));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slice(kind: &str, address: &str) -> Value {
        json!({"addressType": kind, "endpoints": [{"addresses": [address]}]})
    }

    #[test]
    fn addresses_are_of_their_kind() {
        assert!(create(&slice("IPv4", "10.0.0.1")).is_empty());
        assert!(create(&slice("FQDN", "a.b.")).is_empty());
        assert_eq!(create(&slice("IPv4", "fd00::1"))[0].field, "endpoints[0].addresses");
        for (kind, address) in [
            ("IPv4", "127.0.0.1"),
            ("IPv4", "169.254.1.1"),
            ("IPv6", "ff02::1"),
            ("IPv6", "x"),
            ("FQDN", "a"),
        ] {
            assert_eq!(create(&slice(kind, address)).len(), 1, "{address}");
        }
    }

    #[test]
    fn the_kind_of_addresses_stays() {
        assert_eq!(update(&slice("FQDN", "a.b"), &slice("IPv4", "10.0.0.1")).len(), 1);
    }

    #[test]
    fn ports_have_names_of_their_own() {
        let ports = json!([{"name": "a", "protocol": "TCP"}, {"name": "a", "protocol": "X"}]);
        assert_eq!(create(&json!({"addressType": "IPv4", "ports": ports})).len(), 2);
    }
}

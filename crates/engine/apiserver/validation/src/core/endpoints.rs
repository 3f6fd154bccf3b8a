//! Endpoints, and addresses that must lead somewhere.

use std::net::IpAddr;

use serde_json::Value;

use crate::core::pod::containers::PROTOCOLS;
use crate::errors::Errors;
use crate::get::{int, items, optional_text, text};
use crate::names::{dns_label, dns_subdomain, qualified};
use crate::scalars::addresses::{legacy_ip, parse_legacy_ip};
use crate::scalars::formats::port_number;
use crate::{FieldError, Path};

/// New endpoints.
pub(crate) fn create(endpoints: &Value) -> Vec<FieldError> {
    let path = Path::Root.child("subsets");
    Errors::of(|errors| {
        for (i, set) in items(&endpoints["subsets"]).iter().enumerate() {
            subset(set, &path.index(i), errors);
        }
    })
}

/// Endpoints that replace others.
pub(crate) fn update(new: &Value, _old: &Value) -> Vec<FieldError> {
    create(new)
}

fn subset(set: &Value, path: &Path, errors: &mut Errors) {
    const LISTS: [&str; 2] = ["addresses", "notReadyAddresses"];
    if LISTS.iter().all(|list| items(&set[*list]).is_empty()) {
        errors.required(path, "must specify `addresses` or `notReadyAddresses`");
    }
    for list in LISTS {
        let path = path.child(list);
        for (i, address) in items(&set[list]).iter().enumerate() {
            self::address(address, &path.index(i), errors);
        }
    }
    let (ports, several) = (path.child("ports"), items(&set["ports"]).len() > 1);
    for (i, port) in items(&set["ports"]).iter().enumerate() {
        self::port(port, several, &ports.index(i), errors);
    }
}

fn address(address: &Value, path: &Path, errors: &mut Errors) {
    let ip = text(&address["ip"]);
    errors.check(legacy_ip, ip, &path.child("ip"));
    match text(&address["hostname"]) {
        "" => {}
        name => errors.check(dns_label, name, &path.child("hostname")),
    }
    if let Some(node) = optional_text(&address["nodeName"]) {
        errors.check(dns_subdomain, node, &path.child("nodeName"));
    }
    not_special(ip, &path.child("ip"), errors);
}

fn port(port: &Value, named: bool, path: &Path, errors: &mut Errors) {
    match text(&port["name"]) {
        "" if named => errors.required(path.child("name"), ""),
        "" => {}
        name => errors.check(dns_label, name, &path.child("name")),
    }
    errors.all(port_number(int(&port["port"])), int(&port["port"]), &path.child("port"));
    errors.required_one_of(text(&port["protocol"]), &PROTOCOLS, &path.child("protocol"));
    if let Some(protocol) = optional_text(&port["appProtocol"]) {
        errors.check(qualified, protocol, &path.child("appProtocol"));
    }
}

/// An address that is neither of this machine nor of its link only.
pub(crate) fn not_special(text: &str, path: &Path, errors: &mut Errors) {
    let Some(ip) = parse_legacy_ip(text).map(|ip| ip.to_canonical()) else {
        errors.invalid(path, text, "must be a valid IP address");
        return;
    };
    let (unicast, multicast) = match ip {
        IpAddr::V4(four) => (four.is_link_local(), four.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(six) => (
            six.segments()[0] & 0xffc0 == 0xfe80,
            six.segments()[0] & 0xff0f == 0xff02,
        ),
    };
    if ip.is_unspecified() {
        errors.invalid(path, text, &format!("may not be unspecified ({text})"));
    }
    if ip.is_loopback() {
        errors.invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if unicast {
        errors.invalid(
            path,
            text,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        );
    }
    if multicast {
        let detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        errors.invalid(path, text, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_refused() {
        let path = Path::Root.child("ip");
        for ip in [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "::1",
            "fe80::1",
            "ff02::1",
            "x",
        ] {
            assert_eq!(Errors::of(|e| not_special(ip, &path, e)).len(), 1, "{ip}");
        }
        assert!(Errors::of(|e| not_special("10.0.0.1", &path, e)).is_empty());
    }
}

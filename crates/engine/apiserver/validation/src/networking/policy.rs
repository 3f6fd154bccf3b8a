//! NetworkPolicy.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use crate::get::{given, int, items, optional_int, optional_text, text, texts};
use crate::labels::{check, selector};
use crate::scalars::addresses::{legacy_cidr, masked, parse_legacy_cidr};
use crate::scalars::formats::{port_name, port_number};
use crate::shared::{Errors, one_of};
use crate::{FieldError, Path};

const TYPES: [&str; 2] = ["Ingress", "Egress"];

/// What is tolerated since the old object had it too.
#[derive(Debug, Clone, Default)]
struct Lenient<'a> {
    label_values: bool,
    networks: BTreeSet<&'a str>,
}

/// What is wrong with a new NetworkPolicy.
pub(crate) fn create(object: &Value) -> Errors {
    spec(&object["spec"], &Lenient::default())
}

/// What is wrong with a NetworkPolicy that replaces another; upstream checks it twice, more leniently at the end.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let path = Path::Root.child("podSelector");
    let mut lenient = Lenient {
        label_values: !selector(&old["spec"]["podSelector"], false, &path).is_empty(),
        ..Lenient::default()
    };
    let mut errors = spec(&new["spec"], &lenient);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        let peers = items(&old["spec"][rules]).iter().flat_map(|rule| items(&rule[peers]));
        for block in peers.map(|peer| &peer["ipBlock"]) {
            lenient.networks.insert(text(&block["cidr"]));
            lenient.networks.extend(texts(&block["except"]));
        }
    }
    errors.extend(spec(&new["spec"], &lenient));
    errors
}

fn spec(spec: &Value, lenient: &Lenient<'_>) -> Errors {
    let path = Path::Root.child("spec");
    let mut errors = selector(&spec["podSelector"], lenient.label_values, &path.child("podSelector"));
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        let rules_path = path.child(rules);
        for (i, rule) in items(&spec[rules]).iter().enumerate() {
            let at = rules_path.index(i);
            let ports = at.child("ports");
            for (i, one) in items(&rule["ports"]).iter().enumerate() {
                errors.extend(port(one, &ports.index(i)));
            }
            let peers_path = at.child(peers);
            for (i, one) in items(&rule[peers]).iter().enumerate() {
                errors.extend(peer(one, lenient, &peers_path.index(i)));
            }
        }
    }
    let types = path.child("policyTypes");
    let given = items(&spec["policyTypes"]);
    if given.len() > TYPES.len() {
        let detail = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid(types, spec["policyTypes"].clone(), detail));
        return errors;
    }
    for (i, one) in given.iter().enumerate() {
        errors.extend(one_of(one, &TYPES, &types.index(i)));
    }
    errors
}

fn port(port: &Value, path: &Path<'_>) -> Errors {
    let mut errors = one_of(&port["protocol"], &["TCP", "UDP", "SCTP"], &path.child("protocol"));
    let last = optional_int(&port["endPort"]);
    let mut wrong = |key: &str, value: &Value, detail: &str| {
        errors.push(FieldError::invalid(path.child(key), value.clone(), detail));
    };
    match (&port["port"], last) {
        (first @ Value::Number(_), last) => {
            for fault in port_number(int(first)) {
                wrong("port", first, &fault);
            }
            if let Some(last) = last {
                if last < int(first) {
                    // What is printed is the first port, upstream too.
                    wrong("endPort", first, "must be greater than or equal to `port`");
                }
                for fault in port_number(last) {
                    wrong("endPort", &port["endPort"], &fault);
                }
            }
        }
        (first @ Value::String(name), last) => {
            if last.is_some() {
                wrong(
                    "endPort",
                    &port["endPort"],
                    "may not be specified when `port` is non-numeric",
                );
            }
            for fault in port_name(name) {
                wrong("port", first, &fault);
            }
        }
        (_, Some(_)) => {
            wrong(
                "endPort",
                &port["endPort"],
                "may not be specified when `port` is not specified",
            );
        }
        _ => {}
    }
    errors
}

fn peer(peer: &Value, lenient: &Lenient<'_>, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut kinds = 0;
    for key in ["podSelector", "namespaceSelector"] {
        if given(&peer[key]) {
            kinds += 1;
            errors.extend(selector(&peer[key], lenient.label_values, &path.child(key)));
        }
    }
    let block = given(&peer["ipBlock"]);
    if block {
        kinds += 1;
        errors.extend(ip_block(&peer["ipBlock"], lenient, &path.child("ipBlock")));
    }
    if kinds == 0 {
        errors.push(FieldError::required(path, "must specify a peer"));
    } else if kinds > 1 && block {
        errors.push(FieldError::forbidden(
            path,
            "may not specify both ipBlock and another peer",
        ));
    }
    errors
}

fn network(text: &str, lenient: &Lenient<'_>, path: &Path<'_>) -> Errors {
    match lenient.networks.contains(text) {
        true => Errors::new(),
        false => check(legacy_cidr, text, path),
    }
}

fn ip_block(block: &Value, lenient: &Lenient<'_>, path: &Path<'_>) -> Errors {
    let cidr = text(&block["cidr"]);
    if cidr.is_empty() {
        return vec![FieldError::required(path.child("cidr"), "")];
    }
    let mut errors = network(cidr, lenient, &path.child("cidr"));
    let Some(whole) = parse_legacy_cidr(cidr) else {
        return errors;
    };
    let except = path.child("except");
    for (i, item) in items(&block["except"]).iter().enumerate() {
        let part_text = optional_text(item).unwrap_or_default();
        let at = except.index(i);
        errors.extend(network(part_text, lenient, &at));
        if let Some(part) = parse_legacy_cidr(part_text)
            && !is_within(part, whole)
        {
            errors.push(FieldError::invalid(at, part_text, "must be a strict subset of `cidr`"));
        }
    }
    errors
}

fn is_within(part: (IpAddr, u8), whole: (IpAddr, u8)) -> bool {
    let family = part.0.is_ipv4() == whole.0.is_ipv4();
    family && part.1 > whole.1 && masked(part.0, whole.1) == masked(whole.0, whole.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with_block(cidr: &str, except: &str) -> Value {
        json!({"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": cidr, "except": [except]}}]}]}})
    }

    #[test]
    fn what_is_excepted_lies_within() {
        assert!(create(&with_block("10.0.0.0/8", "10.1.0.0/16")).is_empty());
        for except in ["10.0.0.0/8", "11.0.0.0/16", "fd00::/64"] {
            assert_eq!(create(&with_block("10.0.0.0/8", except)).len(), 1, "{except}");
        }
    }

    #[test]
    fn an_update_reports_twice_but_tolerates_old_networks() {
        let bad = with_block("10.0.0.0/99", "10.0.0.0/16");
        assert_eq!(update(&bad, &json!({})).len(), 2);
        assert_eq!(update(&bad, &bad).len(), 1);
    }

    #[test]
    fn ranges_of_ports() {
        let ports = |port: Value| create(&json!({"spec": {"egress": [{"ports": [port]}]}})).len();
        assert_eq!(ports(json!({"port": 80, "endPort": 90})), 0);
        assert_eq!(ports(json!({"port": 80, "endPort": 70})), 1);
        assert_eq!(ports(json!({"port": "web", "endPort": 70})), 1);
        assert_eq!(ports(json!({"endPort": 70})), 1);
    }
}

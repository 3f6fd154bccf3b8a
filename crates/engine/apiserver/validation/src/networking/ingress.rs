//! Ingress.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use crate::get::{given, int, items, optional_text, text, texts};
use crate::labels::check;
use crate::names::{dns_1035_label, dns_label, dns_subdomain, wildcard_dns_subdomain};
use crate::scalars::addresses::parse_legacy_ip;
use crate::scalars::formats::{port_name, port_number};
use crate::shared::{Errors, typed_reference};
use crate::{FieldError, Path};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];

/// What is tolerated since the old object had it too.
#[derive(Debug, Clone, Copy, Default)]
struct Lenient {
    secret_names: bool,
    wildcard_rules: bool,
    /// Names of services as DNS labels, beside those of RFC 1035.
    service_names: bool,
}

/// What is wrong with a new Ingress.
pub(crate) fn create(object: &Value) -> Errors {
    let mut errors = spec(&object["spec"], Lenient::default());
    let annotation = optional_text(&object["metadata"]["annotations"][CLASS_ANNOTATION]);
    let class = optional_text(&object["spec"]["ingressClassName"]);
    if let (Some(annotation), Some(class)) = (annotation, class)
        && annotation != class
    {
        let field = format!("annotations.{CLASS_ANNOTATION}");
        let detail = "must match `ingressClassName` when both are specified";
        errors.push(FieldError::invalid(field, annotation, detail));
    }
    errors
}

/// What is wrong with an Ingress that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let old_spec = &old["spec"];
    let lenient = Lenient {
        secret_names: items(&old_spec["tls"])
            .iter()
            .any(|tls| !secret_name_faults(text(&tls["secretName"])).is_empty()),
        wildcard_rules: items(&old_spec["rules"]).iter().any(|rule| {
            text(&rule["host"]).contains('*') && !rule_value(rule, Lenient::default(), &Path::Root).is_empty()
        }),
        service_names: services(old_spec).any(|name| dns_label(name).is_empty() && !dns_1035_label(name).is_empty()),
    };
    spec(&new["spec"], lenient)
}

/// What is wrong with a status that replaces another.
pub(crate) fn update_status(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let status = Path::Root.child("status");
    let balancer = status.child("loadBalancer");
    let path = balancer.child("ingress");
    let entries = |object: &Value| object["status"]["loadBalancer"]["ingress"].clone();
    let before = entries(old);
    let known: BTreeSet<&str> = items(&before).iter().map(|e| text(&e["ip"])).collect();
    for (i, entry) in items(&new["status"]["loadBalancer"]["ingress"]).iter().enumerate() {
        let at = path.index(i);
        let (ip, host) = (text(&entry["ip"]), text(&entry["hostname"]));
        if !ip.is_empty() && !known.contains(ip) {
            errors.extend(check(crate::scalars::addresses::legacy_ip, ip, &at.child("ip")));
        }
        if !host.is_empty() {
            errors.extend(check(dns_subdomain, host, &at.child("hostname")));
            errors.extend(address_as_host(host, &at.child("hostname")));
        }
    }
    errors
}

fn services(spec: &Value) -> impl Iterator<Item = &str> {
    let rules = items(&spec["rules"]).iter();
    let paths = rules.flat_map(|rule| items(&rule["http"]["paths"]));
    std::iter::once(&spec["defaultBackend"])
        .chain(paths.map(|path| &path["backend"]))
        .map(|backend| text(&backend["service"]["name"]))
}

fn spec(spec: &Value, lenient: Lenient) -> Errors {
    let mut errors = Errors::new();
    let path = Path::Root.child("spec");
    let rules = items(&spec["rules"]);
    if rules.is_empty() && !given(&spec["defaultBackend"]) {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(path, spec["rules"].clone(), detail));
    }
    if given(&spec["defaultBackend"]) {
        errors.extend(backend(&spec["defaultBackend"], lenient, &path.child("defaultBackend")));
    }
    let rules_path = path.child("rules");
    for (i, one) in rules.iter().enumerate() {
        errors.extend(rule(one, lenient, &rules_path.index(i)));
    }
    let tls_path = path.child("tls");
    for (i, one) in items(&spec["tls"]).iter().enumerate() {
        errors.extend(tls(one, lenient, &tls_path.index(i)));
    }
    if let Some(class) = optional_text(&spec["ingressClassName"]) {
        errors.extend(check(dns_subdomain, class, &path.child("ingressClassName")));
    }
    errors
}

fn secret_name_faults(name: &str) -> Vec<String> {
    match name {
        "" => Vec::new(),
        name => dns_subdomain(name),
    }
}

fn tls(tls: &Value, lenient: Lenient, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let hosts = path.child("hosts");
    for (i, host) in texts(&tls["hosts"]).enumerate() {
        errors.extend(host_name(host, &hosts.index(i)));
    }
    if !lenient.secret_names {
        errors.extend(check(
            secret_name_faults,
            text(&tls["secretName"]),
            &path.child("secretName"),
        ));
    }
    errors
}

fn host_name(host: &str, path: &Path<'_>) -> Errors {
    match host.contains('*') {
        true => check(wildcard_dns_subdomain, host, path),
        false => check(dns_subdomain, host, path),
    }
}

fn address_as_host(host: &str, path: &Path<'_>) -> Errors {
    let address: Option<IpAddr> = parse_legacy_ip(host);
    let detail = "must be a DNS name, not an IP address";
    address
        .map(|_| FieldError::invalid(path, host, detail))
        .into_iter()
        .collect()
}

fn rule(rule: &Value, lenient: Lenient, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let host = text(&rule["host"]);
    if !host.is_empty() {
        errors.extend(address_as_host(host, &path.child("host")));
        errors.extend(host_name(host, &path.child("host")));
    }
    if !(host.contains('*') && lenient.wildcard_rules) {
        errors.extend(rule_value(rule, lenient, path));
    }
    errors
}

fn rule_value(rule: &Value, lenient: Lenient, path: &Path<'_>) -> Errors {
    if !given(&rule["http"]) {
        return Errors::new();
    }
    let http = path.child("http");
    let path = http.child("paths");
    let paths = items(&rule["http"]["paths"]);
    if paths.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let mut errors = Errors::new();
    for (i, one) in paths.iter().enumerate() {
        errors.extend(http_path(one, lenient, &path.index(i)));
    }
    errors
}

fn http_path(http_path: &Value, lenient: Lenient, path: &Path<'_>) -> Errors {
    let Some(kind) = optional_text(&http_path["pathType"]) else {
        return vec![FieldError::required(
            path.child("pathType"),
            "pathType must be specified",
        )];
    };
    let mut errors = Errors::new();
    let target = text(&http_path["path"]);
    let mut wrong = |detail: String| errors.push(FieldError::invalid(path.child("path"), target, &detail));
    match kind {
        "Exact" | "Prefix" => {
            if !target.starts_with('/') {
                wrong("must be an absolute path".into());
            }
            for sequence in ["//", "/./", "/../", "%2f", "%2F"] {
                if target.contains(sequence) {
                    wrong(format!("must not contain '{sequence}'"));
                }
            }
            for suffix in ["/..", "/."] {
                if target.ends_with(suffix) {
                    wrong(format!("cannot end with '{suffix}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !target.is_empty() && !target.starts_with('/') {
                wrong("must be an absolute path".into());
            }
        }
        other => errors.push(FieldError::not_supported(path.child("pathType"), other, &PATH_TYPES)),
    }
    errors.extend(backend(&http_path["backend"], lenient, &path.child("backend")));
    errors
}

fn backend(backend: &Value, lenient: Lenient, path: &Path<'_>) -> Errors {
    let service = &backend["service"];
    match (given(&backend["resource"]), given(service)) {
        (true, true) => {
            let detail = "cannot set both resource and service backends";
            return vec![FieldError::invalid(path, "", detail)];
        }
        (true, false) => return typed_reference(&backend["resource"], &path.child("resource")),
        (false, false) => {
            let detail = "resource or service backend is required";
            return vec![FieldError::invalid(path, "", detail)];
        }
        (false, true) => {}
    }
    let mut errors = Errors::new();
    let service_path = path.child("service");
    let name = text(&service["name"]);
    let rule: fn(&str) -> Vec<String> = match lenient.service_names {
        true => dns_label,
        false => dns_1035_label,
    };
    match name {
        "" => errors.push(FieldError::required(service_path.child("name"), "")),
        name => errors.extend(check(rule, name, &service_path.child("name"))),
    }
    let port_path = service_path.child("port");
    let (port, number) = (text(&service["port"]["name"]), int(&service["port"]["number"]));
    match (port.is_empty(), number) {
        (true, 0) => errors.push(FieldError::required(path, "port name or number is required")),
        (false, 0) => errors.extend(check(port_name, port, &port_path.child("name"))),
        (true, number) => {
            let wrong = port_number(number);
            let field = port_path.child("number");
            errors.extend(wrong.iter().map(|w| FieldError::invalid(field, number, w)));
        }
        (false, _) => errors.push(FieldError::invalid(path, "", "cannot set both port name & port number")),
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ingress(host: &str, path: &str, kind: &str, service: &str) -> Value {
        let backend = json!({"service": {"name": service, "port": {"number": 80}}});
        let paths = json!([{"path": path, "pathType": kind, "backend": backend}]);
        json!({"spec": {"rules": [{"host": host, "http": {"paths": paths}}]}})
    }

    #[test]
    fn a_plain_one_is_valid() {
        assert!(create(&ingress("a.example.com", "/x", "Prefix", "s")).is_empty());
        assert!(create(&ingress("*.example.com", "", "ImplementationSpecific", "s")).is_empty());
    }

    #[test]
    fn paths_and_hosts_are_checked() {
        let errors = create(&ingress("10.0.0.1", "a/../b/.", "Exact", "S"));
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        let path = "spec.rules[0].http.paths[0].path";
        let service = "spec.rules[0].http.paths[0].backend.service.name";
        assert_eq!(fields, ["spec.rules[0].host", path, path, path, service]);
    }

    #[test]
    fn names_of_services_that_were_tolerated_stay_so() {
        let old = ingress("a.b", "/", "Prefix", "1a");
        assert!(update(&old, &old).is_empty());
        assert_eq!(create(&old).len(), 1);
    }
}

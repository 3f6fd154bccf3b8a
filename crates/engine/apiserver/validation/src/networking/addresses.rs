//! IPAddress and ServiceCIDR.

use serde_json::Value;

use crate::get::{given, items, text, texts};
use crate::gojson::{self, Shape};
use crate::labels::check;
use crate::names::{dns_subdomain, path_segment};
use crate::scalars::addresses::{cidr, is_ipv6, parse_legacy_cidr};
use crate::shared::Errors;
use crate::{FieldError, Path, get};

const IMMUTABLE: &str = "field is immutable";
const PARENT: Shape = Shape::Struct(&[
    ("Group", "group", Shape::Text),
    ("Resource", "resource", Shape::Text),
    ("Namespace", "namespace", Shape::Text),
    ("Name", "name", Shape::Text),
]);
const SERVICE_CIDR_SPEC: Shape = Shape::Struct(&[("CIDRs", "cidrs", Shape::Same)]);

/// What is wrong with a new IPAddress.
pub(crate) fn create_ip_address(object: &Value) -> Errors {
    let parent = &object["spec"]["parentRef"];
    let spec = Path::Root.child("spec");
    let path = spec.child("parentRef");
    if !given(parent) {
        return vec![FieldError::required(path, "")];
    }
    let mut errors = Errors::new();
    let group = text(&parent["group"]);
    if !group.is_empty() {
        errors.extend(check(dns_subdomain, group, &path.child("group")));
    }
    for key in ["resource", "name"] {
        errors.extend(crate::shared::path_segment(&parent[key], &path.child(key)));
    }
    errors.extend(check(
        path_segment,
        text(&parent["namespace"]),
        &path.child("namespace"),
    ));
    errors
}

/// What is wrong with an IPAddress that replaces another.
pub(crate) fn update_ip_address(new: &Value, old: &Value) -> Errors {
    let mut errors = create_ip_address(new);
    let parent = &new["spec"]["parentRef"];
    if !get::same(parent, &old["spec"]["parentRef"]) {
        let shape = Shape::Maybe(&PARENT);
        errors.push(gojson::invalid("spec.parentRef", &shape, parent, IMMUTABLE));
    }
    errors
}

/// What is wrong with a new ServiceCIDR.
pub(crate) fn create_service_cidr(object: &Value) -> Errors {
    let spec = Path::Root.child("spec");
    let path = spec.child("cidrs");
    let cidrs = items(&object["spec"]["cidrs"]);
    if cidrs.is_empty() {
        return vec![FieldError::required(path, "at least one CIDR required")];
    }
    if cidrs.len() > 2 {
        let detail = "may only hold up to 2 values";
        return vec![gojson::invalid(path, &SERVICE_CIDR_SPEC, &object["spec"], detail)];
    }
    let mut errors = Errors::new();
    for (i, one) in cidrs.iter().enumerate() {
        errors.extend(check(cidr, text(one), &path.index(i)));
    }
    let families: Vec<bool> = texts(&object["spec"]["cidrs"])
        .filter_map(parse_legacy_cidr)
        .map(|(address, _)| is_ipv6(address))
        .collect();
    if matches!(families[..], [a, b] if a == b) {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(FieldError::invalid(path, object["spec"]["cidrs"].clone(), detail));
    }
    errors
}

/// What is wrong with a ServiceCIDR that replaces another: a second family may be added.
pub(crate) fn update_service_cidr(new: &Value, old: &Value) -> Errors {
    let mut errors = create_service_cidr(new);
    let spec = Path::Root.child("spec");
    let path = spec.child("cidrs");
    let (after, before) = (items(&new["spec"]["cidrs"]), items(&old["spec"]["cidrs"]));
    let changed = |i: usize| after[i] != before[i];
    let wrong = |i: usize| FieldError::invalid(path.index(i), after[i].clone(), IMMUTABLE);
    match (before.len(), after.len()) {
        (a, b) if a == b => errors.extend((0..a).filter(|i| changed(*i)).map(wrong)),
        (1, 2) => {
            errors.extend(changed(0).then(|| wrong(0)));
            errors.extend(create_service_cidr(new));
        }
        _ => errors.push(FieldError::invalid(path, new["spec"]["cidrs"].clone(), IMMUTABLE)),
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cidrs(list: &[&str]) -> Value {
        json!({"spec": {"cidrs": list}})
    }

    #[test]
    fn one_network_a_family() {
        assert!(create_service_cidr(&cidrs(&["10.0.0.0/16", "fd00::/64"])).is_empty());
        assert_eq!(create_service_cidr(&cidrs(&["10.0.0.0/16", "10.1.0.0/16"])).len(), 1);
        let three = create_service_cidr(&cidrs(&["10.0.0.0/16", "fd00::/64", "fd01::/64"]));
        assert!(
            three[0]
                .message
                .starts_with(r#"Invalid value: {"CIDRs":["10.0.0.0/16","#)
        );
    }

    #[test]
    fn only_a_second_family_may_come() {
        let one = cidrs(&["10.0.0.0/16"]);
        assert!(update_service_cidr(&cidrs(&["10.0.0.0/16", "fd00::/64"]), &one).is_empty());
        assert_eq!(
            update_service_cidr(&cidrs(&["10.1.0.0/16"]), &one)[0].field,
            "spec.cidrs[0]"
        );
        assert_eq!(update_service_cidr(&json!({}), &one).len(), 2);
    }

    #[test]
    fn an_address_keeps_its_parent() {
        let address = |name: &str| json!({"spec": {"parentRef": {"resource": "services", "name": name}}});
        assert!(create_ip_address(&address("a")).is_empty());
        let errors = update_ip_address(&address("b"), &address("a"));
        assert!(
            errors[0]
                .message
                .contains(r#"{"Group":"","Resource":"services","Namespace":"","Name":"b"}"#)
        );
    }
}

//! Addresses of services and their versions.

use std::collections::HashSet;

use serde_json::Value;

use super::dual_stack;
use super::service::is_headless;
use crate::errors::Errors;
use crate::get::{items, optional_text, text, texts};
use crate::scalars::addresses::{is_ipv6, legacy_ip, parse_legacy_ip};
use crate::{FieldError, Path};

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];

fn is_external_name(service: &Value) -> bool {
    text(&service["spec"]["type"]) == "ExternalName"
}

fn list<'a>(service: &'a Value, field: &str) -> Vec<&'a str> {
    texts(&service["spec"][field]).collect()
}

/// A list as messages print it: null if it is not there.
fn printed(service: &Value, field: &str) -> Value {
    service["spec"][field].clone()
}

/// Addresses, versions and their policy must go together.
pub(crate) fn related(service: &Value, errors: &mut Errors) {
    if is_external_name(service) {
        return;
    }
    let path = Path::Root.child("spec");
    let field = path.child("clusterIPs");
    let (first, addresses) = (text(&service["spec"]["clusterIP"]), list(service, "clusterIPs"));
    let families = list(service, "ipFamilies");
    match (first, addresses.first()) {
        ("", Some(_)) => {
            let detail = "must be empty when `clusterIP` is not specified";
            errors.invalid(field, printed(service, "clusterIPs"), detail);
        }
        ("", None) => {}
        (_, None) => errors.required(field, ""),
        (first, Some(of_list)) if first != *of_list => {
            errors.invalid(
                field,
                printed(service, "clusterIPs"),
                "first value must match `clusterIP`",
            );
        }
        _ => {}
    }
    let mut seen = HashSet::new();
    let path_families = path.child("ipFamilies");
    for (i, family) in families.iter().enumerate() {
        errors.one_of(family, &FAMILIES, &path_families.index(i));
        if !seen.insert(family) {
            errors.duplicate(path_families.index(i), *family);
        }
    }
    if let Some(policy) = optional_text(&service["spec"]["ipFamilyPolicy"]) {
        errors.one_of(policy, &POLICIES, &path.child("ipFamilyPolicy"));
    }
    if valid_addresses(service, &addresses, &field, errors) {
        both_versions(service, &addresses, &families, &field, errors);
    }
}

fn valid_addresses(service: &Value, addresses: &[&str], path: &Path, errors: &mut Errors) -> bool {
    let mut valid = true;
    for (i, address) in addresses.iter().enumerate() {
        if i == 0 && *address == "None" {
            if addresses.len() > 1 {
                valid = false;
                let detail = "'None' must be the first and only value";
                errors.invalid(path, printed(service, "clusterIPs"), detail);
            }
            continue;
        }
        let wrong = legacy_ip(address);
        valid &= wrong.is_empty();
        errors.all(wrong, *address, &path.index(i));
    }
    if addresses.len() > 2 {
        errors.invalid(path, printed(service, "clusterIPs"), "may only hold up to 2 values");
    }
    valid
}

fn both_versions(service: &Value, addresses: &[&str], families: &[&str], path: &Path, errors: &mut Errors) {
    if addresses.len() > 1 {
        let dual = dual_stack::of_addresses(addresses).unwrap_or_else(|detail| {
            let detail = format!("failed to check for dual stack with error:{detail}");
            errors.push(FieldError::internal(path, &detail));
            false
        });
        if !dual {
            let detail = "may specify no more than one IP for each IP family";
            errors.invalid(path, printed(service, "clusterIPs"), detail);
        }
    }
    if is_headless(service) {
        return;
    }
    for (i, (address, family)) in addresses.iter().zip(families).enumerate() {
        let six = parse_legacy_ip(address).is_some_and(is_ipv6);
        if (*family == "IPv4" && six) || (*family == "IPv6" && !six) {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(path.index(i), *address, &detail);
        }
    }
}

/// Addresses stay once they are given; a second one may come and go.
pub(crate) fn addresses_kept(new: &Value, old: &Value, errors: &mut Errors) {
    if is_external_name(new) || is_external_name(old) || (is_headless(new) && is_headless(old)) {
        return;
    }
    let path = Path::Root.child("spec");
    let field = path.child("clusterIPs");
    let (had, has) = (list(old, "clusterIPs"), list(new, "clusterIPs"));
    let value = || printed(new, "clusterIPs");
    if had.len() == has.len() {
        for (i, _) in had.iter().zip(&has).enumerate().filter(|(_, (a, b))| a != b) {
            errors.invalid(field.index(i), value(), "may not change once set");
        }
        return;
    }
    if had.len() > has.len() && has.is_empty() {
        errors.invalid(field.index(0), value(), "primary clusterIP can not be unset");
    }
    if let (Some(a), Some(b)) = (had.first(), has.first())
        && a != b
    {
        errors.invalid(field.index(0), value(), "may not change once set");
    }
    if had.len() > has.len() && has.len() == 1 {
        single_stack(new, "clusterIP", &path, errors);
    }
}

fn single_stack(service: &Value, what: &str, path: &Path, errors: &mut Errors) {
    let policy = &service["spec"]["ipFamilyPolicy"];
    if text(policy) != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        errors.invalid(path.child("ipFamilyPolicy"), policy.clone(), &detail);
    }
}

/// The same for versions.
pub(crate) fn families_kept(new: &Value, old: &Value, errors: &mut Errors) {
    if is_external_name(new) || is_external_name(old) || is_headless(new) || is_headless(old) {
        return;
    }
    let path = Path::Root.child("spec");
    let list_path = path.child("ipFamilies");
    let field = list_path.index(0);
    let (had, has) = (list(old, "ipFamilies"), list(new, "ipFamilies"));
    if had.len() == has.len() {
        for _ in had.iter().zip(&has).filter(|(a, b)| a != b) {
            errors.invalid(field, printed(new, "ipFamilies"), "may not change once set");
        }
        return;
    }
    let shrunk = had.len() > has.len();
    if shrunk && items(&new["spec"]["clusterIPs"]).is_empty() {
        errors.invalid(field, printed(new, "ipFamilies"), "primary ipFamily can not be unset");
    }
    if let (Some(a), Some(b)) = (had.first(), has.first())
        && a != b
    {
        errors.invalid(field, printed(new, "clusterIPs"), "may not change once set");
    }
    if shrunk && has.len() == 1 {
        single_stack(new, "ipFamily", &path, errors);
    }
}

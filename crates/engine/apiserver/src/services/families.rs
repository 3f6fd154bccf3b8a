//! Which address families a Service has: what its policy, its addresses and the cluster say together.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::fields::{has_selector, is_headless, kind, list, set};
use crate::status::FieldError;

const POLICY: &str = "spec.ipFamilyPolicy";
const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

/// The name of an address's family.
pub(super) fn family_of(ip: &str) -> &'static str {
    match ip.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => "IPv6",
        Ok(IpAddr::V4(_)) => "IPv4",
        Err(_) if ip.contains(':') => "IPv6",
        Err(_) => "IPv4",
    }
}

fn other(family: &str) -> &'static str {
    if family == "IPv4" { "IPv6" } else { "IPv4" }
}

fn policy(service: &Value) -> &str {
    service["spec"]["ipFamilyPolicy"].as_str().unwrap_or_default()
}

/// A Service that takes what families there are keeps those it has: the cluster's change is not its own.
pub(super) fn stays_as_it_is(new: &Value, old: Option<&Value>) -> bool {
    old.is_some_and(|old| {
        policy(new) == PREFER
            && policy(old) == PREFER
            && list(new, "clusterIPs") == list(old, "clusterIPs")
            && list(new, "ipFamilies") == list(old, "ipFamilies")
    })
}

fn reduced(new: &[&str], old: &[&str]) -> bool {
    !new.is_empty() && new.len() < old.len() && new[0] == old[0]
}

/// Completes `ipFamilyPolicy` and `ipFamilies`. `cluster` lists the families of the service ranges, the default first.
pub(super) fn complete(new: &mut Value, old: Option<&Value>, cluster: &[&'static str]) -> Result<(), Vec<FieldError>> {
    if kind(new) == "ExternalName" || stays_as_it_is(new, old) {
        return Ok(());
    }
    let free = is_headless(new) && !has_selector(new);
    if policy(new).is_empty() {
        let given = old.map(policy).filter(|given| !given.is_empty());
        let default = given.unwrap_or(if free { REQUIRE } else { SINGLE }).to_owned();
        set(new, "ipFamilyPolicy", default);
    }
    let related = engenho_validation::service_addresses(new);
    if !related.is_empty() {
        return Err(related);
    }
    let mut errors = fit_policy(new, old);
    infer_from_addresses(new, cluster, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut families: Vec<String> = list(new, "ipFamilies").into_iter().map(str::to_owned).collect();
    if !free {
        if policy(new) == REQUIRE && cluster.len() < 2 {
            let detail = "this cluster is not configured for dual-stack services";
            errors.push(FieldError::invalid(POLICY, policy(new), detail));
        }
        for (i, family) in families.iter().enumerate() {
            if !cluster.contains(&family.as_str()) {
                let field = format!("spec.ipFamilies[{i}]");
                errors.push(FieldError::invalid(
                    field,
                    family.as_str(),
                    "not configured on this cluster",
                ));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
    }
    if families.is_empty() {
        families.extend(cluster.first().map(|family| (*family).to_owned()));
    }
    if policy(new) != SINGLE && families.len() == 1 && (free || cluster.len() == 2) {
        families.push(other(&families[0]).to_owned());
    }
    set(new, "ipFamilies", families);
    Ok(())
}

/// The policy must fit the numbers of addresses and families; one of single stack gives the second ones up.
fn fit_policy(new: &mut Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut wrong = |new: &Value, detail: &str| errors.push(FieldError::invalid(POLICY, policy(new), detail));
    if let Some(old) = old {
        for (field, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
            let (before, after) = (list(old, field), list(new, field));
            if policy(new) == SINGLE {
                if before == after && after.len() > 1 {
                    let first = json!([after[0]]);
                    set(new, field, first);
                }
            } else if reduced(&after, &before) {
                wrong(new, &format!("must be 'SingleStack' to release the secondary {what}"));
            }
        }
    }
    if policy(new) == SINGLE {
        for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
            if list(new, field).len() == 2 {
                let detail =
                    format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
                wrong(new, &detail);
            }
        }
    }
    errors
}

/// Addresses that are given have families, which need not be named.
fn infer_from_addresses(new: &mut Value, cluster: &[&'static str], errors: &mut Vec<FieldError>) {
    let mut families: Vec<String> = list(new, "ipFamilies").into_iter().map(str::to_owned).collect();
    let known = families.len();
    for (i, ip) in list(new, "clusterIPs").into_iter().enumerate().skip(known) {
        if ip == super::fields::NONE {
            break;
        }
        let family = family_of(ip);
        if cluster.contains(&family) {
            families.push(family.to_owned());
        } else {
            let detail = format!("{family} is not configured on this cluster");
            let field = format!("spec.clusterIPs[{i}]");
            errors.push(FieldError::invalid(field, new["spec"]["clusterIPs"].clone(), &detail));
        }
    }
    if families.len() > known {
        set(new, "ipFamilies", families);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(spec: Value, cluster: &[&'static str]) -> Result<Value, Vec<String>> {
        let mut service = json!({ "spec": spec });
        complete(&mut service, None, cluster).map_err(|errors| {
            errors
                .iter()
                .map(|e| format!("{}: {}", e.field, e.message))
                .collect::<Vec<_>>()
        })?;
        Ok(json!([
            service["spec"]["ipFamilyPolicy"],
            service["spec"]["ipFamilies"]
        ]))
    }

    #[test]
    fn policies_and_families_on_a_single_stack_cluster() {
        let v4 = &["IPv4"];
        assert_eq!(
            completed(json!({"type": "ClusterIP"}), v4).unwrap(),
            json!([SINGLE, ["IPv4"]])
        );
        let headless = json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]});
        assert_eq!(completed(headless, v4).unwrap(), json!([REQUIRE, ["IPv4", "IPv6"]]));
        let prefer = json!({"type": "ClusterIP", "ipFamilyPolicy": PREFER});
        assert_eq!(completed(prefer, v4).unwrap(), json!([PREFER, ["IPv4"]]));
        let require = json!({"type": "ClusterIP", "ipFamilyPolicy": REQUIRE});
        assert_eq!(completed(require, v4).unwrap_err().len(), 1);
        let v6 = json!({"type": "ClusterIP", "ipFamilies": ["IPv6"]});
        assert_eq!(
            completed(v6, v4).unwrap_err(),
            ["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"]
        );
    }

    #[test]
    fn two_families_where_the_cluster_has_them() {
        let dual = &["IPv4", "IPv6"];
        let prefer = json!({"type": "ClusterIP", "ipFamilyPolicy": PREFER, "ipFamilies": ["IPv6"]});
        assert_eq!(completed(prefer, dual).unwrap(), json!([PREFER, ["IPv6", "IPv4"]]));
        assert_eq!(
            completed(json!({"type": "NodePort"}), dual).unwrap(),
            json!([SINGLE, ["IPv4"]])
        );
        let given = json!({"type": "ClusterIP", "clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]});
        assert_eq!(completed(given, dual).unwrap(), json!([SINGLE, ["IPv6"]]));
    }

    #[test]
    fn the_second_family_is_given_up_on_purpose_only() {
        let old = json!({"spec": {"type": "ClusterIP", "ipFamilyPolicy": PREFER, "ipFamilies": ["IPv4", "IPv6"],
            "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]}});
        let mut new = old.clone();
        new["spec"]["ipFamilyPolicy"] = SINGLE.into();
        complete(&mut new, Some(&old), &["IPv4", "IPv6"]).unwrap();
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.0.0.1"]));
        assert_eq!(new["spec"]["ipFamilies"], json!(["IPv4"]));
        let mut new = old.clone();
        new["spec"]["ipFamilyPolicy"] = REQUIRE.into();
        new["spec"]["ipFamilies"] = json!(["IPv4"]);
        let errors = complete(&mut new, Some(&old), &["IPv4", "IPv6"]).unwrap_err();
        assert!(errors[0].message.contains("to release the secondary IP family"));
    }
}

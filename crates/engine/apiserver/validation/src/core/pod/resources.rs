//! Requests and limits, of containers and of whole pods.

use serde_json::Value;

use super::options::Options;
use crate::core::resource_names::{
    container_name, is_huge_page, is_overcommit_allowed, quantity, resource_name, supported_for_pods,
};
use crate::errors::Errors;
use crate::get::{entries, given, items, text};
use crate::names::dns_label;
use crate::{FieldError, Path};
use engenho_quantity::Quantity;
use engenho_quantity::amounts::{Amounts, of_containers, read};

type NameRule = fn(&str, &Path, &mut Errors);

fn pod_name(name: &str, path: &Path, errors: &mut Errors) {
    let before = errors.count();
    resource_name(name, path, errors);
    if errors.count() == before && !supported_for_pods(name) {
        errors.not_supported(path, name, &["cpu", "hugepages-", "memory"]);
    }
}

/// What a container asks for and may use; `claims` are the names of the pod's claims.
pub(crate) fn container(resources: &Value, claims: &[&str], options: Options, path: &Path, errors: &mut Errors) {
    requirements(resources, container_name, claims, options, path, errors);
}

fn requirements(
    resources: &Value,
    name_rule: NameRule,
    claims: &[&str],
    options: Options,
    path: &Path,
    errors: &mut Errors,
) {
    let (limits, requests) = (path.child("limits"), path.child("requests"));
    let (mut computing, mut huge_pages) = (false, false);
    let mut one = |name: &str, value: &Value, list: &Path, errors: &mut Errors| {
        name_rule(name, &list.key(name), errors);
        quantity(name, value, &list.key(name), errors);
        computing |= name == "cpu" || name == "memory";
        huge_pages |= is_huge_page(name);
    };
    let divisible = |name: &str, value: &Value, list: &Path, errors: &mut Errors| {
        if is_huge_page(name) && !options.indivisible_huge_pages && !is_divisible(name, value) {
            let amount = Quantity::of(value).to_string();
            let detail = format!("{amount} is not positive integer multiple of {name}");
            errors.invalid(list.key(name), amount, &detail);
        }
    };
    for (name, value) in entries(&resources["limits"]) {
        one(name, value, &limits, errors);
        divisible(name, value, &limits, errors);
    }
    for (name, value) in entries(&resources["requests"]) {
        one(name, value, &requests, errors);
        let (amount, overcommit) = (Quantity::of(value), is_overcommit_allowed(name));
        match resources["limits"].get(name).map(Quantity::of) {
            Some(limit) if amount != limit && !overcommit => {
                let detail = format!("must be equal to {name} limit of {limit}");
                errors.invalid(requests, amount.to_string(), &detail);
            }
            Some(limit) if amount > limit => {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                errors.invalid(requests, amount.to_string(), &detail);
            }
            None if !overcommit => errors.required(limits, "Limit must be set for non overcommitable resources"),
            _ => {}
        }
        divisible(name, value, &requests, errors);
    }
    if huge_pages && !computing {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
    claim_names(&resources["claims"], claims, &path.child("claims"), errors);
}

fn claim_names(used: &Value, claims: &[&str], path: &Path, errors: &mut Errors) {
    let mut names: Vec<String> = Vec::new();
    for (i, claim) in items(used).iter().enumerate() {
        let (name, request, path) = (text(&claim["name"]), text(&claim["request"]), path.index(i));
        if name.is_empty() {
            errors.required(path, "");
            continue;
        }
        if names.iter().any(|n| n == name) {
            errors.duplicate(path, name);
        } else {
            let mut key = name.to_owned();
            if !request.is_empty() {
                errors.check(dns_label, request, &path.child("request"));
                key = format!("{name}/{request}");
            }
            if names.contains(&key) {
                errors.duplicate(path, key.as_str());
            } else if request.is_empty() {
                let overlaps = names
                    .iter()
                    .filter(|n| n.split_once('/').is_some_and(|(c, _)| c == name));
                for _ in overlaps {
                    errors.duplicate(path, name);
                }
            }
            names.push(key);
        }
        if !claims.contains(&name) {
            errors.push(unknown_claim(name, claims, &path));
        }
    }
}

fn unknown_claim(name: &str, claims: &[&str], path: &Path) -> FieldError {
    let mut sorted = claims.to_vec();
    sorted.sort_unstable();
    let known = match sorted.is_empty() {
        true => " which is empty".to_owned(),
        false => format!(": {}", sorted.join(", ")),
    };
    let mut error = FieldError::not_found(path, name);
    error.message = format!(
        "{}: must be one of the names in pod.spec.resourceClaims{known}",
        error.message
    );
    error
}

/// Whether an amount of huge pages is a whole number of them.
fn is_divisible(name: &str, value: &Value) -> bool {
    let size = name.strip_prefix("hugepages-").map(Quantity::parse);
    let (Some(Ok(size)), amount) = (size, Quantity::of(value)) else {
        return false;
    };
    size > Quantity::ZERO && amount.is_multiple_of(size)
}

/// Whether a container has an amount of huge pages that is no multiple of the page.
pub(super) fn has_indivisible_huge_pages(resources: &Value) -> bool {
    ["limits", "requests"]
        .iter()
        .flat_map(|list| entries(&resources[*list]))
        .any(|(name, value)| is_huge_page(name) && !is_divisible(name, value))
}

/// Resources of the whole pod, which no container may exceed.
pub(super) fn pod(spec: &Value, claims: &[&str], options: Options, path: &Path, errors: &mut Errors) {
    let resources = &spec["resources"];
    if !given(resources) {
        return;
    }
    if given(&resources["claims"]) {
        errors.forbidden(path.child("claims"), "claims cannot be set for Resources at pod-level");
    }
    requirements(resources, pod_name, claims, options, path, errors);
    let requests = path.child("requests");
    for (name, sum) in requested(spec) {
        let whole = Quantity::of(&resources["requests"][name.as_str()]);
        if sum > whole {
            let sum = sum.to_string();
            let detail = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.invalid(requests.key(&name), whole.to_string(), &detail);
        }
    }
    let containers = path.child("containers");
    for (i, container) in items(&spec["containers"]).iter().enumerate() {
        for (name, limit) in entries(&container["resources"]["limits"]) {
            let Some(whole) = resources["limits"].get(name).map(Quantity::of) else {
                continue;
            };
            let limit = Quantity::of(limit);
            if limit > whole {
                let detail = format!("must be less than or equal to pod limits of {whole}");
                let field = containers.index(i);
                errors.invalid(field.key(name).child("limits"), limit.to_string(), &detail);
            }
        }
    }
}

/// What the containers of a pod ask for together.
fn requested(spec: &Value) -> Amounts {
    of_containers(
        items(&spec["containers"]),
        items(&spec["initContainers"]),
        |container, _| read(&container["resources"]["requests"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn messages(resources: Value) -> Vec<String> {
        let path = Path::Root.child("r");
        Errors::of(|e| container(&resources, &[], Options::default(), &path, e))
            .into_iter()
            .map(|e| format!("{}: {}", e.field, e.message))
            .collect()
    }

    #[test]
    fn requests_fit_into_limits() {
        assert_eq!(
            messages(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
            ["r.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"]
        );
        assert_eq!(
            messages(json!({"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}})),
            ["r.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi"]
        );
        assert!(messages(json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m"}})).is_empty());
    }

    #[test]
    fn init_containers_count_at_their_peak() {
        let spec = json!({
            "containers": [{"resources": {"requests": {"cpu": "1"}}}],
            "initContainers": [
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
                {"resources": {"requests": {"cpu": "2"}}},
            ],
        });
        assert_eq!(requested(&spec)["cpu"].to_string(), "2500m");
    }
}

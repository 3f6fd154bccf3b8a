//! Ranges of limits, and quotas.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::resource_names::{container_name, is_overcommit_allowed, is_quota, quantity, quota_name, resource_name};
use crate::errors::Errors;
use crate::get::{count, entries, given, items, text, texts};
use crate::names::qualified;
use crate::{FieldError, Path, shapes};
use engenho_quantity::Quantity;

type Amounts<'a> = BTreeMap<&'a str, Quantity>;

/// A range of limits, new.
pub(crate) fn create_range(range: &Value) -> Vec<FieldError> {
    let spec = Path::Root.child("spec");
    let path = spec.child("limits");
    let mut kinds = HashSet::new();
    Errors::of(|errors| {
        for (i, limit) in items(&range["spec"]["limits"]).iter().enumerate() {
            let (item, kind) = (path.index(i), text(&limit["type"]));
            limit_type(kind, &item.child("type"), errors);
            if !kinds.insert(kind) {
                errors.duplicate(item.child("type"), kind);
            }
            one_limit(limit, kind, &item, errors);
        }
    })
}

/// A range of limits that replaces another one.
pub(crate) fn update_range(new: &Value, _old: &Value) -> Vec<FieldError> {
    create_range(new)
}

fn limit_type(kind: &str, path: &Path, errors: &mut Errors) {
    let before = errors.count();
    errors.check(qualified, kind, path);
    let standard = ["Pod", "Container", "PersistentVolumeClaim"].contains(&kind);
    if errors.count() == before && !kind.contains('/') && !standard {
        errors.invalid(path, kind, "must be a standard limit type or fully qualified");
    }
}

fn named<'a>(limit: &'a Value, list: &'static str, kind: &str, path: &Path, errors: &mut Errors) -> Amounts<'a> {
    let field = path.child(list);
    let mut amounts = Amounts::new();
    for (name, amount) in entries(&limit[list]) {
        match kind {
            "Pod" | "Container" => container_name(name, &field.key(name), errors),
            _ => resource_name(name, &field.key(name), errors),
        }
        amounts.insert(name, Quantity::of(amount));
    }
    amounts
}

fn one_limit(limit: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    let max = named(limit, "max", kind, path, errors);
    let min = named(limit, "min", kind, path, errors);
    let (mut default, mut request) = (Amounts::new(), Amounts::new());
    if kind == "Pod" {
        for list in ["default", "defaultRequest"] {
            if count(&limit[list]) > 0 {
                errors.forbidden(path.child(list), "may not be specified when `type` is 'Pod'");
            }
        }
    } else {
        default = named(limit, "default", kind, path, errors);
        request = named(limit, "defaultRequest", kind, path, errors);
    }
    if kind == "PersistentVolumeClaim" && !max.contains_key("storage") && !min.contains_key("storage") {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(path.child("limits"), detail);
    }
    let ratio = named(limit, "maxLimitRequestRatio", kind, path, errors);
    let names: BTreeSet<&str> = [&max, &min, &default, &request, &ratio]
        .into_iter()
        .flat_map(|amounts| amounts.keys().copied())
        .collect();
    for name in names {
        let of = |amounts: &Amounts| amounts.get(name).copied();
        ordered(name, [of(&min), of(&max), of(&default), of(&request)], path, errors);
        ratios(name, of(&ratio), of(&min), of(&max), path, errors);
        if let (Some(default), Some(request)) = (of(&default), of(&request))
            && !is_overcommit_allowed(name)
            && default != request
        {
            let (given_default, given_request) = (default.to_string(), request.to_string());
            let detail =
                format!("default value {given_default} must equal to defaultRequest value {given_request} in {name}");
            errors.invalid(path.child("defaultRequest").key(name), given_request, &detail);
        }
    }
}

/// The least, the most and the defaults of a resource must be in order.
fn ordered(name: &str, [min, max, default, request]: [Option<Quantity>; 4], path: &Path, errors: &mut Errors) {
    /// The field complained about, whether its value is the greater one, both names.
    const RULES: [(&str, bool, &str, &str); 6] = [
        ("min", true, "min", "max"),
        ("defaultRequest", false, "min", "default request"),
        ("defaultRequest", true, "default request", "max"),
        ("defaultRequest", true, "default request", "default limit"),
        ("default", true, "min", "default"),
        ("default", false, "default", "max"),
    ];
    let pairs = [
        (min, max),
        (min, request),
        (request, max),
        (request, default),
        (min, default),
        (default, max),
    ];
    for ((field, value_is_first, low_name, high_name), (low, high)) in RULES.into_iter().zip(pairs) {
        let (Some(low), Some(high)) = (low, high) else {
            continue;
        };
        if low > high {
            let (low, high) = (low.to_string(), high.to_string());
            let detail = format!("{low_name} value {low} is greater than {high_name} value {high}");
            let value = if value_is_first { low } else { high };
            errors.invalid(path.child(field).key(name), value, &detail);
        }
    }
}

fn ratios(
    name: &str,
    ratio: Option<Quantity>,
    min: Option<Quantity>,
    max: Option<Quantity>,
    path: &Path,
    errors: &mut Errors,
) {
    let Some(ratio) = ratio else {
        return;
    };
    let field = path.child("maxLimitRequestRatio");
    if ratio < Quantity::whole(1) {
        let detail = format!("ratio {ratio} is less than 1");
        errors.invalid(field.key(name), ratio.to_string(), &detail);
    }
    let (Some(min), Some(max)) = (min, max) else {
        return;
    };
    let most = max.milli_value() as f64 / min.milli_value() as f64;
    if ratio.milli_value() as f64 / 1000.0 > most {
        let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
        errors.invalid(field.key(name), ratio.to_string(), &detail);
    }
}

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

fn fits(scope: &str, resource: &str) -> bool {
    const COMPUTING: [&str; 7] = [
        "pods",
        "cpu",
        "memory",
        "limits.cpu",
        "limits.memory",
        "requests.cpu",
        "requests.memory",
    ];
    match scope {
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            COMPUTING.contains(&resource)
        }
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => ["persistentvolumeclaims", "requests.storage"].contains(&resource),
        _ => true,
    }
}

fn hard(map: &Value, path: &Path, errors: &mut Errors) {
    for (name, amount) in entries(map) {
        quota_name(name, &path.key(name), errors);
        quantity(name, amount, &path.key(name), errors);
    }
}

fn conflicting(scopes: &HashSet<&str>) -> usize {
    [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]]
        .iter()
        .filter(|pair| pair.iter().all(|scope| scopes.contains(scope)))
        .count()
}

fn quota_spec(spec: &Value, errors: &mut Errors) {
    let path = Path::Root.child("spec");
    hard(&spec["hard"], &path.child("hard"), errors);
    let misfits = |scope: &str| {
        let resources = entries(&spec["hard"]);
        resources
            .iter()
            .filter(|(name, _)| is_quota(name) && !fits(scope, name))
            .count()
    };
    let field = path.child("scopes");
    let all = || spec["scopes"].clone();
    let mut seen = HashSet::new();
    for scope in texts(&spec["scopes"]) {
        if !SCOPES.contains(&scope) {
            errors.invalid(field, all(), "unsupported scope");
        }
        for _ in 0..misfits(scope) {
            errors.invalid(field, all(), "unsupported scope applied to resource");
        }
        seen.insert(scope);
    }
    for _ in 0..conflicting(&seen) {
        errors.invalid(field, all(), "conflicting scopes");
    }
    if given(&spec["scopeSelector"]) {
        let selector = path.child("scopeSelector");
        scope_selector(spec, misfits, &selector.child("matchExpressions"), errors);
    }
}

fn scope_selector(spec: &Value, misfits: impl Fn(&str) -> usize, path: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for requirement in items(&spec["scopeSelector"]["matchExpressions"]) {
        let (scope, operator) = (text(&requirement["scopeName"]), text(&requirement["operator"]));
        let values = items(&requirement["values"]);
        if !SCOPES.contains(&scope) {
            errors.invalid(path.child("scopeName"), scope, "unsupported scope");
        }
        for _ in 0..misfits(scope) {
            let printed = shapes::compact("ScopeSelector", &spec["scopeSelector"]);
            let detail = "unsupported scope applied to resource";
            errors.push(FieldError::invalid_printed(path, &printed, detail));
        }
        let only_exists = ["PriorityClass", "VolumeAttributesClass"];
        if SCOPES.contains(&scope) && !only_exists.contains(&scope) && operator != "Exists" {
            let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.invalid(path.child("operator"), operator, detail);
        }
        match operator {
            "In" | "NotIn" => {
                if values.is_empty() {
                    let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                    errors.required(path.child("values"), detail);
                }
            }
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                    errors.invalid(path.child("values"), requirement["values"].clone(), detail);
                }
            }
            other => errors.invalid(path.child("operator"), other, "not a valid selector operator"),
        }
        seen.insert(scope);
    }
    for _ in 0..conflicting(&seen) {
        errors.invalid(path, spec["scopes"].clone(), "conflicting scopes");
    }
}

fn quota_status(status: &Value, errors: &mut Errors) {
    let path = Path::Root.child("status");
    for list in ["hard", "used"] {
        hard(&status[list], &path.child(list), errors);
    }
}

/// A new quota.
pub(crate) fn create_quota(quota: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        quota_spec(&quota["spec"], errors);
        quota_status(&quota["status"], errors);
    })
}

/// A quota that replaces another one.
pub(crate) fn update_quota(new: &Value, old: &Value) -> Vec<FieldError> {
    let scopes = |quota: &Value| -> BTreeSet<String> { texts(&quota["spec"]["scopes"]).map(str::to_owned).collect() };
    Errors::of(|errors| {
        quota_spec(&new["spec"], errors);
        if scopes(new) != scopes(old) {
            let field = Path::Root.child("spec");
            errors.invalid(
                field.child("scopes"),
                new["spec"]["scopes"].clone(),
                "field is immutable",
            );
        }
    })
}

/// The status of a quota.
pub(crate) fn update_quota_status(new: &Value, _old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| quota_status(&new["status"], errors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn messages(limit: Value) -> Vec<String> {
        create_range(&json!({"spec": {"limits": [limit]}}))
            .into_iter()
            .map(|e| format!("{}: {}", e.field, e.message))
            .collect()
    }

    #[test]
    fn limits_are_in_order() {
        let limit = json!({"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}});
        assert_eq!(
            messages(limit),
            ["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"]
        );
        let limit =
            json!({"type": "Pod", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}});
        assert!(messages(limit)[0].ends_with("ratio 3 is greater than max/min = 2.000000"));
    }
}

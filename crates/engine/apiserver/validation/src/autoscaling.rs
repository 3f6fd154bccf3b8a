//! HorizontalPodAutoscaler of `autoscaling/v1` and `autoscaling/v2`.

use serde_json::{Value, json};

use crate::get::{given, int, items, optional_int, optional_text, text};
use crate::labels::check;
use crate::names::{dns_label, path_segment};
use crate::scalars::timing::NEGATIVE;
use crate::shared::{self, Errors, group_version, not_negative, one_of};
use crate::{FieldError, Path};
use engenho_quantity::Quantity;

const PERIOD_SECONDS_MAX: i64 = 1800;
const WINDOW_SECONDS_MAX: i64 = 3600;
/// Types of metrics with the fields that describe them, sorted by type.
const METRICS: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];
/// The order in which upstream looks at the fields.
const METRIC_FIELDS: [&str; 5] = ["object", "external", "pods", "resource", "containerResource"];

/// What an object's reference may look like.
#[derive(Debug, Clone, Copy, Default)]
struct Reference {
    no_group: bool,
    any_version: bool,
}

#[derive(Debug, Clone, Copy)]
struct Options {
    replicas_min: i64,
    target: Reference,
    objects: Reference,
}

/// What is wrong with a new HorizontalPodAutoscaler.
pub(crate) fn create(object: &Value) -> Errors {
    spec(object, options(object, None))
}

/// What is wrong with a HorizontalPodAutoscaler that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    spec(new, options(new, Some(old)))
}

/// What is wrong with a status that replaces another.
pub(crate) fn update_status(new: &Value, _old: &Value) -> Errors {
    let path = Path::Root.child("status");
    ["currentReplicas", "desiredReplicas"]
        .iter()
        .flat_map(|key| not_negative(&new["status"][*key], &path.child(key)))
        .collect()
}

fn options(new: &Value, old: Option<&Value>) -> Options {
    let mut options = Options {
        replicas_min: 1,
        target: Reference {
            no_group: text(&new["spec"]["scaleTargetRef"]["kind"]) == "ReplicationController",
            any_version: false,
        },
        objects: Reference {
            no_group: true,
            any_version: false,
        },
    };
    let Some(old) = old.map(|old| &old["spec"]) else {
        return options;
    };
    if optional_int(&old["minReplicas"]) == Some(0) {
        options.replicas_min = 0;
    }
    options.target.any_version = version_fault(&old["scaleTargetRef"], options.target).is_some();
    options.objects.any_version = items(&old["metrics"])
        .iter()
        .map(|metric| &metric["object"]["describedObject"])
        .any(|object| given(object) && version_fault(object, options.objects).is_some());
    options
}

/// The metrics of a spec; `autoscaling/v1` has one, in another form.
fn metrics(spec: &Value) -> Vec<Value> {
    let mut metrics = items(&spec["metrics"]).to_vec();
    if let Some(percent) = optional_int(&spec["targetCPUUtilizationPercentage"]) {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    metrics
}

fn spec(object: &Value, options: Options) -> Errors {
    let spec = &object["spec"];
    let path = Path::Root.child("spec");
    let mut errors = Errors::new();
    let min = optional_int(&spec["minReplicas"]);
    let max = int(&spec["maxReplicas"]);
    if let Some(min) = min.filter(|min| *min < options.replicas_min) {
        let detail = format!("must be greater than or equal to {}", options.replicas_min);
        errors.push(FieldError::invalid(path.child("minReplicas"), min, &detail));
    }
    let mut wrong = |detail| errors.push(FieldError::invalid(path.child("maxReplicas"), max, detail));
    if max < 1 {
        wrong("must be greater than 0");
    }
    if min.is_some_and(|min| max < min) {
        wrong("must be greater than or equal to `minReplicas`");
    }
    errors.extend(reference(
        &spec["scaleTargetRef"],
        options.target,
        &path.child("scaleTargetRef"),
    ));
    let metrics = metrics(spec);
    let metrics_path = path.child("metrics");
    for (i, one) in metrics.iter().enumerate() {
        errors.extend(metric(one, options.objects, &metrics_path.index(i)));
    }
    let scales_alone = |m: &Value| matches!(text(&m["type"]), "Object" | "External");
    if min == Some(0) && !metrics.iter().any(scales_alone) {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden(metrics_path, detail));
    }
    let behavior = path.child("behavior");
    for key in ["scaleUp", "scaleDown"] {
        errors.extend(rules(&spec["behavior"][key], &behavior.child(key)));
    }
    errors
}

fn reference(reference: &Value, rules: Reference, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    for key in ["kind", "name"] {
        errors.extend(shared::path_segment(&reference[key], &path.child(key)));
    }
    if let Some(fault) = version_fault(reference, rules) {
        let version = text(&reference["apiVersion"]);
        errors.push(FieldError::invalid(path.child("apiVersion"), version, &fault));
    }
    errors
}

fn version_fault(reference: &Value, rules: Reference) -> Option<String> {
    if rules.any_version {
        return None;
    }
    match group_version(text(&reference["apiVersion"])) {
        Err(fault) => Some(fault),
        Ok(("", _)) if !rules.no_group => Some("apiVersion must specify API group".to_owned()),
        Ok(_) => None,
    }
}

fn metric(metric: &Value, rules: Reference, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let kind = text(&metric["type"]);
    if kind.is_empty() {
        errors.push(FieldError::required(
            path.child("type"),
            "must specify a metric source type",
        ));
    }
    let types = METRICS.map(|(kind, _)| kind);
    let expected = METRICS.iter().find(|(name, _)| *name == kind).map(|(_, field)| *field);
    if expected.is_none() {
        errors.push(FieldError::not_supported(path.child("type"), kind, &types));
    }
    let present: Vec<&str> = METRIC_FIELDS.into_iter().filter(|key| given(&metric[*key])).collect();
    if let Some(first) = present.first() {
        errors.extend(source(first, &metric[*first], rules, &path.child(first)));
    }
    match expected {
        None => errors.push(FieldError::not_supported(path.child("type"), kind, &types)),
        Some(field) if !present.contains(&field) => {
            let detail = "must populate information for the given metric source";
            errors.push(FieldError::required(path.child(field), detail));
        }
        Some(_) => {}
    }
    if present.len() != 1 {
        for field in present.into_iter().filter(|field| Some(*field) != expected) {
            let detail = "must populate the given metric source only";
            errors.push(FieldError::forbidden(path.child(field), detail));
        }
    }
    errors
}

fn source(field: &str, source: &Value, rules: Reference, path: &Path<'_>) -> Errors {
    let target = &source["target"];
    let target_path = path.child("target");
    let mut errors = Errors::new();
    match field {
        "object" => errors.extend(reference(
            &source["describedObject"],
            rules,
            &path.child("describedObject"),
        )),
        "resource" | "containerResource" if text(&source["name"]).is_empty() => {
            errors.push(FieldError::required(path.child("name"), "must specify a resource name"));
        }
        _ => {}
    }
    if field == "containerResource" {
        let at = path.child("container");
        match text(&source["container"]) {
            "" => errors.push(FieldError::required(at, "must specify a container")),
            container => errors.extend(check(dns_label, container, &at)),
        }
    }
    if matches!(field, "object" | "external" | "pods") {
        errors.extend(identifier(&source["metric"], &path.child("metric")));
    }
    errors.extend(metric_target(target, &target_path));
    let (value, average) = (given(&target["value"]), given(&target["averageValue"]));
    let utilization = given(&target["averageUtilization"]);
    let required = match field {
        "object" if !value && !average => Some(("averageValue", "must set either a target value or averageValue")),
        "external" if !value && !average => Some((
            "averageValue",
            "must set either a target value for metric or a per-pod target",
        )),
        "pods" if !average => Some(("averageValue", "must specify a positive target averageValue")),
        "resource" | "containerResource" if !utilization && !average => Some((
            "averageUtilization",
            "must set either a target raw value or a target utilization",
        )),
        _ => None,
    };
    if let Some((key, detail)) = required {
        errors.push(FieldError::required(target_path.child(key), detail));
    }
    let forbidden = match field {
        "external" if value && average => Some((
            "value",
            "may not set both a target value for metric and a per-pod target",
        )),
        "resource" | "containerResource" if utilization && average => Some((
            "averageValue",
            "may not set both a target raw value and a target utilization",
        )),
        _ => None,
    };
    if let Some((key, detail)) = forbidden {
        errors.push(FieldError::forbidden(target_path.child(key), detail));
    }
    errors
}

fn identifier(metric: &Value, path: &Path<'_>) -> Errors {
    match text(&metric["name"]) {
        "" => vec![FieldError::required(path.child("name"), "must specify a metric name")],
        name => check(path_segment, name, &path.child("name")),
    }
}

fn metric_target(target: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let kind = text(&target["type"]);
    if kind.is_empty() {
        errors.push(FieldError::required(
            path.child("type"),
            "must specify a metric target type",
        ));
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(path.child("type"), kind, detail));
    }
    for key in ["value", "averageValue"] {
        if let Ok(quantity) = Quantity::read(&target[key])
            && quantity <= Quantity::ZERO
        {
            errors.push(FieldError::invalid(
                path.child(key),
                quantity.to_string(),
                "must be positive",
            ));
        }
    }
    if let Some(percent) = optional_int(&target["averageUtilization"])
        && percent < 1
    {
        let field = path.child("averageUtilization");
        errors.push(FieldError::invalid(field, percent, "must be greater than 0"));
    }
    errors
}

fn rules(rules: &Value, path: &Path<'_>) -> Errors {
    if !given(rules) {
        return Errors::new();
    }
    let mut errors = Errors::new();
    if let Some(window) = optional_int(&rules["stabilizationWindowSeconds"]) {
        let field = path.child("stabilizationWindowSeconds");
        if window < 0 {
            errors.push(FieldError::invalid(
                field,
                window,
                "must be greater than or equal to zero",
            ));
        }
        if window > WINDOW_SECONDS_MAX {
            let detail = format!("must be less than or equal to {WINDOW_SECONDS_MAX}");
            errors.push(FieldError::invalid(field, window, &detail));
        }
    }
    let select = ["Disabled", "Max", "Min"];
    errors.extend(one_of(&rules["selectPolicy"], &select, &path.child("selectPolicy")));
    let policies = path.child("policies");
    if items(&rules["policies"]).is_empty() {
        errors.push(FieldError::required(policies, "must specify at least one Policy"));
    }
    for (i, one) in items(&rules["policies"]).iter().enumerate() {
        errors.extend(policy(one, &policies.index(i)));
    }
    if let Ok(tolerance) = Quantity::read(&rules["tolerance"])
        && tolerance < Quantity::ZERO
    {
        errors.push(FieldError::invalid(
            path.child("tolerance"),
            tolerance.to_string(),
            NEGATIVE,
        ));
    }
    errors
}

fn policy(policy: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let kind = optional_text(&policy["type"]).unwrap_or_default();
    let kinds = ["Percent", "Pods"];
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported(path.child("type"), kind, &kinds));
    }
    for key in ["value", "periodSeconds"] {
        let number = int(&policy[key]);
        if number <= 0 {
            errors.push(FieldError::invalid(
                path.child(key),
                number,
                "must be greater than zero",
            ));
        }
    }
    let period = int(&policy["periodSeconds"]);
    if period > PERIOD_SECONDS_MAX {
        let detail = format!("must be less than or equal to {PERIOD_SECONDS_MAX}");
        errors.push(FieldError::invalid(path.child("periodSeconds"), period, &detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn autoscaler(extra: Value) -> Value {
        let mut spec = json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "minReplicas": 1,
            "maxReplicas": 3,
        });
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"spec": spec})
    }

    fn fields(object: &Value) -> Vec<String> {
        create(object).into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn bounds() {
        assert!(fields(&autoscaler(json!({}))).is_empty());
        assert_eq!(fields(&autoscaler(json!({"maxReplicas": 0}))), ["spec.maxReplicas"; 2]);
        let zero = autoscaler(json!({"minReplicas": 0}));
        assert_eq!(fields(&zero), ["spec.minReplicas", "spec.metrics"]);
        assert_eq!(update(&zero, &zero).len(), 1);
    }

    #[test]
    fn each_metric_has_one_source() {
        let target = json!({"type": "Utilization", "averageUtilization": 50});
        let resource = json!({"name": "cpu", "target": target});
        let good = json!([{"type": "Resource", "resource": resource}]);
        assert!(fields(&autoscaler(json!({"metrics": good}))).is_empty());
        let two =
            json!([{"type": "Resource", "resource": resource, "pods": {"metric": {"name": "m"}, "target": target}}]);
        let errors = fields(&autoscaler(json!({"metrics": two})));
        assert!(errors.contains(&"spec.metrics[0].pods".to_owned()), "{errors:?}");
    }

    #[test]
    fn the_metric_of_v1_is_one_of_v2() {
        let object = autoscaler(json!({"targetCPUUtilizationPercentage": 0}));
        assert_eq!(fields(&object), ["spec.metrics[0].resource.target.averageUtilization"]);
    }

    #[test]
    fn a_reference_names_its_group() {
        let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": "p"});
        assert_eq!(
            fields(&autoscaler(json!({"scaleTargetRef": reference}))),
            ["spec.scaleTargetRef.apiVersion"]
        );
        let controller = json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "p"});
        assert!(fields(&autoscaler(json!({"scaleTargetRef": controller}))).is_empty());
    }
}

//! When a job has failed, and when it has succeeded.

use std::collections::HashSet;

use serde_json::Value;

use super::indexes;
use crate::errors::Errors;
use crate::get::{given, int, items, optional_int, optional_text, text};
use crate::names::qualified;
use crate::{FieldError, Path};

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const PATTERNS_MAX: usize = 20;
const INDEXES_BYTES_MAX: usize = 64 * 1024;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

/// A text that must be given and be one of a set, which the message tells.
fn required_one_of(value: &str, supported: &[&str], path: &Path, errors: &mut Errors) {
    if value.is_empty() {
        let list: Vec<String> = supported.iter().map(|s| crate::go_quoted(s)).collect();
        errors.required(path, &format!("valid values: [{}]", list.join(" ")));
    } else {
        errors.one_of(value, supported, path);
    }
}

fn at_most(list: &Value, max: usize, path: &Path, errors: &mut Errors) {
    if items(list).len() > max {
        errors.push(FieldError::too_many(path, items(list).len(), max));
    }
}

/// When pods that fail count.
pub(super) fn failure(spec: &Value, path: &Path, errors: &mut Errors) {
    let (rules, field) = (&spec["podFailurePolicy"]["rules"], path.child("rules"));
    at_most(rules, RULES_MAX, &field, errors);
    let pod = &spec["template"]["spec"];
    let containers: HashSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| items(&pod[*list]))
        .map(|c| text(&c["name"]))
        .collect();
    for (i, rule) in items(rules).iter().enumerate() {
        failure_rule(spec, rule, &containers, &field.index(i), errors);
    }
}

fn failure_rule(spec: &Value, rule: &Value, containers: &HashSet<&str>, path: &Path, errors: &mut Errors) {
    let (action, field) = (text(&rule["action"]), path.child("action"));
    if action == "FailIndex" && !given(&spec["backoffLimitPerIndex"]) {
        errors.invalid(field, action, "requires the backoffLimitPerIndex to be set");
    }
    required_one_of(action, &ACTIONS, &field, errors);
    let (codes, conditions) = (&rule["onExitCodes"], &rule["onPodConditions"]);
    let by_condition = !items(conditions).is_empty();
    if given(codes) {
        exit_codes(codes, containers, &path.child("onExitCodes"), errors);
    }
    if by_condition {
        pod_conditions(conditions, &path.child("onPodConditions"), errors);
    }
    let detail = match (given(codes), by_condition) {
        (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return,
    };
    errors.push(FieldError::invalid_unprinted(path, detail));
}

fn exit_codes(codes: &Value, containers: &HashSet<&str>, path: &Path, errors: &mut Errors) {
    let (operator, values) = (text(&codes["operator"]), items(&codes["values"]));
    required_one_of(operator, &OPERATORS, &path.child("operator"), errors);
    if let Some(name) = optional_text(&codes["containerName"]).filter(|name| !containers.contains(name)) {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.invalid(path.child("containerName"), name, detail);
    }
    let field = path.child("values");
    if values.is_empty() {
        errors.invalid(field, codes["values"].clone(), "at least one value is required");
    }
    at_most(&codes["values"], EXIT_CODES_MAX, &field, errors);
    let mut seen = HashSet::new();
    for (i, value) in values.iter().enumerate() {
        let code = int(value);
        if operator == "In" && code == 0 {
            errors.invalid(field.index(i), code, "must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            errors.duplicate(field.index(i), code);
        }
    }
    if values.windows(2).any(|pair| int(&pair[0]) > int(&pair[1])) {
        errors.invalid(field, codes["values"].clone(), "must be ordered");
    }
}

fn pod_conditions(conditions: &Value, path: &Path, errors: &mut Errors) {
    at_most(conditions, PATTERNS_MAX, path, errors);
    for (i, pattern) in items(conditions).iter().enumerate() {
        let item = path.index(i);
        errors.check(qualified, text(&pattern["type"]), &item.child("type"));
        required_one_of(text(&pattern["status"]), &STATUSES, &item.child("status"), errors);
    }
}

/// When a job of indexed pods is done before all are.
pub(super) fn success(spec: &Value, path: &Path, errors: &mut Errors) {
    let (rules, field) = (&spec["successPolicy"]["rules"], path.child("rules"));
    if items(rules).is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.required(field, detail);
    }
    at_most(rules, RULES_MAX, &field, errors);
    for (i, rule) in items(rules).iter().enumerate() {
        success_rule(rule, int(&spec["completions"]), &field.index(i), errors);
    }
}

fn success_rule(rule: &Value, completions: i64, path: &Path, errors: &mut Errors) {
    let (indexes, count) = (
        optional_text(&rule["succeededIndexes"]),
        optional_int(&rule["succeededCount"]),
    );
    if indexes.is_none() && count.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.required(path, detail);
    }
    let mut total = 0;
    if let Some(list) = indexes {
        let field = path.child("succeededIndexes");
        if list.len() > INDEXES_BYTES_MAX {
            errors.push(FieldError::too_long(field, INDEXES_BYTES_MAX));
        }
        match indexes::count(list, completions) {
            Ok(count) => total = count,
            Err(why) => errors.invalid(field, list, &format!("error parsing succeededIndexes: {why}")),
        }
    }
    let Some(count) = count else {
        return;
    };
    let field = path.child("succeededCount");
    errors.non_negative(&rule["succeededCount"], &field);
    if count > completions {
        let detail = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(field, count, &detail);
    }
    if indexes.is_some() && count > total {
        let detail = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid(field, count, &detail);
    }
}

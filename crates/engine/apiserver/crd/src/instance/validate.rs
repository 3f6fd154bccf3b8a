//! Validation against OpenAPI v3, as the validator of kube-openapi does it, quirks included.

use std::collections::BTreeSet;

use engenho_validation::{FieldError, go_quoted};
use serde_json::{Number, Value};

use super::correlate::Pair;
use super::fault::{Kind, Outcome};
use crate::go;
use crate::schema::{Additional, Pattern, Range, Schema, is_known_format};

/// What is wrong with a value that is new. `prefix` is where it stands.
pub(super) fn create(schema: &Schema, value: &Value, prefix: &str) -> Vec<FieldError> {
    check(schema, value, "", None).into_errors(prefix)
}

/// What is wrong with a value that replaces another, without what was wrong already and has not changed.
pub(super) fn update(schema: &Schema, new: &Value, old: &Value, prefix: &str) -> Vec<FieldError> {
    check(schema, new, "", Some(Pair { new, old, schema })).into_errors(prefix)
}

/// Validates one value. Faults of one that has not changed are forgotten.
fn check(schema: &Schema, value: &Value, path: &str, pair: Option<Pair<'_>>) -> Outcome {
    let mut outcome = judge(schema, value, path, pair);
    if !outcome.is_valid() && pair.is_some_and(|pair| pair.unchanged()) {
        outcome.faults.clear();
    }
    outcome
}

fn judge(schema: &Schema, value: &Value, path: &str, pair: Option<Pair<'_>>) -> Outcome {
    let mut outcome = Outcome::default();
    if value.is_null() {
        if !schema.types.is_empty() && !schema.nullable && !schema.types.iter().any(|kind| kind == "null") {
            wrong_type(path, &schema.types.join(","), "null", &mut outcome);
        }
        outcome.matches += 1;
        allowed(schema, value, path, &mut outcome);
        return outcome;
    }
    if !schema.types.is_empty() || schema.format.is_some() {
        of_type(schema, value, path, &mut outcome);
        outcome.matches += 1;
    }
    combined(schema, value, path, &mut outcome);
    outcome.matches += 1;
    match value {
        Value::String(text) => {
            string(schema, text, path, &mut outcome);
            outcome.matches += 1;
            if let Some(format) = schema.format.as_deref().filter(|format| is_known_format(format)) {
                if !crate::schema::format_holds(format, text) {
                    wrong_type(path, format, text, &mut outcome);
                }
                outcome.matches += 1;
            }
        }
        Value::Number(number) => {
            in_range(&schema.range, number, path, &mut outcome);
            outcome.matches += 2;
        }
        Value::Array(items) => {
            array(schema, items, path, pair, &mut outcome);
            outcome.matches += 2;
        }
        _ => {}
    }
    allowed(schema, value, path, &mut outcome);
    outcome.matches += 1;
    if value.is_object() {
        object(schema, value, path, pair, &mut outcome);
        outcome.matches += 1;
    }
    outcome.matches += 1;
    outcome
}

fn wrong_type(path: &str, wanted: &str, found: &str, outcome: &mut Outcome) {
    let text = format!("{path} in body must be of type {wanted}: {}", go_quoted(found));
    outcome.add(path, text, Kind::Type(found.into()));
}

/// JSON type and format as the validator names them.
fn type_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::Number(number) if number.is_f64() => ("number", "float64"),
        Value::Number(_) => ("integer", "int64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

/// Whether a float is as good as a whole number.
fn is_whole(float: f64) -> bool {
    const LIMIT: f64 = 9_007_199_254_740_991.0;
    if !float.is_finite() || float.abs() > LIMIT {
        return false;
    }
    let whole = float.trunc();
    if whole == float {
        return true;
    }
    whole > 0.0 && (float - whole).abs() / (float + whole) < 1e-9
}

fn of_type(schema: &Schema, value: &Value, path: &str, outcome: &mut Outcome) {
    let (kind, format) = type_of(value);
    let is = |wanted: &str| schema.types.iter().any(|have| have == wanted);
    let whole = kind == "number" && is("integer") && value.as_f64().is_some_and(is_whole);
    let fits = is(kind) || whole || (kind == "integer" && is("number"));
    let texts = matches!(value, Value::String(_) | Value::Array(_));
    if let Some(wanted) = schema.format.as_deref() {
        if !texts && !fits && format != wanted {
            wrong_type(path, wanted, format, outcome);
            return;
        }
        if texts && !is("number") && !is("integer") {
            outcome.matches += 1;
            return;
        }
    }
    if fits {
        outcome.matches += 1;
    } else {
        wrong_type(path, &schema.types.join(","), kind, outcome);
    }
}

/// Whether a value is the allowed one, after conversion between kinds of numbers.
fn is_same(value: &Value, allowed: &Value) -> bool {
    match (value, allowed) {
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), None) => Some(a as f64) == b.as_f64(),
            (None, Some(b)) => a.as_f64().is_some_and(|a| a.trunc() as i64 == b),
            _ => a == b,
        },
        (a, b) => a == b,
    }
}

fn allowed(schema: &Schema, value: &Value, path: &str, outcome: &mut Outcome) {
    if schema.allowed.is_empty() || schema.allowed.iter().any(|allowed| is_same(value, allowed)) {
        return;
    }
    let values: Vec<String> = schema.allowed.iter().map(go::sprint).collect();
    let text = format!("{path} in body should be one of [{}]", values.join(" "));
    let kind = Kind::Enum {
        value: value.clone(),
        allowed: schema.allowed.clone(),
    };
    outcome.add(path, text, kind);
}

fn string(schema: &Schema, value: &str, path: &str, outcome: &mut Outcome) {
    let length = || i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
    if let Some(max) = schema.limits.max_length.filter(|max| length() > *max) {
        let text = format!("{path} in body should be at most {max} chars long");
        outcome.add(path, text, Kind::TooLong(max));
        return;
    }
    if let Some(min) = schema.limits.min_length.filter(|min| length() < *min) {
        let text = format!("{path} in body should be at least {min} chars long");
        outcome.add(path, text, Kind::Invalid(value.into()));
        return;
    }
    if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !pattern.matches(value)) {
        let text = format!("{path} in body should match '{}'", Pattern::text(pattern));
        outcome.add(path, text, Kind::Invalid(value.into()));
    }
}

fn in_range(range: &Range, number: &Number, path: &str, outcome: &mut Outcome) {
    let value = Value::Number(number.clone());
    // Whole numbers are compared with limits as whole numbers.
    let whole = number.as_i64();
    let float = number.as_f64().unwrap_or_default();
    let limit = |limit: f64| match whole {
        Some(_) => (limit as i64).to_string(),
        None => go::float(limit),
    };
    let compare = |limit: f64| match whole {
        Some(whole) => Some(whole.cmp(&(limit as i64))),
        None => float.partial_cmp(&limit),
    };
    if let Some(factor) = range.multiple_of {
        match whole {
            Some(_) if (factor as i64) < 1 => {
                let text = format!(
                    "factor MultipleOf declared for {path} must be positive: {}",
                    factor as i64
                );
                outcome.add(path, text, Kind::Invalid((factor as i64).into()));
            }
            None if factor <= 0.0 => {
                let text = format!(
                    "factor MultipleOf declared for {path} must be positive: {}",
                    go::float(factor)
                );
                outcome.add(path, text, Kind::Invalid(factor.into()));
            }
            _ => {
                let multiple = match whole {
                    Some(whole) => whole.checked_rem(factor as i64) == Some(0),
                    None if factor < 1.0 => is_whole(1.0 / factor * float),
                    None => is_whole(float / factor),
                };
                if !multiple {
                    let text = format!("{path} in body should be a multiple of {}", limit(factor));
                    outcome.add(path, text, Kind::Invalid(value.clone()));
                }
            }
        }
    }
    // The lower limit is told first.
    if let Some(min) = range.minimum {
        let order = compare(min);
        if order.is_some_and(|order| order.is_lt() || (range.exclusive_minimum && order.is_eq())) {
            let or_equal = if range.exclusive_minimum { "" } else { " or equal to" };
            let text = format!("{path} in body should be greater than{or_equal} {}", limit(min));
            outcome.add(path, text, Kind::Invalid(value.clone()));
        }
    }
    if let Some(max) = range.maximum {
        let order = compare(max);
        if order.is_some_and(|order| order.is_gt() || (range.exclusive_maximum && order.is_eq())) {
            let or_equal = if range.exclusive_maximum { "" } else { " or equal to" };
            let text = format!("{path} in body should be less than{or_equal} {}", limit(max));
            outcome.add(path, text, Kind::Invalid(value));
        }
    }
}

fn array(schema: &Schema, list: &[Value], path: &str, pair: Option<Pair<'_>>, outcome: &mut Outcome) {
    if let Some(inner) = &schema.items {
        let pairs = pair.map(|pair| pair.items()).unwrap_or_default();
        for (index, item) in list.iter().enumerate() {
            let pair = pairs.get(index).copied().flatten();
            outcome.merge(check(inner, item, &format!("{path}[{index}]"), pair));
        }
    }
    let size = i64::try_from(list.len()).unwrap_or(i64::MAX);
    if let Some(min) = schema.limits.min_items.filter(|min| size < *min) {
        let text = format!("{path} in body should have at least {min} items");
        outcome.add(path, text, Kind::Invalid(size.into()));
    }
    if let Some(max) = schema.limits.max_items.filter(|max| size > *max) {
        let text = format!("{path} in body should have at most {max} items");
        let kind = Kind::TooMany {
            actual: list.len(),
            max,
        };
        outcome.add(path, text, kind);
    }
    if schema.limits.unique_items {
        let distinct: BTreeSet<String> = list.iter().map(Value::to_string).collect();
        if distinct.len() < list.len() {
            let text = format!("{path} in body shouldn't contain duplicates");
            outcome.add(path, text, Kind::Invalid("".into()));
        }
    }
}

fn object(schema: &Schema, value: &Value, path: &str, pair: Option<Pair<'_>>, outcome: &mut Outcome) {
    let Some(map) = value.as_object() else { return };
    let size = i64::try_from(map.len()).unwrap_or(i64::MAX);
    if let Some(min) = schema.limits.min_properties.filter(|min| size < *min) {
        let text = format!("{path} in body should have at least {min} properties");
        outcome.add(path, text, Kind::Invalid(size.into()));
    }
    if let Some(max) = schema.limits.max_properties.filter(|max| size > *max) {
        let text = format!("{path} in body should have at most {max} properties");
        let kind = Kind::TooMany { actual: map.len(), max };
        outcome.add(path, text, kind);
    }
    // What `apiVersion` and `kind` were before is not known: both are shown in one version.
    let below = |name: &str| {
        pair.filter(|_| !(path.is_empty() && matches!(name, "apiVersion" | "kind")))?
            .key(name)
    };
    for (name, inner) in map.iter().filter(|(name, _)| !schema.properties.contains_key(*name)) {
        match &schema.additional {
            Additional::Forbidden => {
                let text = format!("{path}.{name} in body is a forbidden property");
                outcome.add(path, text, Kind::Invalid(name.as_str().into()));
            }
            Additional::Schema(values) => {
                outcome.merge(check(values, inner, &format!("{path}.{name}"), below(name)));
            }
            Additional::Any | Additional::Unspecified => {}
        }
    }
    for (name, property) in &schema.properties {
        if let Some(inner) = map.get(name) {
            let at = match path {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            outcome.merge(check(property, inner, &at, below(name)));
        }
    }
    for name in schema.required.iter().filter(|name| !map.contains_key(*name)) {
        let at = format!("{path}.{name}");
        let text = format!("{at} in body is required");
        outcome.add(&at, text, Kind::Required);
    }
}

/// Alternatives and conditions. Nothing within is told from what was there before.
fn combined(schema: &Schema, value: &Value, path: &str, outcome: &mut Outcome) {
    let quoted = || go_quoted(path);
    let of = |schema: &Schema| check(schema, value, path, None);
    if !schema.any_of.is_empty() {
        let mut closest: Option<Outcome> = None;
        let mut fits = None;
        for one in &schema.any_of {
            let found = of(one);
            if found.is_valid() {
                fits = Some(found);
                break;
            }
            if closest.as_ref().is_none_or(|closest| found.matches > closest.matches) {
                closest = Some(found);
            }
        }
        match (fits, closest) {
            (Some(fits), _) => outcome.merge(fits),
            (None, closest) => {
                let text = format!("{} must validate at least one schema (anyOf)", quoted());
                outcome.add("", text, Kind::Combined);
                outcome.merge(closest.unwrap_or_default());
            }
        }
    }
    if !schema.one_of.is_empty() {
        let mut closest: Option<Outcome> = None;
        let mut fits = None;
        let mut count = 0_usize;
        for one in &schema.one_of {
            let found = of(one);
            if found.is_valid() {
                count += 1;
                closest = None;
                fits.get_or_insert(found);
            } else if count == 0 && closest.as_ref().is_none_or(|closest| found.matches > closest.matches) {
                closest = Some(found);
            }
        }
        match (count, fits) {
            (1, Some(fits)) => outcome.merge(fits),
            _ => {
                let more = match count {
                    0 => "Found none valid".to_owned(),
                    count => format!("Found {count} valid alternatives"),
                };
                let text = format!("{} must validate one and only one schema (oneOf). {more}", quoted());
                outcome.add("", text, Kind::Combined);
                outcome.merge(closest.unwrap_or_default());
            }
        }
    }
    if !schema.all_of.is_empty() {
        let mut fulfilled = 0;
        for one in &schema.all_of {
            let found = of(one);
            fulfilled += usize::from(found.is_valid());
            outcome.merge(found);
        }
        if fulfilled < schema.all_of.len() {
            let more = if fulfilled == 0 { ". None validated" } else { "" };
            let text = format!("{} must validate all the schemas (allOf){more}", quoted());
            outcome.add("", text, Kind::Combined);
        }
    }
    if schema.not.as_ref().is_some_and(|not| of(not).is_valid()) {
        let text = format!("{} must not validate the schema (not)", quoted());
        outcome.add("", text, Kind::Combined);
    }
    outcome.matches += 1;
}

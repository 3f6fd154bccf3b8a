//! Whether a value fulfils a schema, with the texts of upstream's validator. Patterns and formats are not looked at.

use serde_json::Value;

use super::walk::DEPTH_MAX;
use crate::get::{entries, flag, given, items, text, texts};
use crate::shared::Errors;
use crate::{FieldError, Path};

/// Checks `value`, which stands at `name` below the value that is validated as a whole.
pub(super) fn validate(value: &Value, schema: &Value, name: &str, path: &Path<'_>, depth: usize, errors: &mut Errors) {
    if !schema.is_object() || depth > DEPTH_MAX {
        return;
    }
    if value.is_null() && flag(&schema["nullable"]) {
        return;
    }
    if let Some(error) = wrong_type(value, schema, name, path) {
        errors.push(error);
        return;
    }
    let allowed = items(&schema["enum"]);
    if !allowed.is_empty() && !allowed.contains(value) {
        let shown: Vec<String> = allowed
            .iter()
            .map(|v| v.as_str().map_or(v.to_string(), str::to_owned))
            .collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(path, value.clone(), &shown));
    }
    match value {
        Value::Number(_) => number(value, schema, name, path, errors),
        Value::String(text) => {
            let count = text.chars().count() as u64;
            if let Some(max) = limit(schema, "maxLength").filter(|max| count > *max) {
                errors.push(FieldError::too_long(path, max as usize));
            }
            if let Some(min) = limit(schema, "minLength").filter(|min| count < *min) {
                let detail = format!("{name} in body should be at least {min} chars long");
                errors.push(FieldError::invalid(path, value.clone(), &detail));
            }
        }
        Value::Array(list) => array(list, schema, name, path, depth, errors),
        Value::Object(_) => object(value, schema, name, path, depth, errors),
        _ => {}
    }
    combined(value, schema, name, path, depth, errors);
}

fn limit(schema: &Value, key: &str) -> Option<u64> {
    schema[key].as_u64()
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(value: &Value, schema: &Value, name: &str, path: &Path<'_>) -> Option<FieldError> {
    let expected: &[&str] = match text(&schema["type"]) {
        "" if flag(&schema["x-kubernetes-int-or-string"]) => &["integer", "string"],
        "" => return None,
        kind => &[kind],
    };
    let actual = type_of(value);
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = |kind: &&str| match *kind {
        "number" => value.is_number(),
        "integer" => whole,
        kind => kind == actual,
    };
    if expected.iter().any(fits) {
        return None;
    }
    let detail = format!("{name} in body must be of type {}: {actual:?}", expected.join(","));
    Some(FieldError::type_invalid(path, actual, &detail))
}

fn number(value: &Value, schema: &Value, name: &str, path: &Path<'_>, errors: &mut Errors) {
    let number = value.as_f64().unwrap_or_default();
    let mut wrong = |detail: String| errors.push(FieldError::invalid(path, value.clone(), &detail));
    if let Some(max) = schema["maximum"].as_f64() {
        let exclusive = flag(&schema["exclusiveMaximum"]);
        if number > max || (exclusive && number == max) {
            let or_equal = if exclusive { "" } else { " or equal to" };
            wrong(format!("{name} in body should be less than{or_equal} {max}"));
        }
    }
    if let Some(min) = schema["minimum"].as_f64() {
        let exclusive = flag(&schema["exclusiveMinimum"]);
        if number < min || (exclusive && number == min) {
            let or_equal = if exclusive { "" } else { " or equal to" };
            wrong(format!("{name} in body should be greater than{or_equal} {min}"));
        }
    }
    if let Some(factor) = schema["multipleOf"].as_f64()
        && factor > 0.0
        && (number / factor).fract() != 0.0
    {
        wrong(format!("{name} in body should be a multiple of {factor}"));
    }
}

fn below(name: &str, key: &str) -> String {
    match name {
        "" => key.to_owned(),
        name => format!("{name}.{key}"),
    }
}

fn array(list: &[Value], schema: &Value, name: &str, path: &Path<'_>, depth: usize, errors: &mut Errors) {
    for (i, item) in list.iter().enumerate() {
        validate(
            item,
            &schema["items"],
            &format!("{name}[{i}]"),
            &path.index(i),
            depth + 1,
            errors,
        );
    }
    let count = list.len() as u64;
    if let Some(max) = limit(schema, "maxItems").filter(|max| count > *max) {
        errors.push(FieldError::too_many(path, list.len(), max as usize));
    }
    if let Some(min) = limit(schema, "minItems").filter(|min| count < *min) {
        let detail = format!("{name} in body should have at least {min} items");
        errors.push(FieldError::invalid(path, count, &detail));
    }
}

fn object(value: &Value, schema: &Value, name: &str, path: &Path<'_>, depth: usize, errors: &mut Errors) {
    let fields = entries(value);
    let count = fields.len() as u64;
    if let Some(min) = limit(schema, "minProperties").filter(|min| count < *min) {
        let detail = format!("{name} in body should have at least {min} properties");
        errors.push(FieldError::invalid(path, count, &detail));
    }
    if let Some(max) = limit(schema, "maxProperties").filter(|max| count > *max) {
        errors.push(FieldError::too_many(path, fields.len(), max as usize));
    }
    for key in texts(&schema["required"]) {
        if value.get(key).is_none() {
            errors.push(FieldError::required(path.child(key), ""));
        }
    }
    for (key, value) in fields {
        let inner = match schema["properties"].get(key) {
            Some(property) => property,
            None => &schema["additionalProperties"],
        };
        validate(value, inner, &below(name, key), &path.child(key), depth + 1, errors);
    }
}

fn combined(value: &Value, schema: &Value, name: &str, path: &Path<'_>, depth: usize, errors: &mut Errors) {
    let fulfils = |schema: &Value| {
        let mut found = Errors::new();
        validate(value, schema, name, path, depth + 1, &mut found);
        found.is_empty()
    };
    let fulfilled = |key: &str| items(&schema[key]).iter().filter(|one| fulfils(one)).count();
    let mut wrong = |detail: &str| {
        let detail = format!("{name} in body {detail}");
        errors.push(FieldError::invalid(path, "", &detail));
    };
    let (any, one, all) = (
        items(&schema["anyOf"]),
        items(&schema["oneOf"]),
        items(&schema["allOf"]),
    );
    if !any.is_empty() && fulfilled("anyOf") == 0 {
        wrong("must validate at least one schema (anyOf)");
    }
    if !one.is_empty() {
        match fulfilled("oneOf") {
            0 => wrong("must validate one and only one schema (oneOf). Found none valid"),
            1 => {}
            _ => wrong("must validate one and only one schema (oneOf). Found more than one valid"),
        }
    }
    if !all.is_empty() && fulfilled("allOf") < all.len() {
        wrong("must validate all the schemas (allOf)");
    }
    if given(&schema["not"]) && schema["not"].is_object() && fulfils(&schema["not"]) {
        wrong("must not validate the schema (not)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(value: Value, schema: Value) -> Vec<String> {
        let mut errors = Errors::new();
        validate(&value, &schema, "", &Path::Root.child("d"), 0, &mut errors);
        errors
            .into_iter()
            .map(|e| format!("{}: {}", e.field, e.message))
            .collect()
    }

    #[test]
    fn values_fulfil_schemas() {
        let schema = json!({
            "type": "object",
            "required": ["n"],
            "properties": {
                "n": {"type": "integer", "minimum": 1},
                "s": {"type": "string", "maxLength": 2, "enum": ["a", "b"]},
                "l": {"type": "array", "maxItems": 1, "items": {"type": "boolean"}},
                "p": {"x-kubernetes-int-or-string": true},
                "z": {"type": "string", "nullable": true},
            },
        });
        assert!(
            found(
                json!({"n": 1, "s": "a", "l": [true], "p": "x", "z": null}),
                schema.clone()
            )
            .is_empty()
        );
        assert_eq!(
            found(json!({"n": 0, "s": "abc", "l": [1, true], "p": true}), schema.clone()),
            [
                "d.l[0]: Invalid value: \"integer\": l[0] in body must be of type boolean: \"integer\"",
                "d.l: Too many: 2: must have at most 1 items"
                    .replace("1 items", "1 item")
                    .as_str(),
                "d.n: Invalid value: 0: n in body should be greater than or equal to 1",
                "d.p: Invalid value: \"boolean\": p in body must be of type integer,string: \"boolean\"",
                "d.s: Unsupported value: \"abc\": supported values: \"a\", \"b\"",
                "d.s: Too long: may not be more than 2 bytes",
            ]
        );
        assert_eq!(found(json!({}), schema), ["d.n: Required value"]);
    }

    #[test]
    fn conditions_combine() {
        let small = json!({"maximum": 5});
        assert_eq!(
            found(json!(9), json!({"allOf": [small], "not": {"minimum": 1}})).len(),
            2
        );
        assert_eq!(found(json!(9), json!({"oneOf": [{}, {}], "anyOf": [small]})).len(), 2);
    }
}

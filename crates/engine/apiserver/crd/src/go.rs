//! Values as Go prints them.

use engenho_validation::{FieldError, html_safe};
use serde_json::{Number, Value};

/// A number as `%v` prints it.
pub(crate) fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => self::float(float),
        _ => number.to_string(),
    }
}

/// A float as `%v` prints it: the shortest digits, with an exponent only below 1e-4 and from 1e21 on.
pub(crate) fn float(float: f64) -> String {
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(power) if !(-4..21).contains(&power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", power.unsigned_abs())
        }
        _ => float.to_string(),
    }
}

/// A value as `fmt.Sprint` prints what JSON was decoded to.
pub(crate) fn sprint(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => self::number(number),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(sprint).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", sprint(v))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// JSON as Go's encoder writes it.
pub(crate) fn json(value: &Value) -> String {
    html_safe(&value.to_string())
}

/// A malformed value, printed as upstream prints it.
pub(crate) fn invalid(field: &str, value: &Value, detail: &str) -> FieldError {
    match value {
        Value::Number(number) if number.is_f64() => FieldError::invalid_printed(field, &self::number(number), detail),
        other => FieldError::invalid(field, other.clone(), detail),
    }
}

/// A value that appears twice, printed as upstream prints it.
pub(crate) fn duplicate(field: &str, value: &Value) -> FieldError {
    match value {
        Value::Number(number) if number.is_f64() => FieldError::duplicate_printed(field, &self::number(number)),
        other => FieldError::duplicate(field, other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn floats_read_as_go_prints_them() {
        for (value, text) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.25, "-2.25"),
            (0.0, "0"),
        ] {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn values_read_as_go_prints_them() {
        assert_eq!(
            sprint(&json!({"b": [1, "x", null], "a": true})),
            "map[a:true b:[1 x <nil>]]"
        );
        assert_eq!(json(&json!({"a": "<"})), r#"{"a":"\u003c"}"#);
    }
}

//! Numbers that may be percentages, and spans of time.

use serde_json::Value;

use super::formats::percent;
use crate::get;
use crate::{FieldError, Path};

/// "non-negative": upstream's text.
pub const NEGATIVE: &str = "must be greater than or equal to 0";

/// What is wrong with a number that must not be negative.
pub fn non_negative(value: &Value, field: &Path) -> Vec<FieldError> {
    match get::optional_int(value) {
        Some(number) if number < 0 => vec![FieldError::invalid(field, number, NEGATIVE)],
        _ => Vec::new(),
    }
}

/// What is wrong with a number or a percentage, neither of them negative.
pub fn non_negative_int_or_percent(value: &Value, field: &Path) -> Vec<FieldError> {
    match value {
        Value::String(text) => percent(text)
            .iter()
            .map(|wrong| FieldError::invalid(field, text.as_str(), wrong))
            .collect(),
        Value::Number(_) => non_negative(value, field),
        _ => vec![FieldError::invalid(
            field,
            Value::Null,
            "must be an integer or percentage (e.g '5%%')",
        )],
    }
}

/// The number before the sign of a percentage.
pub fn percentage(value: &Value) -> Option<i64> {
    let text = get::optional_text(value)?;
    if !percent(text).is_empty() {
        return None;
    }
    text.trim_end_matches('%').parse().ok()
}

/// What is wrong with a percentage above a hundred.
pub fn not_more_than_hundred_percent(value: &Value, field: &Path) -> Vec<FieldError> {
    match percentage(value) {
        Some(number) if number > 100 => vec![FieldError::invalid(
            field,
            value.clone(),
            "must not be greater than 100%",
        )],
        _ => Vec::new(),
    }
}

/// The number meant by a number or a percentage, without what it is a percentage of.
pub fn int_or_percent_value(value: &Value) -> i64 {
    percentage(value).unwrap_or_else(|| get::int(value))
}

/// A span of time as Go writes it (`1h30m`, `-1.5s`), in nanoseconds.
pub fn parse_duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        total = total.checked_add(units(number, unit)?)?;
        rest = next;
    }
    (total <= i128::from(i64::MAX)).then_some(if negative { -total } else { total })
}

fn units(number: &str, unit: &str) -> Option<i128> {
    let unit: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = &fraction[..fraction.len().min(15)];
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    whole.checked_mul(unit)?.checked_add(part.checked_mul(unit)? / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_as_go_writes_them() {
        assert_eq!(parse_duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(parse_duration("-1.5s"), Some(-1_500_000_000));
        assert_eq!(parse_duration("0"), Some(0));
        assert!(parse_duration("5").is_none() && parse_duration("").is_none() && parse_duration("1x").is_none());
    }

    #[test]
    fn percentages() {
        let field = Path::Root.child("x");
        assert!(non_negative_int_or_percent(&json!("30%"), &field).is_empty());
        assert_eq!(non_negative_int_or_percent(&json!("30"), &field).len(), 1);
        assert_eq!(non_negative_int_or_percent(&json!(-1), &field).len(), 1);
        assert_eq!(not_more_than_hundred_percent(&json!("101%"), &field).len(), 1);
        assert_eq!(int_or_percent_value(&json!("7%")), 7);
    }
}

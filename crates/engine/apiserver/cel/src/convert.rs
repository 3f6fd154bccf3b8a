//! Conversions between types (`int('1')`, `string(1.5)`).

use std::sync::Arc;

use crate::error::EvalError;
use crate::text::double;
use crate::time::{Duration, Timestamp};
use crate::value::{Text, Value};

fn cannot<'a>(value: &Value<'_>, to: &str) -> Result<Value<'a>, EvalError> {
    let name = |of: &str| match of {
        "duration" => "google.protobuf.Duration".to_owned(),
        "timestamp" => "google.protobuf.Timestamp".to_owned(),
        other => other.to_owned(),
    };
    Err(EvalError::failed(format!(
        "type conversion error from '{}' to '{}'",
        name(value.type_name()),
        name(to)
    )))
}

fn overflow<'a>(what: &str) -> Result<Value<'a>, EvalError> {
    Err(EvalError::failed(format!("{what} overflow")))
}

/// The conversion of a name; none if there is none from that type.
pub(crate) fn convert<'a>(to: &str, value: &Value<'a>) -> Option<Result<Value<'a>, EvalError>> {
    Some(match (to, value) {
        ("dyn", value) => Ok(value.clone()),
        ("type", value) => Ok(Value::Type(Arc::from(value.type_name()))),
        ("bool", Value::Bool(_)) | ("bytes", Value::Bytes(_)) | ("double", Value::Double(_)) => Ok(value.clone()),
        ("int", Value::Int(_)) | ("uint", Value::Uint(_)) | ("string", Value::String(_)) => Ok(value.clone()),
        ("duration", Value::Duration(_)) | ("timestamp", Value::Timestamp(_)) => Ok(value.clone()),
        ("bool", Value::String(text)) => match &**text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => cannot(value, to),
        },
        ("bytes", Value::String(text)) => Ok(Value::Bytes(Arc::from(text.as_bytes()))),
        ("double", Value::Int(number)) => Ok(Value::Double(*number as f64)),
        ("double", Value::Uint(number)) => Ok(Value::Double(*number as f64)),
        ("double", Value::String(text)) => {
            to_double(text).map_or_else(|| cannot(value, to), |of| Ok(Value::Double(of)))
        }
        ("int", _) => to_int(value)?,
        ("uint", _) => to_uint(value)?,
        ("duration", Value::Int(nanos)) => Ok(Value::Duration(Duration { nanos: *nanos })),
        ("duration", Value::String(text)) => {
            Duration::parse(text).map_or_else(|| cannot(value, to), |of| Ok(Value::Duration(of)))
        }
        ("timestamp", Value::Int(seconds)) => {
            Timestamp::from_seconds(*seconds).map_or_else(|| overflow("timestamp"), |of| Ok(Value::Timestamp(of)))
        }
        ("timestamp", Value::String(text)) => {
            Timestamp::parse(text).map_or_else(|| cannot(value, to), |of| Ok(Value::Timestamp(of)))
        }
        ("string", Value::Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::text(text)),
            Err(_) => Err(EvalError::failed("invalid UTF-8 in bytes, cannot convert to string")),
        },
        ("string", value) => Ok(Value::text(to_text(value)?)),
        _ => return None,
    })
}

fn to_int<'a>(value: &Value<'_>) -> Option<Result<Value<'a>, EvalError>> {
    let number = match value {
        Value::Uint(number) => i64::try_from(*number).ok(),
        Value::Double(number) => {
            (number.is_finite() && number.abs() < 9_223_372_036_854_775_807.0).then_some(*number as i64)
        }
        Value::String(text) => {
            let plain = text.strip_prefix(['+', '-']).unwrap_or(text);
            let digits = !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit());
            return Some(match text.parse().ok().filter(|_| digits) {
                Some(number) => Ok(Value::Int(number)),
                None => cannot(value, "int"),
            });
        }
        Value::Duration(span) => Some(span.nanos),
        Value::Timestamp(time) => Some(time.seconds),
        _ => return None,
    };
    Some(number.map_or_else(|| overflow("integer"), |number| Ok(Value::Int(number))))
}

fn to_uint<'a>(value: &Value<'_>) -> Option<Result<Value<'a>, EvalError>> {
    let number = match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Double(number) => {
            (number.is_finite() && *number >= 0.0 && *number < 18_446_744_073_709_551_615.0).then_some(*number as u64)
        }
        Value::String(text) => {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            return Some(match text.parse().ok().filter(|_| digits) {
                Some(number) => Ok(Value::Uint(number)),
                None => cannot(value, "uint"),
            });
        }
        _ => return None,
    };
    Some(number.map_or_else(|| overflow("unsigned integer"), |number| Ok(Value::Uint(number))))
}

fn to_double(text: &Text<'_>) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let word = matches!(unsigned.to_ascii_lowercase().as_str(), "inf" | "infinity" | "nan");
    let number = text.parse::<f64>().ok()?;
    (word || number.is_finite()).then_some(number)
}

/// A value as text, if values of its type are written so.
pub(crate) fn to_text(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => double(*number),
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(span) => span.to_string(),
        Value::Timestamp(time) => time.to_string(),
        Value::Type(name) => name.to_string(),
        Value::Ip(address) => address.to_string(),
        Value::Cidr(network) => network.to_string(),
        _ => return None,
    })
}

//! Text from a pattern and values (`'%s is %d'.format([a, b])`).

use crate::error::EvalError;
use crate::text::{double, quote_go, with_exponent};
use crate::value::{List, Value};

/// Digits after the point if the pattern does not say how many.
const PRECISION: usize = 6;
/// More digits than this are not written.
const PRECISION_MAX: usize = 1_000;

fn failed<T>(message: impl Into<String>) -> Result<T, EvalError> {
    Err(EvalError::failed(message))
}

/// Fills the places of a pattern with values. Text of more than `most` bytes is not made.
pub(crate) fn format(pattern: &str, values: &List<'_>, most: usize) -> Result<String, EvalError> {
    let mut left = Left(most);
    left.take(pattern.len())?;
    let mut made = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    let mut next = 0_usize;
    while let Some(letter) = letters.next() {
        if letter != '%' {
            made.push(letter);
            continue;
        }
        let mut clause = letters.next();
        if clause == Some('%') {
            made.push('%');
            continue;
        }
        let mut precision = None;
        if clause == Some('.') {
            let mut digits = String::new();
            clause = letters.next();
            while let Some(digit) = clause.filter(char::is_ascii_digit) {
                digits.push(digit);
                clause = letters.next();
            }
            let Some(wanted) = digits.parse::<usize>().ok().filter(|wanted| *wanted <= PRECISION_MAX) else {
                return failed("could not parse formatting clause: error while parsing precision");
            };
            precision = Some(wanted);
        }
        let Some(clause) = clause else {
            return failed("could not parse formatting clause: unexpected end of string");
        };
        let Some(value) = values.get(next) else {
            return failed(format!("index {next} out of range"));
        };
        next += 1;
        made.push_str(&filled(clause, precision, &value, &mut left)?);
    }
    Ok(made)
}

/// How much more may be written.
struct Left(usize);

impl Left {
    fn take(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.0 = self.0.checked_sub(bytes).ok_or(EvalError::CostLimit)?;
        Ok(())
    }
}

fn filled(clause: char, precision: Option<usize>, value: &Value<'_>, left: &mut Left) -> Result<String, EvalError> {
    let name = value.type_name();
    match clause {
        's' => as_string(value, left),
        'd' => decimal(value).map_or_else(
            || {
                failed(format!(
                    "error during formatting: decimal clause can only be used on integers, was given {name}"
                ))
            },
            Ok,
        ),
        'f' => match special(value) {
            Some(number) => Ok(fixed(number, precision.unwrap_or(PRECISION))),
            None => failed(format!(
                "error during formatting: fixed-point clause can only be used on doubles, was given {name}"
            )),
        },
        'e' => match special(value) {
            Some(number) if number.is_finite() => {
                let digits = precision.unwrap_or(PRECISION);
                Ok(grouped_exponent(&format!("{number:.digits$e}")))
            }
            Some(number) => Ok(fixed(number, 0)),
            None => failed(format!(
                "error during formatting: scientific clause can only be used on doubles, was given {name}"
            )),
        },
        'b' => match value {
            Value::Int(number) => Ok(signed(*number, |magnitude| format!("{magnitude:b}"))),
            Value::Uint(number) => Ok(format!("{number:b}")),
            Value::Bool(value) => Ok(u8::from(*value).to_string()),
            _ => failed(format!(
                "error during formatting: only integers and bools can be formatted as binary, was given {name}"
            )),
        },
        'o' => match value {
            Value::Int(number) => Ok(signed(*number, |magnitude| format!("{magnitude:o}"))),
            Value::Uint(number) => Ok(format!("{number:o}")),
            _ => failed(format!(
                "error during formatting: octal clause can only be used on integers, was given {name}"
            )),
        },
        'x' | 'X' => {
            let text = match value {
                Value::Int(number) => signed(*number, |magnitude| format!("{magnitude:x}")),
                Value::Uint(number) => format!("{number:x}"),
                Value::String(text) => data_encoding::HEXLOWER.encode(text.as_bytes()),
                Value::Bytes(bytes) => data_encoding::HEXLOWER.encode(bytes),
                _ => {
                    return failed(format!(
                        "error during formatting: only integers, byte buffers, and strings can be formatted as hex, was given {name}"
                    ));
                }
            };
            Ok(if clause == 'X' { text.to_uppercase() } else { text })
        }
        other => failed(format!(
            "could not parse formatting clause: unrecognized formatting clause \"{other}\""
        )),
    }
}

fn signed(number: i64, write: impl Fn(u64) -> String) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", write(number.unsigned_abs()))
}

fn decimal(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Int(number) => Some(number.to_string()),
        Value::Uint(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Numbers, and the texts that stand for those that are none.
fn special(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(number) => Some(*number),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// As it is written in the English of the United States.
fn fixed(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "\u{221e}" } else { "-\u{221e}" }.to_owned();
    }
    let plain = format!("{number:.digits$}");
    let (sign, plain) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("-", rest));
    let (whole, fraction) = plain
        .split_once('.')
        .map_or((plain, None), |(whole, rest)| (whole, Some(rest)));
    let mut written = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    if let Some(fraction) = fraction {
        written.push('.');
        written.push_str(fraction);
    }
    written
}

fn grouped_exponent(scientific: &str) -> String {
    let superscript = |digit: char| match digit {
        '-' => '\u{207b}',
        '1' => '\u{b9}',
        '2' => '\u{b2}',
        '3' => '\u{b3}',
        other => char::from_u32(0x2070 + other.to_digit(10).unwrap_or_default()).unwrap_or(other),
    };
    match with_exponent(scientific).split_once('e') {
        Some((digits, power)) => {
            let power: String = power.trim_start_matches('+').chars().map(superscript).collect();
            format!("{digits}\u{202f}\u{d7}\u{202f}10{power}")
        }
        None => scientific.to_owned(),
    }
}

/// A value as text, for `%s`.
fn as_string(value: &Value<'_>, left: &mut Left) -> Result<String, EvalError> {
    left.take(match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 8,
    })?;
    match value {
        Value::List(_) | Value::Map(_) => nested(value, left),
        Value::Null => Ok("null".to_owned()),
        Value::Double(number) => Ok(double(*number)),
        other => crate::convert::to_text(other).map_or_else(
            || {
                failed(format!(
                    "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {}",
                    other.type_name()
                ))
            },
            Ok,
        ),
    }
}

/// A value within a list or map, as an expression would write it.
fn nested(value: &Value<'_>, left: &mut Left) -> Result<String, EvalError> {
    Ok(match value {
        Value::String(text) => {
            left.take(text.len())?;
            quote_go(text)
        }
        Value::Bytes(bytes) if bytes.len() > left.0 => return Err(EvalError::CostLimit),
        Value::Bytes(bytes) => format!("b{}", quote_go(&String::from_utf8_lossy(bytes))),
        Value::Timestamp(time) => format!("timestamp({})", quote_go(&time.to_string())),
        Value::Duration(span) => format!("duration({})", quote_go(&span.to_string())),
        Value::Double(number) if number.is_finite() => format!("{number:.PRECISION$}"),
        Value::Double(number) => quote_go(&double(*number)),
        Value::List(list) => {
            let parts = list
                .iter()
                .map(|item| nested_part(&item, left))
                .collect::<Result<Vec<_>, _>>()?;
            format!("[{}]", parts.join(", "))
        }
        Value::Map(map) => {
            let mut parts = Vec::with_capacity(map.len());
            for (key, value) in map.iter() {
                parts.push((nested_part(&key, left)?, nested_part(&value, left)?));
            }
            parts.sort();
            let parts: Vec<String> = parts.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
            format!("{{{}}}", parts.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Type(_) => as_string(value, left)?,
        other => {
            return failed(format!(
                "error during formatting: no formatting function for {}",
                other.type_name()
            ));
        }
    })
}

fn nested_part(value: &Value<'_>, left: &mut Left) -> Result<String, EvalError> {
    left.take(4)?;
    nested(value, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled_with(pattern: &str, values: Vec<Value<'_>>) -> Result<String, String> {
        let Value::List(list) = Value::list(values) else {
            return Err(String::new());
        };
        format(pattern, &list, 1_000).map_err(|error| error.to_string())
    }

    #[test]
    fn places() {
        let text = |text: &'static str| Value::text(text);
        assert_eq!(
            filled_with("%s is %d%%", vec![text("a"), Value::Int(5)]).unwrap(),
            "a is 5%"
        );
        assert_eq!(
            filled_with("%.2f", vec![Value::Double(12345.678)]).unwrap(),
            "12,345.68"
        );
        assert_eq!(
            filled_with(
                "%x %X %o %b",
                vec![text("hi"), Value::Int(-255), Value::Uint(8), Value::Bool(true)]
            )
            .unwrap(),
            "6869 -FF 10 1"
        );
        assert_eq!(
            filled_with(
                "%s",
                vec![Value::list(vec![text("a"), Value::Double(1.5), Value::Null])]
            )
            .unwrap(),
            "[\"a\", 1.500000, null]"
        );
        assert_eq!(filled_with("%d", vec![]).unwrap_err(), "index 0 out of range");
        assert!(
            filled_with("%d", vec![text("a")])
                .unwrap_err()
                .contains("was given string")
        );
        for bad in ["%", "%.", "%.99999f", "%q", "%.x"] {
            assert!(filled_with(bad, vec![Value::Int(1)]).is_err(), "{bad}");
        }
    }
}

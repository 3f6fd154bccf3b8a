//! Functions over text: positions are counted in characters.

use crate::error::EvalError;

/// A result of a function over text.
type Result<T> = std::result::Result<T, EvalError>;

fn out_of_range(index: i64) -> EvalError {
    EvalError::failed(format!("index out of range: {index}"))
}

/// The byte at which a character starts; the end of the text for the first beyond it.
fn byte_of(text: &str, index: i64) -> Result<usize> {
    let chars = usize::try_from(index).map_err(|_| out_of_range(index))?;
    if chars == 0 {
        return Ok(0);
    }
    match text.char_indices().nth(chars - 1) {
        Some((at, letter)) => Ok(at + letter.len_utf8()),
        None => Err(out_of_range(index)),
    }
}

/// The character at a position; empty at the end.
pub(crate) fn char_at(text: &str, index: i64) -> Result<String> {
    let rest = &text[byte_of(text, index)?..];
    Ok(rest.chars().take(1).collect())
}

/// The part from a position on.
pub(crate) fn substring_from(text: &str, start: i64) -> Result<&str> {
    Ok(&text[byte_of(text, start)?..])
}

/// The part between two positions.
pub(crate) fn substring(text: &str, start: i64, end: i64) -> Result<&str> {
    if start > end {
        return Err(EvalError::failed(format!(
            "invalid substring range. start: {start}, end: {end}"
        )));
    }
    let from = byte_of(text, start)?;
    let to = byte_of(text, end)?;
    Ok(&text[from..to])
}

/// Where a part is found first, at `offset` or after it; less than zero if it is not.
pub(crate) fn index_of(text: &str, part: &str, offset: i64) -> Result<i64> {
    if part.is_empty() {
        return Ok(offset);
    }
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    let Ok(from) = byte_of(text, offset) else { return Ok(-1) };
    Ok(text[from..].find(part).map_or(-1, |at| position(text, from + at)))
}

/// Where a part is found last, at `offset` or before it; less than zero if it is not.
pub(crate) fn last_index_of(text: &str, part: &str, offset: Option<i64>) -> Result<i64> {
    let chars = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let Some(offset) = offset else {
        let at = if part.is_empty() {
            Some(text.len())
        } else {
            text.rfind(part)
        };
        return Ok(at.map_or(-1, |at| position(text, at)));
    };
    if part.is_empty() {
        return Ok(offset);
    }
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    if offset >= chars {
        return Ok(-1);
    }
    let length = i64::try_from(part.chars().count()).unwrap_or(i64::MAX);
    let end = byte_of(text, offset.saturating_add(length)).unwrap_or(text.len());
    Ok(text[..end].rfind(part).map_or(-1, |at| position(text, at)))
}

fn position(text: &str, byte: usize) -> i64 {
    i64::try_from(text[..byte].chars().count()).unwrap_or(i64::MAX)
}

/// Replaces up to `limit` places of a part, all if it is negative.
pub(crate) fn replace(text: &str, old: &str, new: &str, limit: i64) -> String {
    match usize::try_from(limit) {
        Ok(limit) => text.replacen(old, new, limit),
        Err(_) => text.replace(old, new),
    }
}

/// How long the text gets when parts of it are replaced, at most.
pub(crate) fn replaced_bytes_max(text: &str, old: &str, new: &str) -> usize {
    let places = if old.is_empty() {
        text.len() + 1
    } else {
        text.len() / old.len()
    };
    text.len().saturating_add(places.saturating_mul(new.len()))
}

/// The parts between separators, at most `limit` of them if it is not negative.
pub(crate) fn split<'t>(text: &'t str, separator: &str, limit: i64) -> Vec<&'t str> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Vec::new();
    }
    if !separator.is_empty() {
        return text.splitn(limit, separator).collect();
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if parts.len() + 1 == limit {
            parts.push(rest);
            return parts;
        }
        let (first, after) = rest.split_at(letter.len_utf8());
        parts.push(first);
        rest = after;
    }
    parts
}

/// Text between quotes, as expressions write it (`strings.quote`).
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Text between quotes, as messages have it.
pub(crate) fn quote_go(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            control if u32::from(control) < 0x20 || control == '\x7f' => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A floating point number as short as it can be written.
pub(crate) fn double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let exponent = scientific
        .split_once('e')
        .and_then(|(_, power)| power.parse::<i32>().ok());
    match exponent {
        Some(power) if value != 0.0 && !(-4..21).contains(&power) => with_exponent(&scientific),
        _ => format!("{value}"),
    }
}

/// `1e-7` with a sign and two digits in its exponent.
pub(crate) fn with_exponent(scientific: &str) -> String {
    let Some((digits, power)) = scientific.split_once('e') else {
        return scientific.to_owned();
    };
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
    format!("{digits}e{sign}{power:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_characters() {
        assert_eq!(char_at("tacocat", 3).unwrap(), "o");
        assert_eq!(char_at("aé", 2).unwrap(), "");
        assert!(char_at("aé", 3).is_err());
        assert!(char_at("a", -1).is_err());
        assert_eq!(index_of("hello mellow", "ello", 2).unwrap(), 7);
        assert_eq!(index_of("hello", "", 2).unwrap(), 2);
        assert_eq!(index_of("éa", "a", 0).unwrap(), 1);
        assert_eq!(index_of("a", "a", 20).unwrap(), -1);
        assert_eq!(last_index_of("hello mellow", "hello", None).unwrap(), 0);
        assert_eq!(last_index_of("hello mellow", "ello", Some(6)).unwrap(), 1);
        assert_eq!(last_index_of("hello mellow", "", None).unwrap(), 12);
        assert_eq!(last_index_of("éé", "é", Some(0)).unwrap(), 0);
        assert_eq!(last_index_of("aéa", "b", Some(0)).unwrap(), -1);
        assert_eq!(last_index_of("aéoéb", "é", Some(2)).unwrap(), 1);
        assert!(last_index_of("a", "a", Some(-1)).is_err());
        assert_eq!(substring("tacocat", 0, 4).unwrap(), "taco");
        assert_eq!(
            substring("a", 2, 1).unwrap_err().to_string(),
            "invalid substring range. start: 2, end: 1"
        );
        assert_eq!(
            substring_from("tacocat", 8).unwrap_err().to_string(),
            "index out of range: 8"
        );
    }

    #[test]
    fn parts() {
        assert_eq!(split("a b c", " ", -1), ["a", "b", "c"]);
        assert_eq!(split("a b c", " ", 2), ["a", "b c"]);
        assert_eq!(split("a b", " ", 0), [""; 0]);
        assert_eq!(split("aé", "", -1), ["a", "é"]);
        assert_eq!(split("", "", -1), [""; 0]);
        assert_eq!(split("", ",", -1), [""]);
        assert_eq!(replace("hello", "l", "L", 1), "heLlo");
        assert_eq!(replace("ab", "", "-", -1), "-a-b-");
    }

    #[test]
    fn numbers() {
        for (value, text) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (1e-5, "1e-05"),
            (-12300.0, "-12300"),
            (0.0, "0"),
        ] {
            assert_eq!(double(value), text);
        }
    }
}

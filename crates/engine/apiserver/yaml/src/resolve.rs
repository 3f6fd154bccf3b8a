//! What a scalar's text means, by its tag or by YAML 1.1's rules as go-yaml keeps them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::number::{is_decimal, parse_integer};
use crate::timestamp::is_timestamp;
use crate::{Error, number};

/// A scalar's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Beyond the greatest [`Scalar::Int`].
    Uint(u64),
    Float(f64),
    Text(String),
}

/// The type of a scalar, by the name of its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Int,
    Float,
    Timestamp,
    Str,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "bool" => Self::Bool,
            "int" => Self::Int,
            "float" => Self::Float,
            "timestamp" => Self::Timestamp,
            "str" => Self::Str,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Null => "!!null",
            Self::Bool => "!!bool",
            Self::Int => "!!int",
            Self::Float => "!!float",
            Self::Timestamp => "!!timestamp",
            Self::Str => "!!str",
        }
    }
}

/// The prefix of YAML's own tags.
const STANDARD_TAGS: &str = "tag:yaml.org,2002:";

/// The value of a scalar with a tag.
pub(crate) fn tagged(tag: &str, text: &str) -> Result<Scalar, Error> {
    let name = tag.strip_prefix(STANDARD_TAGS).unwrap_or_default();
    if name == "binary" {
        return binary(text).map(Scalar::Text);
    }
    let wanted = match Kind::of(name) {
        // Other tags say nothing about the value.
        None | Some(Kind::Str) => return Ok(Scalar::Text(text.to_owned())),
        Some(kind) => kind,
    };
    match untagged(text, wanted == Kind::Timestamp) {
        (kind, value) if kind == wanted => Ok(value),
        (_, Scalar::Int(value)) if wanted == Kind::Float => Ok(Scalar::Float(value as f64)),
        (kind, _) => Err(Error::Meaning(format!(
            "cannot decode {} `{text}` as a {}",
            kind.name(),
            wanted.name()
        ))),
    }
}

/// The type and the value of plain text.
pub(crate) fn plain(text: &str) -> (Kind, Scalar) {
    untagged(text, true)
}

fn untagged(text: &str, timestamps: bool) -> (Kind, Scalar) {
    let found = match text.as_bytes().first() {
        None => Some((Kind::Null, Scalar::Null)),
        Some(b'+' | b'-' | b'0'..=b'9') => word(text).or_else(|| digits(text, timestamps)),
        Some(b'.') => word(text).or_else(|| decimal(text)),
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => word(text),
        Some(_) => None,
    };
    found.unwrap_or_else(|| (Kind::Str, Scalar::Text(text.to_owned())))
}

fn word(text: &str) -> Option<(Kind, Scalar)> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            (Kind::Bool, Scalar::Bool(true))
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            (Kind::Bool, Scalar::Bool(false))
        }
        "~" | "null" | "Null" | "NULL" => (Kind::Null, Scalar::Null),
        ".nan" | ".NaN" | ".NAN" => (Kind::Float, Scalar::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => (Kind::Float, Scalar::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => (Kind::Float, Scalar::Float(f64::NEG_INFINITY)),
        _ => return None,
    })
}

fn digits(text: &str, timestamps: bool) -> Option<(Kind, Scalar)> {
    if timestamps && is_timestamp(text) {
        return Some((Kind::Timestamp, Scalar::Text(text.to_owned())));
    }
    let bare = text.replace('_', "");
    match parse_integer(&bare) {
        Some(number::Integer::Int(value)) => Some((Kind::Int, Scalar::Int(value))),
        Some(number::Integer::Uint(value)) => Some((Kind::Int, Scalar::Uint(value))),
        None => decimal(&bare),
    }
}

fn decimal(text: &str) -> Option<(Kind, Scalar)> {
    let value = is_decimal(text).then(|| text.parse::<f64>().ok()).flatten()?;
    value.is_finite().then_some((Kind::Float, Scalar::Float(value)))
}

/// The text that base64 carries. Bytes that are no UTF-8 become U+FFFD, one each, as on their way to JSON.
fn binary(text: &str) -> Result<String, Error> {
    let encoded: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_| Error::Meaning("!!binary value contains invalid base64 data".to_owned()))?;
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len()));
    }
    Ok(out)
}

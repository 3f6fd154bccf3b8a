//! YAML as clients of Kubernetes write it and servers answer it: YAML 1.1 read as go-yaml's second version does, and
//! turned into JSON as `sigs.k8s.io/yaml` does.

mod construct;
mod document;
mod encode;
mod json;
mod key;
mod number;
mod order;
mod resolve;
mod timestamp;

use serde_json::Value;

pub use encode::encode;

/// What both sides put before a list of duplicate keys.
const UNMARSHAL_ERRORS: &str = "yaml: unmarshal errors:";

/// Why bytes are no YAML, or none that JSON can say. The texts are those that clients of the reference server see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text breaks a rule of the syntax.
    #[error("yaml: {}{problem}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
    Syntax {
        /// The line to tell, if any.
        line: Option<u64>,
        /// What is wrong.
        problem: String,
    },
    /// The document is well formed and has no meaning: an unknown anchor, a text that isn't the number its tag says.
    #[error("yaml: {0}")]
    Meaning(String),
    /// A key that no JSON object has.
    #[error("unsupported map key of type: {kind}, key: {key}, value: {value}")]
    Key {
        /// The type of the key.
        kind: &'static str,
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A number that JSON doesn't have.
    #[error("json: unsupported value: {0}")]
    Number(&'static str),
}

/// A document that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The value, with the last of each duplicate key.
    pub value: Value,
    /// Texts about keys that were given more than once, in document order.
    pub duplicates: Vec<String>,
}

impl Decoded {
    /// The one error that strict decoding makes of all duplicates.
    pub fn strict_error(&self) -> Option<String> {
        (!self.duplicates.is_empty()).then(|| format!("{UNMARSHAL_ERRORS}\n  {}", self.duplicates.join("\n  ")))
    }
}

/// The texts in an error of strict decoding, each for a warning of its own.
pub fn warnings(strict_error: &str) -> Vec<&str> {
    let text = strict_error
        .strip_prefix("error converting YAML to JSON: ")
        .unwrap_or(strict_error);
    match text
        .strip_prefix(UNMARSHAL_ERRORS)
        .and_then(|rest| rest.strip_prefix('\n'))
    {
        Some(lines) => lines.split('\n').map(str::trim).collect(),
        None => vec![strict_error],
    }
}

/// Reads the first document of a text; an empty text is null.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Error> {
    let document = document::parse(bytes)?;
    let (native, duplicates) = construct::construct(&document)?;
    Ok(Decoded {
        value: json::from_native(native)?,
        duplicates,
    })
}

#[cfg(test)]
mod tests;

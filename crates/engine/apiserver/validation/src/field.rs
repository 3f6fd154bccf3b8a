//! What is wrong with a field, and where it is (upstream `field.Error` and `field.Path`).

use std::fmt;

use serde_json::Value;

/// What is wrong with one field (upstream `field.Error`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Reason as in `details.causes`, e.g. `FieldValueInvalid`.
    pub reason: &'static str,
    /// Path, e.g. `metadata.name`.
    pub field: String,
    /// The text after the path, e.g. `Required value: name or generateName is required`.
    pub message: String,
}

/// A value as upstream prints it: strings quoted as Go does, everything else as JSON that is safe in HTML.
fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => go_quoted(text),
        other => html_safe(&other.to_string()),
    }
}

/// JSON with the characters escaped that Go's encoder escapes.
pub fn html_safe(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => safe.push(c),
        }
    }
    safe
}

/// A string quoted as Go's `%q` does.
pub fn go_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if u32::from(c) < 0x80 && c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl FieldError {
    fn new(reason: &'static str, field: impl Into<String>, head: String, detail: &str) -> Self {
        let message = if detail.is_empty() {
            head
        } else {
            format!("{head}: {detail}")
        };
        Self {
            reason,
            field: field.into(),
            message,
        }
    }

    /// A value that is malformed.
    pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> Self {
        Self::new(
            "FieldValueInvalid",
            field,
            format!("Invalid value: {}", quoted(&value.into())),
            detail,
        )
    }

    /// A value that is malformed, given as the text it is printed as.
    pub fn invalid_printed(field: impl Into<String>, printed: &str, detail: &str) -> Self {
        Self::new(
            "FieldValueInvalid",
            field,
            format!("Invalid value: {}", html_safe(printed)),
            detail,
        )
    }

    /// A value of a wrong type.
    pub fn type_invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> Self {
        Self::new(
            "FieldValueTypeInvalid",
            field,
            format!("Invalid value: {}", quoted(&value.into())),
            detail,
        )
    }

    /// A value that names something that is not there.
    pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(
            "FieldValueNotFound",
            field,
            format!("Not found: {}", quoted(&value.into())),
            "",
        )
    }

    /// A value that could not be judged.
    pub fn internal(field: impl Into<String>, detail: &str) -> Self {
        Self::new("InternalError", field, "Internal error".into(), detail)
    }

    /// A list of more than `max` items.
    pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> Self {
        let items = if max == 1 { "item" } else { "items" };
        Self::new(
            "FieldValueTooMany",
            field,
            format!("Too many: {actual}"),
            &format!("must have at most {max} {items}"),
        )
    }

    /// A value that is missing.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueRequired", field, "Required value".into(), detail)
    }

    /// A value that may not be given here.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueForbidden", field, "Forbidden".into(), detail)
    }

    /// A value outside a fixed set.
    pub fn not_supported(field: impl Into<String>, value: impl Into<Value>, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| go_quoted(s)).collect();
        let detail = match list.is_empty() {
            true => String::new(),
            false => format!("supported values: {}", list.join(", ")),
        };
        Self::new(
            "FieldValueNotSupported",
            field,
            format!("Unsupported value: {}", quoted(&value.into())),
            &detail,
        )
    }

    /// A value that is longer than `bytes_max`.
    pub fn too_long(field: impl Into<String>, bytes_max: usize) -> Self {
        let bytes = if bytes_max == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {bytes_max} {bytes}");
        Self::new("FieldValueTooLong", field, "Too long".into(), &detail)
    }

    /// A value that appears twice.
    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(
            "FieldValueDuplicate",
            field,
            format!("Duplicate value: {}", quoted(&value.into())),
            "",
        )
    }
}

impl FieldError {
    /// A value that appears twice, given as the text it is printed as.
    pub fn duplicate_printed(field: impl Into<String>, printed: &str) -> Self {
        Self::new(
            "FieldValueDuplicate",
            field,
            format!("Duplicate value: {}", html_safe(printed)),
            "",
        )
    }

    /// A value outside a fixed set, given as the text it is printed as.
    pub fn not_supported_printed(field: impl Into<String>, printed: &str, supported: &[&str]) -> Self {
        let mut error = Self::not_supported(field, 0, supported);
        let supported = error.message.split_off("Unsupported value: 0".len());
        error.message = format!("Unsupported value: {}{supported}", html_safe(printed));
        error
    }

    /// A malformed value that is not printed.
    pub fn invalid_unprinted(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueInvalid", field, "Invalid value".into(), detail)
    }

    /// The same error with more to say.
    pub fn with_detail(mut self, detail: &str) -> Self {
        self.message = format!("{}: {detail}", self.message);
        self
    }
}

/// Where a value stands in an object: `spec.containers[0].ports[1].name`, `metadata.labels[key]`.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// The object itself.
    Root,
    /// A field of a structure.
    Child(&'a Path<'a>, &'a str),
    /// An item of a list.
    Index(&'a Path<'a>, usize),
    /// A value of a map.
    Key(&'a Path<'a>, &'a str),
}

impl Path<'_> {
    /// A field below.
    pub fn child<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path::Child(self, name)
    }

    /// An item below.
    pub fn index(&self, index: usize) -> Path<'_> {
        Path::Index(self, index)
    }

    /// A value of the map here.
    pub fn key<'b>(&'b self, key: &'b str) -> Path<'b> {
        Path::Key(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Child(Path::Root, name) => f.write_str(name),
            Path::Child(above, name) => write!(f, "{above}.{name}"),
            Path::Index(above, index) => write!(f, "{above}[{index}]"),
            Path::Key(above, key) => write!(f, "{above}[{key}]"),
        }
    }
}

impl From<Path<'_>> for String {
    fn from(path: Path<'_>) -> Self {
        path.to_string()
    }
}

impl From<&Path<'_>> for String {
    fn from(path: &Path<'_>) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_upstream_writes_them() {
        let spec = Path::Root.child("spec");
        let containers = spec.child("containers");
        let first = containers.index(0);
        let ports = first.child("ports");
        assert_eq!(
            ports.index(1).child("name").to_string(),
            "spec.containers[0].ports[1].name"
        );
        let metadata = Path::Root.child("metadata");
        let labels = metadata.child("labels").key("a/b").to_string();
        assert_eq!(labels, "metadata.labels[a/b]");
    }
}

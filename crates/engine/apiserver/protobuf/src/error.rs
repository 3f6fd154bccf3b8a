//! What can be wrong with bytes or values.

/// Why bytes are no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes don't begin with the magic.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    /// Nothing says which kind the bytes are of.
    #[error("the message names no apiVersion and kind")]
    NoKind,
    /// The kind has no protobuf form here.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind {
        /// `v1` or `group/version`.
        api_version: String,
        /// Kind.
        kind: String,
    },
    /// The bytes end within a value.
    #[error("unexpected EOF")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A tag with field number 0 or an unknown wire type, or a group that is closed without being open.
    #[error("proto: illegal tag {tag}")]
    IllegalTag {
        /// The tag as read.
        tag: u64,
    },
    /// A field with another wire type than its type has.
    #[error("proto: wrong wireType = {wire} for field {field}")]
    WireType {
        /// JSON name of the field.
        field: String,
        /// The wire type that was found.
        wire: u8,
    },
    /// Messages nest too deeply.
    #[error("the object nests deeper than {depth_max} levels")]
    TooDeep {
        /// The bound.
        depth_max: usize,
    },
    /// The object would take too much memory.
    #[error("the object takes more than {memory_bytes_max} bytes of memory when decoded")]
    TooLarge {
        /// The bound.
        memory_bytes_max: usize,
    },
    /// Embedded JSON is not JSON.
    #[error("embedded JSON is invalid: {reason}")]
    Json {
        /// The parser's words.
        reason: String,
    },
    /// A time outside the years 0 to 9999.
    #[error("{seconds} seconds since 1970 is no time between the years 0 and 9999")]
    Time {
        /// Seconds since 1970.
        seconds: i64,
    },
    /// A number-or-text that says it is neither.
    #[error("impossible IntOrString.Type {found}")]
    IntOrString {
        /// Value of `type`.
        found: i64,
    },
}

/// Why a value has no protobuf form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The value doesn't name its kind.
    #[error("the object has no apiVersion and kind")]
    NoKind,
    /// The kind has no protobuf form.
    #[error("objects of kind {kind:?} in version {api_version:?} have no protobuf form")]
    UnknownKind {
        /// `v1` or `group/version`.
        api_version: String,
        /// Kind.
        kind: String,
    },
    /// A value of another type than its field has.
    #[error("{path}: expected {expected}, found {found}")]
    Type {
        /// Members from the object to the value, with dots.
        path: String,
        /// What the field holds.
        expected: &'static str,
        /// What was there, shortened.
        found: String,
    },
}

impl EncodeError {
    /// A value of a wrong type, whose path is still to be said.
    pub(crate) fn unexpected(expected: &'static str, found: &serde_json::Value) -> Self {
        let found = found.to_string();
        Self::Type {
            path: String::new(),
            expected,
            found: found.chars().take(80).collect(),
        }
    }

    /// The same error, seen from the parent of the member `name`.
    pub(crate) fn within(mut self, name: &str) -> Self {
        if let Self::Type { path, .. } = &mut self {
            *path = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{name}.{path}")
            };
        }
        self
    }
}

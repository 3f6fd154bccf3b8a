//! Why a JSON, merge or strategic merge patch was refused, with the HTTP status each refusal maps to.

use crate::decode::DecodeError;

/// A patch that can't be read or doesn't fit the object.
///
/// [`PatchError::http_status`] gives the status Kubernetes answers with; `Display` gives its message.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PatchError {
    /// The patch document is no valid JSON.
    #[error("error decoding patch: {source}")]
    Decode {
        #[source]
        source: DecodeError,
    },
    /// The patch is JSON, but of the wrong kind.
    #[error("error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}")]
    WrongType { found: &'static str, wanted: &'static str },
    /// A merge patch that is `null`.
    #[error("Invalid JSON Patch")]
    NullPatch,
    /// More operations than a JSON patch may have.
    #[error("The allowed maximum operations in a JSON patch is {limit}, got {count}")]
    TooManyOperations { count: usize, limit: usize },
    /// An operation of a JSON patch doesn't apply to the object.
    #[error("JSON patch operation {index} ({op} {path:?}) does not apply: {reason}")]
    OperationFailed {
        index: usize,
        op: String,
        path: String,
        reason: String,
    },
    /// `copy` operations would let the object grow beyond all bounds.
    #[error("Unable to copy, the accumulated size increase of copy is {size_bytes}, exceeding the limit {limit_bytes}")]
    CopyTooLarge { size_bytes: usize, limit_bytes: usize },
    /// A `$deleteFromPrimitiveList/...` directive isn't well formed.
    #[error("invalid patch format of primitive list")]
    PrimitiveListFormat,
    /// A `$retainKeys` directive isn't a list, or leaves out a field that the patch sets.
    #[error("invalid patch format of retainKeys")]
    RetainKeysFormat,
    /// A `$setElementOrder/...` directive isn't well formed.
    #[error("invalid patch format of setElementOrder list")]
    SetElementOrderFormat,
    /// A list whose items are lists can't be merged.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// The resource has no strategic merge patch (custom resources).
    #[error("strategic merge patch format is not supported")]
    StrategicUnsupported,
    /// The order of the patch's items contradicts its `$setElementOrder`.
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    OrderMismatch { patch: String, order: String },
    /// An item of a list to merge lacks the field that identifies it.
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey { item: String, key: String },
    /// A directive or list has a value of another JSON type.
    #[error("expected a {wanted}, but received a {found}")]
    BadArgument { wanted: &'static str, found: &'static str },
    /// A `$patch` directive other than replace, delete (or merge in lists).
    #[error("unknown patch type: {directive} in map: {map}")]
    UnknownDirective { directive: String, map: String },
    /// `$patch: merge` inside a list.
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirectiveInList,
    /// Items of different JSON types in lists that are to be merged.
    #[error("list element types are not identical: {lists}")]
    MixedTypes { lists: String },
    /// A list of objects with the merge strategy but no merge key.
    #[error("cannot merge lists without merge key for {name}")]
    NoKeyForList { name: String },
    /// A field is merged that the schema doesn't know.
    #[error("unable to find api field for the json field {field:?}")]
    UnknownField { field: String },
    /// Values nested deeper than the merge follows.
    #[error("the patch is nested deeper than {limit} levels")]
    TooDeep { limit: usize },
}

impl PatchError {
    /// The HTTP status code Kubernetes answers this refusal with.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Decode { .. }
            | Self::WrongType { .. }
            | Self::NullPatch
            | Self::PrimitiveListFormat
            | Self::RetainKeysFormat
            | Self::SetElementOrderFormat
            | Self::StrategicUnsupported
            | Self::TooDeep { .. } => 400,
            Self::TooManyOperations { .. } => 413,
            Self::OperationFailed { .. } | Self::CopyTooLarge { .. } | Self::ListOfLists => 422,
            Self::OrderMismatch { .. }
            | Self::NoMergeKey { .. }
            | Self::BadArgument { .. }
            | Self::UnknownDirective { .. }
            | Self::MergeDirectiveInList
            | Self::MixedTypes { .. }
            | Self::NoKeyForList { .. }
            | Self::UnknownField { .. } => 500,
        }
    }
}

impl From<DecodeError> for PatchError {
    fn from(source: DecodeError) -> Self {
        Self::Decode { source }
    }
}

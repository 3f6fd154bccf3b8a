//! Kubernetes objects between JSON values and `application/vnd.kubernetes.protobuf`.
//!
//! The wire form is upstream's: the magic `k8s\0`, then a `runtime.Unknown` that names the kind and holds the object as a
//! proto2 message. Which messages exist, their field numbers and JSON names are a table that `cargo xtask forge-protobuf`
//! writes; the codec walks it, so there is no type per kind. Both directions follow what upstream's generated code does:
//! decoding leaves out the zeros that its JSON encoder leaves out, encoding writes the zeros that its protobuf encoder
//! writes, in the same order.
//!
//! Custom resources have no messages: they have no protobuf form.

mod custom;
mod decode;
mod encode;
mod envelope;
mod error;
mod openapi;
mod table;
mod timestamp;
mod watch;
mod wire;

pub use decode::{Limits, decode, decode_with};
pub use encode::encode;
pub use envelope::MAGIC;
pub use error::{DecodeError, EncodeError};
pub use openapi::{OPENAPI_V2_MEDIA_TYPE, openapi_v2};
pub use watch::{decode_watch_event, encode_watch_event};

/// The media type of objects in this form.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// The media type of a stream of watch events in this form.
pub const WATCH_MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// Whether objects of this kind have a protobuf form. `api_version` is `v1` or `group/version`.
pub fn knows(api_version: &str, kind: &str) -> bool {
    table::Table::get().kind(api_version, kind).is_some()
}

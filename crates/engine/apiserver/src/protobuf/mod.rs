//! Protobuf bodies of Kubernetes clients, turned into JSON values by a table of field numbers.
//!
//! Typed clients (`kubectl create`, `kubectl auth`, controllers) send `application/vnd.kubernetes.protobuf`: four magic
//! bytes, an envelope that names kind and version, and the message.

mod decode;
mod table;

use serde_json::Value;

pub use decode::ProtobufError;

/// First bytes of every body.
const MAGIC: &[u8; 4] = b"k8s\0";

/// The object in a body.
pub fn object(bytes: &[u8], group: &str, version: &str, kind: &str) -> Result<Value, ProtobufError> {
    decode::envelope(
        bytes.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?,
        group,
        version,
        kind,
    )
}

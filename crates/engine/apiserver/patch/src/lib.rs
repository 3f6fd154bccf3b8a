//! JSON, merge, strategic-merge and apply patches; managed fields; defaulting and pruning by schema.
//!
//! Everything here is a pure function on [`serde_json::Value`]: no clock, no I/O, no randomness. Times are handed in by
//! the caller as RFC 3339 text.
//!
//! | module | main entry | follows |
//! |---|---|---|
//! | [`json_patch`] | `parse(&[u8]) -> Result<JsonPatch, PatchError>`, `JsonPatch::apply(&self, Value) -> Result<Value, PatchError>` | RFC 6902 |
//! | [`merge_patch`] | `parse(&[u8]) -> Result<Decoded, PatchError>`, `apply(Value, &Value) -> Value` | RFC 7386 |
//! | [`strategic`] | `parse(&[u8])`, `apply(Value, Value, &S) -> Result<Value, PatchError>` | Kubernetes strategic merge patch |
//! | [`managed`] | `FieldManager::{apply, update}`, `FieldSet`, `ignore_timestamps` | server-side apply |
//! | [`defaults`] | `apply(&mut Value, &S)`, `zero_object(&S) -> Value` | OpenAPI `default` |
//! | [`round_trip`] | `decoded(&mut Value, &S)`, `encoded(&mut Value, &S)`, `stored(&mut Value, &S)` | typed structures of the API |
//! | [`prune`] | `unknown_fields(&Value, &S) -> Vec<String>`, `prune(&mut Value, &S) -> Vec<String>` | fieldValidation |
//! | [`typecheck`] | `check(&Value, &S) -> Result<(), Mismatch>` | decode errors |
//! | [`decode`] | `json`, `json_typed(&[u8], &S)`, `json_untyped` `-> Result<Decoded, DecodeError>` | RFC 8259, strict |
//! | [`meta`] | `name`, `set_resource_version`, ... | ObjectMeta |
//!
//! The schema comes in through [`schema::SchemaNode`]: built-in kinds and CustomResourceDefinitions both fit behind it.

pub mod decode;
pub mod defaults;
pub mod error;
mod go_text;
pub mod json_patch;
pub mod managed;
pub mod merge_patch;
pub mod meta;
pub mod prune;
pub mod restore;
pub mod round_trip;
pub mod schema;
pub mod strategic;
#[cfg(test)]
mod testing;
pub mod typecheck;

pub use decode::{DecodeError, Decoded};
pub use error::PatchError;
pub use managed::{Applied, ApplyError, FieldManager, FieldSet};
pub use schema::SchemaNode;

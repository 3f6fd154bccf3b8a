//! Objects as JSON values: access to metadata, and the byte form in which they are stored and sent.

use bytes::Bytes;
use serde_json::{Map, Value};

/// Fields of `metadata` in the order they are written, those before the revision first.
const BEFORE_REVISION: [&str; 4] = ["name", "generateName", "namespace", "uid"];
const AFTER_REVISION: [&str; 9] = [
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

pub use engenho_patch::meta::{
    annotation, annotations, creation_timestamp, finalizers, generate_name, generation, label, labels, metadata_mut,
    name, namespace, owner_references, resource_version, uid,
};

/// A text field of `metadata`, empty if absent.
pub fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Whether `metadata.deletionTimestamp` is set.
pub fn is_terminating(object: &Value) -> bool {
    !meta(object, "deletionTimestamp").is_empty()
}

/// Sets a field of `metadata`.
pub fn set_meta(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(meta) = metadata_mut(object) {
        meta.insert(field.into(), value.into());
    }
}

/// Removes a field of `metadata`.
pub fn remove_meta(object: &mut Value, field: &str) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(field)
}

/// An object as bytes, ready to be stored: the revision's digits belong at `splice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// JSON with an empty `metadata.resourceVersion`.
    pub bytes: Bytes,
    /// Where the digits are inserted.
    pub splice: u32,
}

impl Encoded {
    /// The bytes with the revision in place.
    pub fn at(&self, revision: u64) -> Bytes {
        splice(&self.bytes, self.splice, revision)
    }
}

/// Inserts the digits of `revision` at `offset`.
pub fn splice(bytes: &[u8], offset: u32, revision: u64) -> Bytes {
    let (head, tail) = bytes.split_at((offset as usize).min(bytes.len()));
    let digits = revision.to_string();
    let mut out = Vec::with_capacity(bytes.len() + digits.len());
    out.extend_from_slice(head);
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(tail);
    out.into()
}

/// Length of `{"kind":K,"apiVersion":V,` at the start of a stored object: lists leave it out of their items.
pub fn type_prefix_len(kind: &str, api_version: &str) -> usize {
    r#"{"kind":"","apiVersion":"","#.len() + kind.len() + api_version.len()
}

/// Writes an object with `kind` and `apiVersion` first, then `metadata` with room for the revision, then the rest.
/// Kind and version contain nothing that JSON escapes.
pub fn encode(object: &Value, kind: &str, api_version: &str) -> Encoded {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{"#).as_bytes());
    let empty = Map::new();
    let meta = object["metadata"].as_object().unwrap_or(&empty);
    for field in BEFORE_REVISION {
        if let Some(value) = meta.get(field) {
            member(&mut out, field, value);
            out.push(b',');
        }
    }
    out.extend_from_slice(br#""resourceVersion":""#);
    let offset = out.len();
    out.push(b'"');
    let known = |f: &str| f == "resourceVersion" || BEFORE_REVISION.contains(&f) || AFTER_REVISION.contains(&f);
    let rest = meta.keys().map(String::as_str).filter(|f| !known(f));
    for field in AFTER_REVISION.into_iter().chain(rest) {
        if let Some(value) = meta.get(field) {
            out.push(b',');
            member(&mut out, field, value);
        }
    }
    out.push(b'}');
    for (field, value) in object.as_object().unwrap_or(&empty) {
        if !matches!(field.as_str(), "kind" | "apiVersion" | "metadata") {
            out.push(b',');
            member(&mut out, field, value);
        }
    }
    out.push(b'}');
    Encoded {
        bytes: out.into(),
        splice: u32::try_from(offset).unwrap_or(u32::MAX),
    }
}

fn member(out: &mut Vec<u8>, field: &str, value: &Value) {
    // Writing JSON values into memory cannot fail: their keys are strings.
    let _ = serde_json::to_writer(&mut *out, field);
    out.push(b':');
    let _ = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_revision_lands_in_metadata() {
        let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "\"\u{1F600}"},
            "metadata": {"name": "c", "resourceVersion": "7", "labels": {"x": "y"}, "selfLink": "z"}});
        let encoded = encode(&object, "ConfigMap", "v1");
        let back: Value = serde_json::from_slice(&encoded.at(1234)).expect("JSON");
        let mut want = object;
        set_meta(&mut want, "resourceVersion", "1234");
        assert_eq!(back, want);
        let prefix = type_prefix_len("ConfigMap", "v1");
        assert!(
            encoded.bytes[..prefix].ends_with(b"\"v1\","),
            "{:?}",
            &encoded.bytes[..prefix]
        );
    }

    proptest! {
        #[test]
        fn encoding_keeps_everything(name in "\\PC{0,9}", key in "\\PC{1,9}", text in "\\PC{0,20}", revision in any::<u64>()) {
            let mut object = json!({"kind": "K", "apiVersion": "g/v1", "metadata": {"name": name, "annotations": {(key): text}}});
            let back: Value = serde_json::from_slice(&encode(&object, "K", "g/v1").at(revision)).expect("JSON");
            set_meta(&mut object, "resourceVersion", revision.to_string());
            prop_assert_eq!(back, object);
        }
    }
}

//! Bytes that nobody wrote: errors, never panics, never more memory or depth than allowed.

use engenho_protobuf::{DecodeError, Limits, MAGIC, decode, decode_with, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

fn enveloped(kind: (&str, &str), raw: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let mut inner = vec![0x0a, kind.0.len() as u8];
    inner.extend(kind.0.as_bytes());
    inner.extend([0x12, kind.1.len() as u8]);
    inner.extend(kind.1.as_bytes());
    out.extend([0x0a, inner.len() as u8]);
    out.extend(inner);
    out.extend(length_delimited(0x12, raw));
    out
}

fn length_delimited(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
    out
}

/// Fields of any number with what a length-delimited field can hold: likely to be taken for messages.
fn message_like() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        (1_u8..16, any::<u64>()).prop_map(|(number, value)| {
            let mut out = vec![number << 3];
            let mut value = value;
            while value >= 0x80 {
                out.push(value as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
            out
        }),
        (1_u8..16, proptest::collection::vec(any::<u8>(), 0..12))
            .prop_map(|(number, bytes)| length_delimited(number << 3 | 2, &bytes)),
        (1_u8..16, "[a-z{}\\[\\]0-9\":]{0,8}").prop_map(|(n, text)| length_delimited(n << 3 | 2, text.as_bytes())),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        (1_u8..16, proptest::collection::vec(inner, 0..6))
            .prop_map(|(number, parts)| length_delimited(number << 3 | 2, &parts.concat()))
    })
}

proptest! {
    #[test]
    fn any_bytes_are_an_object_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, None);
        let _ = decode(&[&MAGIC, bytes.as_slice()].concat(), Some(("v1", "Pod")));
        let _ = decode(&enveloped(("v1", "Pod"), &bytes), None);
        let _ = engenho_protobuf::decode_watch_event(&bytes);
    }

    #[test]
    fn messages_of_any_shape_are_an_object_or_an_error(parts in proptest::collection::vec(message_like(), 0..6)) {
        let raw = parts.concat();
        for kind in [
            ("v1", "Pod"),
            ("apps/v1", "Deployment"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("v1", "List"),
            ("v1", "Service"),
        ] {
            // What decodes also encodes, unless a time or a number has no text form that fits.
            if let Ok(value) = decode(&enveloped(kind, &raw), None) {
                let encoded = encode(&value).map_err(|e| TestCaseError::fail(format!("{value}: {e}")))?;
                prop_assert_eq!(decode(&encoded, None).map(|v| v["kind"].clone()), Ok(value["kind"].clone()));
            }
        }
    }

    #[test]
    fn a_cut_message_is_an_error_or_an_object(cut in 0_usize..400) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"b": "c"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "x", "image": "y", "ports": [{"containerPort": 80}]}]}
        });
        let bytes = encode(&pod).unwrap();
        let _ = decode(&bytes[..cut.min(bytes.len())], None);
    }
}

#[test]
fn nesting_is_bounded() {
    // CustomResourceDefinition.spec.versions.schema.openAPIV3Schema, then `not` in `not`.
    let mut schema = Vec::new();
    for _ in 0..4000 {
        let mut outer = vec![0xe2, 0x01];
        outer.extend(&length_delimited(0, &schema)[1..]);
        schema = outer;
    }
    let mut raw = schema;
    for tag in [0x0a, 0x22, 0x3a, 0x12] {
        raw = length_delimited(tag, &raw);
    }
    let bytes = enveloped(("apiextensions.k8s.io/v1", "CustomResourceDefinition"), &raw);
    assert!(matches!(decode(&bytes, None), Err(DecodeError::TooDeep { .. })));
    // Lists of objects in lists of objects, each with its envelope.
    let mut list = enveloped(("v1", "List"), &[]);
    for _ in 0..1000 {
        let item = length_delimited(0x12, &length_delimited(0x0a, &list));
        list = enveloped(("v1", "List"), &item);
    }
    assert!(matches!(decode(&list, None), Err(DecodeError::TooDeep { .. })));
}

#[test]
fn memory_is_bounded() {
    // Two million empty containers in four megabytes.
    let mut spec = Vec::new();
    for _ in 0..2_000_000 {
        spec.extend([0x12, 0]);
    }
    let raw = length_delimited(0x12, &spec);
    let limits = Limits {
        memory_bytes_max: 16 * 1024 * 1024,
        ..Limits::default()
    };
    let decoded: Result<Value, _> = decode_with(&enveloped(("v1", "Pod"), &raw), None, limits);
    assert!(matches!(decoded, Err(DecodeError::TooLarge { .. })));
}

//! The objects that tokens are bound to.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads objects of the core group.
pub trait Objects {
    /// Why objects cannot be read.
    type Error;

    /// The object, if it is there. `namespace` is empty for Nodes.
    fn get(&self, plural: &str, namespace: &str, name: &str) -> Result<Option<Value>, Self::Error>;
}

/// How far clocks may be apart, seconds: what was deleted or has expired so recently still counts.
pub(crate) const LEEWAY_S: i64 = 60;

/// The UID of an object.
pub(crate) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Whether an object was deleted longer ago than clocks may be apart, and only waits for its finalizers.
pub(crate) fn is_long_deleted(object: &Value, now_s: i64) -> bool {
    let at = &object["metadata"]["deletionTimestamp"];
    match at.as_str().map(|text| OffsetDateTime::parse(text, &Rfc3339)) {
        Some(Ok(at)) => at.unix_timestamp() < now_s.saturating_sub(LEEWAY_S),
        Some(Err(_)) => true,
        None => false,
    }
}

/// Whether an object is being deleted.
pub(crate) fn is_deleted(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// A value of a Secret's `data`; `None` if it is missing or no base64.
pub fn data(secret: &Value, key: &str) -> Option<Vec<u8>> {
    let text = secret["data"][key].as_str()?;
    data_encoding::BASE64.decode(text.as_bytes()).ok()
}

/// A value as a Secret's `data` holds it.
pub fn encode(value: &[u8]) -> String {
    data_encoding::BASE64.encode(value)
}

/// Whether two texts are equal, in a time that does not tell where they differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0_u8, |d, (a, b)| d | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

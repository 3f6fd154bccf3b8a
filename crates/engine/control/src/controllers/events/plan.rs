//! When an Event ends.

use serde::Deserialize;

use crate::times;

/// How long an Event lives after its last change.
const TTL_MS: u64 = 3_600_000;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Event {
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    creation_timestamp: String,
    managed_fields: Vec<ManagedFields>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ManagedFields {
    time: String,
}

/// When a stored Event ends, milliseconds since the Unix epoch. Only times that the server writes count: reporters
/// may have any clock. What cannot be read has ended long ago.
pub(super) fn ends_unix_ms(stored: &[u8]) -> u64 {
    let Ok(Event { metadata }) = serde_json::from_slice(stored) else {
        return 0;
    };
    let times = metadata.managed_fields.iter().map(|entry| entry.time.as_str());
    let last = times
        .chain([metadata.creation_timestamp.as_str()])
        .filter_map(times::parse)
        .max();
    last.map_or(0, |at| at.saturating_add(TTL_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_change_counts() {
        let event = br#"{"metadata": {"creationTimestamp": "2023-11-14T22:13:20Z",
            "managedFields": [{"time": "2023-11-14T22:20:00Z"}, {"manager": "m"}]}, "lastTimestamp": "2099-01-01T00:00:00Z"}"#;
        assert_eq!(times::text(ends_unix_ms(event)), "2023-11-14T23:20:00Z");
        let event = br#"{"metadata": {"creationTimestamp": "2023-11-14T22:13:20Z"}}"#;
        assert_eq!(times::text(ends_unix_ms(event)), "2023-11-14T23:13:20Z");
        assert_eq!(ends_unix_ms(b"garbage"), 0);
    }
}

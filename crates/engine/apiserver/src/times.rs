//! Wall-clock times as Kubernetes writes them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `2006-01-02T15:04:05Z`
pub fn seconds(unix_ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp((unix_ms / 1000).cast_signed()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

/// `2006-01-02T15:04:05.000000Z`
pub fn micros(unix_ms: u64) -> String {
    let whole = seconds(unix_ms);
    format!("{}.{:06}Z", whole.trim_end_matches('Z'), (unix_ms % 1000) * 1000)
}

/// Milliseconds since the Unix epoch of an RFC 3339 text.
pub fn parse(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_rfc_3339() {
        assert_eq!(seconds(1_700_000_000_123), "2023-11-14T22:13:20Z");
        assert_eq!(micros(1_700_000_000_123), "2023-11-14T22:13:20.123000Z");
        assert_eq!(parse("2023-11-14T22:13:20.123000Z"), Some(1_700_000_000_123));
    }
}

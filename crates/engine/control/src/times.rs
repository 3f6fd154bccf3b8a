//! Wall-clock times as Kubernetes writes them (RFC 3339, whole seconds).

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `2006-01-02T15:04:05Z`
pub(crate) fn text(unix_ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp((unix_ms / 1000).cast_signed()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

/// Milliseconds since the Unix epoch of an RFC 3339 text.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_back() {
        assert_eq!(text(1_700_000_000_123), "2023-11-14T22:13:20Z");
        assert_eq!(parse("2023-11-14T22:13:20.5Z"), Some(1_700_000_000_500));
        assert_eq!(parse("yesterday"), None);
    }
}

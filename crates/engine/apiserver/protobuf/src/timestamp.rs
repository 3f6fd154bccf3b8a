//! Times: seconds and nanoseconds since 1970 on the wire, RFC 3339 text in UTC in JSON.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::DecodeError;

/// Digits after the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    /// None, as `Time`.
    Seconds,
    /// Six, as `MicroTime`.
    Micros,
}

/// Text of a time.
pub(crate) fn format(seconds: i64, nanos: i32, precision: Precision) -> Result<String, DecodeError> {
    let error = || DecodeError::Time { seconds };
    let nanos = match precision {
        Precision::Seconds => 0,
        Precision::Micros => i64::from(nanos),
    };
    // Go's time.Unix carries nanoseconds outside of a second over to the seconds.
    let seconds = seconds.checked_add(nanos.div_euclid(1_000_000_000)).ok_or_else(error)?;
    let micros = nanos.rem_euclid(1_000_000_000) / 1000;
    let at = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| error())?;
    if !(0..=9999).contains(&at.year()) {
        return Err(error());
    }
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = at.to_hms();
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if precision == Precision::Micros {
        text.push_str(&format!(".{micros:06}"));
    }
    text.push('Z');
    Ok(text)
}

/// Seconds and nanoseconds of a text.
pub(crate) fn parse(text: &str, precision: Precision) -> Option<(i64, i32)> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let nanos = match precision {
        Precision::Seconds => 0,
        Precision::Micros => at.microsecond() as i32 * 1000,
    };
    Some((at.unix_timestamp(), nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_seconds_are_the_same_time() {
        for (text, precision, parsed) in [
            ("2008-01-01T01:01:01Z", Precision::Seconds, (1_199_149_261, 0)),
            ("1969-12-31T23:59:59Z", Precision::Seconds, (-1, 0)),
            ("2004-01-01T01:01:01.000004Z", Precision::Micros, (1_072_918_861, 4000)),
            ("0001-01-01T00:00:00.000000Z", Precision::Micros, (-62_135_596_800, 0)),
        ] {
            assert_eq!(parse(text, precision), Some(parsed));
            assert_eq!(format(parsed.0, parsed.1, precision).as_deref(), Ok(text));
        }
        assert_eq!(
            parse("2008-01-01T02:01:01.9+01:00", Precision::Seconds),
            Some((1_199_149_261, 0))
        );
    }

    #[test]
    fn times_that_have_no_text_are_refused() {
        for seconds in [i64::MIN, i64::MAX, 253_402_300_800, -62_167_219_201] {
            assert_eq!(
                format(seconds, i32::MAX, Precision::Seconds),
                Err(DecodeError::Time { seconds })
            );
        }
        assert_eq!(parse("yesterday", Precision::Seconds), None);
    }
}

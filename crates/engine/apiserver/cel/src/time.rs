//! Spans and points of time, as texts and as numbers.

use std::fmt;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// The first second of year 1 and the last of year 9999.
const SECONDS_MIN: i64 = -62_135_596_800;
const SECONDS_MAX: i64 = 253_402_300_799;

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// In nanoseconds.
    pub nanos: i64,
}

/// A point in time, ordered by when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds of that second.
    pub nanos: u32,
    /// How many seconds before UTC the place is where it was written; matters for writing it only.
    pub offset: Offset,
}

/// How far a place's time is from UTC; all are the same when times are compared.
#[derive(Debug, Clone, Copy)]
pub struct Offset(pub i32);

impl PartialEq for Offset {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Offset {}

impl PartialOrd for Offset {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Offset {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl Duration {
    /// Reads `1h2m3.5s` and the like.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Some(Self { nanos: 0 });
        }
        if rest.is_empty() {
            return None;
        }
        let mut nanos = 0_i128;
        while !rest.is_empty() {
            let (whole, after) = digits(rest);
            let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
            if whole.is_empty() && fraction.is_empty() {
                return None;
            }
            let end = after
                .find(|c: char| c == '.' || c.is_ascii_digit())
                .unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let unit: i128 = match unit {
                "ns" => 1,
                "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => return None,
            };
            let whole: i128 = if whole.is_empty() {
                0
            } else {
                i128::from(whole.parse::<u64>().ok()?)
            };
            nanos = nanos.checked_add(whole.checked_mul(unit)?)?;
            let mut scale = unit;
            for digit in fraction.bytes() {
                let digit = i128::from(digit - b'0');
                nanos += digit * scale / 10;
                scale /= 10;
                if scale == 0 {
                    break;
                }
            }
            rest = after;
        }
        let nanos = i64::try_from(if negative { -nanos } else { nanos }).ok()?;
        Some(Self { nanos })
    }

    /// The sum, unless it is too long.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.nanos.checked_add(other.nanos).map(|nanos| Self { nanos })
    }

    /// The difference, unless it is too long.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.nanos.checked_sub(other.nanos).map(|nanos| Self { nanos })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.nanos.unsigned_abs();
        let sign = if self.nanos < 0 { "-" } else { "" };
        let (whole, fraction) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
        write!(f, "{sign}{whole}")?;
        write_fraction(f, fraction)?;
        f.write_str("s")
    }
}

fn write_fraction(f: &mut fmt::Formatter<'_>, nanos: u64) -> fmt::Result {
    if nanos == 0 {
        return Ok(());
    }
    write!(f, ".{}", format!("{nanos:09}").trim_end_matches('0'))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From one.
    pub(crate) month: i64,
    /// From one.
    pub(crate) day: i64,
    /// From zero.
    pub(crate) day_of_year: i64,
    /// From zero, which is Sunday.
    pub(crate) day_of_week: i64,
    pub(crate) second_of_day: i64,
}

/// Days since 1970 of a day (the algorithm of Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Timestamp {
    /// Seconds since 1970, if that is within the years 1 to 9999.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        Self::checked(seconds, 0, 0)
    }

    fn checked(seconds: i64, nanos: u32, offset: i32) -> Option<Self> {
        (SECONDS_MIN..=SECONDS_MAX).contains(&seconds).then_some(Self {
            seconds,
            nanos,
            offset: Offset(offset),
        })
    }

    /// Reads a time as RFC 3339 writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let part = bytes.get(from..to)?;
            part.iter().try_fold(0_i64, |number, digit| {
                digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
            })
        };
        let is = |at: usize, letter: u8| bytes.get(at) == Some(&letter);
        if !(is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':')) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut at = 19;
        let mut nanos = 0_u32;
        if is(at, b'.') || is(at, b',') {
            let start = at + 1;
            let end = start + bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if end == start {
                return None;
            }
            for place in 0..9 {
                let digit = bytes.get(start + place).filter(|_| start + place < end);
                nanos = nanos * 10 + digit.map_or(0, |digit| u32::from(digit - b'0'));
            }
            at = end;
        }
        let offset = match bytes.get(at..)? {
            b"Z" => 0,
            [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
                let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
                if hours > 24 || minutes > 60 {
                    return None;
                }
                let magnitude = hours * 3600 + minutes * 60;
                if *sign == b'-' { -magnitude } else { magnitude }
            }
            _ => return None,
        };
        let seconds = days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
        Self::checked(seconds - offset, nanos, i32::try_from(offset).ok()?)
    }

    /// The time a span later, unless that is beyond the years there are.
    pub fn plus(self, span: Duration) -> Option<Self> {
        let nanos = i64::from(self.nanos) + span.nanos.rem_euclid(NANOS_PER_SECOND);
        let seconds = self
            .seconds
            .checked_add(span.nanos.div_euclid(NANOS_PER_SECOND))?
            .checked_add(nanos / NANOS_PER_SECOND)?;
        Self::checked(seconds, u32::try_from(nanos % NANOS_PER_SECOND).ok()?, self.offset.0)
    }

    /// The time a span earlier, unless that is beyond the years there are.
    pub fn minus(self, span: Duration) -> Option<Self> {
        self.plus(Duration {
            nanos: span.nanos.checked_neg()?,
        })
    }

    /// How long after another time it is, unless that is too long.
    pub fn since(self, other: Self) -> Option<Duration> {
        let seconds = self.seconds.checked_sub(other.seconds)?.checked_mul(NANOS_PER_SECOND)?;
        let nanos = seconds.checked_add(i64::from(self.nanos) - i64::from(other.nanos))?;
        Some(Duration { nanos })
    }

    /// The day and time where time is `offset` seconds ahead of UTC.
    pub(crate) fn civil(self, offset: i64) -> Civil {
        let seconds = self.seconds.saturating_add(offset);
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil {
            year,
            month,
            day,
            day_of_year: days - days_from_civil(year, 1, 1),
            day_of_week: (days + 4).rem_euclid(7),
            second_of_day: seconds.rem_euclid(SECONDS_PER_DAY),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.civil(i64::from(self.offset.0));
        let (hour, minute, second) = (
            civil.second_of_day / 3600,
            civil.second_of_day / 60 % 60,
            civil.second_of_day % 60,
        );
        write!(
            f,
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}",
            civil.year, civil.month, civil.day
        )?;
        write_fraction(f, u64::from(self.nanos))?;
        if self.offset.0 == 0 {
            return f.write_str("Z");
        }
        let sign = if self.offset.0 < 0 { '-' } else { '+' };
        let minutes = self.offset.0.unsigned_abs() / 60;
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// How far a time zone is ahead of UTC, in seconds. Zones are known by their distance, `+02:00` or `-5:30`, and as UTC.
pub(crate) fn zone_offset(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "UTC" | "Etc/UTC" | "GMT" | "Etc/GMT" | "Z") {
        return Some(0);
    }
    let (sign, rest) = match zone.as_bytes().first()? {
        b'-' => (-1, &zone[1..]),
        b'+' => (1, &zone[1..]),
        _ => (1, zone),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u8>().ok())?
    };
    let (hours, minutes) = (i64::from(number(hours)?), i64::from(number(minutes)?));
    (minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, written) in [
            ("1h30m", "5400s"),
            ("1.5s", "1.5s"),
            ("-2ms", "-0.002s"),
            ("0", "0s"),
            (".5h", "1800s"),
            ("1us1ns", "0.000001001s"),
        ] {
            assert_eq!(Duration::parse(text).unwrap().to_string(), written);
        }
        for bad in ["", "1", "h", "1x", "1h-2m", "9999999999h", "."] {
            assert_eq!(Duration::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn times() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2024-02-29T23:59:59.123Z",
            "2023-12-31T23:59:59+02:00",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "2023-02-29T00:00:00Z",
            "2023-01-01",
            "2023-01-01T24:00:00Z",
            "x",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
        let civil = Timestamp::parse("2024-03-01T01:00:00Z").unwrap().civil(-7200);
        assert_eq!(
            (civil.month, civil.day, civil.day_of_year, civil.day_of_week),
            (2, 29, 59, 4)
        );
        assert_eq!(zone_offset("-05:30"), Some(-19_800));
        assert_eq!(zone_offset("America/Nowhere"), None);
    }
}

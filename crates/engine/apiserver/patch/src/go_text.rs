//! Texts that Go reads into something else, with the words in which its standard library refuses them.

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeLayout {
    /// RFC 3339, with or without a fraction of a second.
    Seconds,
    /// RFC 3339 with six digits of a fraction.
    Micro,
}

impl TimeLayout {
    fn text(self) -> &'static str {
        match self {
            Self::Seconds => "2006-01-02T15:04:05Z07:00",
            Self::Micro => "2006-01-02T15:04:05.000000Z07:00",
        }
    }
}

/// Why a part of a time is not taken.
enum Fault {
    /// This part cannot be read.
    Element(&'static str),
    /// A part is larger than it can be.
    Range(&'static str),
    /// Something follows.
    Extra,
}

/// Whether Go's `time.Parse` reads the text; its error if not.
pub(crate) fn check_time(text: &str, layout: TimeLayout) -> Result<(), String> {
    let mut rest = text;
    read_time(&mut rest, layout).map_err(|fault| {
        let message = match fault {
            Fault::Element(element) => {
                let layout = layout.text();
                return format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}");
            }
            Fault::Range(what) => format!("{what} out of range"),
            Fault::Extra => format!("extra text: {rest:?}"),
        };
        format!("parsing time {text:?}: {message}")
    })
}

fn read_time(rest: &mut &str, layout: TimeLayout) -> Result<(), Fault> {
    let year = number(rest, 4).ok_or(Fault::Element("2006"))?;
    let part = |rest: &mut &str, literal: &'static str, element: &'static str, range: &'static str, below: u32| {
        *rest = rest.strip_prefix(literal).ok_or(Fault::Element(literal))?;
        // An hour may have one digit.
        let digits = if element == "15" && number(&mut &**rest, 2).is_none() {
            1
        } else {
            2
        };
        let value = number(rest, digits).ok_or(Fault::Element(element))?;
        if value < below {
            Ok(value)
        } else {
            Err(Fault::Range(range))
        }
    };
    let month = part(rest, "-", "01", "month", 13)?;
    if month == 0 {
        return Err(Fault::Range("month"));
    }
    let day = part(rest, "-", "02", "day", u32::MAX)?;
    part(rest, "T", "15", "hour", 24)?;
    part(rest, ":", "04", "minute", 60)?;
    part(rest, ":", "05", "second", 60)?;
    fraction(rest, layout)?;
    offset(rest)?;
    if !rest.is_empty() {
        return Err(Fault::Extra);
    }
    if day == 0 || day > days_in(month, year) {
        return Err(Fault::Range("day"));
    }
    Ok(())
}

fn fraction(rest: &mut &str, layout: TimeLayout) -> Result<(), Fault> {
    let after = rest.strip_prefix(['.', ',']);
    let digits = after.map_or(0, |after| after.bytes().take_while(u8::is_ascii_digit).count());
    match (layout, after) {
        (TimeLayout::Micro, Some(after)) if digits >= 6 => *rest = &after[6..],
        (TimeLayout::Micro, _) => return Err(Fault::Element(".000000")),
        (TimeLayout::Seconds, Some(after)) if digits > 0 => *rest = &after[digits..],
        (TimeLayout::Seconds, _) => {}
    }
    Ok(())
}

fn offset(rest: &mut &str) -> Result<(), Fault> {
    if let Some(after) = rest.strip_prefix('Z') {
        *rest = after;
        return Ok(());
    }
    let mut ahead = *rest;
    let mut read = || {
        ahead = ahead.strip_prefix(['+', '-'])?;
        let hours = number(&mut ahead, 2)?;
        ahead = ahead.strip_prefix(':')?;
        Some((hours, number(&mut ahead, 2)?))
    };
    match read() {
        None => Err(Fault::Element("Z07:00")),
        Some((25.., _)) => Err(Fault::Range("time zone offset hour")),
        Some((_, 61..)) => Err(Fault::Range("time zone offset minute")),
        Some(_) => {
            *rest = ahead;
            Ok(())
        }
    }
}

/// Takes a number of exactly so many digits.
fn number(rest: &mut &str, digits: usize) -> Option<u32> {
    let text = rest
        .get(..digits)
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    *rest = &rest[digits..];
    text.parse().ok()
}

fn days_in(month: u32, year: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Whether Go's `base64.StdEncoding` reads the text; the byte it stumbles over if not. Line breaks are passed over.
pub(crate) fn check_base64(text: &str) -> Result<(), usize> {
    let bytes = text.as_bytes();
    let mut places = (0..bytes.len()).filter(|at| !matches!(bytes[*at], b'\r' | b'\n'));
    loop {
        let mut in_group = 0;
        while in_group < 4 {
            let Some(at) = places.next() else {
                // Nothing, or a group that is not whole.
                return if in_group == 0 {
                    Ok(())
                } else {
                    Err(bytes.len() - in_group)
                };
            };
            match (bytes[at], in_group) {
                (b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/', _) => {}
                (b'=', 2) => match places.next() {
                    Some(second) if bytes[second] == b'=' => return places.next().map_or(Ok(()), Err),
                    Some(second) => return Err(second - 1),
                    None => return Err(bytes.len()),
                },
                (b'=', 3) => return places.next().map_or(Ok(()), Err),
                _ => return Err(at),
            }
            in_group += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_that_go_reads() {
        for text in [
            "2024-02-29T23:59:59Z",
            "2024-01-02T03:04:05.123456789Z",
            "2024-01-02T3:04:05+05:30",
            "0000-01-01T00:00:00-00:00",
        ] {
            assert_eq!(check_time(text, TimeLayout::Seconds), Ok(()), "{text}");
        }
        assert_eq!(check_time("2024-01-02T03:04:05.000001Z", TimeLayout::Micro), Ok(()));
    }

    #[test]
    fn times_that_go_refuses() {
        let table = [
            (
                "soon",
                r#" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006""#,
            ),
            ("", r#" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006""#),
            (
                "2024-01-02",
                r#" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T""#,
            ),
            (
                "2024-01-02T03:04:05",
                r#" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00""#,
            ),
            ("2024-13-02T03:04:05Z", ": month out of range"),
            ("2023-02-29T03:04:05Z", ": day out of range"),
            ("2024-01-02T24:04:05Z", ": hour out of range"),
            ("2024-01-02T03:04:05Zulu", r#": extra text: "ulu""#),
        ];
        for (text, expected) in table {
            let error = check_time(text, TimeLayout::Seconds).unwrap_err();
            assert_eq!(error, format!("parsing time {text:?}{expected}"));
        }
        let micro = check_time("2024-01-02T03:04:05Z", TimeLayout::Micro).unwrap_err();
        assert!(micro.ends_with(r#"cannot parse "Z" as ".000000""#), "{micro}");
    }

    #[test]
    fn base64_as_go_reads_it() {
        for text in ["", "YQ==", "YWI=", "YWJj", "YW\nJj\n", "YR=="] {
            assert_eq!(check_base64(text), Ok(()), "{text}");
        }
        for (text, at) in [
            ("!", 0),
            ("YQ", 0),
            ("YWJjYQ", 4),
            ("YQ=", 3),
            ("YQ=a", 2),
            ("YQ==x", 4),
            ("Y=", 1),
            ("YWJj-", 4),
        ] {
            assert_eq!(check_base64(text), Err(at), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in "\\PC*", like in "[0-9T:.Z+-]{0,30}", base in "[A-Za-z=\n]{0,9}") {
            for text in [text, like, base] {
                let _ = (check_base64(&text), check_time(&text, TimeLayout::Seconds), check_time(&text, TimeLayout::Micro));
            }
        }
    }
}

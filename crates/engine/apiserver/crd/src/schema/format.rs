//! Formats of strings (upstream `strfmt`): which are known, and what is of them.

use std::net::{IpAddr, Ipv6Addr};

use engenho_validation::get::text;
use engenho_validation::scalars::addresses::{parse_legacy_cidr, parse_legacy_ip};
use engenho_validation::scalars::timing::parse_duration;
use serde_json::Value;

use super::DEPTH_MAX;

/// Known formats, without dashes, which are not looked at.
const KNOWN: [&str; 26] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8sshortname",
    "k8slongname",
];

fn normalised(name: &str) -> String {
    name.replace('-', "")
}

/// Whether values of a format are checked.
pub fn is_known(name: &str) -> bool {
    KNOWN.contains(&normalised(name).as_str())
}

/// Formats of strings in a schema that are not known, in document order: what creating a definition warns of.
pub fn unrecognized_formats(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(schema, 0, &mut found);
    found
}

fn collect(schema: &Value, depth: usize, found: &mut Vec<String>) {
    if depth > DEPTH_MAX || !schema.is_object() {
        return;
    }
    let format = text(&schema["format"]);
    if !format.is_empty() && text(&schema["type"]) == "string" && !is_known(format) {
        found.push(format.to_owned());
    }
    for key in ["items", "not", "additionalProperties"] {
        collect(&schema[key], depth + 1, found);
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for inner in schema[key].as_array().into_iter().flatten() {
            collect(inner, depth + 1, found);
        }
    }
    for (_, inner) in schema["properties"].as_object().into_iter().flatten() {
        collect(inner, depth + 1, found);
    }
}

/// Whether a text is of a known format.
pub(crate) fn holds(name: &str, text: &str) -> bool {
    match normalised(name).as_str() {
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "uri" => is_request_uri(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "ipv4" => text.contains('.') && (parse_legacy_ip(text).is_some() || is_ipv6(text)),
        "ipv6" => is_ipv6(text),
        "cidr" => parse_legacy_cidr(text).is_some(),
        "mac" => is_mac(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some(b'3')),
        "uuid4" => is_uuid(text, Some(b'4')),
        "uuid5" => is_uuid(text, Some(b'5')),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => is_ssn(text),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
        }
        "rgbcolor" => is_rgb(text),
        "byte" => is_base64(text),
        "date" => is_date(text),
        "duration" => is_duration(text),
        "datetime" => is_date_time(text),
        "k8sshortname" => text.len() <= 63 && is_label(text),
        "k8slongname" => text.len() <= 253 && text.split('.').all(is_label),
        _ => true,
    }
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| alphanumeric(*b))
        && bytes.last().is_some_and(|b| alphanumeric(*b))
        && bytes.iter().all(|b| alphanumeric(*b) || *b == b'-')
}

/// What `url.ParseRequestURI` reads: an absolute URI or an absolute path.
fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return false;
    }
    if text == "*" {
        return true;
    }
    let rest = match text.find(':') {
        Some(at) if is_scheme(&text[..at]) => {
            let rest = &text[at + 1..];
            let hierarchical = rest.starts_with('/');
            if !hierarchical {
                // An opaque URI such as `mailto:` is one too.
                return true;
            }
            rest
        }
        Some(0) => return false,
        _ => text,
    };
    if !rest.starts_with('/') || !well_escaped(rest) {
        return false;
    }
    let Some(authority) = rest.strip_prefix("//").filter(|_| rest.len() < text.len()) else {
        return true;
    };
    is_authority(authority.split(['/', '?']).next().unwrap_or_default())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn well_escaped(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|part| part.len() >= 2 && part.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
}

fn is_authority(text: &str) -> bool {
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    if host.bytes().any(|b| b" \"<>\\^`{|}".contains(&b)) {
        return false;
    }
    let port = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((_, port)) => port,
            None => return false,
        },
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

/// An address of a mailbox, perhaps with a display name: `a@b`, `A <a@b>`.
fn is_email(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t']);
    let address = match text.strip_suffix('>') {
        Some(rest) => match rest.rsplit_once('<') {
            Some((name, address)) if is_display_name(name.trim()) => address,
            _ => return false,
        },
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let local = match local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => !quoted.is_empty() && !quoted.contains('"') && !quoted.contains(char::is_control),
        None => is_dot_atom(local),
    };
    let domain = match domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => literal.parse::<IpAddr>().is_ok(),
        None => is_dot_atom(domain),
    };
    local && domain
}

fn is_display_name(name: &str) -> bool {
    let quoted = name.len() >= 2 && name.starts_with('"') && name.ends_with('"');
    quoted
        || name
            .split([' ', '\t'])
            .all(|word| word.is_empty() || word.chars().all(|c| is_atom(c) || c == '.'))
}

fn is_dot_atom(text: &str) -> bool {
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atom))
}

fn is_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

fn is_hostname(text: &str) -> bool {
    let body = |c: char| c.is_ascii_alphanumeric() || (!c.is_ascii() && !c.is_control()) || "$+<=>^`|~".contains(c);
    let labels: Vec<&str> = text.split('.').collect();
    if text.len() > 255 || labels.iter().any(|label| label.len() > 63) {
        return false;
    }
    let is_body =
        |label: &str| label.starts_with(body) && label.ends_with(body) && label.chars().all(|c| body(c) || c == '-');
    match labels.as_slice() {
        // One label alone has a dash after its first character only.
        [only] => {
            let mut characters = only.chars();
            let first = characters.next().is_some_and(body);
            let rest = characters.as_str();
            let rest = rest.strip_prefix('-').unwrap_or(rest);
            first && rest.chars().count() <= 62 && rest.chars().all(body)
        }
        [labels @ .., top] => {
            let letters = |c: char| c.is_ascii_alphabetic() || (!c.is_ascii() && c.is_alphabetic());
            labels.iter().all(|label| is_body(label))
                && (2..=63).contains(&top.chars().count())
                && top.chars().all(letters)
        }
        [] => false,
    }
}

fn is_ipv6(text: &str) -> bool {
    text.contains(':') && text.parse::<Ipv6Addr>().is_ok()
}

/// 6, 8 or 20 bytes, in pairs with colons or dashes or in fours with dots.
fn is_mac(text: &str) -> bool {
    let groups = |separator: char, length: usize, counts: [usize; 3]| {
        let groups: Vec<&str> = text.split(separator).collect();
        counts.contains(&groups.len())
            && groups
                .iter()
                .all(|group| group.len() == length && group.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    groups(':', 2, [6, 8, 20]) || groups('-', 2, [6, 8, 20]) || groups('.', 4, [3, 4, 10])
}

fn is_uuid(text: &str, version: Option<u8>) -> bool {
    let mut rest = text.as_bytes();
    for (i, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix(b"-").unwrap_or(rest);
        }
        let Some((group, after)) = rest.split_at_checked(length) else {
            return false;
        };
        let variant = match version {
            Some(b'4' | b'5') if i == 3 => b"89abAB".contains(&group[0]),
            Some(version) if i == 2 => group[0] == version,
            _ => true,
        };
        if !variant || !group.iter().all(u8::is_ascii_hexdigit) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn digits_of(text: &str) -> Vec<u8> {
    text.bytes().filter(|b| !b" \t\n\r\x0c\x0b-".contains(b)).collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = digits_of(text);
    let [head @ .., last] = digits.as_slice() else {
        return false;
    };
    if head.len() != 9 || !head.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let last = match last {
        b'X' => 10,
        b'0'..=b'9' => u32::from(last - b'0'),
        _ => return false,
    };
    let sum: u32 = (1..).zip(head).map(|(i, digit)| i * u32::from(digit - b'0')).sum();
    (sum + 10 * last).is_multiple_of(11)
}

fn is_isbn13(text: &str) -> bool {
    let digits = digits_of(text);
    if digits.len() != 13 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let weighted = digits.iter().enumerate().map(|(i, digit)| {
        let factor = if i % 2 == 0 { 1 } else { 3 };
        factor * u32::from(digit - b'0')
    });
    weighted.sum::<u32>().is_multiple_of(10)
}

fn is_credit_card(text: &str) -> bool {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
    let prefix = |length: usize| {
        digits
            .iter()
            .take(length)
            .fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit))
    };
    let issuer = match digits.len() {
        13 => prefix(1) == 4,
        14 => matches!(prefix(3), 300..=305) || matches!(prefix(2), 36 | 38),
        15 => matches!(prefix(2), 34 | 37) || matches!(prefix(4), 2131 | 1800),
        16 => prefix(1) == 4 || matches!(prefix(2), 51..=55 | 35) || prefix(4) == 6011 || matches!(prefix(2), 65),
        _ => false,
    };
    let luhn = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| match u32::from(*digit) * 2 {
            _ if i % 2 == 0 => u32::from(*digit),
            doubled if doubled >= 10 => doubled - 9,
            doubled => doubled,
        });
    issuer && luhn.sum::<u32>().is_multiple_of(10)
}

fn is_ssn(text: &str) -> bool {
    let mut rest = text.as_bytes();
    for (i, length) in [3, 2, 4].into_iter().enumerate() {
        if i > 0 && rest.first().is_some_and(|b| b" -".contains(b)) {
            rest = &rest[1..];
        }
        match rest.split_at_checked(length) {
            Some((group, after)) if group.iter().all(u8::is_ascii_digit) => rest = after,
            _ => return false,
        }
    }
    rest.is_empty()
}

fn is_rgb(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    let Some(inner) = inner else { return false };
    let parts: Vec<&str> = inner
        .split(',')
        .map(|part| part.trim_matches([' ', '\t', '\n', '\r', '\x0c']))
        .collect();
    let is_part = |part: &&str| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits && (*part == "0" || !part.starts_with('0')) && part.parse::<u8>().is_ok()
    };
    parts.len() == 3 && parts.iter().all(is_part)
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
}

fn number(text: &str, length: usize) -> Option<u32> {
    (text.len() == length && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `2006-01-02`
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// `2006-01-02T15:04:05.999Z`, `2006-01-02t15:04:05+01:00`
fn is_date_time(text: &str) -> bool {
    let text = text.to_lowercase();
    let mut parts = text.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else {
        return false;
    };
    if !is_date(date) || !time.is_ascii() || time.len() < 9 {
        return false;
    }
    let (clock, rest) = time.split_at(8);
    let fields: Vec<Option<u32>> = clock.split(':').map(|part| number(part, 2)).collect();
    let [Some(hour), Some(minute), Some(second)] = fields.as_slice() else {
        return false;
    };
    let zone_at = rest.rfind(['z', '+', '-']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(zone_at);
    let zone = zone == "z"
        || zone.get(1..).is_some_and(|zone| {
            zone.split_once(':')
                .is_some_and(|(h, m)| number(h, 2).is_some() && number(m, 2).is_some())
        });
    // Any character may stand before the fraction.
    let fraction = fraction.is_empty() || fraction.len() > 1 && fraction.bytes().skip(1).all(|b| b.is_ascii_digit());
    *hour <= 23 && *minute <= 59 && *second <= 59 && zone && fraction
}

const UNITS: [&[&str]; 8] = [
    &["ns", "nano"],
    &["us", "µs", "micro"],
    &["ms", "milli"],
    &["s", "sec"],
    &["m", "min"],
    &["h", "hr", "hour"],
    &["d", "day"],
    &["w", "wk", "week"],
];

/// A duration as Go reads it, or numbers with units in words: `22 ns`, `3 days`.
fn is_duration(text: &str) -> bool {
    if parse_duration(text).is_some() {
        return true;
    }
    let mut rest = text;
    let mut found = false;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = &rest[start..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        let end = after
            .find(|c: char| !c.is_ascii_alphabetic() && c != 'µ')
            .unwrap_or(after.len());
        let unit = after[..end].to_lowercase();
        rest = &after[end..];
        if unit.is_empty() {
            continue;
        }
        if number.parse::<i64>().is_err() {
            return false;
        }
        // The last spelling of a unit may go on: `second`, `minutes`.
        let is_unit =
            |names: &&[&str]| names.contains(&unit.as_str()) || names.last().is_some_and(|name| unit.starts_with(name));
        found |= UNITS.iter().any(is_unit);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_of_their_format() {
        for (format, good, bad) in [
            (
                "date-time",
                &["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20+01:00"][..],
                &["x", "2014-12-15", "2014-12-15T25:00:00Z", "2014-13-15T19:30:20Z"][..],
            ),
            ("date", &["2024-02-29"], &["2023-02-29", "2024-2-29", "x"]),
            ("duration", &["22 ns", "1h", "3 days", "1m30s"], &["", "x", "1"]),
            ("ipv4", &["10.0.0.1", "010.0.0.1"], &["10.0.0", "::1", "x"]),
            ("ipv6", &["::1", "2001:db8::1"], &["10.0.0.1", "g::"]),
            ("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0", "10.0.0.0/33"]),
            (
                "mac",
                &["01:23:45:67:89:ab", "0123.4567.89ab"],
                &["01:23:45:67:89", "x"],
            ),
            (
                "uuid",
                &[
                    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
                    "F47AC10B58CC4372A5670E02B2C3D479",
                ],
                &["x", "f47ac10b-58cc-4372-a567-0e02b2c3d47"],
            ),
            (
                "uuid4",
                &["f47ac10b-58cc-4372-a567-0e02b2c3d479"],
                &["f47ac10b-58cc-3372-a567-0e02b2c3d479"],
            ),
            (
                "uuid3",
                &["f47ac10b-58cc-3372-1567-0e02b2c3d479"],
                &["f47ac10b-58cc-4372-a567-0e02b2c3d479"],
            ),
            ("email", &["a@b.c", "A B <a@b>"], &["a", "@b", "a b@c", "a@"]),
            (
                "hostname",
                &["example.com", "localhost", "a-b.example.com"],
                &["-a.com", "a_b", "a.1", ""],
            ),
            (
                "uri",
                &["http://a/b?c", "/path", "mailto:x", "https://[::1]:80/"],
                &["a", "", "http://a b/", "http://a:x/"],
            ),
            ("byte", &["YQ==", "YWJj"], &["a", "", "YQ=", "?aaa"]),
            ("hexcolor", &["#fff", "00ff00"], &["#ff", "ggg"]),
            ("rgbcolor", &["rgb(1, 2,255)"], &["rgb(1,2)", "rgb(1,2,256)"]),
            ("ssn", &["123-45-6789", "123456789"], &["123-45-678"]),
            ("isbn", &["0321751043", "978-0321751041"], &["0321751044"]),
            ("creditcard", &["4111 1111 1111 1111"], &["4111111111111112", "1"]),
            ("bsonobjectid", &["507f1f77bcf86cd799439011"], &["507f"]),
            ("k8s-short-name", &["a-b"], &["A", "-a", "a.b"]),
            ("k8s-long-name", &["a-b.c"], &["A", "a..b"]),
            ("password", &["anything"], &[]),
        ] {
            for text in good {
                assert!(holds(format, text), "{text:?} is {format}");
            }
            for text in bad {
                assert!(!holds(format, text), "{text:?} is no {format}");
            }
        }
    }

    #[test]
    fn unknown_formats_are_told() {
        let schema = json!({"properties": {"a": {"type": "string", "format": "foo"}, "b": {"type": "string", "format": "date-time"},
            "c": {"type": "integer", "format": "int32"}}});
        assert_eq!(unrecognized_formats(&schema), ["foo"]);
        assert!(is_known("date-time") && !is_known("int64"));
    }
}

//! The named formats of texts (`format.dns1123Label().validate(x)`).

use crate::time::Timestamp;
use crate::url::Url;

/// The names of all formats, as functions of `format`.
pub(crate) const NAMES: [&str; 13] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

const LABEL_CHARS_MAX: usize = 63;
const SUBDOMAIN_CHARS_MAX: usize = 253;

/// A format, by its place among [`NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedFormat(usize);

impl NamedFormat {
    /// The format of a name.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().position(|known| *known == name).map(Self)
    }

    /// What is wrong with a text; nothing if it is of the format.
    pub fn validate(self, text: &str) -> Vec<String> {
        let name = NAMES.get(self.0).copied().unwrap_or_default();
        let only = |fits: bool, why: &str| if fits { Vec::new() } else { vec![why.to_owned()] };
        let masked = |text: &str| {
            text.strip_suffix('-')
                .map_or(text.to_owned(), |rest| format!("{rest}a"))
        };
        match name {
            "dns1123Label" => label(text),
            "dns1123LabelPrefix" => label(&masked(text)),
            "dns1123Subdomain" => subdomain(text),
            "dns1123SubdomainPrefix" => subdomain(&masked(text)),
            "dns1035Label" => label_1035(text),
            "dns1035LabelPrefix" => label_1035(&masked(text)),
            "qualifiedName" => qualified_name(text),
            "labelValue" => label_value(text),
            "uri" => Url::parse(text).err().into_iter().collect(),
            "uuid" => only(is_uuid(text), "does not match the UUID format"),
            "byte" => only(is_base64(text), "invalid base64"),
            "date" => only(Timestamp::parse(&format!("{text}T00:00:00Z")).is_some(), "invalid date"),
            _ => only(is_datetime(text), "invalid datetime"),
        }
    }
}

fn longer_than(text: &str, most: usize) -> Option<String> {
    (text.len() > most).then(|| format!("must be no more than {most} bytes"))
}

fn explained(what: &str, pattern: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}'")).collect();
    format!(
        "{what} (e.g. {}, regex used for validation is '{pattern}')",
        examples.join(",  or ")
    )
}

fn is_label(text: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|byte| edge(byte) || *byte == b'-')
}

fn label(text: &str) -> Vec<String> {
    let wrong = (!is_label(text)).then(|| {
        explained(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "123-abc"],
        )
    });
    longer_than(text, LABEL_CHARS_MAX).into_iter().chain(wrong).collect()
}

fn subdomain(text: &str) -> Vec<String> {
    let wrong = (!text.split('.').all(is_label)).then(|| {
        explained(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        )
    });
    longer_than(text, SUBDOMAIN_CHARS_MAX)
        .into_iter()
        .chain(wrong)
        .collect()
}

fn label_1035(text: &str) -> Vec<String> {
    let starts = text.starts_with(|letter: char| letter.is_ascii_lowercase());
    let wrong = (!(starts && is_label(text))).then(|| {
        explained(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        )
    });
    longer_than(text, LABEL_CHARS_MAX).into_iter().chain(wrong).collect()
}

fn is_name(text: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_alphanumeric();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|byte| edge(byte) || b"-_.".contains(byte))
}

fn qualified_name(text: &str) -> Vec<String> {
    const WHAT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    const PATTERN: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
    let examples = ["MyName", "my.name", "123-abc"];
    let mut wrong = Vec::new();
    let mut parts = text.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, None) => name,
        (Some(prefix), Some(name), None) => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(subdomain(prefix).into_iter().map(|why| format!("prefix part {why}")));
            }
            name
        }
        _ => {
            let why = explained(&format!("a qualified name {WHAT}"), PATTERN, &examples);
            wrong.push(format!(
                "{why} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return wrong;
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else {
        wrong.extend(longer_than(name, LABEL_CHARS_MAX).map(|why| format!("name part {why}")));
    }
    if !is_name(name) {
        let why = explained(WHAT, PATTERN, &examples);
        wrong.push(format!("name part {why}"));
    }
    wrong
}

fn label_value(text: &str) -> Vec<String> {
    let wrong = (!text.is_empty() && !is_name(text)).then(|| {
        explained(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        )
    });
    longer_than(text, LABEL_CHARS_MAX).into_iter().chain(wrong).collect()
}

fn is_uuid(text: &str) -> bool {
    let digits: String = text.chars().filter(|letter| *letter != '-').collect();
    let hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Each dash may be left out, but be nowhere else.
    let mut at = 0;
    let dashes = text.bytes().all(|byte| {
        if byte != b'-' {
            at += 1;
        }
        byte != b'-' || [8, 12, 16, 20].contains(&at)
    });
    hex && dashes && !text.contains("--")
}

fn is_base64(text: &str) -> bool {
    !text.is_empty() && data_encoding::BASE64.decode(text.as_bytes()).is_ok()
}

fn is_datetime(text: &str) -> bool {
    let upper = text.replacen('t', "T", 1).replace('z', "Z");
    Timestamp::parse(&upper).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let wrong = |name: &str, text: &str| NamedFormat::named(name).unwrap().validate(text);
        assert!(wrong("dns1123Label", "a-1").is_empty());
        assert_eq!(
            wrong("dns1123Label", "A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert!(wrong("dns1123LabelPrefix", "a-").is_empty());
        assert!(!wrong("dns1123Label", "a-").is_empty());
        assert_eq!(
            wrong("dns1123Subdomain", &"a".repeat(300))[0],
            "must be no more than 253 bytes"
        );
        assert!(wrong("qualifiedName", "example.com/a_B").is_empty());
        assert_eq!(wrong("qualifiedName", "/a"), ["prefix part must be non-empty"]);
        assert!(!wrong("qualifiedName", "a/b/c").is_empty());
        assert!(wrong("labelValue", "").is_empty());
        assert!(wrong("uuid", "123e4567-e89b-12d3-a456-426614174000").is_empty());
        assert!(!wrong("uuid", "123e4567-e89b-12d3-a456-42661417400").is_empty());
        assert!(wrong("byte", "aGVsbG8=").is_empty());
        assert!(wrong("date", "2021-01-01").is_empty());
        assert_eq!(wrong("datetime", "2021-01-01"), ["invalid datetime"]);
        assert!(wrong("uri", "http://example.com").is_empty());
        assert_eq!(NamedFormat::named("x"), None);
    }
}

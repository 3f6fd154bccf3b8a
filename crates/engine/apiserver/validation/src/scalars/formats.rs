//! Short texts with a fixed alphabet, and numbers with a range.

use crate::names::{dns_subdomain, pattern_text, qualified, too_many_characters};

/// "between": upstream's text for a range.
pub fn range_text(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// What is wrong with a number that must lie in a range.
pub fn in_range(value: i64, low: i64, high: i64) -> Vec<String> {
    match (low..=high).contains(&value) {
        true => Vec::new(),
        false => vec![range_text(low, high)],
    }
}

/// A port: 1 to 65535.
pub fn port_number(port: i64) -> Vec<String> {
    in_range(port, 1, 65535)
}

/// A user or a group: 0 to 2^31 - 1.
pub fn user_or_group(id: i64) -> Vec<String> {
    in_range(id, 0, i64::from(i32::MAX))
}

/// The name of a port (IANA service name).
pub fn port_name(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.len() > 15 {
        wrong.push("must be no more than 15 characters".to_owned());
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || !name.bytes().all(allowed) {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// `93%`.
pub fn percent(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    let rule = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![pattern_text(rule, "[0-9]+%", &["1%", "93%"])]
}

/// The name of a header of HTTP.
pub fn http_header_name(name: &str) -> Vec<String> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    let rule = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![pattern_text(rule, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// The name of an environment variable: printable ASCII but '='.
pub fn env_name(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    match name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        true => Vec::new(),
        false => vec![
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned(),
        ],
    }
}

/// A key of a ConfigMap or of a Secret.
pub fn config_key(key: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if key.len() > 253 {
        wrong.push(too_many_characters(253));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if key.is_empty() || !key.bytes().all(allowed) {
        let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        wrong.push(pattern_text(
            rule,
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match key {
        "." | ".." => wrong.push(format!("must not be '{key}'")),
        _ if key.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// An identifier as C knows it.
pub fn c_identifier(name: &str) -> Vec<String> {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    if name.bytes().next().is_some_and(first) && name.bytes().all(|b| first(b) || b.is_ascii_digit()) {
        return Vec::new();
    }
    let rule = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'";
    let examples = ["my_name", "MY_NAME", "MyName"];
    vec![pattern_text(rule, "[A-Za-z_][A-Za-z0-9_]*", &examples)]
}

const HTTP_PATH_FORMAT: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";

/// Whether a text holds only what a path of HTTP may hold, and something.
pub fn is_http_path(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b))
}

/// `domain/path`: gives the part that is wrong and why; an empty text is the caller's to refuse.
pub fn domain_prefixed_path(text: &str) -> Vec<(String, String)> {
    let Some((host, path)) = text.split_once('/').filter(|(h, p)| !h.is_empty() && !p.is_empty()) else {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        return vec![(text.to_owned(), why.to_owned())];
    };
    let mut wrong: Vec<(String, String)> = dns_subdomain(host).into_iter().map(|w| (host.to_owned(), w)).collect();
    if !is_http_path(path) {
        wrong.push((path.to_owned(), pattern_text("Invalid path", HTTP_PATH_FORMAT, &[])));
    }
    wrong
}

/// `domain/key`: an empty text is the caller's to refuse.
pub fn domain_prefixed_key(text: &str) -> Vec<String> {
    let wrong = qualified(text);
    match wrong.is_empty() && !text.contains('/') {
        true => vec!["must be a domain-prefixed key (such as \"acme.io/foo\")".to_owned()],
        false => wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_names_are_iana_service_names() {
        assert!(port_name("http-2").is_empty());
        assert_eq!(port_name("1"), ["must contain at least one letter (a-z)"]);
        assert_eq!(port_name("a--b-").len(), 2);
        assert_eq!(port_name("Web").len(), 1);
    }

    #[test]
    fn keys_and_variables() {
        assert!(config_key("a.b_C-1").is_empty() && env_name("a b").is_empty() && percent("10%").is_empty());
        assert_eq!(config_key(".."), ["must not be '..'"]);
        assert_eq!(env_name("a=b").len(), 1);
        assert_eq!(percent("10").len(), 1);
        assert_eq!(domain_prefixed_path("a.io/b").len(), 0);
        assert_eq!(domain_prefixed_path("a.io").len(), 1);
        assert_eq!(domain_prefixed_key("foo").len(), 1);
    }
}

//! Names: DNS labels and subdomains, qualified names, label values, path segments (RFC 1035, RFC 1123).

const QUALIFIED_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORMAT: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_1035_FORMAT: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const LABEL_VALUE_FORMAT: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// Checks a name; gives what is wrong with it.
pub type NameCheck = fn(&str) -> Vec<String>;

/// "no more than": upstream's text for a length.
pub fn too_many_characters(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// A rule with its pattern and examples, in upstream's wording.
pub fn pattern_text(rule: &str, format: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{rule} (regex used for validation is '{format}')");
    }
    let mut text = format!("{rule} (e.g. ");
    for (i, example) in examples.iter().enumerate() {
        text.push_str(if i > 0 { " or " } else { "" });
        text.push_str(&format!("'{example}', "));
    }
    text.push_str(&format!("regex used for validation is '{format}')"));
    text
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label(s: &str) -> bool {
    let b = s.as_bytes();
    !b.is_empty() && lower_alnum(b[0]) && lower_alnum(b[b.len() - 1]) && b.iter().all(|b| lower_alnum(*b) || *b == b'-')
}

fn is_qualified_part(s: &str) -> bool {
    let b = s.as_bytes();
    !b.is_empty()
        && b[0].is_ascii_alphanumeric()
        && b[b.len() - 1].is_ascii_alphanumeric()
        && b.iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// RFC 1123 label: at most 63 characters.
pub fn dns_label(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.len() > 63 {
        wrong.push(too_many_characters(63));
    }
    if !is_label(name) {
        if is_subdomain(name) {
            wrong.push("must not contain dots".into());
        } else {
            let rule = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
            wrong.push(pattern_text(rule, LABEL_FORMAT, &["my-name", "123-abc"]));
        }
    }
    wrong
}

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_label)
}

/// RFC 1123 subdomain: at most 253 characters.
pub fn dns_subdomain(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.len() > 253 {
        wrong.push(too_many_characters(253));
    }
    if !is_subdomain(name) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
        wrong.push(pattern_text(rule, SUBDOMAIN_FORMAT, &["example.com"]));
    }
    wrong
}

fn is_underscored_label(s: &str) -> bool {
    let b = s.strip_prefix('_').unwrap_or(s).as_bytes();
    !b.is_empty()
        && lower_alnum(b[0])
        && lower_alnum(b[b.len() - 1])
        && b.iter().all(|b| lower_alnum(*b) || matches!(b, b'-' | b'_'))
}

/// A subdomain whose labels may hold underscores, as search domains may.
pub fn dns_subdomain_with_underscore(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.len() > 253 {
        wrong.push(too_many_characters(253));
    }
    if !name.split('.').all(is_underscored_label) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character";
        let format = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
        wrong.push(pattern_text(rule, format, &["example.com"]));
    }
    wrong
}

/// `*.` and a subdomain, as hosts of rules may be.
pub fn wildcard_dns_subdomain(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.len() > 253 {
        wrong.push(too_many_characters(253));
    }
    if !name.strip_prefix("*.").is_some_and(is_subdomain) {
        let rule = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        let format = format!(r"\*\.{SUBDOMAIN_FORMAT}");
        wrong.push(pattern_text(rule, &format, &["*.example.com"]));
    }
    wrong
}

/// RFC 1035 label, as Service names are.
pub fn dns_1035_label(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.len() > 63 {
        wrong.push(too_many_characters(63));
    }
    if !is_label(name) || !name.as_bytes()[0].is_ascii_lowercase() {
        let rule = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
        wrong.push(pattern_text(rule, LABEL_1035_FORMAT, &["my-name", "abc-123"]));
    }
    wrong
}

/// A CronJob's name leaves room for the suffix of its Jobs.
pub fn cron_job(name: &str) -> Vec<String> {
    let mut wrong = dns_subdomain(name);
    if name.len() > 52 {
        wrong.push(too_many_characters(52));
    }
    wrong
}

/// Anything that can stand between two slashes of a path, as RBAC names are.
pub fn path_segment(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    let mut wrong = Vec::new();
    for forbidden in ['/', '%'] {
        if name.contains(forbidden) {
            wrong.push(format!("may not contain '{forbidden}'"));
        }
    }
    wrong
}

/// An IP address in canonical form, as IPAddress names are.
pub fn ip_address(name: &str) -> Vec<String> {
    match name.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.to_string() == name => Vec::new(),
        Ok(ip) => vec![format!("must be in canonical form (\"{ip}\")")],
        Err(_) if leading_zeros(name) => vec!["must not have leading 0s".into()],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
    }
}

fn leading_zeros(name: &str) -> bool {
    let trimmed: Vec<&str> = name.split('.').map(|p| p.trim_start_matches('0')).collect();
    let filled: Vec<&str> = trimmed.iter().map(|p| if p.is_empty() { "0" } else { p }).collect();
    filled.join(".").parse::<std::net::Ipv4Addr>().is_ok()
}

/// `[prefix/]name`, as label keys, annotation keys and finalizers are.
pub fn qualified(name: &str) -> Vec<String> {
    let rule = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let examples = ["MyName", "my.name", "123-abc"];
    let mut wrong = Vec::new();
    let mut parts = name.split('/');
    let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let part = match (second, third) {
        (None, _) => first,
        (Some(part), None) => {
            if first.is_empty() {
                wrong.push("prefix part must be non-empty".into());
            } else {
                wrong.extend(dns_subdomain(first).into_iter().map(|w| format!("prefix part {w}")));
            }
            part
        }
        (Some(_), Some(_)) => {
            let text = pattern_text(rule, QUALIFIED_FORMAT, &examples);
            return vec![format!(
                "a qualified name {text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if part.is_empty() {
        wrong.push("name part must be non-empty".into());
    } else if part.len() > 63 {
        wrong.push(format!("name part {}", too_many_characters(63)));
    }
    if !is_qualified_part(part) {
        wrong.push(format!("name part {}", pattern_text(rule, QUALIFIED_FORMAT, &examples)));
    }
    wrong
}

/// The value of a label.
pub fn label_value(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > 63 {
        wrong.push(too_many_characters(63));
    }
    if !value.is_empty() && !is_qualified_part(value) {
        let rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        wrong.push(pattern_text(
            rule,
            LABEL_VALUE_FORMAT,
            &["MyValue", "my_value", "12345"],
        ));
    }
    wrong
}

/// How objects of a resource are named.
pub fn check_of(group: &str, resource: &str) -> NameCheck {
    match (group, resource) {
        ("", "namespaces") | ("apps", "statefulsets") => dns_label,
        ("", "services") => dns_1035_label,
        ("batch", "cronjobs") => cron_job,
        ("rbac.authorization.k8s.io" | "apiregistration.k8s.io", _)
        | ("certificates.k8s.io", "certificatesigningrequests")
        | ("", "events") => path_segment,
        ("networking.k8s.io", "ipaddresses") => ip_address,
        _ => dns_subdomain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_upstreams() {
        assert_eq!(
            dns_1035_label("1svc"),
            [
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert_eq!(ip_address("10.96.0.010"), ["must not have leading 0s"]);
        assert_eq!(ip_address("FD00::1"), ["must be in canonical form (\"fd00::1\")"]);
        assert!(qualified("example.com/a_b.C").is_empty() && dns_subdomain("a.b-c.d1").is_empty());
        assert_eq!(qualified("a/b/c").len(), 1);
    }
}

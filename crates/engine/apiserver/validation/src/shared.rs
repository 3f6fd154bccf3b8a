//! Checks that several groups beside core, apps and batch share.

use serde_json::Value;

use crate::get::{flag, given, int, items, optional_text, same, text};
use crate::names::{self, dns_subdomain, qualified};
use crate::scalars::formats::port_number;
use crate::{FieldError, Path};

/// All that is wrong with something.
pub(crate) type Errors = Vec<FieldError>;

const REASON_BYTES_MAX: usize = 1024;
const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// A value that may not differ from the one before.
pub(crate) fn immutable(new: &Value, old: &Value, path: &Path<'_>) -> Errors {
    match same(new, old) {
        true => Errors::new(),
        false => vec![FieldError::invalid(path, new.clone(), "field is immutable")],
    }
}

/// A value of a fixed set; an absent one is the caller's to refuse.
pub(crate) fn one_of(value: &Value, supported: &[&str], path: &Path<'_>) -> Errors {
    match optional_text(value) {
        Some(text) if !supported.contains(&text) => vec![FieldError::not_supported(path, text, supported)],
        _ => Errors::new(),
    }
}

/// A number that may not be negative, printed as upstream does.
pub(crate) fn not_negative(value: &Value, path: &Path<'_>) -> Errors {
    crate::scalars::timing::non_negative(value, path)
}

/// Conditions of `metav1` (upstream `ValidateConditions`).
pub(crate) fn conditions(conditions: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = std::collections::BTreeSet::new();
    for (i, condition) in items(conditions).iter().enumerate() {
        let at = path.index(i);
        let kind = text(&condition["type"]);
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(at.child("type"), kind));
        }
        errors.extend(crate::labels::check(qualified, kind, &at.child("type")));
        let status = text(&condition["status"]);
        let statuses = ["False", "True", "Unknown"];
        if !statuses.contains(&status) {
            errors.push(FieldError::not_supported(at.child("status"), status, &statuses));
        }
        let observed = int(&condition["observedGeneration"]);
        if observed < 0 {
            let detail = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(at.child("observedGeneration"), observed, detail));
        }
        if text(&condition["lastTransitionTime"]).is_empty() {
            errors.push(FieldError::required(at.child("lastTransitionTime"), "must be set"));
        }
        let reason = text(&condition["reason"]);
        if reason.is_empty() {
            errors.push(FieldError::required(at.child("reason"), "must be set"));
        } else {
            if !is_reason(reason) {
                let rule = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
                let format = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?";
                let detail = names::pattern_text(
                    rule,
                    format,
                    &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
                );
                errors.push(FieldError::invalid(at.child("reason"), reason, &detail));
            }
            if reason.len() > REASON_BYTES_MAX {
                errors.push(FieldError::too_long(at.child("reason"), REASON_BYTES_MAX));
            }
        }
        if text(&condition["message"]).len() > MESSAGE_BYTES_MAX {
            errors.push(FieldError::too_long(at.child("message"), MESSAGE_BYTES_MAX));
        }
    }
    errors
}

fn is_reason(reason: &str) -> bool {
    let bytes = reason.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b',' | b':');
    let end = bytes.last().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    bytes.first().is_some_and(u8::is_ascii_alphabetic) && end && bytes.iter().all(inner)
}

/// The name of a CSI driver, as drivers of devices have it too (upstream `ValidateCSIDriverName`).
pub(crate) fn driver_name(name: &str, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    if name.len() > 63 {
        errors.push(FieldError::too_long(path, 63));
    }
    let wrong = dns_subdomain(&name.to_lowercase());
    errors.extend(wrong.iter().map(|w| FieldError::invalid(path, name, w)));
    errors
}

/// A name with at least three segments, as webhooks have (upstream `IsFullyQualifiedName`).
pub(crate) fn fully_qualified_name(name: &str, path: &Path<'_>) -> Errors {
    if name.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let wrong = dns_subdomain(name);
    if !wrong.is_empty() {
        return vec![FieldError::invalid(path, name, &wrong.join(","))];
    }
    if name.split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        return vec![FieldError::invalid(path, name, detail)];
    }
    Errors::new()
}

/// Group and version of `group/version`; upstream's text when it is neither that nor a version alone.
pub(crate) fn group_version(text: &str) -> Result<(&str, &str), String> {
    match text.split('/').count() {
        _ if text.is_empty() || text == "/" => Ok(("", "")),
        1 => Ok(("", text)),
        2 => Ok(text.split_once('/').unwrap_or_default()),
        _ => Err(format!("unexpected GroupVersion string: {text}")),
    }
}

/// How a webhook is reached: `url` or `service` (upstream `ValidateWebhookURL` and `ValidateWebhookService`).
pub(crate) fn webhook_client(config: &Value, path: &Path<'_>) -> Errors {
    match (optional_text(&config["url"]), given(&config["service"])) {
        (None, false) | (Some(_), true) => {
            vec![FieldError::required(path, "exactly one of url or service is required")]
        }
        (Some(url), false) => webhook_url(url, &path.child("url")),
        (None, true) => webhook_service(&config["service"], &path.child("service")),
    }
}

const URL_FORM: &str = "; desired format: https://host[/path]";

fn webhook_url(url: &str, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let Some(parts) = UrlParts::read(url) else {
        let why = url_fault(url);
        let detail = format!(
            "url must be a valid URL: parse {}: {why}{URL_FORM}",
            crate::go_quoted(url)
        );
        return vec![FieldError::required(path, &detail)];
    };
    if parts.scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{URL_FORM}");
        errors.push(FieldError::invalid(path, parts.scheme.as_str(), &detail));
    }
    if parts.host.is_empty() {
        let detail = format!("host must be specified{URL_FORM}");
        errors.push(FieldError::invalid(path, parts.host, &detail));
    }
    let not_permitted = [
        (parts.user, "user information is"),
        (parts.fragment.filter(|f| !f.is_empty()), "fragments are"),
        (parts.query.filter(|q| !q.is_empty()), "query parameters are"),
    ];
    for (part, what) in not_permitted {
        if let Some(part) = part {
            let detail = format!("{what} not permitted in the URL");
            errors.push(FieldError::invalid(path, part, &detail));
        }
    }
    errors
}

/// The parts of a URL that matter to webhooks.
struct UrlParts<'a> {
    scheme: String,
    user: Option<&'a str>,
    host: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> UrlParts<'a> {
    fn read(url: &'a str) -> Option<Self> {
        if !url_fault(url).is_empty() {
            return None;
        }
        let (rest, fragment) = match url.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (url, None),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (scheme, rest) = match scheme_end(rest) {
            Some(end) => (rest[..end].to_lowercase(), &rest[end + 1..]),
            None => (String::new(), rest),
        };
        let authority = rest
            .strip_prefix("//")
            .map_or("", |rest| rest.split('/').next().unwrap_or_default());
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        Some(Self {
            scheme,
            user,
            host,
            query,
            fragment,
        })
    }
}

fn scheme_end(url: &str) -> Option<usize> {
    let end = url.find(':')?;
    let scheme = &url.as_bytes()[..end];
    let letters = scheme.first().is_some_and(u8::is_ascii_alphabetic);
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    (letters && scheme.iter().all(inner)).then_some(end)
}

/// Why Go would not read a URL; empty if it would.
fn url_fault(url: &str) -> String {
    if url.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return "net/url: invalid control character in URL".to_owned();
    }
    if url.starts_with(':') {
        return "missing protocol scheme".to_owned();
    }
    let rest = url.split(['#', '?']).next().unwrap_or_default();
    let after_scheme = scheme_end(rest).map_or(rest, |end| &rest[end + 1..]);
    if scheme_end(rest).is_none() && rest.split('/').next().is_some_and(|first| first.contains(':')) {
        return "first path segment in URL cannot contain colon".to_owned();
    }
    if let Some(escape) = bad_escape(after_scheme) {
        return format!("invalid URL escape {}", crate::go_quoted(escape));
    }
    let authority = after_scheme
        .strip_prefix("//")
        .map_or("", |rest| rest.split('/').next().unwrap_or_default());
    let host = authority.rsplit('@').next().unwrap_or_default();
    if let Some(character) = host
        .chars()
        .find(|c| matches!(c, ' ' | '^' | '{' | '}' | '|' | '\\' | '`'))
    {
        return format!(
            "invalid character {} in host name",
            crate::go_quoted(&character.to_string())
        );
    }
    let port = match host.rsplit_once(']') {
        Some((_, after)) => after,
        None => host.find(':').map_or("", |at| &host[at..]),
    };
    if !port.is_empty()
        && !port
            .strip_prefix(':')
            .is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()))
    {
        return format!("invalid port {} after host", crate::go_quoted(port));
    }
    String::new()
}

fn bad_escape(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let start = (0..bytes.len()).find(|i| {
        bytes[*i] == b'%'
            && !bytes
                .get(i + 1..i + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })?;
    let mut end = (start + 3).min(bytes.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    text.get(start..end)
}

fn webhook_service(service: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    // Upstream hands over name and namespace in each other's place, so the order of the complaints is this.
    for key in ["namespace", "name"] {
        if text(&service[key]).is_empty() {
            let named = if key == "name" { "namespace" } else { "name" };
            errors.push(FieldError::required(path.child(named), ""));
        }
    }
    let port = int(&service["port"]);
    let wrong = port_number(port);
    if !wrong.is_empty() {
        let detail = format!("port is not valid: {}", wrong.join(", "));
        errors.push(FieldError::invalid(path.child("port"), port, &detail));
    }
    let url_path = text(&service["path"]);
    if url_path.is_empty() || url_path == "/" {
        return errors;
    }
    let field = path.child("path");
    let mut wrong = |detail: &str| errors.push(FieldError::invalid(field, url_path, detail));
    if url_path == "//" {
        wrong("segment[0] may not be empty");
        return errors;
    }
    if !url_path.starts_with('/') {
        wrong("must start with a '/'");
    }
    let mut characters = url_path.chars();
    characters.next();
    let rest = characters.as_str();
    for (i, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            wrong(&format!("segment[{i}] may not be empty"));
            continue;
        }
        for failure in dns_subdomain(step) {
            wrong(&format!("segment[{i}]: {failure}"));
        }
    }
    errors
}

/// A reference to a kind by group, kind and name inside the namespace.
pub(crate) fn typed_reference(reference: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    if let Some(group) = optional_text(&reference["apiGroup"]) {
        errors.extend(crate::labels::check(dns_subdomain, group, &path.child("apiGroup")));
    }
    for key in ["kind", "name"] {
        errors.extend(path_segment(&reference[key], &path.child(key)));
    }
    errors
}

/// A name that has to be there and to stand between two slashes of a path.
pub(crate) fn path_segment(value: &Value, path: &Path<'_>) -> Errors {
    match text(value) {
        "" => vec![FieldError::required(path, "")],
        name => crate::labels::check(names::path_segment, name, path),
    }
}

/// Whether a condition of this type is `True`.
pub(crate) fn condition_is_true(object: &Value, kind: &str) -> bool {
    items(&object["status"]["conditions"])
        .iter()
        .any(|c| text(&c["type"]) == kind && text(&c["status"]) == "True")
}

/// Whether a flag is given and false.
pub(crate) fn is_false(value: &Value) -> bool {
    given(value) && !flag(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn messages(errors: &[FieldError]) -> Vec<&str> {
        errors.iter().map(|e| e.message.as_str()).collect()
    }

    #[test]
    fn urls_of_webhooks() {
        let path = Path::Root.child("url");
        assert!(webhook_url("https://a.b:8443/x", &path).is_empty());
        assert_eq!(webhook_url("http://u:p@a?x=1#f", &path).len(), 4);
        assert_eq!(
            messages(&webhook_url("https://", &path)),
            ["Invalid value: \"\": host must be specified; desired format: https://host[/path]"]
        );
        assert_eq!(
            messages(&webhook_url("https://a:b", &path)),
            [
                "Required value: url must be a valid URL: parse \"https://a:b\": invalid port \":b\" after host; desired format: https://host[/path]"
            ]
        );
    }

    #[test]
    fn paths_of_services() {
        let path = Path::Root.child("service");
        let service = |path: &str| json!({"name": "n", "namespace": "s", "port": 443, "path": path});
        assert!(webhook_service(&service("/a/b/"), &path).is_empty());
        assert_eq!(webhook_service(&service("x"), &path).len(), 2);
        assert_eq!(webhook_service(&service("é"), &path).len(), 2);
        assert_eq!(webhook_service(&json!(3), &path).len(), 3);
    }

    #[test]
    fn group_versions() {
        assert_eq!(group_version("apps/v1"), Ok(("apps", "v1")));
        assert_eq!(group_version("v1"), Ok(("", "v1")));
        assert!(group_version("a/b/c").is_err());
    }

    #[test]
    fn conditions_have_what_clients_rely_on() {
        let path = Path::Root.child("conditions");
        let one = json!({"type": "A", "status": "True", "reason": "R", "lastTransitionTime": "2020-01-01T00:00:00Z"});
        assert!(conditions(&json!([one]), &path).is_empty());
        let fields: Vec<String> = conditions(&json!([one, {"type": "A"}]), &path)
            .into_iter()
            .map(|e| e.field)
            .collect();
        let expected = ["type", "status", "lastTransitionTime", "reason"];
        assert_eq!(fields, expected.map(|f| format!("conditions[1].{f}")));
    }
}

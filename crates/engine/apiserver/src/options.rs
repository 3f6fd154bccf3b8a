//! Options of a request, from its query: what upstream calls CreateOptions, UpdateOptions, PatchOptions,
//! DeleteOptions and ListOptions, with their validation.

use std::time::Duration;

use http::{HeaderMap, header};
use serde_json::Value;

use crate::query::Query;
use crate::status::{FieldError, Status};

/// What happens to fields that the schema doesn't know, or that are given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, and a warning says so.
    Warn,
    /// The request is refused.
    Strict,
}

/// Options of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// Nothing is stored.
    pub dry_run: bool,
    /// Who owns the fields that are written.
    pub manager: String,
    /// Whether the manager was named by the client.
    pub manager_given: bool,
    /// What happens to unknown fields.
    pub validation: FieldValidation,
    /// Take over fields of other managers (apply).
    pub force: Option<bool>,
}

const MANAGER_BYTES_MAX: usize = 128;

/// 422 of an options object.
pub fn invalid_options(kind: &str, errors: &[FieldError]) -> Status {
    Status::invalid("meta.k8s.io", kind, "", errors)
}

impl WriteOptions {
    /// Reads the options; `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`, `apply` whether it is an apply patch.
    pub fn read(query: &Query, headers: &HeaderMap, kind: &str, apply: bool) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let force = query.bool("force");
        let manager = query.get("fieldManager").to_owned();
        if kind == "PatchOptions" {
            if apply && manager.is_empty() {
                errors.push(FieldError::required("fieldManager", "is required for apply patch"));
            } else if !apply && force.is_some() {
                errors.push(FieldError::forbidden(
                    "force",
                    "may not be specified for non-apply patch",
                ));
            }
        }
        if manager.len() > MANAGER_BYTES_MAX {
            errors.push(FieldError::too_long("fieldManager", MANAGER_BYTES_MAX));
        }
        if manager.chars().any(|c| c.is_control()) {
            let detail = "should only contain printable characters";
            errors.push(FieldError::invalid("fieldManager", manager.as_str(), detail));
        }
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let validation = match query.get("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported("fieldValidation", other, &supported));
                FieldValidation::Warn
            }
        };
        if !errors.is_empty() {
            return Err(invalid_options(kind, &errors));
        }
        let manager_given = !manager.is_empty();
        let manager = if manager_given {
            manager
        } else {
            manager_of_agent(headers)
        };
        Ok(Self {
            dry_run,
            manager,
            manager_given,
            validation,
            force,
        })
    }
}

/// Checks the values of `dryRun`; only `All` is known.
pub fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut Vec<FieldError>) -> bool {
    let values: Vec<&str> = values.collect();
    if values.iter().any(|v| *v != "All") {
        errors.push(FieldError::not_supported(
            "dryRun",
            Value::from(values.clone()),
            &["All"],
        ));
    }
    !values.is_empty()
}

/// The field manager of a request that names none: the user agent up to its first slash.
fn manager_of_agent(headers: &HeaderMap) -> String {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let name = agent.split('/').next().unwrap_or_default();
    if name.is_empty() {
        "unknown".into()
    } else {
        name.chars().take(MANAGER_BYTES_MAX).collect()
    }
}

/// Reads an integer as upstream does, with its error text.
pub fn integer(query: &Query, key: &str) -> Result<Option<i64>, Status> {
    match query.find(key) {
        None | Some("") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
    }
}

/// How a list treats the revision it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevisionMatch {
    /// Nothing said.
    Unset,
    /// At that revision.
    Exact,
    /// At that revision or a newer one.
    NotOlderThan,
}

/// Options of a list or watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOptions {
    /// The revision asked for; `None` if absent.
    pub revision: Option<u64>,
    /// How it is meant.
    pub revision_match: RevisionMatch,
    /// Items at most, 0 for all.
    pub limit: usize,
    /// Token of the page before.
    pub continue_token: String,
    /// For how long a watch lasts.
    pub timeout: Option<Duration>,
    /// Whether a watch wants bookmarks.
    pub bookmarks: bool,
    /// Whether a watch begins with what is there.
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads and validates the options.
    pub fn read(query: &Query, watch: bool) -> Result<Self, Status> {
        let limit = integer(query, "limit")?.unwrap_or(0);
        let timeout = integer(query, "timeoutSeconds")?;
        let send_initial_events = query.bool("sendInitialEvents");
        let (version, matching, token) = (
            query.get("resourceVersion"),
            query.get("resourceVersionMatch"),
            query.get("continue"),
        );
        let errors = if watch {
            watch_errors(matching, token, send_initial_events)
        } else {
            list_errors(version, matching, token, send_initial_events)
        };
        if !errors.is_empty() {
            return Err(invalid_options("ListOptions", &errors));
        }
        let revision = match version {
            "" => None,
            text => Some(parse_revision(text)?),
        };
        Ok(Self {
            revision,
            revision_match: match matching {
                "Exact" => RevisionMatch::Exact,
                "NotOlderThan" => RevisionMatch::NotOlderThan,
                _ => RevisionMatch::Unset,
            },
            limit: usize::try_from(limit).unwrap_or(0),
            continue_token: token.to_owned(),
            timeout: timeout
                .and_then(|s| u64::try_from(s).ok())
                .filter(|s| *s > 0)
                .map(Duration::from_secs),
            bookmarks: query.bool("allowWatchBookmarks").unwrap_or(false),
            send_initial_events,
        })
    }
}

/// Reads a resourceVersion.
pub fn parse_revision(text: &str) -> Result<u64, Status> {
    text.parse().map_err(|_| {
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

const MATCH: &str = "resourceVersionMatch";

fn list_errors(version: &str, matching: &str, token: &str, initial: Option<bool>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if initial.is_some() {
        errors.push(FieldError::forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    if matching.is_empty() {
        return errors;
    }
    if version.is_empty() {
        errors.push(FieldError::forbidden(
            MATCH,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ));
    }
    if !token.is_empty() {
        errors.push(FieldError::forbidden(
            MATCH,
            "resourceVersionMatch is forbidden when continue is provided",
        ));
    }
    if !matches!(matching, "Exact" | "NotOlderThan") {
        errors.push(FieldError::not_supported(
            MATCH,
            matching,
            &["Exact", "NotOlderThan", ""],
        ));
    }
    if matching == "Exact" && version == "0" {
        let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
        errors.push(FieldError::forbidden(MATCH, detail));
    }
    errors
}

fn watch_errors(matching: &str, token: &str, initial: Option<bool>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if initial.is_some() && matching != "NotOlderThan" {
        let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(MATCH, detail));
    }
    if matching.is_empty() {
        return errors;
    }
    if initial.is_none() {
        let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        errors.push(FieldError::forbidden(MATCH, detail));
    }
    if matching != "NotOlderThan" {
        errors.push(FieldError::not_supported(MATCH, matching, &["NotOlderThan"]));
    }
    if !token.is_empty() {
        errors.push(FieldError::forbidden(
            MATCH,
            "resourceVersionMatch is forbidden when continue is provided",
        ));
    }
    errors
}

/// The `timeout` of a request, e.g. `30s`; absent, zero or negative means none.
pub fn request_timeout(query: &Query) -> Result<Option<Duration>, Status> {
    let text = query.get("timeout");
    if text.is_empty() {
        return Ok(None);
    }
    go_duration(text)
        .map(|ms| u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis))
        .ok_or_else(|| {
            Status::bad_request(format!(
                "invalid timeout specified in the request URL - time: invalid duration {text:?}"
            ))
        })
}

/// Milliseconds of a Go duration such as `1m30s`.
fn go_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|n| *n > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "ns" => 1e-6,
                "us" | "µs" => 1e-3,
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 6e4,
                "h" => 3.6e6,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    if total.is_finite() && total < 1e15 {
        Some((sign * total) as i64)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        assert_eq!(go_duration("1m30.5s"), Some(90_500));
        assert_eq!(go_duration("-1s"), Some(-1000));
        assert_eq!(
            (go_duration("abc"), go_duration("5"), go_duration("0")),
            (None, None, Some(0))
        );
    }

    #[test]
    fn list_options_are_checked() {
        let code = |q: &str, watch| ListOptions::read(&Query::parse(q), watch).map_err(|s| s.code);
        assert_eq!(code("limit=1.5", false), Err(400));
        assert_eq!(code("resourceVersion=x", false), Err(400));
        assert_eq!(code("continue=a&resourceVersionMatch=Exact", false), Err(422));
        assert_eq!(code("sendInitialEvents=true", true), Err(422));
        assert!(
            code(
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0",
                true
            )
            .is_ok()
        );
        assert_eq!(
            code("limit=-1&timeoutSeconds=-5", false).map(|o| (o.limit, o.timeout)),
            Ok((0, None))
        );
    }
}

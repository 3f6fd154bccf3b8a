//! The one place where a Kubernetes `Status` is built: every error a client sees, with upstream's reasons and texts.

use std::fmt;

use http::{HeaderValue, Response, StatusCode, header};
use revoada_core::consensus::{ProposeError, ReadError};
use serde_json::{Map, Value, json};

use crate::body::{Body, full};

/// Bytes of a request body at most, as upstream.
pub const BODY_BYTES_MAX: usize = 3 << 20;

/// Group and plural name of a resource, as error texts show it (`deployments.apps`, `pods`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupResource<'a> {
    /// API group, empty for the core group.
    pub group: &'a str,
    /// Plural name, or a kind where upstream puts one.
    pub resource: &'a str,
}

impl fmt::Display for GroupResource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource)?;
        if self.group.is_empty() {
            Ok(())
        } else {
            write!(f, ".{}", self.group)
        }
    }
}

/// One cause in `details.causes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cause {
    /// Machine-readable reason, may be empty.
    pub reason: String,
    /// Text.
    pub message: String,
    /// Path of the field it is about, may be empty.
    pub field: String,
}

/// `details` of a status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Name of the object.
    pub name: String,
    /// API group.
    pub group: String,
    /// Resource (or kind, for validation errors).
    pub kind: String,
    /// Uid of the object.
    pub uid: String,
    /// Causes.
    pub causes: Vec<Cause>,
    /// When to try again, 0 for no advice.
    pub retry_after_s: u32,
}

/// A `meta/v1` Status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, may be empty.
    pub reason: String,
    /// Text.
    pub message: String,
    /// Details; `None` leaves the field out.
    pub details: Option<Box<Details>>,
    /// `metadata.continue`, with which an expired list can go on.
    pub continue_token: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

pub use engenho_validation::FieldError;

/// Refuses a body that announces more than the bound.
pub fn check_length(bytes: u64) -> Result<(), Status> {
    if bytes > BODY_BYTES_MAX as u64 {
        Err(Status::too_large())
    } else {
        Ok(())
    }
}

impl Status {
    fn plain(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            details: None,
            continue_token: String::new(),
        }
    }

    fn about(code: u16, reason: &str, gr: GroupResource<'_>, name: &str, message: String) -> Self {
        let details = Details {
            name: name.into(),
            group: gr.group.into(),
            kind: gr.resource.into(),
            ..Details::default()
        };
        Self {
            details: Some(Box::new(details)),
            ..Self::plain(code, reason, message)
        }
    }

    fn with_empty_details(mut self) -> Self {
        self.details = Some(Box::default());
        self
    }

    /// Advises to try again after `seconds`.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_s = seconds;
        self
    }

    /// Adds causes.
    pub fn with_causes(mut self, causes: Vec<Cause>) -> Self {
        self.details.get_or_insert_default().causes = causes;
        self
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::plain(401, "Unauthorized", "Unauthorized")
    }

    /// 403 about a resource; `message` is what follows `is forbidden: `.
    pub fn forbidden(gr: GroupResource<'_>, name: &str, message: &str) -> Self {
        let text = if name.is_empty() {
            format!("{gr} is forbidden: {message}")
        } else {
            format!("{gr} {name:?} is forbidden: {message}")
        };
        Self::about(403, "Forbidden", gr, name, text)
    }

    /// 403 about a path.
    pub fn forbidden_path(user: &str, verb: &str, path: &str, reason: &str) -> Self {
        let mut message = format!("forbidden: User {user:?} cannot {verb} path {path:?}");
        if !reason.is_empty() {
            message.push_str(&format!(": {reason}"));
        }
        Self::plain(403, "Forbidden", message).with_empty_details()
    }

    /// 404 of an object.
    pub fn not_found(gr: GroupResource<'_>, name: &str) -> Self {
        Self::about(404, "NotFound", gr, name, format!("{gr} {name:?} not found"))
    }

    /// 404 of a path or resource that does not exist.
    pub fn no_such_resource() -> Self {
        Self::plain(404, "NotFound", "the server could not find the requested resource").with_empty_details()
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::plain(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_empty_details()
    }

    /// 405 of a verb that a custom resource doesn't have.
    pub fn method_not_supported(gr: GroupResource<'_>, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind \"{gr}\"");
        Self::about(405, "MethodNotAllowed", gr, "", message)
    }

    /// 406 of content negotiation over `accepted` media types.
    pub fn not_acceptable(accepted: &str) -> Self {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {accepted}");
        Self::plain(406, "NotAcceptable", message).with_empty_details()
    }

    /// 406 with a text of its own.
    pub fn not_acceptable_text(message: impl Into<String>) -> Self {
        Self::plain(406, "NotAcceptable", message)
    }

    /// 409 of a name that is taken.
    pub fn already_exists(gr: GroupResource<'_>, name: &str) -> Self {
        Self::about(409, "AlreadyExists", gr, name, format!("{gr} {name:?} already exists"))
    }

    /// 409 of a generated name that is taken.
    pub fn generated_name_exists(gr: GroupResource<'_>, name: &str) -> Self {
        let message =
            format!("{gr} {name:?} already exists, the server was not able to generate a unique name for the object");
        Self::about(409, "AlreadyExists", gr, name, message).retry_after(1)
    }

    /// 409; `message` is what follows the object's name.
    pub fn conflict(gr: GroupResource<'_>, name: &str, message: &str) -> Self {
        Self::about(
            409,
            "Conflict",
            gr,
            name,
            format!("Operation cannot be fulfilled on {gr} {name:?}: {message}"),
        )
    }

    /// 409 of an object that somebody else changed.
    pub fn modified(gr: GroupResource<'_>, name: &str) -> Self {
        let message = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(gr, name, message)
    }

    /// 409 of an apply that meets other managers; pairs of manager text and field.
    pub fn apply_conflict(message: String, causes: Vec<Cause>) -> Self {
        Self::plain(409, "Conflict", message).with_causes(causes)
    }

    /// 410: the revision is compacted.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    /// 410 of a continue token whose revision is compacted; `token` goes on at the newest revision.
    pub fn expired_continue(token: &str) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
        Self {
            continue_token: token.into(),
            ..Self::expired(message)
        }
    }

    /// 410 of a watch whose start is compacted.
    pub fn too_old(requested: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {requested} ({oldest})"))
    }

    /// 413.
    pub fn too_large() -> Self {
        Self::plain(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {BODY_BYTES_MAX}"),
        )
    }

    /// 413 of an object that exceeds what one write may carry.
    pub fn entry_too_large(message: &str) -> Self {
        Self::plain(413, "RequestEntityTooLarge", message)
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::plain(415, "UnsupportedMediaType", message)
    }

    /// 422 of an object; `group` and `kind` name its kind.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let gk = GroupResource { group, resource: kind };
        // The same finding of two checks is two causes, but told once.
        let mut texts: Vec<String> = Vec::new();
        for text in errors.iter().map(|e| format!("{}: {}", e.field, e.message)) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = if texts.len() == 1 {
            texts[0].clone()
        } else {
            format!("[{}]", texts.join(", "))
        };
        let causes = errors
            .iter()
            .map(|e| Cause {
                reason: e.reason.into(),
                message: e.message.clone(),
                field: e.field.clone(),
            })
            .collect();
        Self::about(422, "Invalid", gk, name, format!("{gk} {name:?} is invalid: {list}")).with_causes(causes)
    }

    /// 422 of a request whose content makes no sense (a JSON patch that doesn't apply).
    pub fn unprocessable(message: &str) -> Self {
        let text = format!("the server rejected our request due to an error in our request: {message}");
        Self::plain(422, "Invalid", text).with_empty_details()
    }

    /// 429: too many requests in flight.
    pub fn too_many_requests() -> Self {
        Self::plain(429, "TooManyRequests", "Too many requests, please try again later.").retry_after(1)
    }

    /// 429 of an eviction that a disruption budget forbids.
    pub fn eviction_refused(text: &str, retry_after_s: u32) -> Self {
        let cause = Cause {
            reason: "DisruptionBudget".into(),
            message: text.into(),
            ..Cause::default()
        };
        Self::plain(
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
        )
        .with_causes(vec![cause])
        .retry_after(retry_after_s)
    }

    /// 500 as upstream's `NewInternalError`.
    pub fn internal(message: impl fmt::Display) -> Self {
        let message = message.to_string();
        let cause = Cause {
            message: message.clone(),
            ..Cause::default()
        };
        Self::plain(500, "InternalError", format!("Internal error occurred: {message}")).with_causes(vec![cause])
    }

    /// 500 of an error without a reason, as upstream answers untyped errors.
    pub fn untyped(message: impl Into<String>) -> Self {
        Self::plain(500, "", message)
    }

    /// 503 that passes.
    pub fn unavailable(message: &str) -> Self {
        Self::plain(503, "ServiceUnavailable", message).retry_after(1)
    }

    /// 503 of a service that is not there to be asked.
    pub fn service_unavailable(message: &str) -> Self {
        Self::plain(503, "ServiceUnavailable", message)
    }

    /// 503 of a cluster without a majority, naming the voters that are missing.
    pub fn no_quorum(reason: &str, missing: &[String]) -> Self {
        let names = if missing.is_empty() {
            "unknown".to_owned()
        } else {
            missing.join(", ")
        };
        let message = format!(
            "the cluster has no quorum: {reason}; missing voters: {names}. Reads may be answered from a stale replica, writes are refused until a majority is back"
        );
        let cause = |name: &String| Cause {
            reason: "VoterMissing".into(),
            message: format!("voter {name} does not answer"),
            field: name.clone(),
        };
        Self::plain(503, "ServiceUnavailable", message)
            .with_causes(missing.iter().map(cause).collect())
            .retry_after(1)
    }

    /// 504: the write may or may not happen. No advice to retry: clients would repeat it blindly.
    pub fn outcome_unknown(message: &str) -> Self {
        let message = format!("the outcome of the request is unknown: {message}; read the object before trying again");
        Self::plain(504, "Timeout", message).with_empty_details()
    }

    /// 504 as upstream's `NewTimeoutError`: the request was not executed in time.
    pub fn timeout(message: &str) -> Self {
        Self::plain(504, "Timeout", format!("Timeout: {message}")).retry_after(1)
    }

    /// 504 of a request whose time is up, with no advice to try again: it may have been executed.
    pub fn allotted_timeout() -> Self {
        let message = "Timeout: request did not complete within the allotted timeout";
        Self::plain(504, "Timeout", message).with_empty_details()
    }

    /// 504 of a read that asks for a revision that is not there yet.
    pub fn too_large_revision(requested: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {requested}, current: {current}");
        let cause = Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            ..Cause::default()
        };
        Self::plain(504, "Timeout", message)
            .with_causes(vec![cause])
            .retry_after(1)
    }

    /// A failed proposal; `name` gives a voter's display name.
    pub fn propose(error: &ProposeError, name: impl Fn(&revoada_core::MemberId) -> String) -> Self {
        match error {
            ProposeError::NoQuorum { missing, voters } => {
                let names: Vec<String> = missing.iter().map(name).collect();
                Self::no_quorum(&format!("{} of {voters} voters do not answer", names.len()), &names)
            }
            ProposeError::Unknown { .. } => Self::outcome_unknown(&error.to_string()),
            ProposeError::TooLarge { .. } => Self::plain(413, "RequestEntityTooLarge", error.to_string()),
            ProposeError::Fenced { .. } | ProposeError::Halted { .. } => Self::unavailable(&error.to_string()),
        }
    }

    /// A failed linearizable read.
    pub fn read(error: &ReadError, name: impl Fn(&revoada_core::MemberId) -> String) -> Self {
        match error {
            ReadError::NoQuorum { missing, voters } => {
                let names: Vec<String> = missing.iter().map(name).collect();
                Self::no_quorum(&format!("{} of {voters} voters do not answer", names.len()), &names)
            }
            ReadError::Timeout { .. } => Self::unavailable(&error.to_string()),
        }
    }

    /// The Status object.
    pub fn to_value(&self) -> Value {
        let mut out = Map::new();
        out.insert("kind".into(), "Status".into());
        out.insert("apiVersion".into(), "v1".into());
        let meta = if self.continue_token.is_empty() {
            json!({})
        } else {
            json!({"continue": self.continue_token})
        };
        out.insert("metadata".into(), meta);
        out.insert("status".into(), "Failure".into());
        let mut put = |key: &str, text: &str| {
            if !text.is_empty() {
                out.insert(key.into(), text.into());
            }
        };
        put("message", &self.message);
        put("reason", &self.reason);
        if let Some(details) = &self.details {
            out.insert("details".into(), details.to_value());
        }
        out.insert("code".into(), self.code.into());
        Value::Object(out)
    }

    /// The response: JSON, with `Retry-After` where the details say so.
    pub fn into_response(self) -> Response<Body> {
        let value = self.to_value();
        // Upstream's order, so that people who read raw answers find the kind first.
        let order = [
            "kind",
            "apiVersion",
            "metadata",
            "status",
            "message",
            "reason",
            "details",
            "code",
        ];
        let members = order
            .iter()
            .filter_map(|field| Some(format!("\"{field}\":{}", value.get(field)?)));
        let text = format!("{{{}}}\n", members.collect::<Vec<_>>().join(","));
        self.response_with(text.into(), "application/json")
    }

    /// The response with a body that was encoded elsewhere.
    pub fn response_with(&self, body: bytes::Bytes, content_type: &'static str) -> Response<Body> {
        let mut response = Response::new(full(body));
        *response.status_mut() = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        if let Some(seconds) = self.details.as_ref().map(|d| d.retry_after_s).filter(|s| *s > 0) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl Details {
    /// The object inside a Status.
    pub fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, text) in [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ] {
            if !text.is_empty() {
                out.insert(key.into(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(|c| {
                let mut cause = Map::new();
                for (key, text) in [("reason", &c.reason), ("message", &c.message), ("field", &c.field)] {
                    if !text.is_empty() {
                        cause.insert(key.into(), text.as_str().into());
                    }
                }
                Value::Object(cause)
            });
            out.insert("causes".into(), causes.collect());
        }
        if self.retry_after_s > 0 {
            out.insert("retryAfterSeconds".into(), self.retry_after_s.into());
        }
        Value::Object(out)
    }
}

/// The `Success` status that a finished deletion answers with.
pub fn success(details: &Details) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.to_value()})
}

//! The audit of one request.

use std::net::IpAddr;
use std::sync::Arc;

use engenho_audit::{
    AuditConfig, Event, Level, ObjectReference, ResponseStatus, Stage, UserInfo, without_managed_fields,
};
use engenho_authz::Attributes;
use http::{HeaderMap, HeaderName, Request, Uri, header};
use parking_lot::Mutex;
use revoada_core::env::Clock;
use serde_json::Value;

use super::{AuditLog, EVENT_BYTES_MAX};
use crate::authorizer::Identity;
use crate::body::Body;
use crate::identity::Peer;
use crate::object;
use crate::request::RequestInfo;
use crate::times;

const USER_AGENT_MAX: usize = 1024;
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Addresses that are recorded of one request.
const SOURCES_MAX: usize = 16;

/// A request that is audited. Its last event is recorded by [`Audited::complete`], or by [`Finish`].
pub(crate) struct Audited {
    log: Arc<AuditLog>,
    clock: Arc<dyn Clock>,
    config: AuditConfig,
    event: Mutex<Event>,
}

impl Audited {
    /// Begins the audit of a request, if its policy says so, and records that it was received.
    pub fn begin(
        log: &Arc<AuditLog>,
        clock: &Arc<dyn Clock>,
        attributes: &Attributes,
        audit_id: &str,
        (uri, headers): (&Uri, &HeaderMap),
        peer: Option<IpAddr>,
    ) -> (Level, Option<Arc<Self>>) {
        let config = log.policy.decide(attributes);
        if config.level == Level::None {
            return (config.level, None);
        }
        let audited = Self::new(log, clock, config, attributes, audit_id, (uri, headers), peer);
        audited.stage(Stage::RequestReceived);
        (config.level, Some(Arc::new(audited)))
    }

    fn new(
        log: &Arc<AuditLog>,
        clock: &Arc<dyn Clock>,
        config: AuditConfig,
        attributes: &Attributes,
        audit_id: &str,
        (uri, headers): (&Uri, &HeaderMap),
        peer: Option<IpAddr>,
    ) -> Self {
        let now = times::micros(clock.unix_ms());
        let mut event = Event::received(config.level, audit_id.to_owned(), now);
        event.request_uri = uri
            .path_and_query()
            .map_or_else(|| uri.path().into(), ToString::to_string);
        event.verb.clone_from(&attributes.verb);
        event.user = UserInfo::from(&attributes.identity);
        event.source_ips = sources(headers, peer);
        event.user_agent = user_agent(headers);
        event.object_ref = attributes.resource_request.then(|| ObjectReference {
            resource: attributes.resource.clone(),
            namespace: attributes.namespace.clone(),
            name: attributes.name.clone(),
            api_group: attributes.group.clone(),
            api_version: attributes.version.clone(),
            subresource: attributes.subresource.clone(),
            ..ObjectReference::default()
        });
        Self {
            log: Arc::clone(log),
            clock: Arc::clone(clock),
            config,
            event: Mutex::new(event),
        }
    }

    /// Records an event, if this stage is recorded.
    fn stage(&self, stage: Stage) {
        if !self.config.records(stage) {
            return;
        }
        let mut event = self.event.lock();
        event.stage = stage;
        if stage != Stage::RequestReceived {
            event.stage_timestamp = times::micros(self.clock.unix_ms());
        }
        let mut bytes = serde_json::to_vec(&*event).unwrap_or_default();
        if bytes.len() > EVENT_BYTES_MAX {
            event.request_object = None;
            event.response_object = None;
            event.annotations.insert("audit.k8s.io/truncated".into(), "true".into());
            bytes = serde_json::to_vec(&*event).unwrap_or_default();
        }
        drop(event);
        if bytes.len() <= EVENT_BYTES_MAX {
            self.log.record(bytes);
        } else {
            self.log.counters.lost("truncate", 1);
        }
    }

    /// Notes something. What is said first stays.
    pub fn annotate(&self, key: &str, value: &str) {
        let mut event = self.event.lock();
        event
            .annotations
            .entry(key.to_owned())
            .or_insert_with(|| value.to_owned());
    }

    /// Notes as whom the request goes on.
    pub fn impersonated(&self, who: &Identity) {
        self.event.lock().impersonated_user = Some(UserInfo::from(who));
    }

    /// Notes the object in the request.
    pub fn object(&self, value: &Value) {
        let mut event = self.event.lock();
        let reference = event.object_ref.get_or_insert_default();
        let text = |name: &str| value["metadata"][name].as_str().unwrap_or_default();
        for (field, name) in [
            (&mut reference.namespace, "namespace"),
            (&mut reference.name, "name"),
            (&mut reference.uid, "uid"),
            (&mut reference.resource_version, "resourceVersion"),
        ] {
            if field.is_empty() {
                text(name).clone_into(field);
            }
        }
        if self.config.level >= Level::Request {
            let mut value = value.clone();
            if self.config.omit_managed_fields {
                object::remove_meta(&mut value, "managedFields");
            }
            event.request_object = Some(value);
        }
    }

    /// Notes the patch in the request, if bodies are recorded.
    pub fn patch(&self, patch: impl FnOnce() -> Option<Value>) {
        if self.config.level >= Level::Request {
            self.event.lock().request_object = patch();
        }
    }

    /// Whether bodies of answers are recorded.
    pub fn records_responses(&self) -> bool {
        self.config.level >= Level::RequestResponse
    }

    /// Notes the outcome; `body` is what was answered, if it is an object.
    pub fn outcome(&self, code: u16, body: Option<Value>) {
        let mut event = self.event.lock();
        let told = body.as_ref().and_then(|body| ResponseStatus::of(body, code));
        event.response_status = Some(told.unwrap_or_else(|| ResponseStatus::code(code)));
        if self.config.level >= Level::RequestResponse {
            event.response_object = body.map(|body| {
                if self.config.omit_managed_fields {
                    without_managed_fields(body)
                } else {
                    body
                }
            });
        }
    }

    /// Notes an outcome that has no object, with a text.
    fn failed(&self, code: u16, message: &str) {
        let mut status = ResponseStatus::code(code);
        message.clone_into(&mut status.message);
        self.event.lock().response_status = Some(status);
    }

    /// Records that an answer that lasts has begun.
    pub fn started(&self) {
        self.stage(Stage::ResponseStarted);
    }

    /// Records that the answer is complete.
    pub fn complete(&self) {
        self.stage(Stage::ResponseComplete);
    }

    /// Records that the server failed at it.
    pub fn panicked(&self, text: &str) {
        let mut status = ResponseStatus::code(500);
        status.status = "Failure".into();
        status.reason = "InternalError".into();
        status.message = format!("APIServer panic'd: {text}");
        self.event.lock().response_status = Some(status);
        self.stage(Stage::Panic);
    }
}

/// Records a request whose credentials, of the kinds in `attempted`, prove nothing, as one event.
pub(crate) fn refused(log: &Arc<AuditLog>, clock: &Arc<dyn Clock>, request: &Request<Body>, attempted: &[&str]) {
    let info = RequestInfo::decode(request.method(), request.uri());
    let attributes = info.attributes(&Identity::default());
    let config = log.policy.decide(&attributes);
    if config.level == Level::None {
        return;
    }
    let headers = request.headers();
    let id = headers.get("audit-id").and_then(|id| id.to_str().ok());
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let sent = (request.uri(), headers);
    let audited = Audited::new(log, clock, config, &attributes, id.unwrap_or_default(), sent, peer);
    let message = if attempted.is_empty() {
        "Authentication failed, no credentials provided".to_owned()
    } else {
        format!("Authentication failed, attempted: {}", attempted.join(", "))
    };
    audited.failed(401, &message);
    audited.started();
}

/// Records the end of a request when it is dropped: of one whose sender left, or whose answer lasts.
pub(crate) struct Finish(Option<Arc<Audited>>);

impl Finish {
    /// Of this request.
    pub fn of(audited: Arc<Audited>) -> Self {
        Self(Some(audited))
    }

    /// It was recorded otherwise.
    pub fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let Some(audited) = &self.0 else { return };
        {
            let mut event = audited.event.lock();
            if event.response_status.is_none() {
                let mut status = ResponseStatus::code(200);
                status.status = "Success".into();
                status.message = "Connection closed early".into();
                event.response_status = Some(status);
            }
        }
        audited.complete();
    }
}

fn user_agent(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()));
    let text = value.unwrap_or_default();
    if text.len() <= USER_AGENT_MAX {
        return text.into_owned();
    }
    let mut end = USER_AGENT_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...TRUNCATED", &text[..end])
}

/// Where a request came from: what proxies say, and the other end of the connection.
fn sources(headers: &HeaderMap, peer: Option<IpAddr>) -> Vec<String> {
    let text = |name: &HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let mut found: Vec<IpAddr> = Vec::new();
    let forwarded = text(&FORWARDED_FOR)
        .split(',')
        .filter_map(|one| one.trim().parse::<IpAddr>().ok());
    found.extend(forwarded.take(SOURCES_MAX));
    let real: Option<IpAddr> = text(&REAL_IP).trim().parse().ok();
    found.extend(real.filter(|ip| !found.contains(ip)));
    found.extend(peer.filter(|ip| found.last() != Some(ip)));
    found.iter().map(IpAddr::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_proxies_and_the_peer() {
        let mut headers = HeaderMap::new();
        let peer = Some(IpAddr::from([10, 0, 0, 9]));
        assert_eq!(sources(&headers, peer), ["10.0.0.9"]);
        headers.insert("x-forwarded-for", "10.0.0.1, junk,10.0.0.2".parse().expect("a value"));
        headers.insert("x-real-ip", "10.0.0.1".parse().expect("a value"));
        assert_eq!(sources(&headers, peer), ["10.0.0.1", "10.0.0.2", "10.0.0.9"]);
        assert!(sources(&HeaderMap::new(), None).is_empty());
    }

    #[test]
    fn long_agents_are_cut() {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, "a".repeat(2000).parse().expect("a value"));
        assert!(user_agent(&headers).ends_with("aaa...TRUNCATED"));
        assert_eq!(user_agent(&headers).len(), USER_AGENT_MAX + "...TRUNCATED".len());
    }
}

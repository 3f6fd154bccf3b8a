//! The pipeline that every request walks: decode, authenticate, limit, authorise, dispatch, finish.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use engenho_authn::Accepted;
use engenho_catalog::Resource;
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use crate::audit::{self, Audited, Finish};
use crate::authorizer::Identity;
use crate::body::{self, Body};
use crate::context::Context;
use crate::custom::Served;
use crate::fairness::{Entered, Limits, Place};
use crate::kinds::is_custom;
use crate::metrics::{Attempted, InFlight, Labels};
use crate::negotiate::{self, Media};
use crate::repeat::{self, Attempt, Course};
use crate::request::RequestInfo;
use crate::server::Inner;
use crate::status::Status;
use crate::storage::Fence;
use crate::tokens::{self, BearerToken};
use crate::{
    aggregate, authorize, identity, impersonate, nonresource, options, respond, reviews, subresource, unserved, verbs,
};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");
/// Longest request that does not last, whatever its `timeout` says (upstream's bound).
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// A request waits for its turn for this part of its time, and for no longer than a minute.
const QUEUE_PART: u32 = 4;
const QUEUE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Largest answer that is looked into for the audit log.
const AUDITED_BYTES_MAX: u64 = 2 << 20;

/// What is found out about a request on its way.
#[derive(Default)]
struct Notes {
    /// Where priority and fairness put it.
    place: Option<Place>,
    /// How long it waited for its turn.
    queued: Duration,
    /// Whether it was refused a turn.
    is_dropped: bool,
}

/// Answers one request.
pub(crate) async fn handle(server: &Arc<Inner>, mut request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let info = RequestInfo::decode(request.method(), request.uri());
    let audit_id = request
        .headers()
        .get(AUDIT_ID)
        .filter(|id| !id.is_empty())
        .cloned()
        .unwrap_or_else(|| random_id(server));
    let head = request.method() == Method::HEAD;
    let media = negotiate::plain_output(request.headers(), true).unwrap_or(Media::Json);
    let labels = Labels::of(server, &info, request.method(), request.headers());
    let long = is_long(&info);
    let course = match request.extensions_mut().remove::<Attempt>() {
        // First of all: an answer of any kind is true only once it is known what earlier attempts did.
        Some(attempt) => repeat::begin(server, &info, attempt).await,
        None => Ok(Course::Plain),
    };
    // Whoever the request is passed on to knows it by the same name.
    request.headers_mut().insert(AUDIT_ID, audit_id.clone());
    let mut warnings = Vec::new();
    let sender = match &course {
        Ok(Course::Plain | Course::Slots(_) | Course::Applied(_)) => sender(server, &mut request, &mut warnings).await,
        // It goes no further.
        Ok(Course::HalfDone) | Err(_) => Ok(identity::anonymous()),
    };
    let audited = match &sender {
        Ok(who) => audit(server, &info, who, &request, &audit_id),
        Err(status) => {
            if status.code == 401
                && let Some(log) = &server.deps.observers.audit
            {
                audit::refused(log, &server.deps.clock, &request, &["bearer"]);
            }
            None
        }
    };
    // Dropped with this future, when the sender leaves.
    let mut finish = audited.clone().map(Finish::of);
    if request.extensions().get::<Fence>().is_some() {
        server.metrics.own_request(&labels);
    }
    let mut notes = Notes::default();
    let answered = match (&course, sender) {
        (Ok(Course::HalfDone), _) => Err(Status::outcome_unknown(
            "the member that it was forwarded to is gone, and it may be half done",
        )),
        (Ok(course), Ok(who)) => {
            let way = Way {
                server,
                info: &info,
                course,
                audited: audited.as_ref(),
                labels: &labels,
                long,
                started,
            };
            way.go(who, request, &mut notes).await
        }
        (Err(status), _) => Err(status.clone()),
        (_, Err(status)) => Err(status),
    };
    let mut response = answered.unwrap_or_else(|status| error(&status, media));
    respond::add_warnings(response.headers_mut(), &warnings);
    repeat::finish(&course, &mut response);
    if let Some(place) = &notes.place {
        place.mark(response.headers_mut());
    }
    let code = response.status();
    if code.is_server_error() {
        tracing::info!(
            verb = info.verb,
            path = info.path,
            code = code.as_u16(),
            "a request was not served"
        );
    }
    if notes.is_dropped {
        server.metrics.terminated(&labels, code);
    }
    let bytes = response.body().size_hint().exact();
    server
        .metrics
        .finish(&labels, code, started.elapsed(), notes.queued, bytes);
    if let (Some(audited), Some(finish)) = (&audited, &mut finish) {
        audit_answer(audited, &mut response).await;
        if long {
            audited.started();
            // The end of the answer is the end of the request.
            let ended = Finish::of(Arc::clone(audited));
            let inner = std::mem::replace(response.body_mut(), body::empty());
            *response.body_mut() = body::until_dropped(inner, ended);
        } else {
            audited.complete();
        }
        finish.disarm();
    }
    if head {
        *response.body_mut() = body::empty();
    }
    response.headers_mut().insert(AUDIT_ID, audit_id);
    response
}

/// Who sends a request. Others may have to be asked, which is bounded in number and time.
async fn sender(
    server: &Arc<Inner>,
    request: &mut Request<Body>,
    warnings: &mut Vec<String>,
) -> Result<Identity, Status> {
    if let Some(known) = request.extensions_mut().remove::<Identity>() {
        return Ok(known);
    }
    let Some(token) = request.extensions_mut().remove::<BearerToken>() else {
        return Ok(identity::anonymous());
    };
    let begun = Instant::now();
    let judged = judge(server, &token).await;
    let attempted = match &judged {
        Ok(accepted) => Attempted::Success(&accepted.identity.user),
        Err(_) => Attempted::Error,
    };
    server.deps.observers.door.attempted(attempted, begun.elapsed());
    let mut accepted = judged?;
    warnings.append(&mut accepted.warnings);
    Ok(accepted.identity)
}

async fn judge(server: &Arc<Inner>, token: &BearerToken) -> Result<Accepted, Status> {
    let _permit = server.judging.try_acquire().map_err(|_| Status::too_many_requests())?;
    let audiences = tokens::api_audiences(server);
    let judged = tokens::authenticate(server, token.text(), audiences);
    let judged = tokio::time::timeout(REQUEST_TIMEOUT_MAX, judged).await;
    judged
        .map_err(|_| Status::unavailable("the sender of the request cannot be told in time"))??
        .map_err(|refused| {
            tracing::debug!(%refused, "a bearer token was refused");
            Status::unauthorized()
        })
}

/// Whether a request lasts: neither is its time bounded, nor does it keep seats while it does.
fn is_long(info: &RequestInfo) -> bool {
    let connects = ["attach", "exec", "proxy", "log", "portforward"];
    matches!(info.verb.as_str(), "watch" | "proxy")
        || (info.resource_request && connects.contains(&info.subresource.as_str()))
}

fn audit(
    server: &Inner,
    info: &RequestInfo,
    who: &Identity,
    request: &Request<Body>,
    audit_id: &HeaderValue,
) -> Option<Arc<Audited>> {
    let log = server.deps.observers.audit.as_ref()?;
    let peer = request.extensions().get::<identity::Peer>().map(|peer| peer.0);
    let id = String::from_utf8_lossy(audit_id.as_bytes()).into_owned();
    let attributes = info.attributes(who);
    let sent = (request.uri(), request.headers());
    let (level, audited) = Audited::begin(log, &server.deps.clock, &attributes, &id, sent, peer);
    server.metrics.audit_levels.with_label_values(&[level.as_str()]).inc();
    audited
}

/// Notes the outcome. Answers in memory are looked into: whole if their bodies are recorded, else for a Status only.
async fn audit_answer(audited: &Audited, response: &mut Response<Body>) {
    let code = response.status().as_u16();
    let known = response
        .body()
        .size_hint()
        .exact()
        .filter(|bytes| *bytes <= AUDITED_BYTES_MAX);
    let is_status = code >= 300 || known.is_some_and(|bytes| bytes < 4096);
    if known.is_none() || !(audited.records_responses() || is_status) {
        return audited.outcome(code, None);
    }
    let inner = std::mem::replace(response.body_mut(), body::empty());
    let Ok(bytes) = body::read(inner, AUDITED_BYTES_MAX as usize).await else {
        return audited.outcome(code, None);
    };
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let value: Option<Value> = match kind.and_then(|kind| kind.split(';').next()) {
        Some("application/json") => serde_json::from_slice(&bytes).ok(),
        Some("application/yaml") => engenho_yaml::decode(&bytes).ok().map(|read| read.value),
        Some("application/vnd.kubernetes.protobuf") => engenho_protobuf::decode(&bytes, None).ok(),
        _ => None,
    };
    *response.body_mut() = body::full(bytes);
    audited.outcome(code, value);
}

/// A Status in the encoding the client reads.
pub(crate) fn error(status: &Status, media: Media) -> Response<Body> {
    match media {
        Media::Json => status.clone().into_response(),
        Media::Yaml => {
            let text = engenho_yaml::encode(&status.to_value());
            status.response_with(text.into(), Media::Yaml.content_type())
        }
        Media::Protobuf => match engenho_protobuf::encode(&status.to_value()) {
            Ok(bytes) => status.response_with(bytes.into(), media.content_type()),
            Err(_) => status.clone().into_response(),
        },
    }
}

/// A text that is no Status, as upstream's filters answer.
fn plain(code: StatusCode, message: &str) -> Response<Body> {
    let mut response = text(code, format!("{message}\n"));
    response
        .headers_mut()
        .insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 504 of a request whose time is up. Whoever waited for it may find out what became of it.
fn timed_out() -> Response<Body> {
    let status = Status::allotted_timeout();
    let mut value = status.to_value();
    if let Value::Object(map) = &mut value {
        // It is written by hand, so to speak: neither version nor kind.
        map.remove("kind");
        map.remove("apiVersion");
    }
    let mut response = text(StatusCode::GATEWAY_TIMEOUT, format!("{value}\n"));
    response.headers_mut().remove(header::RETRY_AFTER);
    response
}

/// The way of one request.
struct Way<'a> {
    server: &'a Arc<Inner>,
    info: &'a RequestInfo,
    course: &'a Course,
    audited: Option<&'a Arc<Audited>>,
    labels: &'a Labels,
    long: bool,
    started: Instant,
}

impl Way<'_> {
    /// Goes it within the time that the request has, and survives a panic.
    async fn go(&self, who: Identity, request: Request<Body>, notes: &mut Notes) -> Result<Response<Body>, Status> {
        let timeout = if self.long {
            REQUEST_TIMEOUT_MAX
        } else {
            options::request_timeout(&self.info.query)?.map_or(REQUEST_TIMEOUT_MAX, |t| t.min(REQUEST_TIMEOUT_MAX))
        };
        let patience = (timeout / QUEUE_PART)
            .min(QUEUE_WAIT_MAX)
            .saturating_sub(self.started.elapsed());
        let deadline = self.started + timeout;
        let answer = self.answer(who, request, notes, patience, deadline);
        let answer = AssertUnwindSafe(Box::pin(answer)).catch_unwind();
        let caught = if self.long {
            answer.await
        } else {
            let Ok(caught) = tokio::time::timeout_at(deadline, answer).await else {
                *notes = Notes::default();
                self.server.metrics.terminated(self.labels, StatusCode::GATEWAY_TIMEOUT);
                return Ok(timed_out());
            };
            caught
        };
        caught.unwrap_or_else(|panic| {
            let known = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let what = known
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(
                path = self.info.path,
                verb = self.info.verb,
                what,
                "a request made the server panic"
            );
            if let Some(audited) = self.audited {
                audited.panicked(&what);
            }
            let message = "This request caused apiserver to panic. Look in the logs for details.";
            Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, message))
        })
    }

    async fn answer(
        &self,
        who: Identity,
        mut request: Request<Body>,
        notes: &mut Notes,
        patience: Duration,
        deadline: Instant,
    ) -> Result<Response<Body>, Status> {
        let (server, info) = (self.server, self.info);
        let sender = who.clone();
        let who = impersonate::apply(server, who, request.headers_mut()).await?;
        if who != sender
            && let Some(audited) = self.audited
        {
            audited.impersonated(&who);
        }
        let watch = info.resource_request && info.verb == "watch";
        // What lasts and is no watch is not limited.
        let mut seats = None;
        if !self.long || watch {
            let limits = limits(info, &request);
            let place = server.fairness.place(server, info, &who, limits);
            notes.place = Some(place.clone());
            let queued = Instant::now();
            match server
                .fairness
                .enter(server, info, &who, &place, limits, patience)
                .await
            {
                Entered::Seated(seated, waited) => {
                    notes.queued = waited;
                    server.metrics.filter("priorityandfairness", queued.elapsed());
                    seats = Some(seated);
                }
                Entered::Refused(retry_after_s) => {
                    notes.is_dropped = true;
                    let message = "Too many requests, please try again later.";
                    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, message);
                    let headers = response.headers_mut();
                    headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
                    return Ok(response);
                }
            }
        }
        match authorize::request(server, info, &who, self.audited).await {
            Ok(()) => {}
            Err(authorize::Refused::Forbidden(status)) => return Err(status),
            Err(authorize::Refused::Failed(answer)) => return Ok(answer),
        }
        let mut lasting: Option<InFlight> = None;
        if self.long && !watch {
            lasting = Some(server.metrics.start_long(self.labels));
        }
        let answered = if let Some(remote) = aggregate::remote(server, &info.path)? {
            Ok(Box::pin(aggregate::handle(server, &remote, info, &who, request, deadline)).await)
        } else if info.resource_request {
            self.dispatch(who, request, deadline).await
        } else {
            nonresource::handle(server, info, request).await
        };
        // A watch has begun: its seats are for others now.
        drop(seats);
        match (answered, lasting) {
            (Ok(mut response), Some(lasting)) => {
                let inner = std::mem::replace(response.body_mut(), body::empty());
                *response.body_mut() = body::until_dropped(inner, lasting);
                Ok(response)
            }
            (answered, _) => answered,
        }
    }

    async fn dispatch(
        &self,
        who: Identity,
        request: Request<Body>,
        deadline: Instant,
    ) -> Result<Response<Body>, Status> {
        let (server, info) = (self.server, self.info);
        let (served, found) = find(server, info).await;
        let catalog = served.catalog.clone();
        let Some(resource) = found else {
            return unserved::unknown(info);
        };
        if unserved::wrong_scope(&resource, info) {
            return unserved::unknown(info);
        }
        check_scope(&resource, info)?;
        let (parts, incoming) = request.into_parts();
        if parts.method == Method::HEAD && !is_custom(&resource) {
            return Err(Status::method_not_allowed());
        }
        let collection = info.path_name.is_empty();
        let pretty = info.query.bool("pretty");
        let list = collection && matches!(parts.method, Method::GET | Method::HEAD);
        let output = negotiate::object_output(&parts.headers, pretty, list, !is_custom(&resource))?;
        let fence = parts.extensions.get::<Fence>();
        let storage = match self.course {
            Course::Plain | Course::HalfDone => fence.map(|fence| server.storage.fenced(*fence)),
            Course::Slots(slots) => Some(server.storage.in_slots(Arc::clone(slots))),
            Course::Applied(applied) => Some(server.storage.replaying(applied.revision)),
        };
        let context = Context {
            server: server.clone(),
            catalog,
            served,
            info: info.clone(),
            identity: who,
            bound: storage.map(Arc::new),
            resource,
            headers: parts.headers,
            output,
            body: Mutex::new(Some(incoming)),
            deadline,
            warnings: Mutex::default(),
            annotations: Mutex::default(),
            audited: self.audited.cloned(),
            stale: Mutex::default(),
            behind: AtomicBool::default(),
        };
        let verb_known = engenho_catalog::Verb::parse(&info.verb).is_some_and(|v| context.resource.verbs.contains(v));
        if let Some(text) = deprecation(&context.resource).filter(|_| verb_known || !info.subresource.is_empty()) {
            context.warn(text);
            let resource = &context.resource;
            let (group, version) = (&resource.group, &resource.version);
            server
                .metrics
                .deprecated(group, version, &resource.plural, &info.subresource);
            context.annotate("k8s.io/deprecated".into(), "true".into());
        }
        if let Some(text) = context
            .custom_version()
            .and_then(|(_, version)| version.deprecation.clone())
        {
            context.warn(text);
        }
        let answered = match self.course {
            Course::Applied(applied) => repeat::answer(&context, applied).await,
            Course::Plain | Course::Slots(_) | Course::HalfDone => verb(&context).await,
        };
        let mut response = answered.unwrap_or_else(|status| error(&status, output.media));
        context.finish(&mut response);
        Ok(response)
    }
}

/// What limits a request: none of the server's own, which only it can fence, and none of those that ask how it is.
fn limits(info: &RequestInfo, request: &Request<Body>) -> Limits {
    if request.extensions().get::<Fence>().is_some() {
        return Limits::Own;
    }
    let first = info.path.split('/').nth(1);
    if !info.resource_request && matches!(first, Some("healthz" | "livez" | "readyz")) {
        return Limits::Health;
    }
    Limits::Configured
}

/// What users of a deprecated kind are told (upstream's `APILifecycleDeprecated`).
fn deprecation(resource: &engenho_catalog::Resource) -> Option<&'static str> {
    match (&*resource.group, &*resource.plural) {
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        ("", "endpoints") => Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        _ => None,
    }
}

/// What is served, and the resource of the request. A replica that is behind may not know a new definition yet: it is
/// brought up to date before a resource counts as unknown.
async fn find(server: &Inner, info: &RequestInfo) -> (Arc<Served>, Option<Arc<Resource>>) {
    let look = || {
        let served = server.served();
        let found = served.catalog.resource(&info.group, &info.version, &info.resource);
        let found = found.cloned();
        (served, found)
    };
    let (served, found) = look();
    if found.is_some() || unserved::is_builtin(&info.group) || server.storage.linearize().await.is_err() {
        return (served, found);
    }
    look()
}

/// Outside a namespace, a namespaced resource can only be listed and watched.
fn check_scope(resource: &Resource, info: &RequestInfo) -> Result<(), Status> {
    let review = !resource.is_stored();
    if resource.namespaced && info.namespace.is_empty() && !matches!(info.verb.as_str(), "list" | "watch") && !review {
        return Err(Status::method_not_allowed());
    }
    Ok(())
}

/// Runs the verb of the request.
pub(crate) async fn verb(context: &Context) -> Result<Response<Body>, Status> {
    let info = &context.info;
    let custom = is_custom(&context.resource);
    if let Some(status) = custom.then(|| unserved::custom(context)).flatten() {
        return Err(status);
    }
    if !info.subresource.is_empty() {
        return subresource::handle(context).await;
    }
    // Discovery lists fewer verbs of a custom resource that is going; they are refused later, and not for all objects.
    if !custom {
        let served = engenho_catalog::Verb::parse(&info.verb).is_some_and(|v| context.resource.verbs.contains(v));
        if !served || (info.verb == "create" && !info.path_name.is_empty()) {
            return Err(Status::method_not_allowed());
        }
        if matches!(info.verb.as_str(), "update" | "patch") && info.path_name.is_empty() {
            return Err(Status::method_not_allowed());
        }
    }
    if !context.resource.is_stored() {
        return reviews::handle(context).await;
    }
    match info.verb.as_str() {
        "get" => verbs::get::handle(context).await,
        "list" => verbs::list::handle(context).await,
        "watch" => verbs::watch::handle(context).await,
        "create" => verbs::create::handle(context).await,
        "update" => verbs::update::handle(context).await,
        "patch" => verbs::patch::handle(context).await,
        "delete" => verbs::delete::handle(context).await,
        "deletecollection" => verbs::deletecollection::handle(context).await,
        _ => Err(Status::method_not_allowed()),
    }
}

fn random_id(server: &Inner) -> HeaderValue {
    HeaderValue::from_str(&crate::random::uuid(&*server.deps.entropy)).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// A plain-text answer.
pub(crate) fn text(code: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    respond::bytes(code, "text/plain; charset=utf-8", text)
}

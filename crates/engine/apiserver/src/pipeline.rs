//! The pipeline that every request walks: decode, authenticate, limit, authorise, dispatch, finish.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use engenho_catalog::Resource;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use parking_lot::Mutex;

use crate::authorizer::Identity;
use crate::body::{self, Body};
use crate::context::Context;
use crate::custom::Served;
use crate::kinds::is_custom;
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
/// Longest request that is no watch, whatever its `timeout` says (upstream's bound).
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Answers one request.
pub(crate) async fn handle(server: &Arc<Inner>, mut request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let info = RequestInfo::decode(request.method(), request.uri());
    let audit_id = request
        .headers()
        .get(AUDIT_ID)
        .cloned()
        .unwrap_or_else(|| random_id(server));
    let mut warnings = Vec::new();
    let head = request.method() == Method::HEAD;
    let media = negotiate::plain_output(request.headers(), true).unwrap_or(Media::Json);
    let label = server.metrics.label(&info);
    let in_flight = server.metrics.start(&info);
    let course = match request.extensions_mut().remove::<Attempt>() {
        // First of all: an answer of any kind is true only once it is known what earlier attempts did.
        Some(attempt) => repeat::begin(server, &info, attempt).await,
        None => Ok(Course::Plain),
    };
    // Whoever the request is passed on to knows it by the same name.
    request.headers_mut().insert(AUDIT_ID, audit_id.clone());
    let answered = match &course {
        Ok(Course::HalfDone) => Err(Status::outcome_unknown(
            "the member that it was forwarded to is gone, and it may be half done",
        )),
        Ok(course) => answer(server, &info, request, course, &mut warnings).await,
        Err(status) => Err(status.clone()),
    };
    let mut response = answered.unwrap_or_else(|status| error(&status, media));
    respond::add_warnings(response.headers_mut(), &warnings);
    repeat::finish(&course, &mut response);
    drop(in_flight);
    server.metrics.finish(label, response.status(), started.elapsed());
    if head {
        *response.body_mut() = body::empty();
    }
    response.headers_mut().insert(AUDIT_ID, audit_id);
    response
}

/// Who sends a request.
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
    let audiences = tokens::api_audiences(server);
    match tokens::authenticate(server, token.text(), audiences).await? {
        Ok(mut accepted) => {
            warnings.append(&mut accepted.warnings);
            Ok(accepted.identity)
        }
        Err(refused) => {
            tracing::debug!(%refused, "a bearer token was refused");
            Err(Status::unauthorized())
        }
    }
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

async fn answer(
    server: &Arc<Inner>,
    info: &RequestInfo,
    mut request: Request<Body>,
    course: &Course,
    warnings: &mut Vec<String>,
) -> Result<Response<Body>, Status> {
    let arrived = tokio::time::Instant::now();
    let long = info.resource_request && info.verb == "watch";
    // Health is asked when the server is busiest: it always answers.
    let exempt = !info.resource_request && matches!(info.path.split('/').nth(1), Some("healthz" | "livez" | "readyz"));
    // A watch is counted by its stream, which outlives this call.
    let counted = !exempt && !long;
    let _permit = counted
        .then(|| server.requests.try_acquire())
        .transpose()
        .map_err(|_| Status::too_many_requests())?;
    // Others may have to be asked who it is: that counts as work of the request, and is bounded with it.
    let who = sender(server, &mut request, warnings);
    let who = tokio::time::timeout(REQUEST_TIMEOUT_MAX, who).await;
    let who = who.map_err(|_| Status::unavailable("the sender of the request cannot be told in time"))??;
    let who = impersonate::apply(server, who, request.headers_mut()).await?;
    match authorize::request(server, info, &who).await {
        Ok(()) => {}
        Err(authorize::Refused::Forbidden(status)) => return Err(status),
        Err(authorize::Refused::Failed(answer)) => return Ok(answer),
    }
    let timeout = options::request_timeout(&info.query)?.map_or(REQUEST_TIMEOUT_MAX, |t| t.min(REQUEST_TIMEOUT_MAX));
    let deadline = arrived + timeout;
    if let Some(remote) = aggregate::remote(server, &info.path)? {
        return Ok(Box::pin(aggregate::handle(server, &remote, info, &who, request, deadline)).await);
    }
    if !info.resource_request {
        return nonresource::handle(server, info, request).await;
    }
    if long {
        return dispatch(server, info, who, request, course, deadline).await;
    }
    match tokio::time::timeout_at(deadline, dispatch(server, info, who, request, course, deadline)).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::timeout(&format!(
            "request did not complete within the requested timeout - {}s",
            timeout.as_secs()
        ))),
    }
}

async fn dispatch(
    server: &Arc<Inner>,
    info: &RequestInfo,
    who: Identity,
    request: Request<Body>,
    course: &Course,
    deadline: tokio::time::Instant,
) -> Result<Response<Body>, Status> {
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
    let storage = match course {
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
        stale: Mutex::default(),
        behind: AtomicBool::default(),
    };
    let verb_known = engenho_catalog::Verb::parse(&info.verb).is_some_and(|v| context.resource.verbs.contains(v));
    if let Some(text) = deprecation(&context.resource).filter(|_| verb_known || !info.subresource.is_empty()) {
        context.warn(text);
    }
    if let Some(text) = context
        .custom_version()
        .and_then(|(_, version)| version.deprecation.clone())
    {
        context.warn(text);
    }
    let answered = match course {
        Course::Applied(applied) => repeat::answer(&context, applied).await,
        Course::Plain | Course::Slots(_) | Course::HalfDone => verb(&context).await,
    };
    let mut response = answered.unwrap_or_else(|status| error(&status, output.media));
    context.finish(&mut response);
    Ok(response)
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

//! Requests to aggregated APIs, passed on with the identity of their sender.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Remote;
use crate::authorizer::Identity;
use crate::body::Body;
use crate::identity;
use crate::outbound::services;
use crate::outbound::{Call, Destination, OutboundError, Roots, Tls, call};
use crate::pipeline::text;
use crate::request::RequestInfo;
use crate::server::{ApiServer, Inner};
use crate::status::Status;

/// How long a document of discovery may take.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an API is tried before it counts as unavailable.
const PROBES: usize = 5;
/// Longest answer to a probe.
const PROBE_BYTES_MAX: usize = 16 << 20;
/// What header names may hold as they are (RFC 7230).
const HEADER_KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');
/// Headers of one connection only.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where a remote API is reached now.
fn destination(server: &Inner, remote: &Remote) -> Result<Destination, Status> {
    let of = remote.service();
    let (host, port) = services::resolve(&server.storage, &server.catalog(), &*server.deps.entropy, &of)?;
    let tls = Tls {
        roots: remote.roots.clone(),
        server_name: of.server_name(),
        client: server
            .deps
            .proxy_certificate
            .as_ref()
            .and_then(|certificate| certificate.current()),
    };
    Ok(Destination {
        host,
        port,
        tls: Some(Arc::new(tls)),
    })
}

/// Says who sends a request.
fn identify(headers: &mut HeaderMap, who: &Identity) {
    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-remote-"))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
    headers.remove(header::AUTHORIZATION);
    let mut put = |name: &str, text: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(text.as_bytes())) {
            headers.append(name, value);
        }
    };
    put("x-remote-user", &who.user);
    if !who.uid.is_empty() {
        put("x-remote-uid", &who.uid);
    }
    for group in &who.groups {
        put("x-remote-group", group);
    }
    for (key, values) in &who.extra {
        let name = format!("x-remote-extra-{}", utf8_percent_encode(key, HEADER_KEY)).to_lowercase();
        values.iter().for_each(|value| put(&name, value));
    }
}

fn strip_hops(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in HOP_BY_HOP.iter().copied().chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let mut wanted = headers.get_all(header::CONNECTION).iter();
    headers.contains_key(header::UPGRADE)
        && wanted.any(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.to_ascii_lowercase().contains("upgrade"))
        })
}

/// Whether another server may read a path otherwise than it was authorised.
fn is_ambiguous(path: &str) -> bool {
    let mut segments = path.split('/').map(str::to_ascii_lowercase);
    segments.any(|segment| segment.contains("%2f") || matches!(segment.replace("%2e", ".").as_str(), "." | ".."))
}

/// An error as upstream's proxy tells it: text, not a Status.
fn failed(code: StatusCode, message: &str) -> Response<Body> {
    let mut response = text(code, format!("{message}\n"));
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// Passes a request on. What it answers streams through for as long as it takes.
pub(crate) async fn handle(
    server: &Arc<Inner>,
    remote: &Remote,
    info: &RequestInfo,
    who: &Identity,
    request: Request<Body>,
    deadline: Instant,
) -> Response<Body> {
    let unavailable = || failed(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
    let Some(outbound) = server.deps.outbound.as_ref().filter(|_| remote.available) else {
        return unavailable();
    };
    let Ok(to) = destination(server, remote) else {
        return unavailable();
    };
    if is_ambiguous(request.uri().path()) {
        return failed(
            StatusCode::BAD_REQUEST,
            "the path has an escaped slash or a dot segment",
        );
    }
    let upgrade = is_upgrade(request.headers());
    let long = upgrade || info.verb == "watch";
    let Ok(permit) = long.then(|| server.watches.clone().try_acquire_owned()).transpose() else {
        return Status::too_many_requests().into_response();
    };
    let (mut parts, incoming) = request.into_parts();
    let client = parts
        .extensions
        .remove::<hyper::upgrade::OnUpgrade>()
        .filter(|_| upgrade);
    let protocol = parts.headers.get(header::UPGRADE).cloned();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    strip_hops(&mut parts.headers);
    parts.headers.remove(header::HOST);
    identify(&mut parts.headers, who);
    if let (true, Some(protocol)) = (upgrade, protocol) {
        parts
            .headers
            .insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
    }
    let mut outgoing = Request::new(incoming);
    *outgoing.method_mut() = parts.method;
    *outgoing.uri_mut() = path.parse::<Uri>().unwrap_or_default();
    *outgoing.headers_mut() = parts.headers;
    // `/apis/GROUP/VERSION` is asked for by everybody, and has to be cheap.
    let discovery = !info.resource_request && info.path.trim_matches('/').split('/').count() == 3;
    let mut until = deadline;
    if discovery {
        until = until.min(Instant::now() + DISCOVERY_TIMEOUT);
    }
    let sending = outbound.send(&to, outgoing);
    // A watch may say nothing before its first event; the head of any other answer has to come in time.
    let answered = if info.verb == "watch" {
        sending.await
    } else {
        tokio::time::timeout_at(until, sending)
            .await
            .unwrap_or(Err(OutboundError::Deadline))
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => {
            let message = format!("error trying to reach service: {error}");
            return failed(StatusCode::SERVICE_UNAVAILABLE, &message);
        }
    };
    // Members tell each other things in headers of their own, which nobody else may.
    identity::strip_headers(response.headers_mut());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = client else {
            return failed(StatusCode::BAD_REQUEST, "the connection cannot be upgraded");
        };
        let protocol = response.headers().get(header::UPGRADE).cloned();
        let backend = hyper::upgrade::on(&mut response);
        let drain = server.drain.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let joined = async {
                let (client, backend) = futures_util::future::try_join(client, backend).await.ok()?;
                let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
                tokio::io::copy_bidirectional(&mut client, &mut backend).await.ok()
            };
            tokio::select! {
                _ = joined => {}
                () = drain.cancelled() => {}
            }
        });
        strip_hops(response.headers_mut());
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Some(protocol) = protocol {
            headers.insert(header::UPGRADE, protocol);
        }
        return response;
    }
    strip_hops(response.headers_mut());
    let end = match info.verb.as_str() {
        "watch" => End::Drain(server.drain.clone()),
        _ => End::At(until),
    };
    // A watch counts until it ends.
    response.map(|answer| ending(answer, end, permit))
}

/// When an answer that is passed on ends, if not by itself.
enum End {
    /// Cleanly, when this server stops.
    Drain(CancellationToken),
    /// In the middle, when its time is over.
    At(Instant),
}

/// The answer for as long as it may last; holds what `kept` is until then.
fn ending<T: Send + 'static>(answer: Body, end: End, kept: T) -> Body {
    let end = Arc::new(end);
    let frames = stream::unfold(Some((answer, kept)), move |state| {
        let end = Arc::clone(&end);
        async move {
            let (mut answer, kept) = state?;
            let frame = match &*end {
                End::Drain(drain) => tokio::select! {
                    frame = answer.frame() => frame?,
                    () = drain.cancelled() => return None,
                },
                End::At(deadline) => match tokio::time::timeout_at(*deadline, answer.frame()).await {
                    Ok(frame) => frame?,
                    Err(_) => Err(OutboundError::Deadline.into()),
                },
            };
            let rest = frame.is_ok().then_some((answer, kept));
            Some((frame, rest))
        }
    });
    crate::body::boxed(StreamBody::new(frames))
}

/// Who asks on behalf of the server itself.
fn aggregator() -> Identity {
    Identity {
        user: "system:kube-aggregator".into(),
        groups: vec!["system:masters".into()],
        ..Identity::default()
    }
}

/// Reads a document of a remote API.
pub(super) async fn fetch(
    server: &Inner,
    remote: &Remote,
    path: &str,
    accept: &str,
) -> Result<Response<Bytes>, OutboundError> {
    let to = destination(server, remote).map_err(|status| OutboundError::Broken { reason: status.message })?;
    get(server, &to, path, accept).await
}

async fn get(server: &Inner, to: &Destination, path: &str, accept: &str) -> Result<Response<Bytes>, OutboundError> {
    let outbound = server.deps.outbound.as_ref().ok_or(OutboundError::Disabled)?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(header::ACCEPT, accept);
    let mut request = request.body(Bytes::new()).map_err(|error| OutboundError::Broken {
        reason: error.to_string(),
    })?;
    identify(request.headers_mut(), &aggregator());
    let asked = Call {
        to,
        request,
        timeout: DISCOVERY_TIMEOUT,
        answer_bytes_max: PROBE_BYTES_MAX,
    };
    call(&**outbound, asked).await
}

/// Whether the server behind an APIService answers.
pub(crate) async fn probe(api: &ApiServer, object: &serde_json::Value) -> Result<(), String> {
    let server = &*api.inner;
    let Some(mut remote) = Remote::read(object) else {
        return Ok(());
    };
    // Nothing but its life is asked for.
    remote.roots = Roots::Unverified;
    let path = format!("/apis/{}", remote.api_version());
    let once = || {
        let (remote, path) = (&remote, &path);
        Box::pin(async move {
            let to = destination(server, remote).map_err(|status| status.message)?;
            let host = if to.host.contains(':') {
                format!("[{}]", to.host)
            } else {
                to.host.clone()
            };
            let url = format!("https://{host}:{}{path}", to.port);
            let why = match get(server, &to, path, "*/*").await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => format!("bad status from {url}: {}", answer.status().as_u16()),
                Err(error) => format!("Get {url:?}: {error}"),
            };
            Err(format!("failing or missing response from {url}: {why}"))
        })
    };
    let tried = futures_util::future::select_ok((0..PROBES).map(|_| once())).await;
    tried.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_cannot_be_forged() {
        let mut headers = HeaderMap::new();
        headers.insert("x-remote-user", HeaderValue::from_static("root"));
        headers.insert("x-remote-extra-a", HeaderValue::from_static("b"));
        headers.insert("authorization", HeaderValue::from_static("Bearer t"));
        let who = Identity {
            user: "ann".into(),
            groups: vec!["g1".into(), "g2".into()],
            extra: [("example.org/Key".to_owned(), vec!["1".to_owned()])].into(),
            ..Identity::default()
        };
        identify(&mut headers, &who);
        let all: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert!(all.contains(&("x-remote-user", b"ann")), "{all:?}");
        assert!(all.contains(&("x-remote-extra-example.org%2fkey", b"1")), "{all:?}");
        assert_eq!(all.len(), 4, "{all:?}");
    }

    #[test]
    fn headers_of_the_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", HeaderValue::from_static("keep-alive, X-Own"));
        headers.insert("x-own", HeaderValue::from_static("1"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("accept", HeaderValue::from_static("*/*"));
        strip_hops(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}

//! Webhooks of the cluster's own kinds: a `clientConfig`, and a review that is posted to it. Failures are told in the
//! words of the Go client, which users of Kubernetes search for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engenho_validation::get::text;
use http::{Request, StatusCode, header};
use serde_json::Value;

use super::services::{self, ServiceRef};
use super::{Call, Destination, OutboundError, Roots, Tls, call};
use crate::base64;
use crate::server::Inner;

/// Who asks.
const USER_AGENT: &str = "kube-apiserver-admission";
/// Port of a Service that names none.
const PORT: u16 = 443;

/// Where a webhook is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Scheme, host and port as they were written, the host to dial, its port.
    Url {
        origin: String,
        host: String,
        port: u16,
    },
    Service {
        namespace: String,
        name: String,
        port: u16,
    },
    /// Why it cannot be called.
    Unusable(String),
}

/// A webhook that can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    place: Place,
    /// Its path, cleaned.
    path: String,
    roots: Roots,
}

impl Hook {
    /// Reads a `clientConfig`. One that is wrong fails when it is called.
    pub fn new(config: &Value) -> Self {
        let roots = match text(&config["caBundle"]) {
            "" => Roots::System,
            encoded => Roots::Bundle(base64::decode_standard(encoded).unwrap_or_default().into()),
        };
        let service = &config["service"];
        if service.is_object() {
            let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok());
            return Self {
                place: Place::Service {
                    namespace: text(&service["namespace"]).to_owned(),
                    name: text(&service["name"]).to_owned(),
                    port: port.filter(|port| *port != 0).unwrap_or(PORT),
                },
                path: clean(text(&service["path"])),
                roots,
            };
        }
        let (place, path) = match text(&config["url"]) {
            "" => {
                let reason = "webhook configuration must have either service or URL";
                (Place::Unusable(reason.to_owned()), String::new())
            }
            url => match url.parse::<http::Uri>() {
                Ok(uri) if uri.host().is_some() => {
                    let host = uri.host().unwrap_or_default();
                    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
                    let authority = uri.authority().map_or("", |authority| authority.as_str());
                    let place = Place::Url {
                        origin: format!("{}://{authority}", uri.scheme_str().unwrap_or("https")),
                        host: host.to_owned(),
                        port: uri.port_u16().unwrap_or(PORT),
                    };
                    (place, uri.path().to_owned())
                }
                Ok(_) => (Place::Unusable("Unparsable URL: no host".to_owned()), String::new()),
                Err(error) => (Place::Unusable(format!("Unparsable URL: {error}")), String::new()),
            },
        };
        Self {
            place,
            path: clean(&path),
            roots,
        }
    }

    /// Scheme, host and port, as they are shown.
    fn origin(&self) -> String {
        match &self.place {
            Place::Url { origin, .. } => origin.clone(),
            Place::Service { namespace, name, port } => format!("https://{name}.{namespace}.svc:{port}"),
            Place::Unusable(_) => String::new(),
        }
    }

    fn destination(&self, server: &Inner) -> Result<Destination, String> {
        let tls = |server_name: String| {
            Some(Arc::new(Tls {
                roots: self.roots.clone(),
                server_name,
                client: None,
            }))
        };
        match &self.place {
            Place::Url { host, port, .. } => Ok(Destination {
                host: host.clone(),
                port: *port,
                tls: tls(host.clone()),
            }),
            Place::Service { namespace, name, port } => {
                let of = ServiceRef {
                    namespace,
                    name,
                    port: *port,
                };
                let entropy = &*server.deps.entropy;
                let found = services::resolve(&server.storage, &server.catalog(), entropy, &of);
                let (host, port) = found.map_err(|status| status.message)?;
                Ok(Destination {
                    host,
                    port,
                    tls: tls(of.server_name()),
                })
            }
            Place::Unusable(reason) => Err(reason.clone()),
        }
    }

    /// Posts a review and gives the JSON that answers it.
    ///
    /// # Errors
    /// Why there is no answer, as the Go client says it.
    pub async fn post(
        &self,
        server: &Inner,
        review: &Value,
        timeout: Duration,
        answer_bytes_max: usize,
    ) -> Result<Value, String> {
        if let Place::Unusable(reason) = &self.place {
            return Err(reason.clone());
        }
        let seconds = timeout.as_millis().div_ceil(1000);
        let path = format!("{}?timeout={seconds}s", self.path);
        let failed = |error: &dyn std::fmt::Display| format!("Post \"{}{path}\": {error}", self.origin());
        if timeout.is_zero() {
            return Err(failed(&OutboundError::Deadline));
        }
        let Some(outbound) = &server.deps.outbound else {
            return Err(failed(&OutboundError::Disabled));
        };
        let to = self.destination(server).map_err(|error| failed(&error))?;
        let host = self.origin();
        let host = host.split_once("://").map_or("", |(_, host)| host);
        let request = Request::post(&path)
            .header(header::HOST, host)
            .header(header::ACCEPT, "application/json, */*")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Bytes::from(review.to_string()))
            .map_err(|error| failed(&error))?;
        let asked = Call {
            to: &to,
            request,
            timeout,
            answer_bytes_max,
        };
        let answer = call(&**outbound, asked).await.map_err(|error| failed(&error))?;
        let kind = answer.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or_default();
        read(answer.status(), kind, answer.body())
    }
}

/// Go's `path.Join("/", path)`.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// What an answer comes to.
pub(crate) fn read(code: StatusCode, content_type: &str, body: &Bytes) -> Result<Value, String> {
    let media = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let json = matches!(media.as_str(), "" | "application/json");
    if !code.is_success() || code.as_u16() > 206 {
        let told = json.then(|| serde_json::from_slice::<Value>(body).ok()).flatten();
        if let Some(status) = told.filter(|told| told["kind"] == "Status" && told["status"] == "Failure") {
            return Err(text(&status["message"]).to_owned());
        }
        let is_text = media.is_empty() || media.starts_with("text/");
        let said = String::from_utf8_lossy(body);
        return Err(refusal(code.as_u16(), if is_text { said.trim() } else { "unknown" }));
    }
    if !json {
        return Err(format!("serializer for {content_type} doesn't exist"));
    }
    if body.is_empty() {
        let shown = if content_type.is_empty() {
            "application/json"
        } else {
            content_type
        };
        return Err(format!(
            "0-length response with status code: {} and content type: {shown}",
            code.as_u16()
        ));
    }
    let answer: Value = serde_json::from_slice(body).map_err(|error| {
        let why = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(byte) if !b"{[\"-0123456789tfn".contains(byte) => {
                format!(
                    "invalid character {:?} looking for beginning of value",
                    char::from(*byte)
                )
            }
            _ => error.to_string(),
        };
        format!("couldn't get version/kind; json parse error: {why}")
    })?;
    if answer["kind"] == "Status" && answer["apiVersion"] == "v1" {
        return Err(text(&answer["message"]).to_owned());
    }
    Ok(answer)
}

/// What a code means that no Status explains.
fn refusal(code: u16, said: &str) -> String {
    match code {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 | 415 => said.to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        406 if matches!(said, "" | "unknown") => {
            "the server was unable to respond with a content type that the client supports".to_owned()
        }
        406 => said.to_owned(),
        409 => "the server reported a conflict".to_owned(),
        422 => "the server rejected our request due to an error in our request".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .to_owned()
        }
        500.. => format!("an error on the server ({said:?}) has prevented the request from succeeding"),
        _ => format!("the server responded with the status code {code} but did not return more information"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_shown_as_they_are_called() {
        let url = Hook::new(&json!({"url": "https://127.0.0.1:8443/a/../b//c/", "caBundle": "YQ=="}));
        assert_eq!(
            (url.origin().as_str(), url.path.as_str()),
            ("https://127.0.0.1:8443", "/b/c")
        );
        assert_eq!(url.roots, Roots::Bundle(Bytes::from_static(b"a")));
        let bare = Hook::new(&json!({"url": "https://hook.example"}));
        assert_eq!(
            (bare.origin().as_str(), bare.path.as_str()),
            ("https://hook.example", "/")
        );
        let service = Hook::new(&json!({"service": {"namespace": "n", "name": "s", "path": "x"}}));
        assert_eq!(
            (service.origin().as_str(), service.path.as_str()),
            ("https://s.n.svc:443", "/x")
        );
        assert!(matches!(Hook::new(&json!({})).place, Place::Unusable(_)));
    }

    #[test]
    fn answers_that_are_none_are_explained() {
        let read = |code: u16, kind: &str, body: &'static str| {
            super::read(
                StatusCode::from_u16(code).expect("a code"),
                kind,
                &Bytes::from_static(body.as_bytes()),
            )
        };
        assert_eq!(read(200, "application/json", "{\"a\":1}"), Ok(json!({"a": 1})));
        let cases = [
            (
                500,
                "text/plain",
                " broken\n",
                "an error on the server (\"broken\") has prevented the request from succeeding",
            ),
            (
                502,
                "application/json",
                "x",
                "an error on the server (\"unknown\") has prevented the request from succeeding",
            ),
            (
                404,
                "text/plain",
                "no",
                "the server could not find the requested resource",
            ),
            (
                302,
                "",
                "",
                "the server responded with the status code 302 but did not return more information",
            ),
            (
                500,
                "application/json",
                "{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"m\"}",
                "m",
            ),
            (200, "text/html", "<", "serializer for text/html doesn't exist"),
            (
                200,
                "",
                "",
                "0-length response with status code: 200 and content type: application/json",
            ),
            (
                200,
                "",
                "<",
                "couldn't get version/kind; json parse error: invalid character '<' looking for beginning of value",
            ),
        ];
        for (code, kind, body, wanted) in cases {
            assert_eq!(read(code, kind, body), Err(wanted.to_owned()));
        }
    }
}

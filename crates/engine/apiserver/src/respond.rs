//! Objects to responses: JSON or YAML, plain or as a table or as metadata only, with warnings.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use crate::body::{Body, full};
use crate::negotiate::{Media, Output};

/// Warnings of one response, at most so many bytes (upstream's bound).
const WARNING_BYTES_MAX: usize = 4 * 1024;

/// A response of encoded bytes.
pub fn bytes(code: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Encodes a value as negotiated, as text where it has no protobuf form.
fn encode(value: &Value, output: &Output) -> Bytes {
    match output.media {
        Media::Yaml => engenho_yaml::encode(value).into(),
        Media::Json if output.pretty => {
            // Values in memory have text keys and finite numbers: writing them cannot fail.
            let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
            text.push(b'\n');
            text.into()
        }
        Media::Json | Media::Protobuf => {
            let mut text = serde_json::to_vec(value).unwrap_or_default();
            text.push(b'\n');
            text.into()
        }
    }
}

/// A response of one value.
pub fn value(code: StatusCode, value: &Value, output: &Output) -> Response<Body> {
    let mut media = output.media;
    if media == Media::Protobuf {
        match engenho_protobuf::encode(value) {
            Ok(encoded) => return bytes(code, media.content_type(), encoded),
            // Clients go by the content type of what they get: the answer is not lost.
            Err(error) => {
                tracing::warn!(%error, "answering in JSON what has no protobuf form");
                media = Media::Json;
            }
        }
    }
    bytes(code, media.content_type(), encode(value, output))
}

/// Appends `Warning` headers, in upstream's form `299 - "text"`.
pub fn add_warnings(headers: &mut HeaderMap, warnings: &[String]) {
    let mut bytes = 0;
    let mut seen: Vec<&str> = Vec::new();
    for warning in warnings {
        if seen.contains(&warning.as_str()) {
            continue;
        }
        seen.push(warning);
        bytes += warning.len();
        if bytes > WARNING_BYTES_MAX {
            break;
        }
        add_warning(headers, "-", warning);
    }
}

/// Appends one `Warning` header from `agent`.
pub fn add_warning(headers: &mut HeaderMap, agent: &str, text: &str) {
    let mut quoted = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    if let Ok(value) = HeaderValue::from_bytes(format!("299 {agent} \"{quoted}\"").as_bytes()) {
        headers.append(header::WARNING, value);
    }
}

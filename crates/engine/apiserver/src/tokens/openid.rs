//! What others need to verify tokens of service accounts: the documents of an OpenID provider.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::body::Body;
use crate::negotiate;
use crate::respond;
use crate::server::Inner;
use crate::status::Status;

/// Where the provider tells of itself.
pub(crate) const CONFIGURATION: &str = "/.well-known/openid-configuration";
/// Where its keys are.
pub(crate) const KEYS: &str = "/openid/v1/jwks";

const JSON: &str = "application/json";
const JWKS: &str = "application/jwk-set+json";

/// The documents; `None` if no tokens are issued.
pub(crate) fn handle(
    server: &Inner,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Result<Response<Body>, Status>> {
    let issuer = server.deps.issuer.as_ref()?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Some(Err(Status::method_not_allowed()));
    }
    let media = if path == KEYS { JWKS } else { JSON };
    let accept = negotiate::accept(headers);
    let accepts = |wanted: &str| wanted == media || matches!(wanted, "*/*" | "application/*");
    if !accept.trim().is_empty() && !negotiate::clauses(&accept).iter().any(|clause| accepts(clause.media)) {
        let text = format!("406: Not Acceptable\n\nAvailable representations: {media}");
        return Some(Err(Status::not_acceptable_text(text)));
    }
    let document = if path == KEYS {
        issuer.keys.jwks()
    } else {
        let uri = format!("{}{KEYS}", issuer.name());
        issuer.keys.openid_configuration(issuer.name(), &uri)
    };
    let mut response = respond::bytes(StatusCode::OK, media, document);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Some(Ok(response))
}

//! Asks the authoriser about a request and words its refusal.

use std::sync::Arc;

use engenho_authz::Verdict;
use http::{Response, StatusCode};
use tokio::time::Instant;

use crate::audit::Audited;
use crate::authorizer::{Attributes, Identity};
use crate::body::Body;
use crate::request::RequestInfo;
use crate::server::Inner;
use crate::status::{GroupResource, Status};

/// Why a request does not go on.
pub(crate) enum Refused {
    /// It is not allowed.
    Forbidden(Status),
    /// Whether it is allowed cannot be told.
    Failed(Response<Body>),
}

/// Refuses a request that the sender may not make. Health is for everybody.
pub(crate) async fn request(
    server: &Inner,
    info: &RequestInfo,
    who: &Identity,
    audited: Option<&Arc<Audited>>,
) -> Result<(), Refused> {
    if !info.resource_request && matches!(info.path.as_str(), "/healthz" | "/livez" | "/readyz") {
        return Ok(());
    }
    let begun = Instant::now();
    let attributes = info.attributes(who);
    let decision = server.deps.authorizer.authorize(&attributes).await;
    let result = match decision.verdict {
        _ if decision.error.is_some() && !decision.allowed() => "error",
        Verdict::Allow => "allowed",
        Verdict::Deny => "denied",
        Verdict::NoOpinion => "no-opinion",
    };
    server.metrics.authorization(result, begun.elapsed());
    server.metrics.filter("authorization", begun.elapsed());
    if let Some(audited) = audited {
        let allowed = if decision.allowed() { "allow" } else { "forbid" };
        audited.annotate("authorization.k8s.io/decision", allowed);
        audited.annotate("authorization.k8s.io/reason", &decision.reason);
    }
    match decision.error {
        _ if decision.allowed() => Ok(()),
        Some(error) => Err(Refused::Failed(undecided(info, &error))),
        None => Err(Refused::Forbidden(refusal(&attributes, &decision.reason))),
    }
}

/// The 500 of a request about which nothing could be decided. As upstream's, it is no Status.
fn undecided(info: &RequestInfo, error: &str) -> Response<Body> {
    let text = format!("Internal Server Error: {:?}: {error}\n", info.path);
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    crate::pipeline::text(StatusCode::INTERNAL_SERVER_ERROR, text)
}

/// The 403 of a refused request, in upstream's words.
pub(crate) fn refusal(a: &Attributes, reason: &str) -> Status {
    let user = &a.identity.user;
    if !a.resource_request {
        return Status::forbidden_path(user, &a.verb, &a.path, reason);
    }
    let mut resource = a.resource.clone();
    if !a.subresource.is_empty() {
        resource = format!("{resource}/{}", a.subresource);
    }
    let mut text = format!(
        "User {user:?} cannot {} resource {resource:?} in API group {:?}",
        a.verb, a.group
    );
    if a.namespace.is_empty() {
        text.push_str(" at the cluster scope");
    } else {
        text.push_str(&format!(" in the namespace {:?}", a.namespace));
    }
    if !reason.is_empty() {
        text.push_str(&format!(": {reason}"));
    }
    Status::forbidden(
        GroupResource {
            group: &a.group,
            resource: &a.resource,
        },
        &a.name,
        &text,
    )
}

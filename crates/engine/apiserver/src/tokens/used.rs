//! The day of its last use, on a Secret that holds a service account's token.

use std::sync::Arc;

use engenho_authn::{Objects as _, legacy};
use http::{Method, Request, header};
use serde_json::{Value, json};

use super::objects::StoredObjects;
use crate::authorizer::Identity;
use crate::body;
use crate::server::Inner;
use crate::times;

/// A day, milliseconds.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Who writes it.
fn writer() -> Identity {
    Identity {
        user: "system:apiserver".into(),
        groups: vec![engenho_authz::GROUP_MASTERS.into()],
        ..Identity::default()
    }
}

/// The day of a moment, `2006-01-02`.
fn day(unix_ms: u64) -> String {
    times::seconds(unix_ms).chars().take(10).collect()
}

/// The label that the Secret is to get, if it has not got it.
fn due(secret: &Value, now_ms: u64) -> Option<String> {
    let (today, tomorrow) = (day(now_ms), day(now_ms.saturating_add(DAY_MS)));
    let noted = secret["metadata"]["labels"][legacy::LAST_USED].as_str();
    // Another member's clock may be a day ahead.
    (noted != Some(&today) && noted != Some(&tomorrow)).then_some(today)
}

/// Notes that the Secret's token was used today. Whether it could be noted makes no difference to the request.
pub(super) async fn note(server: &Arc<Inner>, namespace: &str, name: &str) {
    let Ok(Some(secret)) = StoredObjects::new(server).get("secrets", namespace, name) else {
        return;
    };
    let Some(today) = due(&secret, server.deps.clock.unix_ms()) else {
        return;
    };
    let patch = json!({
        "metadata": {"uid": secret["metadata"]["uid"], "labels": {legacy::LAST_USED: today}},
    });
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("/api/v1/namespaces/{namespace}/secrets/{name}"))
        .header(header::CONTENT_TYPE, "application/merge-patch+json")
        .header(header::USER_AGENT, "kube-apiserver")
        .body(body::full(patch.to_string()));
    let Ok(mut request) = request else { return };
    request.extensions_mut().insert(writer());
    let answer = Box::pin(crate::pipeline::handle(server, request)).await;
    if !answer.status().is_success() {
        tracing::warn!(namespace, name, status = %answer.status(), "the last use of a Secret's token is not noted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_noted_once_a_day() {
        let at = 1_700_000_000_000; // 2023-11-14
        let secret = |day: &str| json!({"metadata": {"labels": {legacy::LAST_USED: day}}});
        assert_eq!(due(&json!({}), at).as_deref(), Some("2023-11-14"));
        assert_eq!(due(&secret("2023-11-13"), at).as_deref(), Some("2023-11-14"));
        assert_eq!(due(&secret("2023-11-14"), at), None);
        assert_eq!(due(&secret("2023-11-15"), at), None);
    }
}

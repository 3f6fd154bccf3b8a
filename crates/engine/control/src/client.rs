//! The API as the controllers call it: in process, as JSON, fenced by the term.

use std::time::Duration;

use engenho_apiserver::identity::authenticated;
use engenho_apiserver::{ApiServer, Fence, Identity, body};
use engenho_authz::{GROUP_MASTERS, service_account_identity};
use engenho_store::KeyValue;
use http::{HeaderValue, Method, Request, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::error::ControlError;

/// For how long one request may take. The API gives up on consensus well before.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// User of controllers for which upstream has no role that suffices.
const CONTROL_USER: &str = "system:engenho:control";
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A client of the API. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    api: ApiServer,
    identity: Identity,
    fence: Fence,
    /// Sent as the user agent, and so the field manager of what is written.
    agent: &'static str,
}

impl Client {
    /// A client with all rights.
    pub fn control(api: ApiServer, term: u64, agent: &'static str) -> Self {
        let identity = Identity {
            user: CONTROL_USER.into(),
            groups: vec![GROUP_MASTERS.into()],
            ..Identity::default()
        };
        Self::new(api, term, agent, identity)
    }

    /// A client with the rights that the bootstrap roles give to upstream's controller of that name.
    pub fn service_account(api: ApiServer, term: u64, agent: &'static str) -> Self {
        Self::new(api, term, agent, service_account_identity("kube-system", agent, ""))
    }

    fn new(api: ApiServer, term: u64, agent: &'static str, identity: Identity) -> Self {
        Self {
            api,
            identity: authenticated(identity),
            fence: Fence(term),
            agent,
        }
    }

    /// The server.
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// Creates an object in the collection at `path`.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, ControlError> {
        self.send(Method::POST, path, Some(object)).await
    }

    /// Replaces the object at `path`.
    pub async fn replace(&self, path: &str, object: &Value) -> Result<Value, ControlError> {
        self.send(Method::PUT, path, Some(object)).await
    }

    /// Deletes the object at `path`, in the background, if it still has `uid`. One that is gone is no error.
    pub async fn delete(&self, path: &str, uid: &str) -> Result<(), ControlError> {
        let options = json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        });
        match self.send(Method::DELETE, path, Some(&options)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, method: Method, path: &str, sent: Option<&Value>) -> Result<Value, ControlError> {
        let name = match method {
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            _ => "GET",
        };
        let protocol = |reason: String| ControlError::Protocol {
            method: name,
            path: path.to_owned(),
            reason,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::USER_AGENT, HeaderValue::from_static(self.agent))
            .header(header::ACCEPT, HeaderValue::from_static("application/json"))
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(sent.map_or_else(body::empty, |sent| body::full(sent.to_string())))
            .map_err(|error| protocol(error.to_string()))?;
        request.extensions_mut().insert(self.identity.clone());
        request.extensions_mut().insert(self.fence);
        // Boxed: the futures of the pipeline are large.
        let answer = Box::pin(async {
            let (head, incoming) = self.api.handle(request).await.into_parts();
            let bytes = body::read(incoming, ANSWER_BYTES_MAX).await;
            (head.status, bytes)
        });
        let Ok((code, bytes)) = tokio::time::timeout(TIMEOUT, answer).await else {
            return Err(ControlError::Timeout {
                method: name,
                path: path.to_owned(),
                waited_ms: u64::try_from(TIMEOUT.as_millis()).unwrap_or(u64::MAX),
            });
        };
        let bytes = bytes.map_err(|error| protocol(error.to_string()))?;
        let answer: Value = serde_json::from_slice(&bytes).map_err(|error| protocol(error.to_string()))?;
        if code.is_success() {
            return Ok(answer);
        }
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        Err(ControlError::Refused {
            method: name,
            path: path.to_owned(),
            code: code.as_u16(),
            reason: text("reason"),
            message: text("message"),
            causes: causes(&answer),
        })
    }

    /// The stored objects under a prefix of keys, as of this replica.
    pub fn stored(&self, prefix: &str) -> Result<Vec<Value>, ControlError> {
        let storage = self.api.storage();
        let read = storage.list(prefix).map_err(|source| ControlError::Storage {
            what: "listing stored objects",
            source,
        })?;
        let mut objects = Vec::with_capacity(read.kvs.len());
        for kv in &read.kvs {
            objects.push(self.open(kv)?);
        }
        Ok(objects)
    }

    /// The stored object in a key, as of this replica, with the revision of its last write.
    pub fn stored_at(&self, key: &[u8]) -> Result<Option<(u64, Value)>, ControlError> {
        let found = self.api.storage().client().store.get(key);
        let opened = found.map(|kv| self.open(&kv).map(|object| (kv.mod_revision, object)));
        opened.transpose()
    }

    /// Revision of the last write of a key, as of this replica.
    pub fn revision_of(&self, key: &str) -> Option<u64> {
        self.api.storage().revision_of(key)
    }

    fn open(&self, kv: &KeyValue) -> Result<Value, ControlError> {
        let stored = self.api.storage().open(kv).map_err(|source| ControlError::Storage {
            what: "opening a stored object",
            source,
        })?;
        serde_json::from_slice(&stored.bytes).map_err(|source| ControlError::Unreadable {
            key: String::from_utf8_lossy(&kv.key).into_owned(),
            source,
        })
    }
}

fn causes(status: &Value) -> Vec<String> {
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let reasons = causes.filter_map(|cause| cause["reason"].as_str());
    reasons.map(str::to_owned).collect()
}

/// One segment of a path, escaped.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

//! What travels with one resource request through the pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use engenho_catalog::{Catalog, Resource};
use engenho_crd::Version;
use http::{HeaderMap, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::Value;

use crate::audit::Audited;
use crate::authorizer::Identity;
use crate::behind;
use crate::body::{self, Body, ReadBodyError};
use crate::custom::{Custom, Served};
use crate::negotiate::Output;
use crate::request::RequestInfo;
use crate::respond;
use crate::server::Inner;
use crate::status::{BODY_BYTES_MAX, GroupResource, Status};
use crate::storage::{Freshness, Storage};

/// For how long the body of a request may take to arrive.
const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// One resource request.
pub(crate) struct Context {
    /// The server.
    pub server: Arc<Inner>,
    /// The catalog at the time of the request.
    pub catalog: Arc<Catalog>,
    /// What is served at the time of the request.
    pub served: Arc<Served>,
    /// What it is about.
    pub info: RequestInfo,
    /// Who sends it.
    pub identity: Identity,
    /// The store as only this request uses it, if it does so otherwise than others.
    pub bound: Option<Arc<Storage>>,
    /// The resource.
    pub resource: Arc<Resource>,
    /// Its headers.
    pub headers: HeaderMap,
    /// What the answer looks like.
    pub output: Output,
    /// The body, until it is read.
    pub body: Mutex<Option<Body>>,
    /// When the client is told that it took too long.
    pub deadline: tokio::time::Instant,
    /// Warnings for the answer.
    pub warnings: Mutex<Vec<String>>,
    /// What admission says of it, for the audit log.
    pub annotations: Mutex<BTreeMap<String, String>>,
    /// The audit of it, if it is audited.
    pub audited: Option<Arc<Audited>>,
    /// Set when the answer is from a replica that may be behind.
    pub stale: Mutex<Option<String>>,
    /// Set when another replica has to be asked.
    pub behind: AtomicBool,
}

impl Context {
    /// The definition and its version, if the resource is a custom one.
    pub fn custom_version(&self) -> Option<(&Custom, &Version)> {
        let custom = self.served.custom(&self.resource)?;
        Some((custom, custom.version()?))
    }

    /// How long the request may still take.
    pub fn time_left(&self) -> std::time::Duration {
        self.deadline.saturating_duration_since(tokio::time::Instant::now())
    }

    /// The store.
    pub fn storage(&self) -> &Storage {
        self.bound.as_deref().unwrap_or(&self.server.storage)
    }

    /// Kind of lists of the resource.
    pub fn list_kind(&self) -> String {
        match self.served.custom(&self.resource) {
            Some(custom) => custom.definition.accepted.list_kind.clone(),
            None => format!("{}List", self.resource.kind),
        }
    }

    /// Group and plural of the resource, for error texts.
    pub fn gr(&self) -> GroupResource<'_> {
        GroupResource {
            group: &self.resource.group,
            resource: &self.resource.plural,
        }
    }

    /// 404 of an object of this request's resource.
    pub fn not_found(&self, name: &str) -> Status {
        Status::not_found(self.gr(), name)
    }

    /// 422 of an object of this request's kind.
    pub fn invalid(&self, name: &str, errors: &[crate::status::FieldError]) -> Status {
        // Events are of the core group, whichever API they come through.
        let group = match &*self.resource.group {
            "events.k8s.io" => "",
            group => group,
        };
        Status::invalid(group, &self.resource.kind, name, errors)
    }

    /// 422 of an object: an instance of a custom resource may be of another kind than it has to be.
    pub fn invalid_object(&self, name: &str, object: &Value, errors: &[crate::status::FieldError]) -> Status {
        match object["kind"].as_str().filter(|_| self.resource.is_custom()) {
            Some(kind) => Status::invalid(&self.resource.group, kind, name, errors),
            None => self.invalid(name, errors),
        }
    }

    /// Key of an object in the request's namespace.
    pub fn key(&self, name: &str) -> String {
        self.resource.storage_key(&self.info.namespace, name)
    }

    /// Adds a warning to the answer.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock();
        // What is looked at again is warned of once.
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Notes something for the audit log. What is said first stays.
    pub fn annotate(&self, key: String, value: String) {
        if let Some(audited) = &self.audited {
            audited.annotate(&key, &value);
        }
        self.annotations.lock().entry(key).or_insert(value);
    }

    /// Notes the object in the request for the audit log.
    pub fn audit_object(&self, object: &Value) {
        if let Some(audited) = &self.audited {
            audited.object(object);
        }
    }

    /// Notes the patch in the request for the audit log.
    pub fn audit_patch(&self, patch: impl FnOnce() -> Option<Value>) {
        if let Some(audited) = &self.audited {
            audited.patch(patch);
        }
    }

    /// Takes and reads the body.
    pub async fn read_body(&self) -> Result<Bytes, Status> {
        let taken = self.body.lock().take();
        let Some(taken) = taken else { return Ok(Bytes::new()) };
        match tokio::time::timeout(BODY_TIMEOUT, body::read(taken, BODY_BYTES_MAX)).await {
            Ok(Ok(bytes)) => {
                let (resource, verb) = (&self.resource, &self.info.verb);
                self.server
                    .metrics
                    .body(&resource.group, &resource.plural, verb, bytes.len());
                Ok(bytes)
            }
            Ok(Err(ReadBodyError::TooLarge { .. })) => Err(Status::too_large()),
            Ok(Err(ReadBodyError::Broken(error))) => {
                Err(Status::bad_request(format!("unable to read the body: {error}")))
            }
            Err(_) => Err(Status::timeout("the body did not arrive in time")),
        }
    }

    /// Waits until everything committed before is visible here.
    pub async fn linearize(&self) -> Result<(), Status> {
        let linearized = self.storage().linearize().await;
        linearized.map_err(|error| self.storage().read_status(&error))
    }

    /// Waits for the freshness that a read at `revision` needs, and remembers to warn if it cannot be had.
    pub async fn prepare_read(&self, revision: Option<u64>) -> Result<(), Status> {
        match self.storage().prepare_read(revision).await? {
            Freshness::Fresh => {}
            Freshness::Stale(text) => *self.stale.lock() = Some(text),
            Freshness::Unconfirmed(text) if behind::takes_stale(&self.headers) => *self.stale.lock() = Some(text),
            Freshness::Unconfirmed(_) => {
                self.behind.store(true, Ordering::Relaxed);
                return Err(Status::unavailable(
                    "this replica could not catch up with the others in time",
                ));
            }
        }
        Ok(())
    }

    /// The answer with one object, in the negotiated shape.
    pub fn object(&self, code: StatusCode, object: &Value) -> Result<Response<Body>, Status> {
        let shaped = crate::table::shape_object(self, object)?;
        Ok(respond::value(code, shaped.as_ref().unwrap_or(object), &self.output))
    }

    /// The answer with a Scale, in the negotiated shape.
    pub fn scale(&self, code: StatusCode, scale: &Value) -> Result<Response<Body>, Status> {
        let shaped = crate::table::shape_scale(self, scale)?;
        Ok(respond::value(code, shaped.as_ref().unwrap_or(scale), &self.output))
    }

    /// The answer with an object that is not of this resource (a Status): never a table.
    pub fn plain(&self, code: StatusCode, object: &Value) -> Response<Body> {
        respond::value(code, object, &self.output)
    }

    /// The parts of it that a stream keeps after the request was answered.
    pub fn for_stream(&self) -> Self {
        Self {
            server: self.server.clone(),
            catalog: self.catalog.clone(),
            served: self.served.clone(),
            info: self.info.clone(),
            identity: self.identity.clone(),
            bound: self.bound.clone(),
            resource: self.resource.clone(),
            headers: HeaderMap::new(),
            output: self.output,
            body: Mutex::new(None),
            deadline: self.deadline,
            warnings: Mutex::default(),
            annotations: Mutex::default(),
            audited: self.audited.clone(),
            stale: Mutex::default(),
            behind: AtomicBool::default(),
        }
    }

    /// The same request as if it were about another resource.
    pub fn for_resource(&self, group: &str, version: &str, plural: &str) -> Option<Self> {
        let resource = self.catalog.resource(group, version, plural)?.clone();
        Some(Self {
            resource,
            ..self.for_stream()
        })
    }

    /// Warnings and the stale mark as headers.
    pub fn finish(&self, response: &mut Response<Body>) {
        respond::add_warnings(response.headers_mut(), &self.warnings.lock());
        if let Some(text) = &*self.stale.lock() {
            respond::add_warning(response.headers_mut(), "engenho", text);
        }
        if self.behind.load(Ordering::Relaxed) {
            behind::mark(response.headers_mut());
        }
    }
}

/// Reads JSON that this server wrote.
pub(crate) fn parse_stored(bytes: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(bytes).map_err(|e| Status::internal(format!("a stored object is unreadable: {e}")))
}

//! The Kubernetes API over HTTP: one pipeline, one file per verb.
//!
//! [`Door`] is the TLS listener of every member; [`ApiServer`] is the service that a member with a replica runs.
//! Between the two stands [`Router`]: requests go to the local service, over the mesh, or get a clear refusal.

mod admit;
mod aggregate;
pub mod audit;
mod authorize;
pub mod authorizer;
mod base64;
pub mod behind;
pub mod body;
pub mod bootstrap;
mod codec;
mod context;
mod convert;
mod custom;
mod documents;
pub mod door;
mod expiring;
mod fairness;
mod fields;
mod health;
pub mod heartbeat;
pub mod identity;
mod impersonate;
pub mod kinds;
mod leases;
mod metrics;
mod negotiate;
mod nonresource;
pub mod object;
mod observers;
mod options;
pub mod outbound;
mod pipeline;
mod query;
mod random;
pub mod repeat;
mod request;
mod respond;
mod reviews;
pub mod router;
mod scale;
pub mod seal;
mod selector;
pub mod server;
mod services;
pub mod status;
pub mod storage;
mod strategy;
mod subresource;
mod table;
mod times;
pub mod tokens;
mod turns;
mod unserved;
pub mod validate;
mod verbs;
mod watched;
mod write;

pub use aggregate::ProxyCertificate;
pub use audit::{AuditLog, FilesError, Rotation};
pub use authorizer::{
    Attributes, Authorizer, AuthorizerChain, ConfigurationFiles, Decision, Endpoint, Identity, StoreAuthorizer,
    Verdict, WebhookDeps,
};
pub use body::{Body, BoxError};
pub use bootstrap::bootstrap;
pub use door::{
    Anonymous, ClientRoots, Door, DoorDeps, DoorOptions, FrontProxy, PeerCertificate, RootsError, ServeOptions,
    serve_stream,
};
pub use engenho_audit::{Policy as AuditPolicy, chain as audit_chain};
pub use heartbeat::{Heartbeat, Heartbeats, NoHeartbeats};
pub use identity::{Peer, identity_from_headers, identity_to_headers};
pub use metrics::DoorMetrics;
pub use observers::Observers;
pub use repeat::Attempt;
pub use router::{RemoteApi, RemoteError, Router, Target};
pub use seal::{SealError, SealPolicy, Sealer};
pub use server::{ApiServer, Deps, Options, VersionInfo};
pub use status::Status;
pub use storage::Fence;
pub use tokens::{BearerToken, OidcTokens, TokenAuthenticator, TokenError, WebhookSettings, WebhookTokens};

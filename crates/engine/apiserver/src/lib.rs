//! The Kubernetes API over HTTP: one pipeline, one file per verb.
//!
//! [`Door`] is the TLS listener of every member; [`ApiServer`] is the service that a member with a replica runs.
//! Between the two stands [`Router`]: requests go to the local service, over the mesh, or get a clear refusal.

pub mod authorizer;
pub mod body;
pub mod door;
pub mod heartbeat;
pub mod identity;
pub mod router;
pub mod seal;
pub mod server;
pub mod status;

pub use authorizer::{Attributes, Authorizer, Decision, Identity, Verdict};
pub use body::{Body, BoxError};
pub use door::{
    ClientRoots, Door, DoorDeps, DoorOptions, PeerCertificate, RootsError, ServeOptions, TokenAuthenticator,
    TokenError, serve_stream,
};
pub use heartbeat::{Heartbeat, Heartbeats, NoHeartbeats};
pub use identity::{identity_from_headers, identity_to_headers};
pub use router::{RemoteApi, RemoteError, Router, Target};
pub use seal::{SealError, SealPolicy, Sealer};
pub use server::{ApiServer, Deps, Options, VersionInfo};
pub use status::Status;

//! Requests that the server sends: to webhooks, aggregated API servers, whatever stands behind a Service or a URL.
//!
//! [`Outbound`] is all that touches sockets; where there is none (the simulation), nothing is called. [`Https`] is the
//! real one. [`services`] finds out from stored objects where a Service is reached.

mod error;
pub(crate) mod hooks;
mod https;
pub mod services;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

pub use error::OutboundError;
pub use https::Https;

use crate::body::{self, Body, ReadBodyError};

/// Where the trust in a server comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Roots {
    /// Certificates, PEM.
    Bundle(Bytes),
    /// What the machine trusts.
    System,
    /// Any certificate will do.
    Unverified,
}

/// A client certificate and its key, PEM.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The chain, leaf first.
    pub chain_pem: Bytes,
    /// The key.
    pub key_pem: Bytes,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// How a connection is secured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Who vouches for the server.
    pub roots: Roots,
    /// The name or address that its certificate has to be for.
    pub server_name: String,
    /// What we show.
    pub client: Option<ClientCertificate>,
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// A DNS name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `None` speaks plain text.
    pub tls: Option<Arc<Tls>>,
}

/// A way out of this process.
#[async_trait]
pub trait Outbound: Send + Sync {
    /// Sends a request and gives the answer as soon as its head is there. The URI is a path with its query; a `Host` header
    /// is set unless there is one. Connections are kept and used again. An answer of 101 can be upgraded by
    /// `hyper::upgrade`. Apart from establishing the connection there is no deadline: the caller has one.
    async fn send(&self, to: &Destination, request: Request<Body>) -> Result<Response<Body>, OutboundError>;
}

/// A request with an answer that is read whole.
#[derive(Debug)]
pub struct Call<'a> {
    /// To whom.
    pub to: &'a Destination,
    /// What.
    pub request: Request<Bytes>,
    /// How long all of it may take.
    pub timeout: Duration,
    /// How long the body of the answer may be.
    pub answer_bytes_max: usize,
}

/// Sends a request and reads the answer.
pub async fn call(outbound: &dyn Outbound, call: Call<'_>) -> Result<Response<Bytes>, OutboundError> {
    let whole = async {
        let request = || call.request.clone().map(body::full);
        let answered = match outbound.send(call.to, request()).await {
            // A connection that was kept may end just when it is used again.
            Err(OutboundError::Closed) => outbound.send(call.to, request()).await,
            answered => answered,
        };
        let (head, answer) = answered?.into_parts();
        match body::read(answer, call.answer_bytes_max).await {
            Ok(bytes) => Ok(Response::from_parts(head, bytes)),
            Err(ReadBodyError::TooLarge { bytes_max }) => Err(OutboundError::TooLarge { bytes_max }),
            Err(ReadBodyError::Broken(error)) => Err(OutboundError::Broken {
                reason: error.to_string(),
            }),
        }
    };
    tokio::time::timeout(call.timeout, whole)
        .await
        .unwrap_or(Err(OutboundError::Deadline))
}

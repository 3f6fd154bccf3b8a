//! Why a controller could not do what it had to.

use engenho_apiserver::Status;
use engenho_authz::AggregateError;
use engenho_store::{StoreError, WriteError};
use revoada_core::consensus::ReadError;

/// Why a pass of a controller failed. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The API refused a request.
    #[error("{method} {path} was refused with {code} {reason}: {message}")]
    Refused {
        /// HTTP method.
        method: &'static str,
        /// Path of the request.
        path: String,
        /// HTTP status code.
        code: u16,
        /// `reason` of the Status.
        reason: String,
        /// `message` of the Status.
        message: String,
        /// `reason` of each cause in the Status.
        causes: Vec<String>,
    },
    /// The API didn't answer in time.
    #[error("{method} {path} was not answered within {waited_ms} ms")]
    Timeout {
        /// HTTP method.
        method: &'static str,
        /// Path of the request.
        path: String,
        /// How long was waited.
        waited_ms: u64,
    },
    /// A request or its answer is not what the protocol says.
    #[error("{method} {path} went wrong: {reason}")]
    Protocol {
        /// HTTP method.
        method: &'static str,
        /// Path of the request.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A token could not be made.
    #[error("a token of a service account could not be made: {source}")]
    Token {
        /// Why not.
        source: engenho_authn::KeysError,
    },
    /// Work on stored objects failed.
    #[error("{what} failed: {source}")]
    Storage {
        /// What was being done.
        what: &'static str,
        /// What the storage says.
        #[source]
        source: Status,
    },
    /// A stored object is no JSON.
    #[error("the stored object {key} is unreadable: {source}")]
    Unreadable {
        /// Its key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// This replica can't be brought up to date.
    #[error(transparent)]
    Behind(#[from] ReadError),
    /// The store refused a write.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store can't be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// Cluster roles can't be aggregated.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// Several objects could not be dealt with.
    #[error("{failed} of {of} {what} failed, the first: {first}")]
    Several {
        /// What they are.
        what: &'static str,
        /// How many failed.
        failed: usize,
        /// Of how many.
        of: usize,
        /// The first failure.
        #[source]
        first: Box<ControlError>,
    },
}

impl ControlError {
    /// Whether somebody else was faster: a new look helps at once.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Refused { code, .. } => *code == 409,
            Self::Several { first, .. } => first.is_conflict(),
            _ => false,
        }
    }

    /// Whether the controller may not do that.
    pub fn is_forbidden(&self) -> bool {
        match self {
            Self::Refused { code, .. } => *code == 403,
            Self::Several { first, .. } => first.is_forbidden(),
            _ => false,
        }
    }

    /// Whether the object isn't there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Whether nothing can be created in the Namespace, because it isn't there or won't be for long.
    pub fn is_namespace_ending(&self) -> bool {
        match self {
            Self::Refused { code, causes, .. } => *code == 404 || causes.iter().any(|c| c == "NamespaceTerminating"),
            _ => false,
        }
    }

    /// One error for those of several objects, `None` if there are none.
    pub(crate) fn of_several(what: &'static str, of: usize, errors: Vec<ControlError>) -> Option<Self> {
        let failed = errors.len();
        let first = Box::new(errors.into_iter().next()?);
        Some(Self::Several {
            what,
            failed,
            of,
            first,
        })
    }
}

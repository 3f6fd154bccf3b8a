//! Audit of API requests as the API server of Kubernetes 1.34 does it: which requests are audited and how much of them
//! ([`Policy`]), what an event says ([`Event`]), and how the lines of a log are linked ([`chain`]).

pub mod chain;
mod event;
mod policy;

pub use event::{Event, ObjectReference, ResponseStatus, UserInfo, without_managed_fields};
pub use policy::{AuditConfig, Level, Policy, PolicyError, Stage};

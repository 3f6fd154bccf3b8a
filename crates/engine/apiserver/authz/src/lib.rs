//! RBAC evaluation and authentication of API requests.

pub mod attributes;

pub use attributes::{Attributes, Decision, Identity, Verdict};

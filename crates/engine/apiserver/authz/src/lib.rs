//! RBAC evaluation and authentication of API requests.
//!
//! Pure code: decisions are made from a compiled [`Policy`] and plain data. Nothing here reads a clock, a file
//! or a socket.
//!
//! - [`Policy`]: roles and bindings, compiled; [`Policy::authorize`] answers a request.
//! - [`privilege`]: who may write roles and bindings without gaining rights.
//! - [`aggregate`]: the rules of aggregated cluster roles.
//! - [`authn`]: who a certificate, a token or a service account is.

pub mod aggregate;
pub mod attributes;
pub mod authn;
mod node;
mod objects;
mod policy;
pub mod privilege;
mod quote;
mod review;
mod rule;
mod symbols;

pub use aggregate::{AggregateError, Aggregated, aggregate};
pub use attributes::{Attributes, Decision, Identity, Verdict};
pub use authn::{CertificateError, TokenFileError, TokenTable, identity_from_certificate, service_account_identity};
pub use policy::{Policy, SkippedObject};
pub use privilege::{EscalationError, RbacWrite, rbac_escalation_allowed};
pub use review::{NonResourceRule, ResourceRule, RuleReview};
pub use rule::PolicyRule;

/// The group that may do everything.
pub const GROUP_MASTERS: &str = "system:masters";
/// The API group of roles and bindings.
pub const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

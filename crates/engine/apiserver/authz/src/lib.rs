//! RBAC evaluation and authentication of API requests.
//!
//! Pure code: decisions are made from a compiled [`Policy`] and plain data. Nothing here reads a clock, a file
//! or a socket.
//!
//! - [`Policy`]: roles and bindings, compiled; [`Policy::authorize`] answers a request.
//! - [`authorize_node`]: what kubelets may do; [`NodeGraph`]: what leads to which node.
//! - [`structured`]: which authorizers decide, in which order.
//! - [`union`]: what several authorizers say together.
//! - [`privilege`]: who may write roles and bindings without gaining rights.
//! - [`reconcile`]: what becomes of the roles that every cluster begins with.
//! - [`aggregate`]: the rules of aggregated cluster roles.
//! - [`authn`]: who a certificate, a token or a service account is.

pub mod aggregate;
pub mod attributes;
pub mod authn;
pub mod graph;
mod node;
mod objects;
mod policy;
pub mod privilege;
mod quote;
pub mod reconcile;
mod review;
mod rule;
pub mod structured;
mod symbols;
pub mod union;

pub use aggregate::{AggregateError, Aggregated, aggregate};
pub use attributes::{Attributes, Decision, Identity, Verdict};
pub use authn::{CertificateError, TokenFileError, TokenTable, identity_from_certificate, service_account_identity};
pub use graph::NodeGraph;
pub use node::{NODE_RULES_UNKNOWN, authorize_node, node_name};
pub use policy::{Policy, SkippedObject};
pub use privilege::{EscalationError, RbacWrite, rbac_escalation_allowed, rbac_escalation_question};
pub use review::{NonResourceRule, ResourceRule, RuleReview};
pub use rule::PolicyRule;
pub use union::Union;

/// The group that may do everything.
pub const GROUP_MASTERS: &str = "system:masters";
/// The API group of roles and bindings.
pub const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

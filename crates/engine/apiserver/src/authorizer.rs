//! The authoriser as the pipeline sees it, and the one that a replica has: a chain of authorizers over its store.

mod chain;
pub(crate) mod endpoint;
mod figures;
mod nodes;
mod review;
mod store;
mod webhook;

use async_trait::async_trait;
pub use chain::{AuthorizerChain, ConfigurationFiles};
pub use endpoint::Endpoint;
pub use engenho_authz::{Attributes, Decision, EscalationError, Identity, RbacWrite, RuleReview, Verdict};
pub(crate) use review::{read_attributes, spec};
pub use store::StoreAuthorizer;
pub use webhook::WebhookDeps;

/// Decides whether a request may go on.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// The decision about one request, if nobody else has to be asked for it.
    fn decide(&self, attributes: &Attributes) -> Option<Decision>;

    /// The decision about one request. Bounded in time.
    async fn authorize(&self, attributes: &Attributes) -> Decision;

    /// What `identity` may do in `namespace`.
    fn rules(&self, identity: &Identity, namespace: &str) -> RuleReview;

    /// Whether a role or binding may be written without its writer gaining rights.
    async fn check_escalation(&self, write: &RbacWrite<'_>) -> Result<(), EscalationError>;

    /// Adds its metrics, in Prometheus' text format.
    fn metrics(&self, _out: &mut String) {}
}

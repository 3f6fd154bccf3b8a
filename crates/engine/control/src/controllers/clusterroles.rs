//! Rules of aggregated cluster roles, as upstream's clusterrole-aggregation-controller keeps them.
//!
//! What the rules should be is decided by [`engenho_authz::aggregate`].

use engenho_authz::aggregate;
use engenho_store::KeyRange;

use crate::client::{Client, segment};
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

const PREFIX: &str = "/registry/rbac.authorization.k8s.io/clusterroles/";
const PATH: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// Fills aggregated cluster roles.
pub(crate) struct ClusterRoles {
    client: Client,
}

impl ClusterRoles {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            client: Client::service_account(deps.api.clone(), deps.term, Self::NAME),
        }
    }
}

impl Controller for ClusterRoles {
    const NAME: &'static str = "clusterrole-aggregation-controller";

    fn ranges(&self) -> Vec<KeyRange> {
        vec![KeyRange::prefix(PREFIX)]
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        let roles = self.client.stored(PREFIX)?;
        let changes = aggregate(&roles)?;
        let (of, mut errors) = (changes.len(), Vec::new());
        for change in changes {
            let Some(role) = roles
                .iter()
                .find(|role| role["metadata"]["name"] == change.name.as_str())
            else {
                continue;
            };
            let mut role = role.clone();
            role["rules"] = change.rules_value();
            let path = format!("{PATH}/{}", segment(&change.name));
            match self.client.replace(&path, &role).await {
                Ok(_) => tracing::debug!(role = change.name, "aggregated"),
                Err(error) if error.is_not_found() => {}
                Err(error) => errors.push(error),
            }
        }
        match ControlError::of_several("aggregated cluster roles", of, errors) {
            Some(error) => Err(error),
            None => Ok(Next::OnChange),
        }
    }
}

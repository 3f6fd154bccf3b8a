//! Every Namespace has the ServiceAccount `default`, as upstream's serviceaccount-controller has it.

use engenho_store::KeyRange;
use serde_json::json;

use super::active;
use crate::client::{Client, segment};
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

const PREFIX: &str = "/registry/core/serviceaccounts/";
/// The account of Pods that name no other.
const DEFAULT: &str = "default";

/// Creates the ServiceAccounts that are missing.
pub(crate) struct ServiceAccounts {
    client: Client,
}

impl ServiceAccounts {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            client: Client::service_account(deps.api.clone(), deps.term, Self::NAME),
        }
    }
}

impl Controller for ServiceAccounts {
    const NAME: &'static str = "service-account-controller";

    fn ranges(&self) -> Vec<KeyRange> {
        vec![KeyRange::prefix(active::PREFIX), KeyRange::prefix(PREFIX)]
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        let mut lacking = active::active(&self.client)?;
        lacking.retain(|namespace| {
            let key = format!("{PREFIX}{namespace}/{DEFAULT}");
            self.client.revision_of(&key).is_none()
        });
        let (of, mut errors) = (lacking.len(), Vec::new());
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT}});
        for namespace in lacking {
            let path = format!("/api/v1/namespaces/{}/serviceaccounts", segment(&namespace));
            match self.client.create(&path, &account).await {
                Ok(_) => tracing::debug!(namespace, "has its default ServiceAccount"),
                // Somebody was faster, or it is too late: this replica will hear of it.
                Err(error) if error.is_conflict() || error.is_namespace_ending() => {}
                Err(error) => errors.push(error),
            }
        }
        match ControlError::of_several("default ServiceAccounts", of, errors) {
            Some(error) => Err(error),
            None => Ok(Next::OnChange),
        }
    }
}

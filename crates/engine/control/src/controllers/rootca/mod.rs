//! Every Namespace has the certificates that its Pods verify the API with, as upstream's rootcacertpublisher has it.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use engenho_store::KeyRange;

use self::plan::Write;
use super::active;
use crate::client::{Client, segment};
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

const PREFIX: &str = "/registry/core/configmaps/";

/// Keeps the ConfigMap `kube-root-ca.crt` of each Namespace.
pub(crate) struct RootCa {
    client: Client,
    root_ca_pem: Arc<str>,
    /// Revision at which the ConfigMap of a Namespace was found right: ConfigMaps change often, and these hardly ever.
    right: BTreeMap<String, u64>,
}

impl RootCa {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            client: Client::service_account(deps.api.clone(), deps.term, Self::NAME),
            root_ca_pem: deps.root_ca_pem.clone(),
            right: BTreeMap::new(),
        }
    }

    /// Brings the ConfigMap of one Namespace in line, and gives the revision at which it is right if it was so already.
    async fn settle(&self, namespace: &str, before: Option<u64>) -> Result<Option<u64>, ControlError> {
        let key = format!("{PREFIX}{namespace}/{}", plan::NAME);
        if before.is_some() && self.client.revision_of(&key) == before {
            return Ok(before);
        }
        let (revision, existing) = self.client.stored_at(key.as_bytes())?.unzip();
        let path = format!("/api/v1/namespaces/{}/configmaps", segment(namespace));
        let written = match plan::next_write(existing.as_ref(), &self.root_ca_pem) {
            None => return Ok(revision),
            Some(Write::Create(map)) => self.client.create(&path, &map).await,
            Some(Write::Replace(map)) => self.client.replace(&format!("{path}/{}", plan::NAME), &map).await,
        };
        match written {
            Ok(_) => tracing::debug!(namespace, "has the certificates of the API"),
            // Somebody was faster, or it is too late: this replica will hear of it.
            Err(error) if error.is_conflict() || error.is_namespace_ending() => {}
            Err(error) => return Err(error),
        }
        Ok(None)
    }
}

impl Controller for RootCa {
    const NAME: &'static str = "root-ca-cert-publisher";

    fn ranges(&self) -> Vec<KeyRange> {
        vec![KeyRange::prefix(active::PREFIX), KeyRange::prefix(PREFIX)]
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        let namespaces = active::active(&self.client)?;
        let before = std::mem::take(&mut self.right);
        let (of, mut errors) = (namespaces.len(), Vec::new());
        for namespace in namespaces {
            match self.settle(&namespace, before.get(&namespace).copied()).await {
                Ok(Some(revision)) => {
                    self.right.insert(namespace, revision);
                }
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        match ControlError::of_several("ConfigMaps with the certificates of the API", of, errors) {
            Some(error) => Err(error),
            None => Ok(Next::OnChange),
        }
    }
}

//! The objects that every cluster begins with, once a term.

use engenho_apiserver::{ApiServer, bootstrap};

use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

/// Creates what is missing of namespaces, roles, priority classes and so on.
pub(crate) struct Bootstrap {
    api: ApiServer,
    term: u64,
}

impl Bootstrap {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            api: deps.api.clone(),
            term: deps.term,
        }
    }
}

impl Controller for Bootstrap {
    const NAME: &'static str = "bootstrap";

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        let created = Box::pin(bootstrap(&self.api, Some(self.term))).await;
        let created = created.map_err(|source| ControlError::Storage {
            what: "creating the objects that a cluster begins with",
            source,
        })?;
        if created > 0 {
            tracing::info!(created, "created what a cluster begins with");
        }
        Ok(Next::Done)
    }
}

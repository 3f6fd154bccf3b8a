//! A Namespace that is being deleted is emptied, then released.

mod content;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use engenho_store::KeyRange;
use revoada_core::env::Clock;
use serde_json::Value;

use crate::client::{Client, segment};
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

const PREFIX: &str = "/registry/core/namespaces/";
const PATH: &str = "/api/v1/namespaces";
/// What remains is watched; beside that it is looked at this often.
const REMAINING: Duration = Duration::from_secs(15);
/// Most ranges that are watched for what remains.
const RANGES_MAX: usize = 64;

/// Empties and releases Namespaces.
pub(crate) struct Namespaces {
    client: Client,
    clock: Arc<dyn Clock>,
    /// Where content remained at the last pass.
    remaining: Vec<KeyRange>,
}

impl Namespaces {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            client: Client::service_account(deps.api.clone(), deps.term, Self::NAME),
            clock: deps.clock.clone(),
            remaining: Vec::new(),
        }
    }

    /// Deletes what is in a Namespace; releases it if nothing is left. Says whether something is.
    async fn finish(&mut self, namespace: &Value) -> Result<bool, ControlError> {
        let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
        let content = content::delete(&self.client, name).await?;
        if content.remains.is_empty() && content.errors.is_empty() {
            let path = format!("{PATH}/{}/finalize", segment(name));
            return match self.client.replace(&path, &plan::released(namespace)).await {
                Err(error) if !error.is_not_found() => Err(error),
                _ => {
                    tracing::debug!(namespace = name, "emptied and released");
                    Ok(false)
                }
            };
        }
        let failures: Vec<String> = content.errors.iter().map(ToString::to_string).collect();
        if let Some(told) = plan::with_conditions(namespace, &content.remains, &failures, self.clock.unix_ms()) {
            let path = format!("{PATH}/{}/status", segment(name));
            match self.client.replace(&path, &told).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        let room = RANGES_MAX.saturating_sub(self.remaining.len());
        self.remaining.extend(content.ranges.into_iter().take(room));
        match ControlError::of_several("deletions in a namespace", content.deletions, content.errors) {
            Some(error) => Err(error),
            None => Ok(true),
        }
    }
}

impl Controller for Namespaces {
    const NAME: &'static str = "namespace-controller";

    fn ranges(&self) -> Vec<KeyRange> {
        let mut ranges = vec![KeyRange::prefix(PREFIX)];
        ranges.extend(self.remaining.iter().cloned());
        ranges
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        self.remaining.clear();
        let mut namespaces = self.client.stored(PREFIX)?;
        namespaces.retain(plan::is_to_empty);
        let (of, mut waiting, mut errors) = (namespaces.len(), false, Vec::new());
        for namespace in &namespaces {
            match self.finish(namespace).await {
                Ok(remains) => waiting |= remains,
                Err(error) => errors.push(error),
            }
        }
        match ControlError::of_several("terminating namespaces", of, errors) {
            Some(error) => Err(error),
            None if waiting => Ok(Next::After(REMAINING)),
            None => Ok(Next::OnChange),
        }
    }
}

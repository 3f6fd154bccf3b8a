//! Every member but a witness is a Node.

mod metadata;
mod plan;
mod status;
mod taints;

use std::sync::Arc;

use engenho_store::KeyRange;
use revoada_core::env::Clock;
use serde_json::Value;
use tokio::sync::watch;

use self::plan::Write;
use crate::client::{Client, segment};
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::facts::{Members, NodeFacts};
use crate::frame::ControlDeps;

const PREFIX: &str = "/registry/core/nodes/";
const PATH: &str = "/api/v1/nodes";
/// Field manager of what is written to Nodes.
const MANAGER: &str = "engenho";
/// Status and the rest are written apart: two writes bring a Node in line, a third would be one too many.
const WRITES_MAX: usize = 3;

/// Keeps Node objects in line with the members.
pub(crate) struct Nodes {
    client: Client,
    members: Arc<dyn Members>,
    clock: Arc<dyn Clock>,
}

impl Nodes {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            client: Client::control(deps.api.clone(), deps.term, MANAGER),
            members: deps.members.clone(),
            clock: deps.clock.clone(),
        }
    }

    /// Brings one Node in line with its member.
    async fn settle(&self, facts: &NodeFacts, existing: Option<&Value>) -> Result<(), ControlError> {
        let mut current = existing.cloned();
        for _ in 0..WRITES_MAX {
            let write = plan::next_write(current.as_ref(), facts, self.clock.unix_ms());
            let path = format!("{PATH}/{}", segment(&facts.name));
            current = Some(match write {
                None => return Ok(()),
                Some(Write::Create(node)) => {
                    tracing::info!(node = facts.name, role = %facts.role, "a node appears");
                    self.client.create(PATH, &node).await?
                }
                Some(Write::Replace(node)) => self.client.replace(&path, &node).await?,
                Some(Write::Status(node)) => {
                    if plan::is_ready(&node) != current.as_ref().is_some_and(plan::is_ready) {
                        tracing::info!(node = facts.name, ready = facts.is_alive, "a node changes");
                    }
                    self.client.replace(&format!("{path}/status"), &node).await?
                }
            });
        }
        tracing::debug!(node = facts.name, "a node is not as it was written");
        Ok(())
    }
}

impl Controller for Nodes {
    const NAME: &'static str = "nodes";

    fn ranges(&self) -> Vec<KeyRange> {
        vec![KeyRange::prefix(PREFIX)]
    }

    fn signal(&self) -> Option<watch::Receiver<u64>> {
        Some(self.members.watch())
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        let members = self.members.nodes();
        let existing = self.client.stored(PREFIX)?;
        let (wanted, doubles) = plan::wanted(&members);
        for double in doubles {
            tracing::warn!(node = double.name, member = %double.member_id, "another member has this name already");
        }
        let (of, mut errors) = (wanted.len(), Vec::new());
        // Deaths first: they are what others wait for.
        for is_alive in [false, true] {
            for facts in wanted.iter().filter(|facts| facts.is_alive == is_alive) {
                let node = existing.iter().find(|node| plan::name(node) == facts.name);
                if let Err(error) = self.settle(facts, node).await {
                    errors.push(error);
                }
            }
        }
        for node in plan::departed(&existing, &members) {
            let (name, uid) = (plan::name(node), node["metadata"]["uid"].as_str().unwrap_or_default());
            tracing::info!(node = name, "a node's member is gone");
            if let Err(error) = self.client.delete(&format!("{PATH}/{}", segment(name)), uid).await {
                errors.push(error);
            }
        }
        match ControlError::of_several("nodes", of, errors) {
            Some(error) => Err(error),
            None => Ok(Next::OnChange),
        }
    }
}

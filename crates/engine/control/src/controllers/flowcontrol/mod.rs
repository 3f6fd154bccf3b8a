//! Flow schemas and priority levels: the condition `Dangling`, and the objects that every cluster has.
//!
//! Upstream's config consumer writes the condition, and its config producer looks after the objects once a minute. What
//! they should be is decided by [`plan`].

mod plan;

use std::sync::Arc;
use std::time::Duration;

use engenho_flowcontrol::dangling;
use engenho_store::KeyRange;
use revoada_core::env::Clock;
use serde_json::{Value, json};

use crate::client::{Client, segment};
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;
use crate::times;

const PREFIX: &str = "/registry/flowcontrol.apiserver.k8s.io/";
const PATH: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
/// At least so much time lies between two looks at the objects that every cluster has: whoever changes one sees its
/// change for a while, as upstream.
const ENSURE_EVERY_MS: u64 = 60_000;

/// Keeps flow schemas and priority levels.
pub(crate) struct FlowControl {
    consumer: Client,
    producer: Client,
    clock: Arc<dyn Clock>,
    /// When they were looked after last. What is missing at first is made by the bootstrap.
    ensured_ms: u64,
}

impl FlowControl {
    pub fn new(deps: &ControlDeps) -> Self {
        let client = |agent| Client::control(deps.api.clone(), deps.term, agent);
        Self {
            consumer: client("api-priority-and-fairness-config-consumer-v1"),
            producer: client("api-priority-and-fairness-config-producer-v1"),
            clock: deps.clock.clone(),
            ensured_ms: deps.clock.unix_ms(),
        }
    }

    async fn tell(&self, schema: &Value, condition: Value) -> Result<(), ControlError> {
        let name = schema["metadata"]["name"].as_str().unwrap_or_default();
        let mut told = schema.clone();
        plan::put_condition(&mut told, condition);
        let path = format!("{PATH}/flowschemas/{}/status", segment(name));
        match self.consumer.replace(&path, &told).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    async fn ensure(&self, change: &plan::Change) -> Result<(), ControlError> {
        let done = match change {
            plan::Change::Create { plural, object } => self.producer.create(&format!("{PATH}/{plural}"), object).await,
            plan::Change::Replace { plural, name, object } => {
                let path = format!("{PATH}/{plural}/{}", segment(name));
                self.producer.replace(&path, object).await
            }
        };
        match done {
            Ok(_) => Ok(()),
            // Somebody else was faster: the next look sees what came of it.
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Controller for FlowControl {
    const NAME: &'static str = "priority-and-fairness-config";

    fn ranges(&self) -> Vec<KeyRange> {
        vec![KeyRange::prefix(PREFIX)]
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        let schemas = self.consumer.stored(&format!("{PREFIX}flowschemas/"))?;
        let levels = self.consumer.stored(&format!("{PREFIX}prioritylevelconfigurations/"))?;
        let now_ms = self.clock.unix_ms();
        let now = times::text(now_ms);
        let (mut of, mut errors) = (0, Vec::new());
        for schema in &schemas {
            let wanted = &schema["spec"]["priorityLevelConfiguration"]["name"];
            let exists = levels.iter().any(|level| level["metadata"]["name"] == *wanted);
            if let Some(condition) = dangling(schema, exists, &now) {
                of += 1;
                errors.extend(self.tell(schema, condition).await.err());
            }
        }
        let changes = plan::ensure(&json!({ plan::SCHEMAS: schemas, plan::LEVELS: levels }));
        let mut next = Next::OnChange;
        if !changes.is_empty() {
            let due_ms = self.ensured_ms.saturating_add(ENSURE_EVERY_MS);
            if now_ms >= due_ms {
                self.ensured_ms = now_ms;
                of += changes.len();
                for change in &changes {
                    errors.extend(self.ensure(change).await.err());
                }
            } else {
                next = Next::After(Duration::from_millis(due_ms - now_ms));
            }
        }
        match ControlError::of_several("objects of priority and fairness", of, errors) {
            Some(error) => Err(error),
            None => Ok(next),
        }
    }
}

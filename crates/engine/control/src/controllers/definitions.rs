//! CustomResourceDefinitions: their names are accepted, they are established, and they go when their instances are gone.
//!
//! What their status should be is decided by [`engenho_crd::conditions`].

use std::sync::Arc;
use std::time::Duration;

use engenho_crd::conditions::{self, Claimed, Deletion};
use engenho_crd::{CLEANUP_FINALIZER, Definition};
use engenho_store::KeyRange;
use revoada_core::env::Clock;
use serde_json::Value;

use crate::client::{Client, segment};
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;
use crate::times;

const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// How often instances that remain are looked at, beside being watched.
const REMAINING: Duration = Duration::from_secs(5);

/// Settles definitions, and empties those that are deleted.
pub(crate) struct Definitions {
    client: Client,
    clock: Arc<dyn Clock>,
    /// Where instances remained at the last pass.
    remaining: Vec<KeyRange>,
}

impl Definitions {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            client: Client::control(deps.api.clone(), deps.term, Self::NAME),
            clock: deps.clock.clone(),
            remaining: Vec::new(),
        }
    }

    async fn put_status(&self, crd: &Value) -> Result<Option<Value>, ControlError> {
        let path = format!("{PATH}/{}/status", segment(name(crd)));
        match self.client.replace(&path, crd).await {
            Ok(stored) => Ok(Some(stored)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the instances of a definition; lets it go when none is left. Says whether some are.
    async fn finish(&mut self, crd: &Value) -> Result<bool, ControlError> {
        let now = times::text(self.clock.unix_ms());
        let mut deletion = Deletion::NeverEstablished;
        if conditions::overlaps_built_in(crd) {
            deletion = Deletion::Overlapping;
        } else if conditions::is_true(crd, "Established")
            && let Ok(definition) = Definition::compile(crd)
        {
            let prefix = format!("/registry/{}/{}/", definition.group, definition.accepted.plural);
            let instances = self.client.stored(&prefix)?;
            for instance in &instances {
                self.client
                    .delete(&path_of(&definition, instance), text(instance, "uid"))
                    .await?;
            }
            deletion = Deletion::Completed;
            if !instances.is_empty() && !self.client.stored(&prefix)?.is_empty() {
                self.remaining.push(KeyRange::prefix(prefix));
                deletion = Deletion::InProgress;
            }
        }
        let told = conditions::finalize(crd, &deletion, &now);
        let mut current = Some(crd.clone());
        if told["status"] != crd["status"] {
            current = self.put_status(&told).await?;
        }
        if !deletion.is_over() {
            return Ok(true);
        }
        if let Some(mut current) = current {
            if let Some(list) = current["metadata"]["finalizers"].as_array_mut() {
                list.retain(|finalizer| finalizer != CLEANUP_FINALIZER);
            }
            let path = format!("{PATH}/{}", segment(name(crd)));
            match self.client.replace(&path, &current).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => tracing::debug!(definition = name(crd), "emptied and released"),
            }
        }
        Ok(false)
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

fn name(object: &Value) -> &str {
    text(object, "name")
}

/// Path of an instance, in a version in which it can be deleted.
fn path_of(definition: &Definition, instance: &Value) -> String {
    let version = definition.deleted_in().map_or("", |version| version.name.as_str());
    let (group, plural) = (&definition.group, &definition.accepted.plural);
    let within = match definition.namespaced {
        true => format!("namespaces/{}/", segment(text(instance, "namespace"))),
        false => String::new(),
    };
    format!("/apis/{group}/{version}/{within}{plural}/{}", segment(name(instance)))
}

impl Controller for Definitions {
    const NAME: &'static str = "customresourcedefinition-controller";

    fn ranges(&self) -> Vec<KeyRange> {
        let own = std::iter::once(KeyRange::prefix(PREFIX));
        own.chain(self.remaining.iter().cloned()).collect()
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        self.remaining.clear();
        let mut crds = self.client.stored(PREFIX)?;
        let (of, mut errors, mut remain) = (crds.len(), Vec::new(), false);
        for at in 0..crds.len() {
            let crd = crds[at].clone();
            let claimed = Claimed::of(crd["spec"]["group"].as_str().unwrap_or_default(), &crds);
            let now = times::text(self.clock.unix_ms());
            let settled = conditions::settle(&crd, &claimed, &now);
            let current = match settled {
                None => Ok(Some(crd)),
                Some(settled) => self.put_status(&settled).await,
            };
            match current {
                Ok(Some(current)) => {
                    if conditions::wants_cleanup(&current) {
                        match self.finish(&current).await {
                            Ok(some) => remain |= some,
                            Err(error) => errors.push(error),
                        }
                    }
                    crds[at] = current;
                }
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        match ControlError::of_several("definitions of custom resources", of, errors) {
            Some(error) => Err(error),
            None if remain => Ok(Next::After(REMAINING)),
            None => Ok(Next::OnChange),
        }
    }
}

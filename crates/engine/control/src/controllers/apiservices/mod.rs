//! APIServices: one for each served version of custom resources, and for all of them whether they are available.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use engenho_store::KeyRange;
use revoada_core::env::Clock;
use serde_json::Value;

use self::plan::{Verdict, Write};
use crate::client::{Client, segment};
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;
use crate::times;

const PREFIX: &str = "/registry/apiregistration.k8s.io/apiservices/";
const PATH: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const DEFINITIONS: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// How often servers elsewhere are asked whether they live.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// How soon one that does not answer is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Registers APIs and keeps their condition `Available`.
pub(crate) struct ApiServices {
    client: Client,
    clock: Arc<dyn Clock>,
    /// What the condition of those served elsewhere hangs on.
    followed: Vec<KeyRange>,
}

impl ApiServices {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            client: Client::control(deps.api.clone(), deps.term, "kube-apiserver"),
            clock: deps.clock.clone(),
            followed: Vec::new(),
        }
    }

    async fn register(&self, services: &[Value]) -> Result<(), ControlError> {
        let definitions = self.client.stored(DEFINITIONS)?;
        for write in plan::registrations(&definitions, services) {
            let written = match write {
                Write::Create(object) => self.client.create(PATH, &object).await.map(drop),
                Write::Replace(object) => {
                    let path = format!("{PATH}/{}", segment(name(&object)));
                    self.client.replace(&path, &object).await.map(drop)
                }
                Write::Delete { name, uid } => self.client.delete(&format!("{PATH}/{}", segment(&name)), &uid).await,
            };
            match written {
                // Somebody was faster: this replica will hear of it.
                Err(error) if !error.is_conflict() && !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    async fn judge(&mut self, api_service: &Value) -> Result<Verdict, ControlError> {
        let reference = &api_service["spec"]["service"];
        if !reference.is_object() {
            return Ok(Verdict::local());
        }
        let field = |key: &str| reference[key].as_str().unwrap_or_default();
        let (namespace, service) = (field("namespace"), field("name"));
        let key = format!("/registry/core/services/{namespace}/{service}");
        let slices_prefix = format!("/registry/discovery.k8s.io/endpointslices/{namespace}/");
        let found = self.client.stored_at(key.as_bytes())?.map(|(_, service)| service);
        let slices = self.client.stored(&slices_prefix)?;
        self.followed.push(KeyRange::key(key));
        self.followed.push(KeyRange::prefix(slices_prefix));
        let slices = slices
            .iter()
            .filter(|slice| slice["metadata"]["labels"][SERVICE_NAME] == service);
        let slices: Vec<&Value> = slices.collect();
        if let Some(verdict) = plan::unreachable(api_service, found.as_ref(), &slices) {
            return Ok(verdict);
        }
        Ok(Verdict::asked(self.client.api().probe(api_service).await))
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

impl Controller for ApiServices {
    const NAME: &'static str = "apiservice-controller";

    fn ranges(&self) -> Vec<KeyRange> {
        let own = [KeyRange::prefix(PREFIX), KeyRange::prefix(DEFINITIONS)];
        own.into_iter().chain(self.followed.iter().cloned()).collect()
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        self.followed.clear();
        let services = self.client.stored(PREFIX)?;
        self.register(&services).await?;
        let (of, mut errors, mut retry) = (services.len(), Vec::new(), false);
        for service in &services {
            let verdict = self.judge(service).await?;
            retry |= verdict.reason == "FailedDiscoveryCheck";
            let now = times::text(self.clock.unix_ms());
            let Some(told) = plan::conclude(service, &verdict, &now) else {
                continue;
            };
            let path = format!("{PATH}/{}/status", segment(name(service)));
            match self.client.replace(&path, &told).await {
                Err(error) if !error.is_conflict() && !error.is_not_found() => errors.push(error),
                _ => {}
            }
        }
        match ControlError::of_several("APIServices", of, errors) {
            Some(error) => Err(error),
            None if retry => Ok(Next::After(RETRY_INTERVAL)),
            None if !self.followed.is_empty() => Ok(Next::After(PROBE_INTERVAL)),
            None => Ok(Next::OnChange),
        }
    }
}

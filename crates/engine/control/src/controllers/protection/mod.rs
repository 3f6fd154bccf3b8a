//! Storage that is being deleted goes when nothing uses it any more, as upstream's pvc-, pv- and vac-protection
//! controllers have it.

mod plan;

use engenho_store::KeyRange;
use serde_json::Value;

use crate::client::{Client, segment};
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

const CLAIMS: &str = "/registry/core/persistentvolumeclaims/";
const VOLUMES: &str = "/registry/core/persistentvolumes/";
const CLASSES: &str = "/registry/storage.k8s.io/volumeattributesclasses/";
const PODS: &str = "/registry/core/pods/";

/// Lets go of storage that is not in use.
pub(crate) struct Protection {
    client: Client,
}

impl Protection {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            client: Client::control(deps.api.clone(), deps.term, Self::NAME),
        }
    }
}

fn is_terminating(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn path_of(collection: &str, object: &Value) -> String {
    let meta = |field: &str| segment(object["metadata"][field].as_str().unwrap_or_default()).to_string();
    match collection {
        CLAIMS => format!(
            "/api/v1/namespaces/{}/persistentvolumeclaims/{}",
            meta("namespace"),
            meta("name")
        ),
        VOLUMES => format!("/api/v1/persistentvolumes/{}", meta("name")),
        _ => format!("/apis/storage.k8s.io/v1/volumeattributesclasses/{}", meta("name")),
    }
}

impl Controller for Protection {
    const NAME: &'static str = "storage-protection-controller";

    fn ranges(&self) -> Vec<KeyRange> {
        [CLAIMS, VOLUMES, CLASSES, PODS].map(KeyRange::prefix).to_vec()
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        let [claims, volumes, classes] = [
            self.client.stored(CLAIMS)?,
            self.client.stored(VOLUMES)?,
            self.client.stored(CLASSES)?,
        ];
        // Pods are many, and matter only when a claim is on its way out.
        let pods = if claims.iter().any(is_terminating) {
            self.client.stored(PODS)?
        } else {
            Vec::new()
        };
        let free = [
            (CLAIMS, plan::claims(&claims, &pods)),
            (VOLUMES, plan::volumes(&volumes)),
            (CLASSES, plan::classes(&classes, &volumes, &claims)),
        ];
        let (of, mut errors) = (free.iter().map(|(_, objects)| objects.len()).sum(), Vec::new());
        for (collection, objects) in free {
            for object in objects {
                let path = path_of(collection, &object);
                match self.client.replace(&path, &object).await {
                    Ok(_) => tracing::debug!(path, "is not in use and goes"),
                    // Somebody was faster: this replica will hear of it.
                    Err(error) if error.is_not_found() || error.is_conflict() => {}
                    Err(error) => errors.push(error),
                }
            }
        }
        match ControlError::of_several("storage that is being deleted", of, errors) {
            Some(error) => Err(error),
            None => Ok(Next::OnChange),
        }
    }
}

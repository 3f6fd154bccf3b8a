//! Aggregated APIs: groups and versions that servers elsewhere serve, as APIServices say.

mod documents;
mod proxy;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use engenho_catalog::Catalog;
use engenho_validation::get::{flag, int, items, text};
use parking_lot::Mutex;
use serde_json::Value;

pub(crate) use documents::{Remotes, group, groups, groups_aggregated, schema_index};
pub(crate) use proxy::{handle, probe};

use crate::base64;
use crate::context::parse_stored;
use crate::outbound::services::ServiceRef;
use crate::outbound::{ClientCertificate, Roots};
use crate::server::Inner;
use crate::status::Status;
use crate::storage::Storage;
use crate::watched::Watched;

const PREFIX: &str = "/registry/apiregistration.k8s.io/apiservices/";

/// What the server shows to those that it passes requests on to.
pub trait ProxyCertificate: Send + Sync + 'static {
    /// The certificate for `front-proxy-client`, valid now; none if there is no authority for it.
    fn current(&self) -> Option<ClientCertificate>;
}

/// A group and version that is served elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub service: String,
    pub port: u16,
    pub roots: Roots,
    /// Whether it was found to answer.
    pub available: bool,
    pub group_priority: i64,
    pub version_priority: i64,
}

impl Remote {
    fn read(object: &Value) -> Option<Self> {
        let spec = &object["spec"];
        let service = Some(&spec["service"]).filter(|service| service.is_object())?;
        let roots = match text(&spec["caBundle"]) {
            _ if flag(&spec["insecureSkipTLSVerify"]) => Roots::Unverified,
            "" => Roots::System,
            encoded => Roots::Bundle(base64::decode_standard(encoded).unwrap_or_default().into()),
        };
        let conditions = items(&object["status"]["conditions"]).iter();
        let mut available = conditions.filter(|condition| condition["type"] == "Available");
        Some(Self {
            group: text(&spec["group"]).to_owned(),
            version: text(&spec["version"]).to_owned(),
            namespace: text(&service["namespace"]).to_owned(),
            service: text(&service["name"]).to_owned(),
            port: u16::try_from(int(&service["port"]))
                .ok()
                .filter(|port| *port != 0)
                .unwrap_or(443),
            roots,
            available: available.any(|condition| condition["status"] == "True"),
            group_priority: int(&spec["groupPriorityMinimum"]),
            version_priority: int(&spec["versionPriority"]),
        })
    }

    fn service(&self) -> ServiceRef<'_> {
        ServiceRef {
            namespace: &self.namespace,
            name: &self.service,
            port: self.port,
        }
    }

    /// `group/version`
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}

/// The other server that serves a path, if one does.
///
/// # Errors
/// What is served elsewhere cannot be read.
pub(crate) fn remote(server: &Inner, path: &str) -> Result<Option<Arc<Remote>>, Status> {
    if !path.starts_with("/apis/") && !path.starts_with("/openapi/v3/apis/") {
        return Ok(None);
    }
    let elsewhere = server.aggregates.current(&server.storage)?;
    Ok(elsewhere.of_path(path).or_else(|| elsewhere.of_schema(path)))
}

/// The aggregated APIs, read from this replica's store when an APIService has changed, before the next request.
#[derive(Default)]
pub(crate) struct Aggregates {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    remotes: Arc<Remotes>,
    watched: Watched,
}

impl fmt::Debug for Aggregates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregates").finish_non_exhaustive()
    }
}

impl Aggregates {
    /// What is served elsewhere as of this replica's newest revision. Built-in groups never are.
    pub fn current(&self, storage: &Storage) -> Result<Arc<Remotes>, Status> {
        let mut state = self.state.lock();
        let unchanged = state.watched.is_unchanged(&storage.client().store);
        if !unchanged {
            let found = storage.list(PREFIX)?;
            let mut all = BTreeMap::new();
            for kv in &found.kvs {
                let object = parse_stored(&storage.open(kv)?.bytes)?;
                let remote = Remote::read(&object);
                let own = |of: &Remote| of.group.is_empty() || Catalog::builtin().group(&of.group).is_some();
                if let Some(remote) = remote.filter(|remote| !own(remote)) {
                    all.insert((remote.group.clone(), remote.version.clone()), Arc::new(remote));
                }
            }
            // Only what differs makes documents anew.
            if state.remotes.all != all {
                state.remotes = Arc::new(Remotes::new(all));
            }
            state.watched.follow(&storage.client().store, PREFIX, found.revision);
        }
        Ok(state.remotes.clone())
    }
}

//! What runs on the leader only: the controllers, for exactly one term each.

use std::sync::Arc;
use std::time::Duration;

use engenho_engine::control::{
    Capacity, ControlDeps, Controllers, Machine, Members, NodeFacts, NodeReport, NodeTaint, NodeVersions,
};
use engenho_engine::store::StoreClient;
use parking_lot::Mutex;
use revoada::{Heard, Member};
use revoada_core::Role;
use revoada_core::view::Liveness;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::announce::Extra;
use super::api::{Local, Stores};
use super::material::Vault;

/// Pods that upstream's kubelet takes at most unless told otherwise.
const PODS_MAX: u64 = 110;

/// How often leadership is looked at while the local server is not there yet.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the controllers of a term may take to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Starts the controllers when this member begins to lead, and stops them when it ends.
pub async fn run(member: Member, local: Arc<Local>, stores: Arc<Stores>, vault: Arc<Vault>, stop: CancellationToken) {
    let mut leadership = member.watch_leadership();
    loop {
        let term = *leadership.borrow_and_update();
        let info = vault.info().borrow().clone();
        if let (Some(term), Some(api), Some(store), Some(info)) = (term, local.server(), stores.current(), info) {
            let ending = stop.child_token();
            let tasks = TaskTracker::new();
            let facts = Arc::new(Facts::new(member.clone()));
            tasks.spawn(Arc::clone(&facts).follow(ending.clone()));
            let deps = ControlDeps {
                api,
                store: StoreClient::new(store, member.consensus()),
                members: facts,
                clock: member.clock(),
                root_ca_pem: info.authority_certificate_pem.as_str().into(),
                front_proxy_ca_pem: front_proxy_ca_pem(&vault),
                term,
            };
            let _controllers = Controllers::start(deps, ending.clone(), &tasks);
            tokio::select! {
                _ = leadership.wait_for(|now| *now != Some(term)) => {}
                () = stop.cancelled() => {}
            }
            ending.cancel();
            tasks.close();
            if tokio::time::timeout(STOP_DEADLINE, tasks.wait()).await.is_err() {
                tracing::warn!(
                    term,
                    "controllers did not stop in time; the fence of their term keeps them from writing"
                );
            }
        }
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(PAUSE), if term.is_some() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The authority that aggregated API servers are told to believe.
fn front_proxy_ca_pem(vault: &Vault) -> Option<Arc<str>> {
    let opened = vault.material()?;
    let authority = opened.front_proxy.as_ref()?;
    Some(authority.certificate_pem().into())
}

/// Facts of the members out of replicated state and gossip.
struct Facts {
    member: Member,
    nodes: Mutex<Vec<NodeFacts>>,
    changes: watch::Sender<u64>,
}

impl Facts {
    fn new(member: Member) -> Self {
        let nodes = gather(&member);
        Self {
            member,
            nodes: Mutex::new(nodes),
            changes: watch::Sender::new(0),
        }
    }

    /// Counts a change only when a fact differs: gossip moves all the time.
    async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut known = self.member.watch_known();
        let mut everyone = self.member.watch_everyone();
        loop {
            let fresh = gather(&self.member);
            {
                let mut nodes = self.nodes.lock();
                if *nodes != fresh {
                    *nodes = fresh;
                    self.changes.send_modify(|count| *count += 1);
                }
            }
            tokio::select! {
                changed = known.changed() => if changed.is_err() { return },
                changed = everyone.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    }
}

impl Members for Facts {
    fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn nodes(&self) -> Vec<NodeFacts> {
        self.nodes.lock().clone()
    }
}

fn gather(member: &Member) -> Vec<NodeFacts> {
    let known = member.known();
    let everyone = member.watch_everyone().borrow().clone();
    let (now_ms, unix_ms) = (member.now_ms(), member.clock().unix_ms());
    known
        .chain()
        .admitted()
        .iter()
        .map(|(id, admitted)| {
            let heard = everyone.get(id);
            let liveness = heard.map_or(Liveness::Unknown, |heard| heard.liveness);
            let since_ms = match liveness {
                Liveness::Alive { since_ms } | Liveness::Suspect { since_ms } | Liveness::Dead { since_ms } => {
                    Some(since_ms)
                }
                Liveness::Unknown => None,
            };
            // To the second, so that reading two clocks one after the other does not look like a change.
            let since = since_ms.map_or(0, |at_ms| {
                unix_ms.saturating_sub(now_ms.saturating_sub(at_ms)) / 1000 * 1000
            });
            NodeFacts {
                name: admitted.name.clone(),
                member_id: *id,
                role: known.role(id).unwrap_or(Role::Worker),
                is_alive: !matches!(liveness, Liveness::Dead { .. }),
                liveness_since_unix_ms: since,
                pod_cidr: None,
                report: heard.and_then(report),
            }
        })
        .collect()
}

fn report(heard: &Heard) -> Option<NodeReport> {
    let announcement = &heard.announcement;
    if announcement.name.is_empty() {
        return None;
    }
    let extra: Extra = serde_json::from_str(&announcement.extra).unwrap_or_default();
    Some(NodeReport {
        internal_addresses: extra.ips,
        hostname: extra.hostname,
        zone: (!announcement.zone.is_empty()).then(|| announcement.zone.clone()),
        labels: extra.labels,
        taints: extra
            .taints
            .into_iter()
            .map(|(key, value, effect)| NodeTaint { key, value, effect })
            .collect(),
        capacity: Capacity {
            cpu_milli: extra.cpu_milli,
            memory_bytes: extra.memory_bytes,
            pods: PODS_MAX,
            ephemeral_bytes: extra.disk_bytes,
        },
        machine: Machine {
            os: "linux".to_owned(),
            arch: extra.architecture,
            kernel: extra.kernel,
            os_image: extra.os_image,
            machine_id: extra.machine_id,
            system_uuid: String::new(),
            boot_id: extra.boot_id,
        },
        versions: NodeVersions {
            kubelet: format!("{}+engenho{}", super::KUBERNETES_VERSION, announcement.version),
            runtime: (!extra.runtime.is_empty()).then_some(extra.runtime),
        },
    })
}

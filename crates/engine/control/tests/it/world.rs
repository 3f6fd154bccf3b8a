//! A cluster in one process: store, API, controllers, and members that a test moves.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engenho_apiserver::{
    ApiServer, Deps, Fence, Identity, NoHeartbeats, Observers, Options, SealError, SealPolicy, Sealer, StoreAuthorizer,
    VersionInfo, body,
};
use engenho_authn::{Issuer, TokenKeys};
use engenho_control::{
    Capacity, ControlDeps, ControllerHealth, Controllers, Machine, Members, NodeFacts, NodeReport, NodeVersions,
};
use engenho_store::testing::SingleNode;
use engenho_store::{Store, StoreClient};
use http::Request;
use parking_lot::Mutex;
use revoada_core::env::{Clock, Entropy};
use revoada_core::{MemberId, Role};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What clients of the API are to trust.
pub const ROOT_CA: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
const DEADLINE: Duration = Duration::from_secs(8);
/// A store without a new revision for so long is at rest.
const REST: Duration = Duration::from_millis(150);

pub struct TestClock(pub AtomicU64);

impl Clock for TestClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct Counter(AtomicU64);

impl Entropy for Counter {
    fn fill(&self, out: &mut [u8]) {
        for byte in out {
            let n = self
                .0
                .fetch_add(1, Ordering::SeqCst)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *byte = (n >> 56) as u8;
        }
    }
}

/// Turns the bits of what it seals: enough to be told from JSON.
struct Flip;

impl Sealer for Flip {
    fn seal(&self, _: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok(plain.iter().map(|b| !b).collect())
    }

    fn open(&self, _: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok(sealed.iter().map(|b| !b).collect())
    }
}

pub struct TestMembers {
    nodes: Mutex<Vec<NodeFacts>>,
    counter: watch::Sender<u64>,
}

impl Members for TestMembers {
    fn watch(&self) -> watch::Receiver<u64> {
        self.counter.subscribe()
    }

    fn nodes(&self) -> Vec<NodeFacts> {
        self.nodes.lock().clone()
    }
}

impl TestMembers {
    pub fn change(&self, change: impl FnOnce(&mut Vec<NodeFacts>)) {
        change(&mut self.nodes.lock());
        self.counter.send_modify(|n| *n += 1);
    }
}

pub fn member(number: u8, role: Role) -> NodeFacts {
    NodeFacts {
        name: format!("n{number}"),
        member_id: MemberId([number; 32]),
        role,
        is_alive: true,
        liveness_since_unix_ms: 0,
        pod_cidr: Some(format!("10.244.{number}.0/24")),
        report: Some(NodeReport {
            internal_addresses: vec![[10, 0, 0, number].into()],
            hostname: format!("host-{number}"),
            labels: vec![("disk".into(), "ssd".into())],
            capacity: Capacity {
                cpu_milli: 2000,
                memory_bytes: 4 << 30,
                pods: 110,
                ephemeral_bytes: 10 << 30,
            },
            machine: Machine {
                os: "linux".into(),
                arch: "amd64".into(),
                ..Machine::default()
            },
            versions: NodeVersions {
                kubelet: "v1.34.0+engenho".into(),
                runtime: None,
            },
            ..NodeReport::default()
        }),
    }
}

pub struct World {
    pub consensus: Arc<SingleNode>,
    pub store: StoreClient,
    pub api: ApiServer,
    pub members: Arc<TestMembers>,
    pub clock: Arc<TestClock>,
}

/// The controllers of one term.
pub struct Running {
    pub controllers: Controllers,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
}

impl Running {
    pub fn health(&self, name: &str) -> ControllerHealth {
        self.controllers
            .health()
            .into_iter()
            .find(|row| row.name == name)
            .unwrap()
    }

    /// Stops the controllers; they have a second for it.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(1), self.tasks.wait())
            .await
            .unwrap();
    }
}

impl World {
    pub fn new(nodes: Vec<NodeFacts>) -> Self {
        let store = Store::open(engenho_store::StoreOptions::default());
        let consensus = SingleNode::new(store.clone());
        let client = StoreClient::new(store.clone(), consensus.clone());
        let clock = Arc::new(TestClock(AtomicU64::new(1_700_000_000_000)));
        let deps = Deps {
            store: client.clone(),
            clock: clock.clone(),
            entropy: Arc::new(Counter(AtomicU64::new(1))),
            authorizer: Arc::new(StoreAuthorizer::new(store)),
            heartbeats: Arc::new(NoHeartbeats),
            seal: SealPolicy::secrets(Arc::new(Flip)),
            tokens: None,
            issuer: Some(Arc::new(Issuer::new(
                TokenKeys::generate().unwrap(),
                "https://issuer.test",
            ))),
            further_tokens: Vec::new(),
            outbound: Some(Arc::new(engenho_apiserver::outbound::Https::new())),
            proxy_certificate: None,
            observers: Observers::default(),
            member_name: Arc::new(|id| id.short()),
            version: VersionInfo::new(
                "v1.34.0+engenho".into(),
                "0".into(),
                "clean",
                "1970-01-01T00:00:00Z".into(),
                "rust".into(),
            ),
            options: Options::default(),
        };
        Self {
            consensus,
            store: client,
            api: ApiServer::new(deps),
            members: Arc::new(TestMembers {
                nodes: Mutex::new(nodes),
                counter: watch::Sender::new(0),
            }),
            clock,
        }
    }

    pub fn start(&self, term: u64) -> Running {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let deps = ControlDeps {
            api: self.api.clone(),
            store: self.store.clone(),
            members: self.members.clone(),
            clock: self.clock.clone(),
            root_ca_pem: ROOT_CA.into(),
            front_proxy_ca_pem: Some("PROXY".into()),
            term,
        };
        Running {
            controllers: Controllers::start(deps, stop.clone(), &tasks),
            stop,
            tasks,
        }
    }

    pub async fn send(&self, method: &str, path: &str, sent: Value) -> (u16, Value) {
        self.send_fenced(method, path, sent, None).await
    }

    pub async fn send_fenced(&self, method: &str, path: &str, sent: Value, fence: Option<u64>) -> (u16, Value) {
        let kind = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let sent = if sent.is_null() {
            body::empty()
        } else {
            body::full(sent.to_string())
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .header("user-agent", "test")
            .body(sent)
            .unwrap();
        request.extensions_mut().insert(Identity {
            user: "admin".into(),
            groups: vec!["system:masters".into(), "system:authenticated".into()],
            ..Identity::default()
        });
        if let Some(fence) = fence {
            request.extensions_mut().insert(Fence(fence));
        }
        let (head, incoming) = self.api.handle(request).await.into_parts();
        let bytes = body::read(incoming, 16 << 20).await.unwrap();
        (head.status.as_u16(), serde_json::from_slice(&bytes).unwrap())
    }

    pub async fn get(&self, path: &str) -> Option<Value> {
        match self.send("GET", path, Value::Null).await {
            (200, value) => Some(value),
            (404, _) => None,
            other => panic!("{path}: {other:?}"),
        }
    }

    pub async fn create(&self, path: &str, object: Value) -> Value {
        let (code, created) = self.send("POST", path, object).await;
        assert_eq!(code, 201, "{created}");
        created
    }

    pub async fn node(&self, name: &str) -> Option<Value> {
        self.get(&format!("/api/v1/nodes/{name}")).await
    }

    /// Waits until all controllers are content and none of them has anything to write, and gives the revision.
    pub async fn settled(&self, running: &Running) -> u64 {
        until("all controllers to succeed", || async {
            let rows = running.controllers.health();
            rows.iter()
                .all(|row| row.last_success_unix_ms.is_some() && row.failures_in_row == 0)
                .then_some(())
        })
        .await;
        let end = Instant::now() + DEADLINE;
        let mut last = (0, Instant::now());
        while last.1.elapsed() < REST {
            assert!(Instant::now() < end, "the store never rests");
            let revision = self.store.store.revision();
            if revision != last.0 {
                last = (revision, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        last.0
    }
}

/// Waits until `check` gives something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < end, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn condition(object: &Value, name: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|c| c["type"] == name).unwrap_or_default()
}

//! A server over a store of one replica, and requests to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use engenho_apiserver::{
    ApiServer, Body, Deps, Heartbeat, Heartbeats, Identity, Observers, Options, SealError, SealPolicy, Sealer,
    StoreAuthorizer, VersionInfo, bootstrap,
};
use engenho_authn::{Issuer, TokenKeys};
use engenho_store::testing::SingleNode;
use engenho_store::{Store, StoreClient, StoreOptions};
use http::{Request, Response};
use http_body_util::BodyExt;
use revoada_core::consensus::Consensus;
use revoada_core::env::{Clock, Entropy};
use serde_json::Value;

/// Who issues tokens.
pub const ISSUER: &str = "https://issuer.test";

pub struct Fixed;

impl Clock for Fixed {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

#[derive(Default)]
pub struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, out: &mut [u8]) {
        for byte in out {
            let n = self.0.fetch_add(1, Ordering::SeqCst);
            *byte = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        }
    }
}

/// Flips bits and binds to the key; enough to tell sealed from plain.
pub struct Flip;

impl Sealer for Flip {
    fn seal(&self, key: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok([
            key.len().to_le_bytes().as_slice(),
            &plaintext.iter().map(|b| !b).collect::<Vec<_>>(),
        ]
        .concat())
    }

    fn open(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let damaged = || SealError::Damaged {
            reason: "another key".into(),
        };
        let rest = sealed
            .strip_prefix(key.len().to_le_bytes().as_slice())
            .ok_or_else(damaged)?;
        Ok(rest.iter().map(|b| !b).collect())
    }
}

pub struct OneNode;

impl Heartbeats for OneNode {
    fn heartbeats(&self) -> Vec<Heartbeat> {
        vec![Heartbeat {
            node: "n1".into(),
            holder: "n1".into(),
            acquire_unix_ms: 1_699_999_000_000,
            renew_unix_ms: 1_700_000_000_000,
            duration_s: 40,
        }]
    }
}

pub struct World {
    pub api: ApiServer,
    pub store: Arc<Store>,
    pub consensus: Arc<SingleNode>,
    _history: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        Self::observed(options, Observers::default()).await
    }

    pub async fn observed(options: Options, observers: Observers) -> Self {
        let history = tempfile::tempdir().expect("a folder");
        let store = Store::open(StoreOptions::with_history(history.path()));
        let consensus = SingleNode::new(store.clone());
        let api = ApiServer::new(Deps {
            observers,
            ..deps(StoreClient::new(store.clone(), consensus.clone()), options)
        });
        assert!(bootstrap(&api, None).await.expect("boots") > 100);
        let world = Self {
            api,
            store,
            consensus,
            _history: history,
        };
        // What a controller makes in each namespace.
        let accounts = "/api/v1/namespaces/default/serviceaccounts";
        let account =
            serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let client = StoreClient::new(world.store.clone(), world.consensus.clone());
        let unbounded = ApiServer::new(deps(client, Options::default()));
        let create = request("POST", accounts, "application/json", Some(account));
        assert_eq!(unbounded.handle(create).await.status(), 201);
        world
    }

    /// Another server over the same store, which proposes through `consensus`.
    pub fn server(&self, consensus: Arc<dyn Consensus>) -> ApiServer {
        ApiServer::new(deps(
            StoreClient::new(self.store.clone(), consensus),
            Options::default(),
        ))
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.api.handle(request).await
    }

    /// As a member of `system:masters`.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_typed(method, path, "application/json", body).await
    }

    pub async fn call_typed(&self, method: &str, path: &str, kind: &str, body: Option<Value>) -> (u16, Value) {
        let response = self.send(request(method, path, kind, body)).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let told = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| told()))
    }
}

/// Of tokens of service accounts; the same for all servers of a test.
pub fn issuer() -> Issuer {
    static KEYS: OnceLock<TokenKeys> = OnceLock::new();
    let keys = KEYS.get_or_init(|| TokenKeys::generate().expect("keys"));
    Issuer::new(keys.clone(), ISSUER)
}

pub fn deps(store: StoreClient, options: Options) -> Deps {
    Deps {
        clock: Arc::new(Fixed),
        entropy: Arc::new(Counting::default()),
        authorizer: Arc::new(StoreAuthorizer::new(store.store.clone())),
        store,
        heartbeats: Arc::new(OneNode),
        seal: SealPolicy::secrets(Arc::new(Flip)),
        tokens: None,
        issuer: Some(Arc::new(issuer())),
        further_tokens: Vec::new(),
        outbound: Some(Arc::new(engenho_apiserver::outbound::Https::new())),
        proxy_certificate: None,
        observers: Observers::default(),
        member_name: Arc::new(|_| "web-2".into()),
        version: VersionInfo::new("v1.34.0+t".into(), "c".into(), "clean", "d".into(), "r".into()),
        options,
    }
}

pub fn admin() -> Identity {
    Identity {
        user: "admin".into(),
        groups: vec!["system:masters".into()],
        ..Identity::default()
    }
}

pub fn request(method: &str, path: &str, kind: &str, body: Option<Value>) -> Request<Body> {
    let bytes = body.map(|b| Bytes::from(b.to_string())).unwrap_or_default();
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .header("user-agent", "test/1")
        .body(engenho_apiserver::body::full(bytes))
        .expect("a request");
    request.extensions_mut().insert(admin());
    request
}

pub fn config_map(name: &str) -> Value {
    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

//! What all tests share.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use engenho_harness::{ApiClient, Audit, LoadOptions, Record, audit, eventually};
use serde_json::{Value, json};

/// The binary under test: that of this build, or the one that `ENGENHO_TEST_BINARY` names.
pub fn binary() -> &'static Path {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
        std::env::var_os("ENGENHO_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_engenho").into(), PathBuf::from)
    });
    &BINARY
}

/// From start to ready, unoptimised and with seven others starting beside.
pub const READY: Duration = Duration::from_secs(60);

/// Until writes go on after a leader died. The promise, 2 s, is measured on a release build by `cargo xtask bench`;
/// this bound catches what is broken, not what is slow.
pub const RESUME: Duration = Duration::from_secs(10);

/// Until a cluster has its shape again.
pub const SETTLED: Duration = Duration::from_secs(90);

/// Runs one test by itself.
pub fn alone(test: impl AsyncFnOnce() -> anyhow::Result<()>) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Err(error) = runtime.block_on(test()) {
        panic!("{error:#}");
    }
}

/// A load of 20 writes a second.
pub fn gentle(namespace: &str, first_id: u64) -> LoadOptions {
    LoadOptions {
        namespace: namespace.into(),
        interval: Duration::from_millis(50),
        deadline: Duration::from_secs(15),
        first_id,
    }
}

/// Reads all writes back; none may be lost or doubled, and there have to be some.
pub async fn require_all(client: &ApiClient, namespace: &str, record: &Record) -> anyhow::Result<Audit> {
    let audit = audit(client, namespace, record).await?;
    audit.require_clean()?;
    ensure!(
        audit.acknowledged > 0,
        "no write was acknowledged: {:?}",
        record.unclear()
    );
    Ok(audit)
}

/// A ConfigMap to be posted.
pub fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}})
}

/// Path of the ConfigMaps of the default namespace, or of one of them.
pub fn config_maps(name: &str) -> String {
    match name {
        "" => "/api/v1/namespaces/default/configmaps".into(),
        name => format!("/api/v1/namespaces/default/configmaps/{name}"),
    }
}

/// Creates a ConfigMap, however long it takes within the bound; it must not have been there.
pub async fn create(client: &ApiClient, name: &str) -> anyhow::Result<()> {
    eventually("a write is answered", Duration::from_secs(20), async || {
        let reply = client.post(&config_maps(""), &config_map(name, name)).await?;
        ensure!(
            matches!(reply.status, 201 | 409),
            "status {}: {}",
            reply.status,
            reply.text()
        );
        Ok(())
    })
    .await
}

/// The value of a ConfigMap.
pub async fn value(client: &ApiClient, name: &str) -> anyhow::Result<String> {
    let object = client.get(&config_maps(name)).await?.want(200)?.json()?;
    object["data"]["value"]
        .as_str()
        .map(str::to_owned)
        .context("no data.value")
}

//! Uses an API server as controllers written with kube do. `KUBECONFIG` names the server, `RUN` makes names unique.

mod controller;
mod objects;
mod streams;

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use kube::{Client, Config};

/// What all checks share.
pub struct World {
    /// Tells this run from others of the same cluster.
    pub run: String,
    /// A namespace of its own.
    pub namespace: String,
    /// As the kubeconfig says.
    pub client: Client,
}

impl World {
    /// Objects of the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// Asks until the answer is `Ok`.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let started = std::time::Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(reason) if started.elapsed() > Duration::from_secs(20) => bail!("{what}: at last {reason:#}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// One check, bounded in time.
async fn check(name: &str, failed: &mut Vec<String>, run: impl Future<Output = anyhow::Result<()>>) {
    let result = tokio::time::timeout(Duration::from_secs(60), run).await;
    match result.context("it takes too long").flatten() {
        Ok(()) => print!("{name} "),
        Err(error) => {
            println!("\nFAILED {name}: {error:#}");
            failed.push(name.to_owned());
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let run = std::env::var("RUN").unwrap_or_else(|_| std::process::id().to_string());
    let client = Client::try_from(Config::infer().await?)?;
    let world = World {
        namespace: format!("kube-{run}"),
        run,
        client,
    };
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(world.namespace.clone()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    namespaces.create(&PostParams::default(), &namespace).await?;
    let mut failed = Vec::new();
    print!("passed: ");
    check("discovery", &mut failed, objects::discovery(&world)).await;
    check("objects", &mut failed, objects::life(&world)).await;
    check("pages", &mut failed, objects::pages(&world)).await;
    check("patches", &mut failed, objects::patches(&world)).await;
    check("leases", &mut failed, objects::leases(&world)).await;
    check("events", &mut failed, objects::events(&world)).await;
    check("watcher", &mut failed, streams::watching(&world, false)).await;
    check("streaming-lists", &mut failed, streams::watching(&world, true)).await;
    check("metadata", &mut failed, streams::metadata(&world)).await;
    check("controller", &mut failed, controller::reconciles(&world)).await;
    println!();
    namespaces.delete(&world.namespace, &DeleteParams::default()).await?;
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

//! Creations and updates: how many, how long each takes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use engenho_harness::{Connection, Samples};
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{NAMESPACE, cluster, connections, say, timed};
use crate::bench::report::Row;

const SECRETS: u64 = 5_000;
const SECRETS_PER_S: u64 = 200;

/// Closed loads of 1, 16 and 64 clients on so many members, all writes on disk before they are answered.
pub async fn throughput(binary: &Path, members: usize, seconds: u64) -> anyhow::Result<Vec<Row>> {
    let cluster = cluster(binary, members).await?;
    let links = connections(&cluster, 4).await?;
    let mut rows = Vec::new();
    for clients in [1_u32, 16, 64] {
        for update in [false, true] {
            let verb = if update { "updates" } else { "creations" };
            say(&format!(
                "{members} members: {verb} by {clients} clients for {seconds} s"
            ));
            let times = load(&links, clients, update, seconds).await?;
            let of = format!("{verb}, {clients} clients, {members} members");
            rows.push(Row::figure(&of, times.count() as f64 / seconds as f64, "per s", None));
            rows.push(Row::times(&format!("each of these {verb}"), &times, None));
        }
    }
    cluster.finish().await?;
    Ok(rows)
}

async fn load(links: &[Connection], clients: u32, update: bool, seconds: u64) -> anyhow::Result<Samples> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let mut tasks = JoinSet::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    for client in 0..clients {
        let link = links[client as usize % links.len()].clone();
        let path = path.clone();
        tasks.spawn(async move {
            let mine = config_map(&format!("u-{clients}-{client}"));
            if update {
                timed(&link, Method::POST, &path, &mine).await?;
            }
            let mut times = Vec::new();
            while Instant::now() < end {
                let i = times.len();
                times.push(if update {
                    let path = format!("{path}/u-{clients}-{client}");
                    let patch = json!({"data": {"at": i.to_string()}});
                    timed(&link, Method::PATCH, &path, &patch).await?
                } else {
                    let new = config_map(&format!("c-{clients}-{client}-{i}"));
                    timed(&link, Method::POST, &path, &new).await?
                });
            }
            anyhow::Ok(times)
        });
    }
    let mut samples = Vec::new();
    while let Some(done) = tasks.join_next().await {
        samples.extend(done.context("a client ended")??);
    }
    Ok(samples.into_iter().collect())
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": "x".repeat(512)}})
}

/// 5,000 Secrets, 200 begun each second whether or not earlier ones were answered; then as many reads.
pub async fn secrets(binary: &Path) -> anyhow::Result<Vec<Row>> {
    let cluster = cluster(binary, 1).await?;
    let links = connections(&cluster, 2).await?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
    let mut rows = Vec::new();
    for method in [Method::POST, Method::GET] {
        say(&format!("{method} of {SECRETS} Secrets, {SECRETS_PER_S} a second"));
        let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / SECRETS_PER_S));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut tasks = JoinSet::new();
        for i in 0..SECRETS {
            tick.tick().await;
            let link = links[usize::try_from(i)? % links.len()].clone();
            let (method, path) = (method.clone(), path.clone());
            tasks.spawn(async move {
                let name = format!("s-{i}");
                if method == Method::GET {
                    return timed(&link, method, &format!("{path}/{name}"), &Value::Null).await;
                }
                let data = json!({"password": "x".repeat(64)});
                let secret =
                    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
                timed(&link, method, &path, &secret).await
            });
        }
        let mut times = Vec::new();
        while let Some(done) = tasks.join_next().await {
            times.push(done.context("a client ended")??);
        }
        let mean = times.iter().sum::<Duration>().as_secs_f64() * 1000.0 / times.len() as f64;
        let verb = if method == Method::POST { "creation" } else { "read" };
        rows.push(Row::figure(
            &format!("mean {verb} of {SECRETS} Secrets, 200 a second"),
            mean,
            "ms",
            Some(20.0),
        ));
        rows.push(Row::times(
            &format!("each such {verb}"),
            &times.into_iter().collect::<Samples>(),
            None,
        ));
    }
    cluster.finish().await?;
    Ok(rows)
}

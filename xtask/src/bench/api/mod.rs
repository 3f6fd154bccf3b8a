//! What the API costs: lists, watches, writes and memory, on real processes over HTTP/2 and TLS.
//!
//! Client and server share the machine, so wall-clock rates are of both together; what is promised of one core is
//! judged by the processor time of the server alone.

mod lists;
mod watches;
mod writes;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use engenho_harness::{Cluster, Connection, Samples, prepare};
use serde_json::Value;
use tokio::task::JoinSet;

use super::ApiArgs;
use super::report::Report;

const NAMESPACE: &str = "bench";
const JSON: &str = "application/json";
const MIB: f64 = 1024.0 * 1024.0;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Lists of 10,000 pods, and the memory of many.
    Lists,
    /// Many watchers of one resource.
    Watches,
    /// Creations and updates on one and three members.
    Writes,
    /// 5,000 Secrets at 200 requests a second.
    Secrets,
}

/// Measures what was asked for.
pub async fn measure(binary: &Path, args: &ApiArgs) -> anyhow::Result<Report> {
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let mut rows = Vec::new();
    if wanted(Part::Lists) {
        rows.extend(lists::measure(binary, args.pods).await?);
    }
    if wanted(Part::Watches) {
        rows.extend(watches::measure(binary, args.watchers, args.seconds).await?);
    }
    if wanted(Part::Writes) {
        for members in [1, 3] {
            rows.extend(writes::throughput(binary, members, args.seconds).await?);
        }
    }
    if wanted(Part::Secrets) {
        rows.extend(writes::secrets(binary).await?);
    }
    Ok(Report {
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        rows,
    })
}

fn say(text: &str) {
    eprintln!("... {text}");
}

/// A cluster with the namespace of the measurements.
async fn cluster(binary: &Path, members: usize) -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(binary, members).await?;
    prepare(&cluster.members[0].api()?, NAMESPACE).await?;
    Ok(cluster)
}

/// HTTP/2 connections to the first member.
async fn connections(cluster: &Cluster, count: usize) -> anyhow::Result<Vec<Connection>> {
    let client = cluster.members[0].api()?;
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(client.connection().await?);
    }
    Ok(connections)
}

/// One write, timed. It has to succeed.
async fn timed(connection: &Connection, method: hyper::Method, path: &str, body: &Value) -> anyhow::Result<Duration> {
    let kind = if method == hyper::Method::PATCH {
        "application/merge-patch+json"
    } else {
        JSON
    };
    let started = Instant::now();
    let (status, _) = connection.send(method, path, kind, serde_json::to_vec(body)?).await?;
    ensure!(matches!(status, 200 | 201), "status {status} of {path}");
    Ok(started.elapsed())
}

/// Creates objects 0 to `count` with so many clients, each of which waits for its answers.
async fn create_all(
    connections: &[Connection],
    clients: u32,
    first: u32,
    count: u32,
    path: &str,
    object: impl Fn(u32) -> Value + Send + Sync + 'static,
) -> anyhow::Result<Samples> {
    let next = Arc::new(AtomicU32::new(first));
    let object = Arc::new(object);
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let connection = connections[client as usize % connections.len()].clone();
        let (next, object, path) = (Arc::clone(&next), Arc::clone(&object), path.to_owned());
        tasks.spawn(async move {
            let mut times = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= first + count {
                    return anyhow::Ok(times);
                }
                times.push(timed(&connection, hyper::Method::POST, &path, &object(i)).await?);
            }
        });
    }
    let mut samples = Vec::new();
    while let Some(done) = tasks.join_next().await {
        samples.extend(done.context("a client ended")??);
    }
    Ok(samples.into_iter().collect())
}

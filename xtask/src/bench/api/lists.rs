//! Lists of many pods: how fast, and what holding them costs.

use std::path::Path;
use std::time::{Duration, Instant};

use engenho_harness::Samples;
use hyper::Method;
use serde_json::{Value, json};

use super::{JSON, MIB, NAMESPACE, cluster, connections, create_all, say};
use crate::bench::report::Row;

const LISTED: u32 = 10_000;
/// How often the whole list is read.
const READS: u32 = 40;

/// Rates of lists, memory of pods.
pub async fn measure(binary: &Path, pods: u32) -> anyhow::Result<Vec<Row>> {
    let cluster = cluster(binary, 1).await?;
    let member = &cluster.members[0];
    let links = connections(&cluster, 4).await?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    say(&format!("creating {LISTED} pods"));
    create_all(&links, 64, 0, LISTED, &path, pod).await?;

    say(&format!("listing them {READS} times"));
    let cpu = member.cpu_time()?;
    let started = Instant::now();
    let mut times = Samples::default();
    let mut bytes = 0;
    for _ in 0..READS {
        let began = Instant::now();
        let (status, length) = links[0].send(Method::GET, &path, JSON, "").await?;
        anyhow::ensure!(status == 200, "status {status} of a list");
        times.add(began.elapsed());
        bytes += length;
    }
    let wall = started.elapsed();
    let cpu = member.cpu_time()?.saturating_sub(cpu);
    let rate = |time: Duration| bytes as f64 / 1e6 / time.as_secs_f64().max(1e-9);
    let listed = bytes as f64 / f64::from(READS) / 1e6;
    let mut rows = vec![
        Row::figure(&format!("JSON of a list of {LISTED} pods"), listed, "MB", None),
        Row::times("one such list", &times, None),
        Row::figure("lists, client and server together", rate(wall), "MB/s", None),
        Row::at_least(
            "lists, per second of the server's processor time",
            rate(cpu),
            "MB/s",
            400.0,
        ),
    ];

    say(&format!("creating pods up to {pods}"));
    create_all(&links, 64, LISTED, pods - LISTED, &path, pod).await?;
    // What was freed is given back in a while; a state that lasts is what counts.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let rss = member.rss_bytes()? as f64 / MIB;
    let json = listed * 1e6 / f64::from(LISTED) * f64::from(pods) / MIB;
    rows.push(Row::figure(&format!("memory with {pods} pods"), rss, "MiB", None));
    rows.push(Row::figure(
        "the same, as a multiple of their JSON",
        rss / json,
        "x",
        Some(2.5),
    ));
    cluster.finish().await?;
    Ok(rows)
}

/// A small pod: with defaults, managed fields and status it is served as about 1.7 kB of JSON.
fn pod(i: u32) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("pod-{i:06}"), "labels": {"app": format!("app-{}", i % 100)}},
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "registry.example/app:1.0"}],
        },
    })
}

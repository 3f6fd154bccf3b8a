//! Many watchers of one resource: how late they learn of a write, and what each costs.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use engenho_harness::{Connection, Samples};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{JSON, NAMESPACE, cluster, connections, say, timed};
use crate::bench::report::Row;

const WRITES_PER_S: u64 = 500;
/// Watches that share a connection, as the informers of one client do.
const PER_CONNECTION: usize = 50;
/// Objects that are written in turn.
const OBJECTS: u64 = 50;
/// What marks a change: the mark, ten digits.
const MARK: &[u8] = b"sent-";

/// Delays of deliveries, memory per watcher.
pub async fn measure(binary: &Path, watchers: u32, seconds: u64) -> anyhow::Result<Vec<Row>> {
    let cluster = cluster(binary, 1).await?;
    let member = &cluster.members[0];
    let writers = connections(&cluster, 2).await?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    for i in 0..OBJECTS {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c-{i}")}});
        timed(&writers[0], Method::POST, &path, &object).await?;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;

    say(&format!("starting {watchers} watchers"));
    let before = member.rss_bytes()?;
    let count = (watchers as usize).div_ceil(PER_CONNECTION);
    let links = connections(&cluster, count).await?;
    let epoch = Instant::now();
    let delays = Arc::new(Mutex::new(Vec::new()));
    let mut streams = JoinSet::new();
    for i in 0..watchers as usize {
        let body = begin(&links[i / PER_CONNECTION], &path).await?;
        streams.spawn(follow(body, epoch, Arc::clone(&delays)));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let each = (member.rss_bytes()?.saturating_sub(before)) as f64 / f64::from(watchers) / 1000.0;

    say(&format!("writing {WRITES_PER_S} times a second for {seconds} s"));
    let cpu = member.cpu_time()?;
    let written = write(&writers, &path, epoch, seconds).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let cpu = member.cpu_time()?.saturating_sub(cpu);
    let after = (member.rss_bytes()?.saturating_sub(before)) as f64 / f64::from(watchers) / 1000.0;
    drop(links);
    streams.abort_all();
    let delays = std::mem::take(&mut *delays.lock().unwrap_or_else(PoisonError::into_inner));
    let expected = written.count() * watchers as usize;
    ensure!(
        delays.len() == expected,
        "{} changes were delivered of {expected}",
        delays.len()
    );
    let delays: Samples = delays.into_iter().collect();
    cluster.finish().await?;
    let bound = Some(Duration::from_millis(50));
    Ok(vec![
        Row::times(&format!("writes beside {watchers} watchers"), &written, None),
        Row::times("from the start of a write to each watcher", &delays, bound),
        Row::figure(
            "processor time of the server, of one core",
            cpu.as_secs_f64() / seconds as f64 * 100.0,
            "%",
            None,
        ),
        Row::figure("memory per idle watcher", each, "kB", Some(20.0)),
        Row::figure("memory per watcher after the load", after, "kB", None),
    ])
}

async fn begin(link: &Connection, path: &str) -> anyhow::Result<Incoming> {
    let response = link
        .begin(Method::GET, &format!("{path}?watch=true&resourceVersion=0"), JSON, "")
        .await?;
    ensure!(response.status() == 200, "status {} of a watch", response.status());
    Ok(response.into_body())
}

/// Notes how late each marked change comes. The clocks of both ends are one.
async fn follow(mut body: Incoming, epoch: Instant, delays: Arc<Mutex<Vec<Duration>>>) -> anyhow::Result<()> {
    let mut rest = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let now = epoch.elapsed();
        let mut seen = Vec::new();
        let text: Bytes = if rest.is_empty() {
            data
        } else {
            rest.extend_from_slice(&data);
            std::mem::take(&mut rest).into()
        };
        let mut lines = text.split_inclusive(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() && !line.ends_with(b"\n") {
                rest = line.to_vec();
                break;
            }
            if let Some(sent) = mark(line) {
                seen.push(now.saturating_sub(Duration::from_micros(sent)));
            }
        }
        delays.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
    }
    Ok(())
}

fn mark(line: &[u8]) -> Option<u64> {
    let at = line.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    std::str::from_utf8(line.get(at..at + 10)?).ok()?.parse().ok()
}

/// An open load: each write begins at its time, whether or not earlier ones were answered.
async fn write(writers: &[Connection], path: &str, epoch: Instant, seconds: u64) -> anyhow::Result<Samples> {
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / WRITES_PER_S));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut tasks = JoinSet::new();
    for i in 0..WRITES_PER_S * seconds {
        tick.tick().await;
        let connection = writers[usize::try_from(i)? % writers.len()].clone();
        let path = format!("{path}/c-{}", i % OBJECTS);
        tasks.spawn(async move {
            let sent = epoch.elapsed().as_micros();
            let body = json!({"data": {"mark": format!("sent-{sent:010}")}});
            timed(&connection, Method::PATCH, &path, &body).await
        });
    }
    let mut samples = Vec::new();
    while let Some(done) = tasks.join_next().await {
        samples.push(done.context("a writer ended")??);
    }
    Ok(samples.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found() {
        assert_eq!(mark(br#"{"data":{"mark":"sent-0000001234"}}"#), Some(1234));
        assert_eq!(mark(br#"{"data":{"mark":"sent-12"}}"#), None);
    }
}

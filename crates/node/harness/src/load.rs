//! A write load through several members, and the audit of what became of every write.
//!
//! The load is open: a write begins each interval, whether or not earlier ones were answered, so that an outage shows as
//! it is. Every write is sent once, with an id of its own and a name that the server generates: an acknowledged write
//! must then be there exactly once, one without an answer at most once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::api::ApiClient;
use crate::wait::eventually;

/// Writes under way at once, at most.
const IN_FLIGHT_MAX: usize = 400;

/// How a load behaves.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Namespace of the objects; see [`prepare`].
    pub namespace: String,
    /// Between the beginnings of two writes.
    pub interval: Duration,
    /// After which a write counts as unanswered.
    pub deadline: Duration,
    /// Id of the first write.
    pub first_id: u64,
}

/// What a client learnt of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// 201.
    Acknowledged,
    /// Any other answer, or none.
    Unclear(String),
}

/// One write.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Its id.
    pub id: u64,
    /// When it began.
    pub started: Instant,
    /// When it was answered or given up.
    pub ended: Instant,
    /// How it ended for the client.
    pub outcome: Outcome,
}

/// Every write of a load.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// In the order of their ends.
    pub attempts: Vec<Attempt>,
}

impl Record {
    /// From `event` to the first acknowledgement of a write that began after it.
    pub fn resumed_after(&self, event: Instant) -> Option<Duration> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.started >= event && attempt.outcome == Outcome::Acknowledged)
            .map(|attempt| attempt.ended.duration_since(event))
            .min()
    }

    /// Acknowledged writes.
    pub fn acknowledged(&self) -> usize {
        self.attempts
            .iter()
            .filter(|attempt| attempt.outcome == Outcome::Acknowledged)
            .count()
    }

    /// Writes that were not acknowledged, by reason.
    pub fn unclear(&self) -> BTreeMap<&str, usize> {
        let mut reasons = BTreeMap::new();
        for attempt in &self.attempts {
            if let Outcome::Unclear(reason) = &attempt.outcome {
                *reasons.entry(reason.as_str()).or_default() += 1;
            }
        }
        reasons
    }

    /// Adds another load's writes.
    pub fn extend(&mut self, more: Record) {
        self.attempts.extend(more.attempts);
    }
}

/// A running load.
pub struct Load {
    targets: watch::Sender<Vec<ApiClient>>,
    stop: watch::Sender<bool>,
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
}

/// Makes the namespace of a load.
pub async fn prepare(client: &ApiClient, namespace: &str) -> anyhow::Result<()> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    eventually("the namespace is there", Duration::from_secs(20), async || {
        let reply = client.post("/api/v1/namespaces", &body).await?;
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

impl Load {
    /// Starts to write through `clients` in turn.
    pub fn start(clients: Vec<ApiClient>, options: LoadOptions) -> Self {
        let (targets, targets_rx) = watch::channel(clients);
        let (stop, stop_rx) = watch::channel(false);
        let record = Arc::new(Mutex::new(Record::default()));
        let task = tokio::spawn(run(targets_rx, stop_rx, Arc::clone(&record), options));
        Self {
            targets,
            stop,
            record,
            task,
        }
    }

    /// From now on writes through these.
    pub fn retarget(&self, clients: Vec<ApiClient>) {
        self.targets.send_replace(clients);
    }

    /// What was written so far.
    pub fn so_far(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a write that began after `event` is acknowledged; gives the time from the event.
    pub async fn resumed_after(&self, event: Instant, deadline: Duration) -> anyhow::Result<Duration> {
        crate::wait::eventually_every(
            "a write is acknowledged",
            deadline,
            Duration::from_millis(20),
            async || {
                let record = self.so_far();
                record
                    .resumed_after(event)
                    .with_context(|| format!("none yet; {:?}", record.unclear()))
            },
        )
        .await
    }

    /// Begins no more writes and waits for those under way.
    pub async fn stop(self) -> anyhow::Result<Record> {
        self.stop.send_replace(true);
        self.task.await?;
        Ok(self.record.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

async fn run(
    targets: watch::Receiver<Vec<ApiClient>>,
    stop: watch::Receiver<bool>,
    record: Arc<Mutex<Record>>,
    options: LoadOptions,
) {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut tick = tokio::time::interval(options.interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut id = options.first_id;
    while !*stop.borrow() {
        tick.tick().await;
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let client = {
            let targets = targets.borrow();
            let Some(turn) = usize::try_from(id).ok().and_then(|id| id.checked_rem(targets.len())) else {
                continue;
            };
            targets[turn].clone()
        };
        let (record, options) = (Arc::clone(&record), options.clone());
        tokio::spawn(async move {
            let started = Instant::now();
            let outcome = write(&client, &options, id).await;
            let attempt = Attempt {
                id,
                started,
                ended: Instant::now(),
                outcome,
            };
            record
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .attempts
                .push(attempt);
            drop(permit);
        });
        id += 1;
    }
    // Every permit back means that every write has ended.
    let _ = permits
        .acquire_many(u32::try_from(IN_FLIGHT_MAX).unwrap_or(u32::MAX))
        .await;
}

async fn write(client: &ApiClient, options: &LoadOptions, id: u64) -> Outcome {
    let body = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"generateName": "w-"},
        "data": {"id": id.to_string()},
    });
    let path = format!("/api/v1/namespaces/{}/configmaps", options.namespace);
    let sent = client
        .send(
            Method::POST,
            &path,
            "application/json",
            body.to_string(),
            options.deadline,
        )
        .await;
    match sent {
        Ok(reply) if reply.status == 201 => Outcome::Acknowledged,
        Ok(reply) => Outcome::Unclear(format!("status {}", reply.status)),
        Err(error) => Outcome::Unclear(format!("{error:#}")),
    }
}

/// What became of the writes of a load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Acknowledged writes.
    pub acknowledged: usize,
    /// Acknowledged writes that are not there.
    pub lost: Vec<u64>,
    /// Writes that are there more than once, acknowledged or not.
    pub duplicated: Vec<u64>,
    /// Writes without an acknowledgement that are there.
    pub unclear_applied: usize,
    /// Writes without an acknowledgement that are not there.
    pub unclear_absent: usize,
}

impl Audit {
    /// Fails if a write was lost or applied twice.
    pub fn require_clean(&self) -> anyhow::Result<()> {
        ensure!(
            self.lost.is_empty(),
            "{} acknowledged writes are lost: {:?}",
            self.lost.len(),
            self.lost
        );
        ensure!(
            self.duplicated.is_empty(),
            "{} writes were applied twice: {:?}",
            self.duplicated.len(),
            self.duplicated
        );
        Ok(())
    }
}

/// Reads everything back through `client` and compares.
pub async fn audit(client: &ApiClient, namespace: &str, record: &Record) -> anyhow::Result<Audit> {
    let mut found: BTreeMap<u64, usize> = BTreeMap::new();
    let mut token = String::new();
    loop {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps?limit=500&continue={token}");
        let page: Value = client.get(&path).await?.want(200)?.json()?;
        for item in page["items"].as_array().context("a list without items")? {
            // Every namespace has the configuration of its trust, which is not ours.
            if let Some(id) = item["data"]["id"].as_str().and_then(|id| id.parse().ok()) {
                *found.entry(id).or_default() += 1;
            }
        }
        match page["metadata"]["continue"].as_str() {
            Some(next) if !next.is_empty() => token = next.to_owned(),
            _ => break,
        }
    }
    let mut audit = Audit {
        duplicated: found
            .iter()
            .filter(|(_, count)| **count > 1)
            .map(|(id, _)| *id)
            .collect(),
        ..Audit::default()
    };
    for attempt in &record.attempts {
        match (&attempt.outcome, found.contains_key(&attempt.id)) {
            (Outcome::Acknowledged, present) => {
                audit.acknowledged += 1;
                if !present {
                    audit.lost.push(attempt.id);
                }
            }
            (Outcome::Unclear(_), true) => audit.unclear_applied += 1,
            (Outcome::Unclear(_), false) => audit.unclear_absent += 1,
        }
    }
    Ok(audit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_ends_with_a_write_that_began_after_it() {
        let event = Instant::now();
        let ms = |ms| event + Duration::from_millis(ms);
        let attempt = |id, started, ended, outcome| Attempt {
            id,
            started,
            ended,
            outcome,
        };
        let before = event.checked_sub(Duration::from_millis(5)).unwrap_or(event);
        let mut record = Record::default();
        record.attempts.push(attempt(1, before, ms(1), Outcome::Acknowledged));
        assert_eq!(record.resumed_after(ms(1)), None);
        record
            .attempts
            .push(attempt(2, ms(1), ms(900), Outcome::Unclear("status 503".into())));
        record
            .attempts
            .push(attempt(3, ms(20), ms(1_000), Outcome::Acknowledged));
        assert_eq!(record.resumed_after(ms(1)), Some(Duration::from_millis(999)));
        assert_eq!((record.acknowledged(), record.unclear().len()), (2, 1));
    }
}

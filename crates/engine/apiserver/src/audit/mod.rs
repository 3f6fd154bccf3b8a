//! The audit log: a policy, a bounded queue that never holds a request up, and linked lines in files.

mod files;
mod request;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use engenho_audit::Policy;
use parking_lot::Mutex;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Registry};

pub use files::{FilesError, Rotation};
pub(crate) use request::{Audited, Finish, refused};

use crate::metrics::Making;

/// Events that wait to be written, and their bytes.
const QUEUE_MAX: usize = 10_000;
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Largest event; bodies are left out of larger ones.
const EVENT_BYTES_MAX: usize = 2 << 20;

/// The audit log of this process.
pub struct AuditLog {
    policy: Policy,
    queue: Mutex<Option<SyncSender<Vec<u8>>>>,
    queued_bytes: Arc<AtomicUsize>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    counters: Counters,
}

/// What is counted of a log.
#[derive(Clone)]
struct Counters {
    registry: Registry,
    events: IntCounter,
    errors: IntCounterVec,
}

impl Counters {
    fn new() -> Self {
        let making = Making(Registry::new());
        // Events that cannot be kept are dropped: no request is ever refused for them.
        making.counter(
            "apiserver_audit_requests_rejected_total",
            "Requests that were refused because they could not be audited",
        );
        Self {
            events: making.counter("apiserver_audit_event_total", "Audit events that were made"),
            errors: making.counters(
                "apiserver_audit_error_total",
                "Audit events that were lost, by the part that lost them",
                &["plugin"],
            ),
            registry: making.0,
        }
    }

    fn lost(&self, part: &str, count: usize) {
        self.errors.with_label_values(&[part]).inc_by(count as u64);
    }
}

impl AuditLog {
    /// Opens the log in the folder `dir`, and goes on where it ended.
    pub fn open(policy: Policy, dir: &Path, rotation: Rotation) -> Result<Arc<Self>, FilesError> {
        let files = files::Files::open(dir, rotation)?;
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let counters = Counters::new();
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let writer = {
            let (counters, queued_bytes) = (counters.clone(), Arc::clone(&queued_bytes));
            std::thread::Builder::new()
                .name("audit".into())
                .spawn(move || write(files, &receiver, &counters, &queued_bytes))
                .map_err(|source| FilesError::Thread { source })?
        };
        Ok(Arc::new(Self {
            policy,
            queue: Mutex::new(Some(sender)),
            queued_bytes,
            writer: Mutex::new(Some(writer)),
            counters,
        }))
    }

    /// Hands an event over, or drops it if too many wait.
    fn record(&self, event: Vec<u8>) {
        self.counters.events.inc();
        let bytes = event.len();
        let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let sent = match &*self.queue.lock() {
            Some(queue) if queued <= QUEUE_BYTES_MAX => queue.try_send(event),
            _ => Err(TrySendError::Full(event)),
        };
        if sent.is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counters.lost("buffered", 1);
        }
    }

    /// Writes what waits and ends. Blocks for as long as the disk takes.
    pub fn close(&self) {
        drop(self.queue.lock().take());
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the audit log ended badly");
        }
    }

    pub(crate) fn gather(&self) -> Vec<MetricFamily> {
        self.counters.registry.gather()
    }
}

/// Writes events until nobody sends any more; what comes together is written together.
fn write(mut files: files::Files, receiver: &Receiver<Vec<u8>>, counters: &Counters, queued_bytes: &AtomicUsize) {
    let mut failed = 0_u64;
    while let Ok(first) = receiver.recv() {
        let mut batch = vec![first];
        batch.extend(receiver.try_iter().take(400));
        for event in &batch {
            queued_bytes.fetch_sub(event.len(), Ordering::Relaxed);
        }
        match files.append(&batch) {
            Ok(()) => failed = 0,
            Err(error) => {
                counters.lost("log", batch.len());
                failed += 1;
                if failed.is_power_of_two() {
                    tracing::error!(%error, failed, "the audit log cannot be written");
                }
            }
        }
    }
}

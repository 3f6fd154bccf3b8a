//! Versions and events within the compaction window, on disk, never waited for.
//!
//! Invariants: the history is complete after its start ("floor"), or it says that it has nothing. `apply` only
//! queues; one thread writes, so that a slow or broken disk costs old revisions and nothing else. A reader takes
//! the queue first and then a view of the disk, so that a change is seen in at least one of them.

mod compact;
mod disk;
mod read;
mod rows;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use self::compact::Compaction;
use self::disk::Disk;
use crate::model::Event;

/// BLAKE3 of a written image.
pub(crate) type ImageHash = [u8; 32];

/// Most changes that wait for the disk, and most bytes in them.
const QUEUE_EVENTS_MAX: usize = 32_768;
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Changes written in one batch.
const BATCH_EVENTS: usize = 1024;
/// How long `apply` waits for a full queue before it gives the history up.
const QUEUE_WAIT: Duration = Duration::from_secs(1);
/// How long a disk that doesn't answer holds up a restore or the end of the process.
const DISK_WAIT: Duration = Duration::from_secs(10);
/// A floor that says: nothing can be read.
const NOTHING: u64 = u64::MAX;

/// Why the history can't answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HistoryError {
    /// It begins later, or isn't there at all.
    #[error("the history begins at revision {oldest}")]
    Gone {
        /// The oldest readable revision; `u64::MAX` for none.
        oldest: u64,
    },
    /// The disk or its format.
    #[error("the history is broken: {reason}")]
    Broken {
        /// What is wrong.
        reason: String,
    },
}

impl HistoryError {
    fn broken(reason: &str) -> Self {
        Self::Broken {
            reason: reason.to_owned(),
        }
    }
}

impl From<fjall::Error> for HistoryError {
    fn from(error: fjall::Error) -> Self {
        Self::Broken {
            reason: error.to_string(),
        }
    }
}

enum Job {
    Mark { revision: u64, hash: ImageHash },
    Compact(Compaction),
}

#[derive(Default)]
struct Queue {
    pending: VecDeque<Arc<Event>>,
    bytes: usize,
    jobs: VecDeque<Job>,
    /// All rows must go before anything else is written; the history then begins after this revision.
    clear: Option<u64>,
    busy: bool,
    stop: bool,
    stopped: bool,
}

struct Shared {
    path: Option<PathBuf>,
    disk: RwLock<Option<Arc<Disk>>>,
    queue: Mutex<Queue>,
    queued: Condvar,
    done: Condvar,
    /// Held while rows are written or replaced.
    writing: Mutex<()>,
    floor: AtomicU64,
    /// Odd while rows are being replaced; a read is good if it was the same even number before and after.
    generation: AtomicU64,
}

/// A handle on the history and its writer thread, which ends with it.
pub(crate) struct History {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Reading {
    disk: Arc<Disk>,
    snapshot: fjall::Snapshot,
    pending: Vec<Arc<Event>>,
    generation: u64,
}

impl History {
    /// Opens the history in `path`, or none. What an earlier process left can't be read until
    /// [`History::rebase`] or [`History::begin`] has said what it belongs to.
    pub fn open(path: Option<&Path>) -> Self {
        let shared = Arc::new(Shared {
            disk: RwLock::new(path.and_then(Disk::open).map(Arc::new)),
            path: path.map(Path::to_owned),
            queue: Mutex::default(),
            queued: Condvar::new(),
            done: Condvar::new(),
            writing: Mutex::new(()),
            floor: AtomicU64::new(NOTHING),
            generation: AtomicU64::new(0),
        });
        let mut writer = None;
        if path.is_some() {
            shared.queue.lock().busy = true;
            let theirs = shared.clone();
            match std::thread::Builder::new()
                .name("store-history".to_owned())
                .spawn(move || write_loop(&theirs))
            {
                Ok(handle) => writer = Some(handle),
                Err(error) => {
                    tracing::error!(%error, "no thread for the history; going on without");
                    *shared.disk.write() = None;
                }
            }
        }
        Self { shared, writer }
    }

    /// The oldest readable revision; `u64::MAX` if none is.
    pub fn floor(&self) -> u64 {
        self.shared.floor.load(Ordering::Acquire)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.shared.disk.read().as_ref().map_or(0, |disk| disk.bytes())
    }

    /// Starts the history of an empty store.
    pub fn begin(&self) {
        self.replace(|disk| {
            if !disk.is_empty()? {
                tracing::info!("the log is replayed from its beginning: the old history is dropped");
            }
            disk.clear(0)?;
            Ok(0)
        });
    }

    /// The store was restored from the image with `hash`, at `revision`: keeps the history that led to it, if it
    /// is here, and begins anew if not.
    pub fn rebase(&self, revision: u64, hash: ImageHash) {
        self.replace(|disk| match disk.adopt(revision, hash) {
            Ok(Some(floor)) => Ok(floor),
            adopted => {
                if let Err(error) = adopted {
                    tracing::warn!(%error, "the history is discarded");
                }
                disk.clear(revision)?;
                disk.mark(revision, hash)?;
                Ok(revision)
            }
        });
    }

    fn replace(&self, put: impl Fn(&Disk) -> Result<u64, HistoryError>) {
        let shared = &*self.shared;
        {
            let mut queue = shared.queue.lock();
            shared.generation.fetch_add(1, Ordering::AcqRel);
            queue.forget();
        }
        shared.floor.store(NOTHING, Ordering::Release);
        let Some(writing) = shared.writing.try_lock_for(DISK_WAIT) else {
            shared.lose(&HistoryError::broken("the disk doesn't answer"));
            shared.generation.fetch_add(1, Ordering::AcqRel);
            return;
        };
        let mut disk = shared.disk.read().clone();
        let mut floor = disk.as_ref().map(|disk| put(disk));
        if !matches!(floor, Some(Ok(_)))
            && let Some(path) = shared.path.as_ref().filter(|_| self.writer.is_some())
        {
            // A broken table doesn't mend: make a new one.
            *shared.disk.write() = None;
            drop(disk.take());
            if let Some(Err(error)) = floor.take() {
                tracing::warn!(%error, "the history is broken and made anew");
                let _ = std::fs::remove_dir_all(path);
            }
            let made = Disk::open(path).map(Arc::new);
            floor = made.as_ref().map(|disk| put(disk));
            *shared.disk.write() = made;
        }
        match floor {
            Some(Ok(floor)) => shared.floor.store(floor, Ordering::Release),
            Some(Err(error)) => shared.lose(&error),
            None => {}
        }
        shared.generation.fetch_add(1, Ordering::AcqRel);
        drop(writing);
    }

    /// Queues the changes of one revision. Waits a bounded time if the disk is slow, then drops the history.
    pub fn push(&self, events: &[Arc<Event>]) {
        let shared = &*self.shared;
        let Some(last) = events.last() else { return };
        if shared.disk.read().is_none() {
            return;
        }
        let weight: usize = events.iter().map(|event| event.weight()).sum();
        let mut queue = shared.queue.lock();
        let deadline = Instant::now() + QUEUE_WAIT;
        while queue.is_full() && queue.clear.is_none() {
            shared.queued.notify_one();
            if shared.done.wait_until(&mut queue, deadline).timed_out() {
                break;
            }
        }
        if queue.is_full() {
            tracing::warn!(
                revision = last.mod_revision,
                "the disk doesn't keep up: older revisions are no longer readable on this replica"
            );
            queue.forget();
            queue.clear = Some(last.mod_revision);
            shared.floor.store(NOTHING, Ordering::Release);
            shared.generation.fetch_add(2, Ordering::AcqRel);
        } else {
            queue.pending.extend(events.iter().cloned());
            queue.bytes += weight;
        }
        drop(queue);
        shared.queued.notify_one();
    }

    /// A handle for images, which outlive borrows of the store.
    pub fn marker(&self) -> Marker {
        Marker {
            shared: self.shared.clone(),
        }
    }

    /// Makes revisions older than `revision` unreadable, and drops them in the background.
    pub fn compact(&self, revision: u64) {
        let shared = &*self.shared;
        let floor = shared.floor.load(Ordering::Acquire);
        if floor == NOTHING || revision <= floor {
            return;
        }
        shared.floor.store(revision, Ordering::Release);
        shared
            .queue
            .lock()
            .jobs
            .push_back(Job::Compact(Compaction::new(revision)));
        shared.queued.notify_one();
    }

    /// Waits until all that was queued is on disk; false after `deadline`.
    pub fn settled(&self, deadline: Duration) -> bool {
        let shared = &*self.shared;
        if self.writer.is_none() {
            return true;
        }
        let deadline = Instant::now() + deadline;
        let mut queue = shared.queue.lock();
        while queue.busy || !queue.pending.is_empty() || !queue.jobs.is_empty() || queue.clear.is_some() {
            if shared.disk.read().is_none() {
                return true;
            }
            if shared.done.wait_until(&mut queue, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    fn begin_read(&self, wanted: impl Fn(&Event) -> bool) -> Result<Reading, HistoryError> {
        let shared = &*self.shared;
        let generation = shared.generation.load(Ordering::Acquire);
        if generation % 2 == 1 || self.floor() == NOTHING {
            return Err(HistoryError::Gone { oldest: NOTHING });
        }
        let pending = shared
            .queue
            .lock()
            .pending
            .iter()
            .filter(|event| wanted(event))
            .cloned()
            .collect();
        let disk = shared
            .disk
            .read()
            .clone()
            .ok_or(HistoryError::Gone { oldest: NOTHING })?;
        let snapshot = disk.snapshot();
        Ok(Reading {
            disk,
            snapshot,
            pending,
            generation,
        })
    }

    /// To be called after the view was taken: what is readable now was so in the view.
    fn check_start(&self, revision: u64) -> Result<(), HistoryError> {
        match self.floor() {
            floor if revision < floor => Err(HistoryError::Gone { oldest: floor }),
            _ => Ok(()),
        }
    }

    fn end_read(&self, generation: u64) -> Result<(), HistoryError> {
        if self.shared.generation.load(Ordering::Acquire) == generation {
            return Ok(());
        }
        Err(HistoryError::Gone { oldest: self.floor() })
    }
}

impl Drop for History {
    fn drop(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        let deadline = Instant::now() + DISK_WAIT;
        let mut queue = self.shared.queue.lock();
        queue.stop = true;
        self.shared.queued.notify_one();
        while !queue.stopped && !writer.is_finished() {
            if self.shared.done.wait_until(&mut queue, deadline).timed_out() {
                tracing::error!("the disk of the history doesn't answer; it is left behind unfinished");
                return;
            }
        }
        drop(queue);
        if writer.join().is_err() {
            tracing::error!("the history's thread panicked");
        }
    }
}

/// Lets a written image be known to the history.
pub(crate) struct Marker {
    shared: Arc<Shared>,
}

impl Marker {
    pub fn mark(&self, revision: u64, hash: ImageHash) {
        self.shared.mark(revision, hash);
    }
}

impl Queue {
    fn forget(&mut self) {
        self.pending.clear();
        self.bytes = 0;
        self.jobs.clear();
        self.clear = None;
    }

    fn is_full(&self) -> bool {
        self.pending.len() >= QUEUE_EVENTS_MAX || self.bytes >= QUEUE_BYTES_MAX
    }

    /// The next changes, up to the end of a revision.
    fn batch(&self) -> Vec<Arc<Event>> {
        let whole = |at: &usize| {
            let revision = |at: usize| self.pending.get(at).map(|event| event.mod_revision);
            revision(*at) != revision(*at - 1)
        };
        let count = (BATCH_EVENTS..self.pending.len())
            .find(whole)
            .unwrap_or(self.pending.len());
        self.pending.iter().take(count).cloned().collect()
    }
}

impl Shared {
    fn mark(&self, revision: u64, hash: ImageHash) {
        let floor = self.floor.load(Ordering::Acquire);
        if floor == NOTHING || floor > revision {
            return;
        }
        self.queue.lock().jobs.push_back(Job::Mark { revision, hash });
        self.queued.notify_one();
    }

    fn lose(&self, error: &HistoryError) {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        tracing::error!(path = %path.display(), %error, "the history is lost: only the newest revision is readable");
        self.floor.store(NOTHING, Ordering::Release);
        *self.disk.write() = None;
        let mut queue = self.queue.lock();
        queue.forget();
        drop(queue);
        self.done.notify_all();
    }

    /// One piece of work; true if there was any.
    fn work(&self) -> Result<bool, HistoryError> {
        let _writing = self.writing.lock();
        let Some(disk) = self.disk.read().clone() else {
            return Ok(false);
        };
        let (clear, batch, job, generation, stopping) = {
            let mut queue = self.queue.lock();
            let clear = queue.clear;
            let batch = if clear.is_some() { Vec::new() } else { queue.batch() };
            let job = if clear.is_some() || !batch.is_empty() {
                None
            } else {
                queue.jobs.pop_front()
            };
            (clear, batch, job, self.generation.load(Ordering::Acquire), queue.stop)
        };
        if let Some(floor) = clear {
            disk.clear(floor)?;
            let mut queue = self.queue.lock();
            if queue.clear == Some(floor) {
                queue.clear = None;
                self.floor.store(floor, Ordering::Release);
            }
            return Ok(true);
        }
        if !batch.is_empty() {
            disk.write(&batch, self.floor.load(Ordering::Acquire))?;
            let mut queue = self.queue.lock();
            // Whoever emptied the queue meanwhile changed the generation while holding its lock.
            if self.generation.load(Ordering::Acquire) == generation {
                let written = batch.len().min(queue.pending.len());
                queue.pending.drain(..written);
                queue.bytes -= batch.iter().map(|event| event.weight()).sum::<usize>().min(queue.bytes);
            }
            return Ok(true);
        }
        match job {
            None => Ok(false),
            Some(Job::Mark { revision, hash }) => {
                disk.mark(revision, hash)?;
                Ok(true)
            }
            // What is left out now goes with the next compaction.
            Some(Job::Compact(_)) if stopping => Ok(true),
            Some(Job::Compact(mut compaction)) => {
                disk.set_floor(compaction.revision)?;
                if compaction.step(&disk)? {
                    compaction.reclaim(&disk)?;
                } else {
                    let mut queue = self.queue.lock();
                    if self.generation.load(Ordering::Acquire) == generation {
                        queue.jobs.push_front(Job::Compact(compaction));
                    }
                }
                Ok(true)
            }
        }
    }
}

fn write_loop(shared: &Shared) {
    loop {
        // The table's library may panic on what it finds on disk; that must not stop the log from being applied.
        let worked = std::panic::catch_unwind(AssertUnwindSafe(|| shared.work()));
        match worked.unwrap_or_else(|_| Err(HistoryError::broken("writing it panicked"))) {
            Ok(true) => {
                shared.done.notify_all();
            }
            Err(error) => shared.lose(&error),
            Ok(false) => {
                let mut queue = shared.queue.lock();
                queue.busy = false;
                shared.done.notify_all();
                let idle = queue.pending.is_empty() && queue.jobs.is_empty() && queue.clear.is_none();
                if queue.stop && (idle || shared.disk.read().is_none()) {
                    queue.stopped = true;
                    return;
                }
                if idle {
                    shared.queued.wait(&mut queue);
                }
                queue.busy = true;
            }
        }
    }
}

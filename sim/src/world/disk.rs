//! A machine's disk: the fault disk of the log's own tests, with a latency, and with a log writer that takes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use revoada_log::testing::{Fault, FaultDisk};
use revoada_log::{Drain, LogOptions, WriterMode};
use sim_plan::plan::{DiskFate, DiskFault};

/// Small segments: rotation and removal are part of the game.
const SEGMENT_BYTES: u64 = 256 * 1024;

/// A disk that survives its machine's crashes as far as it should.
#[derive(Clone)]
pub struct MachineDisk {
    disk: Arc<Mutex<FaultDisk>>,
    sync_ms: Arc<AtomicU64>,
    slow_ms: Arc<AtomicU64>,
}

impl MachineDisk {
    pub fn new(sync_ms: u64) -> Self {
        Self {
            disk: Arc::new(Mutex::new(FaultDisk::new())),
            sync_ms: Arc::new(AtomicU64::new(sync_ms)),
            slow_ms: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The disk as the running process sees it.
    pub fn current(&self) -> FaultDisk {
        self.disk.lock().clone()
    }

    /// The process is gone; the next one finds what is left.
    pub fn crash(&self, fate: DiskFate, seed: u64) {
        let mut disk = self.disk.lock();
        let next = match fate {
            DiskFate::Kept => disk.copy(),
            DiskFate::Lost => disk.after_power_cut(0),
            // 0 and 1 mean none and all.
            DiskFate::Torn => disk.after_power_cut(seed | 2),
        };
        disk.power_off();
        *disk = next;
    }

    /// Misbehaves from now on.
    pub fn fail(&self, fault: DiskFault) {
        let disk = self.disk.lock();
        match fault {
            DiskFault::Eio => disk.set_fault(disk.ops(), Fault::Eio),
            DiskFault::Full => disk.set_fault(disk.ops(), Fault::NoSpace),
            DiskFault::Slow(ms) => self.slow_ms.store(u64::from(ms), Ordering::Relaxed),
        }
    }

    /// Works again.
    pub fn mend(&self) {
        self.disk.lock().clear_fault();
        self.slow_ms.store(0, Ordering::Relaxed);
    }

    /// A log on this disk: what is queued reaches it after its latency, all together, unless the machine died.
    pub fn log_options(&self) -> LogOptions {
        let (sync_ms, slow_ms) = (Arc::clone(&self.sync_ms), Arc::clone(&self.slow_ms));
        let waiting = Arc::new(Mutex::new(None::<Drain>));
        let drive = move |drain: Drain| {
            // One write is under way at a time; what is queued meanwhile goes with the next.
            if waiting.lock().replace(drain).is_some() {
                return;
            }
            let (waiting, sync_ms, slow_ms) = (Arc::clone(&waiting), Arc::clone(&sync_ms), Arc::clone(&slow_ms));
            tokio::spawn(async move {
                let ms = sync_ms.load(Ordering::Relaxed) + slow_ms.load(Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                if let Some(drain) = waiting.lock().take() {
                    drain.run();
                }
            });
        };
        LogOptions {
            segment_bytes: SEGMENT_BYTES,
            cache_bytes: 1 << 20,
            writer: WriterMode::Driven(Arc::new(drive)),
            ..LogOptions::default()
        }
    }
}

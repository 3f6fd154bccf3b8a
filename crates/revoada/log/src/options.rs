//! Settings and fixed bounds of a log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::log::Drain;

/// Most bytes of entries in one append call.
pub const APPEND_BYTES_MAX: usize = 256 << 20;

/// Most bytes of one state slot, and of a purge marker.
pub const STATE_BYTES_MAX: usize = 64 << 10;

/// Who writes.
#[derive(Clone)]
pub enum WriterMode {
    /// A thread of its own; callers only queue.
    Thread,
    /// The calling thread, before the call returns: no thread and no timer, so that a simulated run can be repeated.
    Inline,
    /// Whoever the function hands the [`Drain`] to, whenever that runs it: a simulated disk takes its time, and what
    /// was queued when the machine died was never written. Called at each call that changes the log.
    Driven(Arc<dyn Fn(Drain) + Send + Sync>),
}

impl fmt::Debug for WriterMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriterMode::Thread => "Thread",
            WriterMode::Inline => "Inline",
            WriterMode::Driven(_) => "Driven",
        })
    }
}

/// Settings of a [`Log`](crate::Log).
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Bytes preallocated for a segment; one that must hold a larger batch is made larger.
    pub segment_bytes: u64,
    /// Bytes of recent entries kept in memory. Entries not yet durable are kept beyond it.
    pub cache_bytes: usize,
    /// Bytes that may wait for the writer; a call that would exceed it blocks.
    pub queue_bytes: usize,
    /// A frame takes no further call once it has this many bytes.
    pub batch_bytes: usize,
    /// A state that was put with `durable: false` and met no other write is on disk after this time.
    pub lazy_flush: Duration,
    /// Who writes.
    pub writer: WriterMode,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 8 << 20,
            cache_bytes: 16 << 20,
            queue_bytes: 32 << 20,
            batch_bytes: 4 << 20,
            lazy_flush: Duration::from_secs(1),
            writer: WriterMode::Thread,
        }
    }
}

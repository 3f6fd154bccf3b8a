//! Durable segmented log with group commit, verified snapshots, and the disk trait both are written against.
//!
//! Nothing here knows Raft's types, an async runtime or the network: entries, votes and purge markers are bytes, and
//! completion is a callback. Every byte goes through [`Disk`], so that a simulated disk sees all of it.
//!
//! Invariants:
//! - a completion callback reports `Ok` only after the data reached stable storage;
//! - at most one frame of the log, the last of the last segment, is ever written but not yet synced;
//! - after the first failed write or sync nothing is written again until the log is opened anew.

mod disk;
mod error;
mod files;
mod frame;
mod log;
mod memory;
mod options;
mod os;
mod record;
mod recover;
mod replay;
mod segment;
mod snapshot;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;
mod writer;

pub use disk::{Disk, DiskFile, OpenMode};
pub use error::{DamagedEntry, DamagedSnapshot, OpenError, Poisoned};
pub use files::{read_file, write_file};
pub use log::{Done, Drain, Log};
pub use options::{APPEND_BYTES_MAX, LogOptions, STATE_BYTES_MAX, WriterMode};
pub use os::OsDisk;
pub use recover::Recovered;
pub use snapshot::{
    CHUNK_BYTES, Chunk, Chunks, Hash, META_BYTES_MAX, ReceiveError, SnapshotReader, SnapshotReceiver, SnapshotRef,
    SnapshotStore, SnapshotWriter, chunk_hash,
};
pub use stats::{BATCH_BUCKETS, LogStats};

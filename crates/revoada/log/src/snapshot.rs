//! Snapshots: one file each, verified by hash when written, sent, received and read.

mod format;
mod reader;
mod receiver;
mod store;
mod writer;

pub use format::{CHUNK_BYTES, Hash, META_BYTES_MAX, chunk_hash};
pub use reader::{Chunk, Chunks, SnapshotReader};
pub use receiver::{ReceiveError, SnapshotReceiver};
pub use store::{SnapshotRef, SnapshotStore};
pub use writer::SnapshotWriter;

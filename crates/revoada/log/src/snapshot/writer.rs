//! Writing a snapshot as a stream of bytes.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::format::{self, CHUNK_BYTES, HEADER, Hash, META_BYTES_MAX, chunk_hash};
use super::store::{SnapshotRef, SnapshotStore};
use crate::disk::{DiskFile, OpenMode};

/// An unfinished snapshot file; removed when dropped.
pub(super) struct Body {
    store: SnapshotStore,
    temp: PathBuf,
    file: Arc<dyn DiskFile>,
    pub(super) len: u64,
    chunks: Vec<Hash>,
    /// After a failed write nothing may be added: what is in the file is unknown.
    failed: bool,
    published: bool,
}

impl Body {
    pub(super) fn create(store: SnapshotStore, temp: PathBuf) -> io::Result<Self> {
        let file = store.0.disk.open(&temp, OpenMode::Create)?;
        let body = Self {
            store,
            temp,
            file,
            len: 0,
            chunks: Vec::new(),
            failed: false,
            published: false,
        };
        body.file.write_at(0, &format::header())?;
        Ok(body)
    }

    /// Adds a chunk whose hash is known to be `hash`. Only the last may be shorter than [`CHUNK_BYTES`].
    pub(super) fn push(&mut self, data: &[u8], hash: Hash) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write of this snapshot failed"));
        }
        if self.chunks.len() >= u32::MAX as usize {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the snapshot has too many chunks",
            ));
        }
        let written = self.file.write_at(HEADER as u64 + self.len, data);
        self.failed = written.is_err();
        written?;
        self.len += data.len() as u64;
        self.chunks.push(hash);
        Ok(())
    }

    pub(super) fn root(&self, meta: &[u8]) -> Hash {
        format::root_hash(self.len, &self.chunks, meta)
    }

    pub(super) fn finish(mut self, meta: &[u8]) -> io::Result<SnapshotRef> {
        if self.failed {
            return Err(io::Error::other("an earlier write of this snapshot failed"));
        }
        if meta.len() > META_BYTES_MAX {
            let what = format!(
                "{} bytes of snapshot meta data, at most {META_BYTES_MAX} are allowed",
                meta.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let root = self.root(meta);
        let ending = format::ending(self.len, &self.chunks, meta, &root);
        self.file.write_at(HEADER as u64 + self.len, &ending)?;
        self.file.sync_data()?;
        let snapshot = self.store.publish(&self.temp, self.len, root, meta.to_vec())?;
        self.published = true;
        Ok(snapshot)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // If this fails, the next opening of the store removes it.
        if !self.published
            && let Err(error) = self.store.0.disk.remove(&self.temp)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.temp.display(), %error, "cannot remove an unfinished snapshot");
        }
    }
}

/// Takes a snapshot's data through [`Write`].
pub struct SnapshotWriter {
    body: Body,
    buffer: Vec<u8>,
}

impl SnapshotWriter {
    pub(super) fn new(body: Body) -> Self {
        Self {
            body,
            buffer: Vec::with_capacity(CHUNK_BYTES),
        }
    }

    /// Bytes of data taken so far.
    pub fn bytes(&self) -> u64 {
        self.body.len + self.buffer.len() as u64
    }

    fn push_buffer(&mut self) -> io::Result<()> {
        let hash = chunk_hash(&self.buffer);
        self.body.push(&self.buffer, hash)?;
        self.buffer.clear();
        Ok(())
    }

    /// Syncs the file and makes it the newest snapshot. `meta` has at most [`META_BYTES_MAX`] bytes.
    pub fn finish(mut self, meta: &[u8]) -> io::Result<SnapshotRef> {
        if !self.buffer.is_empty() {
            self.push_buffer()?;
        }
        self.body.finish(meta)
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == CHUNK_BYTES {
            self.push_buffer()?;
        }
        let n = data.len().min(CHUNK_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&data[..n]);
        Ok(n)
    }

    /// Does nothing: a chunk is written when it is full, and [`finish`](SnapshotWriter::finish) syncs.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

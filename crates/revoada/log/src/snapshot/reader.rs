//! Reading a snapshot: every chunk is checked against its hash before any byte of it is handed out.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::format::{self, CHUNK_BYTES, HEADER, Hash, chunk_hash};
use super::store::{Pin, SnapshotRef, SnapshotStore};
use crate::disk::{DiskFile, OpenMode, read_exact_at};
use crate::error::DamagedSnapshot;

/// An open snapshot file.
pub(super) struct Source {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    len: u64,
    chunks: Vec<Hash>,
    _pin: Pin,
}

impl Source {
    pub(super) fn open(store: &SnapshotStore, snapshot: &SnapshotRef) -> io::Result<Self> {
        let pin = Pin::new(store, snapshot.seq);
        let file = store.0.disk.open(&snapshot.path, OpenMode::Read)?;
        let index = format::read_index(&*file, &snapshot.path)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if index.root != snapshot.hash {
            let what = format!("{} is another snapshot than the one asked for", snapshot.path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self {
            path: snapshot.path.clone(),
            file,
            len: index.len,
            chunks: index.chunks,
            _pin: pin,
        })
    }

    fn chunk(&self, number: usize) -> io::Result<Option<Chunk>> {
        let Some(hash) = self.chunks.get(number) else {
            return Ok(None);
        };
        let offset = number as u64 * CHUNK_BYTES as u64;
        let mut data = vec![0; (self.len - offset).min(CHUNK_BYTES as u64) as usize];
        read_exact_at(&*self.file, HEADER as u64 + offset, &mut data)?;
        if chunk_hash(&data) != *hash {
            let damaged = DamagedSnapshot {
                path: self.path.clone(),
                offset,
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, damaged));
        }
        Ok(Some(Chunk {
            offset,
            data: data.into(),
            hash: *hash,
        }))
    }
}

/// A verified piece of a snapshot, as it is sent to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it begins in the snapshot's data.
    pub offset: u64,
    /// Its bytes: [`CHUNK_BYTES`] of them, fewer in the last.
    pub data: Bytes,
    /// BLAKE3 hash of `data`.
    pub hash: Hash,
}

/// Iterates over the chunks of a snapshot; ends after the first error. A snapshot without data has none.
pub struct Chunks {
    source: Source,
    number: usize,
}

impl Chunks {
    pub(super) fn new(source: Source, from: u64) -> Self {
        let number = usize::try_from(from / CHUNK_BYTES as u64).unwrap_or(usize::MAX);
        Self { source, number }
    }
}

impl Iterator for Chunks {
    type Item = io::Result<Chunk>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.source.chunk(self.number).transpose()?;
        self.number = if chunk.is_ok() { self.number + 1 } else { usize::MAX };
        Some(chunk)
    }
}

/// Hands out a snapshot's data through [`Read`]. A chunk that doesn't match its hash is an error of kind `InvalidData`
/// around [`DamagedSnapshot`], which names the offset.
pub struct SnapshotReader {
    source: Source,
    number: usize,
    current: Bytes,
}

impl SnapshotReader {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            number: 0,
            current: Bytes::new(),
        }
    }

    /// Length of the whole data.
    pub fn bytes(&self) -> u64 {
        self.source.len
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !buf.is_empty() {
            let Some(chunk) = self.source.chunk(self.number)? else {
                return Ok(0);
            };
            self.number += 1;
            self.current = chunk.data;
        }
        let n = buf.len().min(self.current.len());
        buf[..n].copy_from_slice(&self.current.split_to(n));
        Ok(n)
    }
}

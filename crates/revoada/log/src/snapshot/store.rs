//! The directory of snapshots: which is the newest, which may go.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::format::{self, Hash};
use super::reader::{Chunks, SnapshotReader, Source};
use super::receiver::SnapshotReceiver;
use super::writer::{Body, SnapshotWriter};
use crate::disk::{Disk, OpenMode};
use crate::error::OpenError;

/// A complete snapshot on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRef {
    /// Its file.
    pub path: PathBuf,
    /// Length of its data in bytes.
    pub bytes: u64,
    /// Hash of length, chunks and meta: equal on all members that made the same snapshot.
    pub hash: Hash,
    /// What [`SnapshotWriter::finish`] was given.
    pub meta: Vec<u8>,
    pub(super) seq: u64,
}

/// Keeps the newest snapshot, and older ones only while somebody reads them. Cheap to clone.
///
/// "Newest" is the one finished last; not to finish an older state after a newer one is up to the caller.
#[derive(Clone)]
pub struct SnapshotStore(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    state: Mutex<State>,
    /// Held while a snapshot gets its name, so that numbers follow the order of finishing.
    publishing: Mutex<()>,
}

struct State {
    latest: Option<SnapshotRef>,
    next_seq: u64,
    next_temp: u64,
    /// Files that exist.
    present: BTreeSet<u64>,
    /// Number of readers of each that has any.
    readers: BTreeMap<u64, usize>,
}

fn parse_name(name: &str) -> Option<u64> {
    let hex = name.strip_prefix("snap-")?;
    let ours = hex.len() == 16 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if ours { u64::from_str_radix(hex, 16).ok() } else { None }
}

impl SnapshotStore {
    /// Opens the snapshots in `dir`, removes what a crash left unfinished, and verifies the newest: its frame, not yet
    /// all its data, which is verified as it is read. If the newest is damaged, an intact older one takes its place;
    /// the log may have been purged beyond that one, which the caller must check. If all are damaged this fails.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, OpenError> {
        disk.create_dir_all(dir).map_err(OpenError::io("create", dir))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            disk.sync_dir(parent).map_err(OpenError::io("sync", parent))?;
        }
        let mut present = BTreeSet::new();
        for name in disk.list(dir).map_err(OpenError::io("list", dir))? {
            if let Some(seq) = parse_name(&name) {
                present.insert(seq);
            } else if name.starts_with("snap-") && name.ends_with(".tmp") {
                let path = dir.join(&name);
                disk.remove(&path).map_err(OpenError::io("remove", &path))?;
            }
        }
        disk.sync_dir(dir).map_err(OpenError::io("sync", dir))?;

        let mut latest = None;
        let mut first_error = None;
        for &seq in present.iter().rev() {
            match Self::load(&*disk, dir, seq) {
                Ok(found) => {
                    latest = Some(found);
                    break;
                }
                Err(error @ OpenError::Damaged { .. }) => {
                    tracing::warn!(%error, "a snapshot is damaged, looking for an older one");
                    first_error.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let (None, Some(error)) = (&latest, first_error) {
            return Err(error);
        }
        let next_seq = present.last().map_or(1, |seq| seq + 1);
        let state = State {
            latest,
            next_seq,
            next_temp: 1,
            present,
            readers: BTreeMap::new(),
        };
        let inner = Inner {
            disk,
            dir: dir.to_owned(),
            state: Mutex::new(state),
            publishing: Mutex::new(()),
        };
        Ok(Self(Arc::new(inner)))
    }

    fn load(disk: &dyn Disk, dir: &Path, seq: u64) -> Result<SnapshotRef, OpenError> {
        let path = snapshot_path(dir, seq);
        let file = disk.open(&path, OpenMode::Read).map_err(OpenError::io("open", &path))?;
        let index = format::read_index(&*file, &path)?;
        Ok(SnapshotRef {
            path,
            bytes: index.len,
            hash: index.root,
            meta: index.meta,
            seq,
        })
    }

    /// The newest complete snapshot.
    pub fn latest(&self) -> Option<SnapshotRef> {
        self.0.state.lock().latest.clone()
    }

    /// Begins to write a snapshot. Dropping the writer unfinished removes what it wrote.
    pub fn begin(&self) -> io::Result<SnapshotWriter> {
        Ok(SnapshotWriter::new(self.body()?))
    }

    /// Begins to receive a snapshot from a peer. Dropping the receiver unfinished removes what came.
    pub fn receive(&self) -> io::Result<SnapshotReceiver> {
        Ok(SnapshotReceiver::new(self.body()?))
    }

    fn body(&self) -> io::Result<Body> {
        let temp = {
            let mut state = self.0.state.lock();
            state.next_temp += 1;
            self.0.dir.join(format!("snap-{:016x}.tmp", state.next_temp))
        };
        Body::create(self.clone(), temp)
    }

    /// Opens a snapshot for reading. It stays on disk until the reader is dropped, even if newer ones are finished.
    pub fn open_reader(&self, snapshot: &SnapshotRef) -> io::Result<SnapshotReader> {
        Ok(SnapshotReader::new(Source::open(self, snapshot)?))
    }

    /// The chunks of a snapshot from the one at data offset `from` on (a multiple of [`CHUNK_BYTES`](super::CHUNK_BYTES);
    /// else from the chunk that holds it), each verified, to be sent to a peer.
    pub fn chunks(&self, snapshot: &SnapshotRef, from: u64) -> io::Result<Chunks> {
        Ok(Chunks::new(Source::open(self, snapshot)?, from))
    }

    /// Names a written and synced file as the newest snapshot.
    pub(super) fn publish(&self, temp: &Path, bytes: u64, hash: Hash, meta: Vec<u8>) -> io::Result<SnapshotRef> {
        let _one_at_a_time = self.0.publishing.lock();
        let seq = {
            let mut state = self.0.state.lock();
            state.next_seq += 1;
            state.next_seq - 1
        };
        let path = snapshot_path(&self.0.dir, seq);
        self.0.disk.rename(temp, &path)?;
        self.0.disk.sync_dir(&self.0.dir)?;
        let snapshot = SnapshotRef {
            path,
            bytes,
            hash,
            meta,
            seq,
        };
        let mut state = self.0.state.lock();
        state.present.insert(seq);
        state.latest = Some(snapshot.clone());
        drop(state);
        self.0.prune();
        Ok(snapshot)
    }
}

fn snapshot_path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("snap-{seq:016x}"))
}

impl Inner {
    /// Removes snapshots that are neither the newest nor being read. A failure is only noted: the next one tries again.
    fn prune(&self) {
        let mut state = self.state.lock();
        let Some(latest) = state.latest.as_ref().map(|latest| latest.seq) else {
            return;
        };
        let gone: Vec<u64> = state
            .present
            .iter()
            .copied()
            .filter(|seq| *seq < latest && !state.readers.contains_key(seq))
            .collect();
        for seq in gone {
            let path = snapshot_path(&self.dir, seq);
            match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove an old snapshot");
                }
                _ => {
                    state.present.remove(&seq);
                }
            }
        }
    }
}

/// Keeps a snapshot on disk.
pub(super) struct Pin {
    inner: Arc<Inner>,
    seq: u64,
}

impl Pin {
    pub(super) fn new(store: &SnapshotStore, seq: u64) -> Self {
        *store.0.state.lock().readers.entry(seq).or_default() += 1;
        Self {
            inner: store.0.clone(),
            seq,
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        {
            let mut state = self.inner.state.lock();
            if let Some(count) = state.readers.get_mut(&self.seq) {
                *count -= 1;
                if *count > 0 {
                    return;
                }
                state.readers.remove(&self.seq);
            }
        }
        self.inner.prune();
    }
}

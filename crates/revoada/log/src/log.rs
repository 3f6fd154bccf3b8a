//! The log's handle: bounded, thread-safe, cheap to clone.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::disk::Disk;
use crate::error::{DamagedEntry, OpenError, Poisoned};
use crate::memory::{Call, Memory, Op, Piece, Slot};
use crate::options::{APPEND_BYTES_MAX, LogOptions, STATE_BYTES_MAX, WriterMode};
use crate::record::{self, ENTRY_HEADER};
use crate::recover::{self, Recovered, Used};
use crate::segment::{self, SEGMENT_BYTES_MAX, Segment};
use crate::stats::LogStats;
use crate::writer::Writer;

/// Called once, when a call is durable or has failed: on the writer's thread in the order of the calls, or with
/// [`WriterMode::Inline`] on the thread that made some call. It should be quick: the next sync waits for it. It may
/// call the log, but not wait for that call.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// A durable, segmented log of consecutive entries, with a purge marker and up to 256 small state slots.
///
/// Changing calls take effect in memory before they return, reach the disk in that order, and report through [`Done`].
/// All that wait are written together and cost one sync. A call that contradicts the log (an entry that doesn't follow
/// the last, a truncation into what is purged, a value above its bound) changes nothing and reports `InvalidInput`.
/// After the first I/O error all calls fail with it, see [`Poisoned`].
///
/// Dropping the last clone does what [`close`](Self::close) does.
#[derive(Clone)]
pub struct Log(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    recovered: Recovered,
    backend: Backend,
}

enum Backend {
    Thread(Mutex<Option<JoinHandle<()>>>),
    Inline(Mutex<Writer>),
    Driven(Mutex<Writer>, Arc<dyn Fn(Drain) + Send + Sync>),
}

/// The right to write what a log with [`WriterMode::Driven`] has queued.
pub struct Drain(Weak<Handle>);

impl Drain {
    /// Writes and reports everything queued, with one sync; does nothing if the log is gone.
    pub fn run(self) {
        if let Some(handle) = self.0.upgrade()
            && let Backend::Driven(writer, _) = &handle.backend
        {
            handle.shared.drain(writer);
        }
    }
}

/// What handles and the writer share.
pub(crate) struct Shared {
    pub(crate) memory: Mutex<Memory>,
    /// Signalled when there is something to write, or the log closes.
    pub(crate) work: Condvar,
    /// Signalled when the queue has room again.
    pub(crate) room: Condvar,
    queue_bytes_max: usize,
}

impl Shared {
    /// Takes the oldest calls, at least one if there is any.
    pub(crate) fn take_batch(&self, memory: &mut Memory, batch_bytes: usize) -> Vec<Call> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < batch_bytes {
            let Some(call) = memory.queue.pop_front() else { break };
            bytes += call.bytes;
            batch.push(call);
        }
        memory.queue_bytes -= bytes;
        self.room.notify_all();
        batch
    }
}

impl Shared {
    /// Writes what is queued on this thread. Whoever holds the writer looks at the queue again after letting go of it.
    fn drain(&self, writer: &Mutex<Writer>) {
        while let Some(mut writer) = writer.try_lock() {
            writer.drain();
            drop(writer);
            if self.memory.lock().queue.is_empty() {
                break;
            }
        }
    }
}

impl Log {
    /// Opens the log in `dir`, or begins one there: reads it whole, cuts a torn tail, refuses a damaged middle.
    /// The directory must be this log's alone, and no other process may have it open.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: LogOptions) -> Result<Self, OpenError> {
        disk.create_dir_all(dir).map_err(OpenError::io("create", dir))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            disk.sync_dir(parent).map_err(OpenError::io("sync", parent))?;
        }
        let mut options = options;
        options.segment_bytes = options.segment_bytes.min(SEGMENT_BYTES_MAX / 4);
        options.batch_bytes = options.batch_bytes.clamp(1, APPEND_BYTES_MAX);

        let mut found = recover::recover(&*disk, dir)?;
        let active = match found.active.take() {
            Some(active) => active,
            None => {
                let active = segment::create(&*disk, dir, 1, &found.replay, 0, options.segment_bytes, 0).map_err(
                    |Poisoned { action, path, source }| OpenError::Io {
                        action,
                        path,
                        source: Arc::into_inner(source).unwrap_or_else(|| io::Error::other("shared error")),
                    },
                )?;
                found.used.push_back(Used {
                    segment: active.segment.clone(),
                    max_index: None,
                });
                found.recovered.segments = 1;
                active
            }
        };

        let mut memory = Memory::new(found.replay.clone(), found.slots, options.cache_bytes);
        memory.segments = found
            .used
            .iter()
            .map(|used| (used.segment.seq, used.segment.clone()))
            .collect();
        let shared = Arc::new(Shared {
            memory: Mutex::new(memory),
            work: Condvar::new(),
            room: Condvar::new(),
            queue_bytes_max: options.queue_bytes,
        });
        let mode = options.writer.clone();
        let mut writer = Writer::new(
            disk,
            dir.to_owned(),
            options,
            shared.clone(),
            found.replay,
            active,
            found.used,
        );
        writer.remove_purged();
        let backend = match mode {
            WriterMode::Inline => Backend::Inline(Mutex::new(writer)),
            WriterMode::Driven(drive) => Backend::Driven(Mutex::new(writer), drive),
            WriterMode::Thread => {
                let thread = std::thread::Builder::new()
                    .name("revoada-log".into())
                    .spawn(move || writer.run())
                    .map_err(OpenError::io("start the writer thread for", dir))?;
                Backend::Thread(Mutex::new(Some(thread)))
            }
        };
        Ok(Self(Arc::new(Handle {
            shared,
            recovered: found.recovered,
            backend,
        })))
    }

    /// What opening found.
    pub fn recovered(&self) -> &Recovered {
        &self.0.recovered
    }

    /// Appends entries, consecutive by index and following the last one. They can be read as soon as this returns;
    /// `done` reports when they are durable. In a log without entries and purge marker the first may have any index.
    ///
    /// Blocks while more than [`LogOptions::queue_bytes`] wait. At most [`APPEND_BYTES_MAX`] bytes a call.
    pub fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) {
        let data: usize = entries.iter().map(|(_, data)| data.len()).sum();
        let bytes = data + entries.len() * ENTRY_HEADER;
        self.submit(bytes, APPEND_BYTES_MAX, done, |memory| memory.append(entries));
    }

    /// Removes the entries after `last_kept`, all if `None`.
    pub fn truncate_after(&self, last_kept: Option<u64>, done: Done) {
        self.submit(16, usize::MAX, done, |memory| memory.truncate_after(last_kept));
    }

    /// Removes the entries up to `index`, which may be beyond the last; the next entry appended to a log thus emptied
    /// is `index + 1`. `marker` (at most [`STATE_BYTES_MAX`] bytes) is kept with it, see [`purged`](Self::purged).
    /// Does nothing if as much is purged already.
    pub fn purge_to(&self, index: u64, marker: Bytes, done: Done) {
        self.submit(marker.len(), STATE_BYTES_MAX, done, |memory| {
            memory.purge_to(index, marker)
        });
    }

    /// Sets a state slot, at most [`STATE_BYTES_MAX`] bytes. [`state`](Self::state) shows it at once.
    ///
    /// If not `durable`, `done` doesn't wait for the disk: the value gets there with the next write, after
    /// [`LogOptions::lazy_flush`], or at close, whichever is first.
    pub fn put_state(&self, slot: u8, value: Bytes, durable: bool, done: Done) {
        self.submit(value.len(), STATE_BYTES_MAX, done, |memory| {
            memory.put_state(slot, value, durable)
        });
    }

    fn submit(&self, bytes: usize, bytes_max: usize, done: Done, apply: impl FnOnce(&mut Memory) -> Op) {
        let shared = &self.0.shared;
        {
            let mut memory = self.wait_for_room(bytes);
            let op = match memory.refusal() {
                Some(error) if memory.closing => {
                    // The writer may be gone: nobody would take this from the queue.
                    drop(memory);
                    return done(Err(error));
                }
                Some(error) => Op::Refused(error),
                None if bytes > bytes_max => Op::Refused(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{bytes} bytes in one call to the log, at most {bytes_max} are allowed"),
                )),
                None => apply(&mut memory),
            };
            memory.queue_bytes += bytes;
            memory.queue.push_back(Call { op, done, bytes });
        }
        match &self.0.backend {
            Backend::Thread(_) => {
                shared.work.notify_one();
            }
            Backend::Inline(writer) => shared.drain(writer),
            Backend::Driven(_, drive) => drive(Drain(Arc::downgrade(&self.0))),
        }
    }

    fn wait_for_room(&self, bytes: usize) -> MutexGuard<'_, Memory> {
        let shared = &self.0.shared;
        let mut memory = shared.memory.lock();
        while memory.queue_bytes > 0
            && memory.queue_bytes.saturating_add(bytes) > shared.queue_bytes_max
            && memory.refusal().is_none()
            && memory.writer != Some(std::thread::current().id())
            // Nobody else would make room.
            && matches!(self.0.backend, Backend::Thread(_))
        {
            shared.room.wait(&mut memory);
        }
        memory
    }

    /// Value of a state slot, durable or not.
    pub fn state(&self, slot: u8) -> Option<Bytes> {
        self.0.shared.memory.lock().view.states.get(&slot).cloned()
    }

    /// The highest purged index and its marker.
    pub fn purged(&self) -> Option<(u64, Bytes)> {
        self.0.shared.memory.lock().view.purged.clone()
    }

    /// Index of the first entry, `None` if there is none.
    pub fn first_index(&self) -> Option<u64> {
        let memory = self.0.shared.memory.lock();
        if memory.view.is_empty() {
            None
        } else {
            Some(memory.view.first)
        }
    }

    /// Index of the last entry, `None` if there is none.
    pub fn last_index(&self) -> Option<u64> {
        self.0.shared.memory.lock().view.last()
    }

    /// Whether entry `index` is in memory, so that reading from there on touches no disk: cached entries are always
    /// the newest ones.
    pub fn is_cached(&self, index: u64) -> bool {
        self.0.shared.memory.lock().is_cached(index)
    }

    /// The entries of `range` that the log has, in order and without holes. Those before the first or after the last
    /// are left out; it stops before exceeding `max_bytes`, but not before the first entry. Appends, truncations and
    /// purges made meanwhile don't change the result.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let pieces = {
            let memory = self.0.shared.memory.lock();
            if let Some(error) = memory.refusal() {
                return Err(error);
            }
            memory.pieces(range, max_bytes)?
        };
        let mut entries = Vec::with_capacity(pieces.len());
        let mut run: Vec<(u64, Slot)> = Vec::new();
        let mut from: Option<Arc<Segment>> = None;
        for (index, piece) in pieces {
            match piece {
                Piece::Cached(data) => {
                    read_run(from.as_deref(), &mut run, &mut entries)?;
                    entries.push((index, data));
                }
                Piece::OnDisk { segment, slot } => {
                    let joins = from.as_ref().is_some_and(|from| from.seq == segment.seq)
                        && run
                            .first()
                            .zip(run.last())
                            .is_none_or(|((_, first), (_, last))| follows(first, last, &slot));
                    if !joins {
                        read_run(from.as_deref(), &mut run, &mut entries)?;
                        from = Some(segment);
                    }
                    run.push((index, slot));
                }
            }
        }
        read_run(from.as_deref(), &mut run, &mut entries)?;
        Ok(entries)
    }

    /// Counters since opening.
    pub fn stats(&self) -> LogStats {
        self.0.shared.memory.lock().stats()
    }

    /// Writes and reports what is queued, ends the writer and returns the error that stopped the log, if one did.
    /// Later calls through other clones fail. Called from a callback, it doesn't wait for the writer's end.
    pub fn close(self) -> io::Result<()> {
        self.0.shut_down();
        match &self.0.shared.memory.lock().poisoned {
            Some(poisoned) => Err(poisoned.to_io()),
            None => Ok(()),
        }
    }
}

impl Handle {
    fn shut_down(&self) {
        {
            let mut memory = self.shared.memory.lock();
            memory.closing = true;
            self.shared.work.notify_all();
            self.shared.room.notify_all();
        }
        match &self.backend {
            Backend::Thread(thread) => {
                let thread = thread.lock().take();
                if let Some(thread) = thread
                    && thread.thread().id() != std::thread::current().id()
                    && thread.join().is_err()
                {
                    tracing::error!("the log's writer thread panicked");
                }
            }
            Backend::Inline(writer) | Backend::Driven(writer, _) => {
                // Taken only when closing from within a callback; the outer call goes on writing then.
                if let Some(mut writer) = writer.try_lock() {
                    writer.drain();
                    writer.finish();
                }
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// Whether an entry is better read together with the run before it.
fn follows(first: &Slot, last: &Slot, next: &Slot) -> bool {
    const RUN_BYTES_MAX: u64 = 1 << 20;
    const GAP_BYTES_MAX: u64 = 4 << 10;
    let end = |slot: &Slot| u64::from(slot.offset) + ENTRY_HEADER as u64 + u64::from(slot.len);
    u64::from(next.offset) >= end(last)
        && u64::from(next.offset) - end(last) <= GAP_BYTES_MAX
        && end(next) - u64::from(first.offset) <= RUN_BYTES_MAX
}

/// Reads entries that lie close together in one segment with one read, and checks each.
fn read_run(from: Option<&Segment>, run: &mut Vec<(u64, Slot)>, entries: &mut Vec<(u64, Bytes)>) -> io::Result<()> {
    let (Some(segment), Some((_, first)), Some((_, last))) = (from, run.first(), run.last()) else {
        return Ok(());
    };
    let start = first.offset as usize;
    let end = last.offset as usize + ENTRY_HEADER + last.len as usize;
    let mut buffer = vec![0; end - start];
    crate::disk::read_exact_at(&*segment.file, start as u64, &mut buffer)?;
    let buffer = Bytes::from(buffer);
    for (index, slot) in run.drain(..) {
        let at = slot.offset as usize - start;
        let len = slot.len as usize;
        let record = buffer.get(at..at + ENTRY_HEADER + len).unwrap_or_default();
        if record::entry_at(record, index).is_none_or(|data| data.len() != len) {
            let damaged = DamagedEntry {
                path: segment.path.clone(),
                offset: u64::from(slot.offset),
                index,
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, damaged));
        }
        entries.push((index, buffer.slice(at + ENTRY_HEADER..at + ENTRY_HEADER + len)));
    }
    Ok(())
}

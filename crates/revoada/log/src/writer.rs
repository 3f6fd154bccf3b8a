//! The writer: takes what waits, writes it as one frame, syncs once, then reports in order.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::disk::Disk;
use crate::error::Poisoned;
use crate::frame::{self, FRAME_HEADER};
use crate::log::{Done, Shared};
use crate::memory::{Call, Op};
use crate::options::LogOptions;
use crate::record::Record;
use crate::recover::Used;
use crate::replay::Replay;
use crate::segment::{self, Active};

pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    shared: Arc<Shared>,
    /// What is on disk.
    durable: Replay,
    active: Active,
    /// All segments, oldest first, the active one last.
    used: VecDeque<Used>,
    /// States that wait for the next frame.
    lazy: BTreeMap<u8, Bytes>,
    /// When they are written even if nothing else is.
    lazy_deadline: Option<Instant>,
    /// Whether a frame was written since the log was opened.
    wrote: bool,
    buffer: Vec<u8>,
}

/// An entry in the buffer: its append call's stamp, its index, the offset of its record in the frame.
type Placed = (u64, u64, usize);

impl Writer {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        shared: Arc<Shared>,
        durable: Replay,
        active: Active,
        used: VecDeque<Used>,
    ) -> Self {
        Self {
            disk,
            dir,
            options,
            shared,
            durable,
            active,
            used,
            lazy: BTreeMap::new(),
            lazy_deadline: None,
            wrote: false,
            buffer: Vec::new(),
        }
    }

    /// The body of the writer's thread: ends when the log is closed and everything queued is reported.
    pub(crate) fn run(mut self) {
        self.shared.memory.lock().writer = Some(std::thread::current().id());
        loop {
            let batch = {
                let mut memory = self.shared.memory.lock();
                while memory.queue.is_empty() && !memory.closing {
                    match self.lazy_deadline {
                        None => self.shared.work.wait(&mut memory),
                        Some(deadline) => {
                            if self.shared.work.wait_until(&mut memory, deadline).timed_out() {
                                break;
                            }
                        }
                    }
                }
                if memory.queue.is_empty() && memory.closing {
                    break;
                }
                self.shared.take_batch(&mut memory, self.options.batch_bytes)
            };
            self.commit(batch, false);
        }
        self.finish();
    }

    /// Writes what is queued on the calling thread.
    pub(crate) fn drain(&mut self) {
        loop {
            let batch = {
                let mut memory = self.shared.memory.lock();
                if memory.queue.is_empty() {
                    memory.writer = None;
                    return;
                }
                memory.writer = Some(std::thread::current().id());
                self.shared.take_batch(&mut memory, self.options.batch_bytes)
            };
            self.commit(batch, false);
        }
    }

    /// Ends the log with a frame: should the frame before it rot on disk, it can't be mistaken for a torn tail.
    pub(crate) fn finish(&mut self) {
        if self.wrote || !self.lazy.is_empty() {
            self.commit(Vec::new(), true);
        }
        self.wrote = false;
    }

    /// Makes a batch durable and reports it. A batch without calls writes the waiting states.
    fn commit(&mut self, batch: Vec<Call>, last: bool) {
        let poisoned = self.shared.memory.lock().poisoned.clone();
        let mut placed = Vec::new();
        let outcome = match poisoned {
            Some(poisoned) => Err(poisoned),
            None => self.write(&batch, last, &mut placed),
        };
        if let Err(poisoned) = &outcome {
            let mut memory = self.shared.memory.lock();
            if memory.poisoned.is_none() {
                tracing::error!(error = %poisoned, "the log stops");
                memory.poisoned = Some(poisoned.clone());
            }
            self.shared.room.notify_all();
            self.lazy.clear();
            self.lazy_deadline = None;
        }
        for call in batch {
            let result = match (&outcome, call.op) {
                (_, Op::Refused(error)) => Err(error),
                (Ok(()), _) => Ok(()),
                (Err(poisoned), _) => Err(poisoned.to_io()),
            };
            report(call.done, result);
        }
        if outcome.is_ok() {
            self.remove_purged();
        }
    }

    fn write(&mut self, batch: &[Call], last: bool, placed: &mut Vec<Placed>) -> Result<(), Poisoned> {
        let must = last
            || batch.is_empty()
            || batch
                .iter()
                .any(|call| !matches!(call.op, Op::Nothing | Op::Refused(_) | Op::State { durable: false, .. }));
        if !must {
            for call in batch {
                if let Op::State { slot, value, .. } = &call.op {
                    self.lazy.insert(*slot, value.clone());
                    self.lazy_deadline
                        .get_or_insert_with(|| Instant::now() + self.options.lazy_flush);
                }
            }
            return Ok(());
        }
        self.fill_buffer(batch, placed);
        if self.active.pos + self.buffer.len() as u64 > self.active.capacity {
            self.rotate()?;
        }
        let (seq, pos) = (self.active.segment.seq, self.active.pos);
        frame::seal(&mut self.buffer, seq, pos);
        let segment = self.active.segment.clone();
        segment
            .file
            .write_at(pos, &self.buffer)
            .map_err(Poisoned::new("write", &segment.path))?;
        let started = Instant::now();
        #[cfg(feature = "mutations")]
        let must_sync = !sim_mutation::is("skip-fsync");
        #[cfg(not(feature = "mutations"))]
        let must_sync = true;
        if must_sync {
            segment.file.sync_data().map_err(Poisoned::new("sync", &segment.path))?;
        }
        let took = started.elapsed();
        self.active.pos = frame::align(pos as usize + self.buffer.len()) as u64;
        self.wrote = true;
        self.note_durable(batch);

        let mut memory = self.shared.memory.lock();
        for (stamp, index, offset) in placed.iter() {
            memory.locate(*stamp, *index, seq, (pos as usize + offset) as u32);
        }
        memory.evict();
        let stats = &mut memory.stats;
        stats.entries_appended += placed.len() as u64;
        stats.frames += 1;
        stats.fsyncs += 1;
        stats.bytes_written += self.buffer.len() as u64;
        stats.fsync_total += took;
        stats.fsync_max = stats.fsync_max.max(took);
        if !batch.is_empty() {
            stats.count_batch(batch.len());
        }
        Ok(())
    }

    fn fill_buffer(&mut self, batch: &[Call], placed: &mut Vec<Placed>) {
        const KEPT_BYTES: usize = 8 << 20;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BYTES);
        self.buffer.resize(FRAME_HEADER, 0);
        for (slot, value) in &self.lazy {
            Record::State { slot: *slot, value }.encode(&mut self.buffer);
        }
        for call in batch {
            match &call.op {
                Op::Append { stamp, entries } => {
                    for (index, data) in entries {
                        placed.push((*stamp, *index, self.buffer.len()));
                        Record::Entry { index: *index, data }.encode(&mut self.buffer);
                    }
                }
                Op::TruncateAfter(last_kept) => {
                    Record::TruncateAfter { last_kept: *last_kept }.encode(&mut self.buffer);
                }
                Op::PurgeTo(index, marker) => {
                    Record::PurgeTo { index: *index, marker }.encode(&mut self.buffer);
                }
                Op::State { slot, value, .. } => {
                    Record::State { slot: *slot, value }.encode(&mut self.buffer);
                }
                Op::Nothing | Op::Refused(_) => {}
            }
        }
    }

    /// Goes on in a new segment that has room for the buffer.
    fn rotate(&mut self) -> Result<(), Poisoned> {
        let active = segment::create(
            &*self.disk,
            &self.dir,
            self.active.segment.seq + 1,
            &self.durable,
            self.active.pos,
            self.options.segment_bytes,
            self.buffer.len(),
        )?;
        let segment = active.segment.clone();
        self.used.push_back(Used {
            segment: segment.clone(),
            max_index: None,
        });
        self.active = active;
        let mut memory = self.shared.memory.lock();
        memory.stats.frames += 1;
        memory.stats.fsyncs += 1;
        memory.stats.bytes_written += self.active.pos;
        memory.segments.insert(segment.seq, segment);
        Ok(())
    }

    /// Brings what is known of the disk up to a batch that is on it.
    fn note_durable(&mut self, batch: &[Call]) {
        self.lazy_deadline = None;
        for (slot, value) in std::mem::take(&mut self.lazy) {
            self.durable.put_state(slot, value);
        }
        for call in batch {
            // Calls were checked against a view that is ahead of this one by exactly the calls between.
            let checked = match &call.op {
                Op::Append { entries, .. } => {
                    if let (Some(used), Some((index, _))) = (self.used.back_mut(), entries.last()) {
                        used.max_index = Some(*index);
                    }
                    entries.iter().try_for_each(|(index, _)| self.durable.append(*index))
                }
                Op::TruncateAfter(last_kept) => {
                    let checked = self.durable.truncate_after(*last_kept);
                    let last = self.durable.last();
                    for used in &mut self.used {
                        used.max_index = used.max_index.min(last);
                    }
                    checked
                }
                Op::PurgeTo(index, marker) => {
                    self.durable.purge_to(*index, marker);
                    Ok(())
                }
                Op::State { slot, value, .. } => {
                    self.durable.put_state(*slot, value.clone());
                    Ok(())
                }
                Op::Nothing | Op::Refused(_) => Ok(()),
            };
            debug_assert_eq!(checked, Ok(()));
        }
    }

    /// Removes the oldest segments as far as all their entries are purged. Failing that is no harm: the next purge,
    /// or the next start, tries again. Nor need the removal be synced: recovery removes what comes back.
    pub(crate) fn remove_purged(&mut self) {
        let purged = self.durable.purged_index();
        while self.used.len() > 1 {
            let Some(oldest) = self.used.front() else { break };
            if oldest.max_index.is_some() && oldest.max_index > purged {
                break;
            }
            if let Err(error) = self.disk.remove(&oldest.segment.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %oldest.segment.path.display(), %error, "cannot remove a purged log segment");
                break;
            }
            self.shared.memory.lock().segments.remove(&oldest.segment.seq);
            self.used.pop_front();
        }
    }
}

fn report(done: Done, result: io::Result<()>) {
    // A callback is foreign code: if it panics, the calls behind it must still be reported.
    if catch_unwind(AssertUnwindSafe(move || done(result))).is_err() {
        tracing::error!("a completion callback of the log panicked");
    }
}

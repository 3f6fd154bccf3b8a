//! What calls see: entries, states and counters in memory, and the queue to the writer.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread::ThreadId;

use bytes::Bytes;

use crate::error::Poisoned;
use crate::log::Done;
use crate::replay::Replay;
use crate::segment::Segment;
use crate::stats::LogStats;

/// Where an entry is. While it waits for the writer, the number of the append call it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    place: u64,
    /// Offset of its record in the segment.
    pub(crate) offset: u32,
    /// Length of its data.
    pub(crate) len: u32,
}

const PENDING: u64 = 1 << 63;

impl Slot {
    pub(crate) fn located(seq: u64, offset: u32, len: u32) -> Self {
        Self {
            place: seq,
            offset,
            len,
        }
    }

    fn pending(stamp: u64, len: u32) -> Self {
        Self {
            place: PENDING | stamp,
            offset: 0,
            len,
        }
    }

    /// The segment, once the entry is durable.
    pub(crate) fn segment(&self) -> Option<u64> {
        if self.place & PENDING == 0 {
            Some(self.place)
        } else {
            None
        }
    }
}

/// One call on its way to the writer.
pub(crate) struct Call {
    pub(crate) op: Op,
    pub(crate) done: Done,
    pub(crate) bytes: usize,
}

pub(crate) enum Op {
    Append {
        stamp: u64,
        entries: Vec<(u64, Bytes)>,
    },
    TruncateAfter(Option<u64>),
    PurgeTo(u64, Bytes),
    State {
        slot: u8,
        value: Bytes,
        durable: bool,
    },
    /// Changes nothing; completes in its turn.
    Nothing,
    /// Was refused; fails in its turn.
    Refused(io::Error),
}

/// An entry to read: from memory or from a segment.
pub(crate) enum Piece {
    Cached(Bytes),
    OnDisk { segment: Arc<Segment>, slot: Slot },
}

/// State behind the log's one lock. No I/O happens under it.
pub(crate) struct Memory {
    /// What calls so far add up to, durable or not.
    pub(crate) view: Replay,
    /// One per entry of `view`.
    slots: VecDeque<Slot>,
    /// Data of the newest entries; the last is that of the last entry.
    cache: VecDeque<Bytes>,
    cache_bytes: usize,
    cache_bytes_max: usize,
    next_stamp: u64,
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) queue: VecDeque<Call>,
    pub(crate) queue_bytes: usize,
    pub(crate) closing: bool,
    pub(crate) poisoned: Option<Poisoned>,
    /// The thread that writes now: it must never wait for room in the queue.
    pub(crate) writer: Option<ThreadId>,
    pub(crate) stats: LogStats,
}

impl Memory {
    pub(crate) fn new(view: Replay, slots: VecDeque<Slot>, cache_bytes_max: usize) -> Self {
        Self {
            view,
            slots,
            cache: VecDeque::new(),
            cache_bytes: 0,
            cache_bytes_max,
            next_stamp: 0,
            segments: BTreeMap::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            closing: false,
            poisoned: None,
            writer: None,
            stats: LogStats::default(),
        }
    }

    /// The error that calls get once the log can't serve them.
    pub(crate) fn refusal(&self) -> Option<io::Error> {
        if let Some(poisoned) = &self.poisoned {
            return Some(poisoned.to_io());
        }
        self.closing.then(|| io::Error::other("the log is closed"))
    }

    /// Makes entries readable; all or none.
    pub(crate) fn append(&mut self, entries: Vec<(u64, Bytes)>) -> Op {
        let Some((first, _)) = entries.first() else {
            return Op::Nothing;
        };
        let consecutive = entries
            .windows(2)
            .all(|pair| pair[0].0.checked_add(1) == Some(pair[1].0));
        let refused = |what: String| Op::Refused(io::Error::new(io::ErrorKind::InvalidInput, what));
        if !consecutive {
            return refused(format!("the entries that begin with {first} are not consecutive"));
        }
        let stamp = self.next_stamp;
        for (index, data) in &entries {
            // Only the first can fail, and the last if the numbers end.
            if let Err(what) = self.view.append(*index) {
                return refused(what);
            }
            self.slots.push_back(Slot::pending(stamp, data.len() as u32));
            self.cache.push_back(data.clone());
            self.cache_bytes += data.len();
        }
        self.next_stamp += 1;
        self.evict();
        Op::Append { stamp, entries }
    }

    pub(crate) fn truncate_after(&mut self, last_kept: Option<u64>) -> Op {
        let before = self.view.next;
        if let Err(what) = self.view.truncate_after(last_kept) {
            return Op::Refused(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        if self.view.next == before {
            return Op::Nothing;
        }
        for _ in self.view.next..before {
            self.slots.pop_back();
            self.cache_bytes -= self.cache.pop_back().map_or(0, |data| data.len());
        }
        Op::TruncateAfter(last_kept)
    }

    pub(crate) fn purge_to(&mut self, index: u64, marker: Bytes) -> Op {
        if !self.view.purge_to(index, &marker) {
            return Op::Nothing;
        }
        let live = self.view.next - self.view.first;
        while self.slots.len() as u64 > live {
            self.slots.pop_front();
        }
        while self.cache.len() > self.slots.len() {
            self.cache_bytes -= self.cache.pop_front().map_or(0, |data| data.len());
        }
        Op::PurgeTo(index, marker)
    }

    pub(crate) fn put_state(&mut self, slot: u8, value: Bytes, durable: bool) -> Op {
        self.view.put_state(slot, value.clone());
        Op::State { slot, value, durable }
    }

    /// Notes where a durable entry is, unless it was replaced or dropped since.
    pub(crate) fn locate(&mut self, stamp: u64, index: u64, seq: u64, offset: u32) {
        let Some(at) = index.checked_sub(self.view.first) else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(at as usize)
            && slot.place == PENDING | stamp
        {
            *slot = Slot::located(seq, offset, slot.len);
        }
    }

    /// Drops the oldest data from memory down to the bound, but none that isn't durable.
    pub(crate) fn evict(&mut self) {
        while self.cache_bytes > self.cache_bytes_max {
            let oldest = self.slots.len() - self.cache.len();
            if self.slots.get(oldest).is_none_or(|slot| slot.segment().is_none()) {
                break;
            }
            self.cache_bytes -= self.cache.pop_front().map_or(0, |data| data.len());
        }
    }

    /// Whether entry `index` is in memory.
    pub(crate) fn is_cached(&self, index: u64) -> bool {
        (self.view.next - self.cache.len() as u64..self.view.next).contains(&index)
    }

    /// The entries of `range` that exist, as many as `max_bytes` allows but at least one.
    pub(crate) fn pieces(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<(u64, Piece)>> {
        let indexes = range.start.max(self.view.first)..range.end.min(self.view.next);
        let cached_from = self.slots.len() - self.cache.len();
        let mut pieces = Vec::new();
        let mut bytes = 0usize;
        for index in indexes {
            let at = (index - self.view.first) as usize;
            let hole = || io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index} is nowhere"));
            let slot = self.slots.get(at).ok_or_else(hole)?;
            bytes = bytes.saturating_add(slot.len as usize);
            if bytes > max_bytes && !pieces.is_empty() {
                break;
            }
            let piece = match at.checked_sub(cached_from).and_then(|at| self.cache.get(at)) {
                Some(data) => Piece::Cached(data.clone()),
                None => {
                    let segment = slot
                        .segment()
                        .and_then(|seq| self.segments.get(&seq))
                        .ok_or_else(hole)?;
                    Piece::OnDisk {
                        segment: segment.clone(),
                        slot: *slot,
                    }
                }
            };
            pieces.push((index, piece));
        }
        Ok(pieces)
    }

    pub(crate) fn stats(&self) -> LogStats {
        LogStats {
            segments: self.segments.len(),
            entries: self.view.next - self.view.first,
            queued_bytes: self.queue_bytes,
            cached_bytes: self.cache_bytes,
            ..self.stats.clone()
        }
    }
}

//! Recovery: reads all segments back, cuts a torn tail and refuses a damaged middle.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, OpenMode, read_exact_at};
use crate::error::OpenError;
use crate::frame::{self, Parsed};
use crate::memory::Slot;
use crate::record::{Record, Records};
use crate::replay::Replay;
use crate::segment::{self, Active, BadHeader, SEGMENT_BYTES_MAX, SEGMENT_HEADER, Segment, TEMP_NAME, VERSION};

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Entries that can be read.
    pub entries: u64,
    /// Segment files they are in.
    pub segments: usize,
    /// Bytes of a write that a crash had interrupted, now zeroed. Nothing in them was ever acknowledged.
    pub cut_bytes: u64,
    /// File and offset where those bytes began.
    pub cut_at: Option<(PathBuf, u64)>,
}

/// A segment in use and the highest index of a live entry in it.
pub(crate) struct Used {
    pub(crate) segment: Arc<Segment>,
    pub(crate) max_index: Option<u64>,
}

pub(crate) struct Recovery {
    pub(crate) replay: Replay,
    /// Where the entries are; the last is entry `replay.next - 1`.
    pub(crate) slots: VecDeque<Slot>,
    pub(crate) used: VecDeque<Used>,
    /// `None` in a directory without a log.
    pub(crate) active: Option<Active>,
    pub(crate) recovered: Recovered,
}

/// Reads the log in `dir`, which must exist.
pub(crate) fn recover(disk: &dyn Disk, dir: &Path) -> Result<Recovery, OpenError> {
    let names = disk.list(dir).map_err(OpenError::io("list", dir))?;
    if names.iter().any(|name| name == TEMP_NAME) {
        let temp = dir.join(TEMP_NAME);
        disk.remove(&temp).map_err(OpenError::io("remove", &temp))?;
    }
    let mut seqs: Vec<u64> = names.iter().filter_map(|name| segment::parse_name(name)).collect();
    seqs.sort_unstable();
    // Removals of purged segments aren't synced, so older ones may be back after a power cut. Only the newest
    // unbroken run counts; if it needs a segment before it, its base record tells.
    let start = seqs
        .windows(2)
        .rposition(|pair| pair[0] + 1 != pair[1])
        .map_or(0, |at| at + 1);
    let (stale, run) = seqs.split_at(start);

    let mut reader = Reader {
        replay: Replay::default(),
        slots: VecDeque::new(),
        used: VecDeque::new(),
        recovered: Recovered::default(),
        prev: None,
    };
    let mut active = None;
    for (at, &seq) in run.iter().enumerate() {
        active = reader.segment(disk, dir, seq, at + 1 == run.len())?;
    }
    reader.check_complete(dir, run)?;
    for &seq in stale {
        let path = segment::path(dir, seq);
        disk.remove(&path).map_err(OpenError::io("remove", &path))?;
    }
    // A restart without a power cut may have come between a rename and its sync.
    disk.sync_dir(dir).map_err(OpenError::io("sync", dir))?;

    let mut recovered = reader.recovered;
    recovered.entries = reader.replay.next - reader.replay.first;
    recovered.segments = reader.used.len();
    Ok(Recovery {
        replay: reader.replay,
        slots: reader.slots,
        used: reader.used,
        active,
        recovered,
    })
}

struct Reader {
    replay: Replay,
    slots: VecDeque<Slot>,
    used: VecDeque<Used>,
    recovered: Recovered,
    /// Path of the previous segment, where its frames ended, and why there.
    prev: Option<(PathBuf, u64, &'static str)>,
}

impl Reader {
    fn segment(&mut self, disk: &dyn Disk, dir: &Path, seq: u64, is_last: bool) -> Result<Option<Active>, OpenError> {
        let path = segment::path(dir, seq);
        let mode = if is_last { OpenMode::Existing } else { OpenMode::Read };
        let file = disk.open(&path, mode).map_err(OpenError::io("open", &path))?;
        let capacity = file.len().map_err(OpenError::io("read the length of", &path))?;
        if capacity > SEGMENT_BYTES_MAX {
            return Err(OpenError::damaged(
                &path,
                SEGMENT_BYTES_MAX,
                "the file is longer than any segment",
            ));
        }
        let mut bytes = vec![0; capacity as usize];
        read_exact_at(&*file, 0, &mut bytes).map_err(OpenError::io("read", &path))?;
        match segment::check_header(&bytes, seq) {
            Ok(()) => {}
            Err(BadHeader::Version(version)) => {
                return Err(OpenError::UnknownVersion {
                    path,
                    version,
                    supported: VERSION,
                });
            }
            Err(BadHeader::Damaged(what)) => return Err(OpenError::damaged(&path, 0, what)),
        }

        let segment = Arc::new(Segment {
            seq,
            path: path.clone(),
            file,
        });
        self.used.push_back(Used {
            segment: segment.clone(),
            max_index: None,
        });
        let mut last_frame = SEGMENT_HEADER;
        let mut at = SEGMENT_HEADER;
        let (resume, why) = loop {
            match frame::parse(&bytes, at, seq) {
                Parsed::Frame { payload, next } => {
                    let payload_at = at + frame::FRAME_HEADER;
                    if at == SEGMENT_HEADER {
                        self.base(payload, &path)?;
                    } else {
                        self.frame(payload, payload_at, seq)
                            .map_err(|what| OpenError::damaged(&path, at as u64, what))?;
                    }
                    last_frame = at;
                    at = next;
                }
                Parsed::Bad { resume, why } => break (resume, why),
            }
        };
        if at == SEGMENT_HEADER {
            // The base frame was synced before the file got its name.
            return Err(OpenError::damaged(
                &path,
                at as u64,
                format!("the segment's base frame: {why}"),
            ));
        }
        if !is_last {
            self.prev = Some((path, at as u64, why));
            return Ok(None);
        }
        if let Some(valid) = frame::find_valid(&bytes, resume, seq) {
            return Err(OpenError::damaged(
                &path,
                at as u64,
                format!("{why}, yet a valid frame follows at byte {valid}: this is no interrupted write"),
            ));
        }
        let active = Active {
            segment,
            pos: at as u64,
            capacity,
        };
        self.settle_tail(&active, &bytes, last_frame)?;
        Ok(Some(active))
    }

    /// Zeroes what follows the last frame and makes sure that the last frame is on disk.
    fn settle_tail(&mut self, active: &Active, bytes: &[u8], last_frame: usize) -> Result<(), OpenError> {
        let Segment { path, file, .. } = &*active.segment;
        let end = (active.pos as usize).min(bytes.len());
        let torn = bytes[end..].iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        if torn > 0 {
            file.write_at(end as u64, &vec![0; torn])
                .map_err(OpenError::io("zero the torn tail of", path))?;
            self.recovered.cut_bytes = torn as u64;
            self.recovered.cut_at = Some((path.clone(), end as u64));
            tracing::warn!(path = %path.display(), offset = end, bytes = torn, "cut a write that a crash interrupted");
        }
        // After a failed sync the page cache may hold, as clean, a frame that never reached the disk. Writing it once
        // more makes it dirty again; to bytes that did reach the disk this changes nothing.
        file.write_at(last_frame as u64, &bytes[last_frame..end])
            .map_err(OpenError::io("write", path))?;
        file.sync_data().map_err(OpenError::io("sync", path))
    }

    fn base(&mut self, payload: &[u8], path: &Path) -> Result<(), OpenError> {
        let damaged = |what: String| OpenError::damaged(path, SEGMENT_HEADER as u64, what);
        let mut base = Replay::default();
        let mut prev_end = None;
        for (at, record) in Records::new(payload).map(|r| r.map(|(_, record)| record)).enumerate() {
            match record.map_err(damaged)? {
                Record::Base {
                    prev_end: end,
                    first,
                    next,
                } if at == 0 && first <= next => {
                    prev_end = Some(end);
                    (base.first, base.next) = (first, next);
                }
                record if at > 0 => base.apply(&record).map_err(damaged)?,
                _ => return Err(damaged("the segment does not begin with a base record".into())),
            }
        }
        let Some(prev_end) = prev_end else {
            return Err(damaged("the segment's base frame is empty".into()));
        };
        match &self.prev {
            None => self.replay = base,
            Some((prev_path, end, why)) => {
                if *end != prev_end {
                    let what = format!("{why}, but synced frames reach to byte {prev_end}");
                    return Err(OpenError::damaged(prev_path, *end, what));
                }
                if base != self.replay {
                    return Err(damaged("the base frame contradicts the segments before it".into()));
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, payload: &[u8], payload_at: usize, seq: u64) -> Result<(), String> {
        for record in Records::new(payload) {
            let (at, record) = record?;
            let next_before = self.replay.next;
            self.replay.apply(&record)?;
            match record {
                Record::Entry { index, data } => {
                    self.slots
                        .push_back(Slot::located(seq, (payload_at + at) as u32, data.len() as u32));
                    if let Some(used) = self.used.back_mut() {
                        used.max_index = Some(index);
                    }
                }
                Record::TruncateAfter { .. } => {
                    let last = self.replay.last();
                    for used in &mut self.used {
                        used.max_index = used.max_index.min(last);
                    }
                    // Entries in missing segments have no slot, so there may be fewer slots than entries.
                    let removed = (next_before - self.replay.next) as usize;
                    self.slots.truncate(self.slots.len().saturating_sub(removed));
                }
                Record::PurgeTo { .. } => {
                    let live = self.replay.next - self.replay.first;
                    while self.slots.len() as u64 > live {
                        self.slots.pop_front();
                    }
                }
                Record::State { .. } | Record::Base { .. } => {}
            }
        }
        Ok(())
    }

    /// Entries that a base record speaks of and no purge has removed since must have been read.
    fn check_complete(&self, dir: &Path, run: &[u64]) -> Result<(), OpenError> {
        let missing = self.replay.next - self.replay.first - self.slots.len() as u64;
        match run.first() {
            Some(first) if missing > 0 => {
                let (from, to) = (self.replay.first, self.replay.first + missing - 1);
                let path = segment::path(dir, first.saturating_sub(1));
                let what = format!("the file is missing; entries {from} to {to} were in it or in files before it");
                Err(OpenError::damaged(&path, 0, what))
            }
            _ => Ok(()),
        }
    }
}

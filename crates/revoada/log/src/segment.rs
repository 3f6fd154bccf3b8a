//! Segment files: names, header, and how a new one comes to be.
//!
//! A segment is made whole under a temporary name (space allocated, header and base frame written and synced) and then
//! renamed. So a file that has a segment's name has a valid header and base frame, or it is damaged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::Poisoned;
use crate::frame::{self, FRAME_HEADER};
use crate::replay::Replay;

pub(crate) const SEGMENT_HEADER: usize = 40;
/// No segment is longer: it holds one frame of the largest append and batch, and all states, with room to spare.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;
pub(crate) const VERSION: u32 = 1;
pub(crate) const TEMP_NAME: &str = "segment.tmp";
const MAGIC: [u8; 8] = *b"RVDALOG\n";

/// A segment file opened for reading entries, and for writing if it is the last.
pub(crate) struct Segment {
    pub(crate) seq: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// The segment that is written to.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    /// Where the next frame goes.
    pub(crate) pos: u64,
    /// Length of the file.
    pub(crate) capacity: u64,
}

pub(crate) fn path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("log-{seq:016x}.seg"))
}

/// The number in a segment's file name.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let hex = name.strip_prefix("log-")?.strip_suffix(".seg")?;
    let ours = hex.len() == 16 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if ours { u64::from_str_radix(hex, 16).ok() } else { None }
}

pub(crate) fn encode_header(seq: u64) -> [u8; SEGMENT_HEADER] {
    let mut header = [0; SEGMENT_HEADER];
    header[0..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&seq.to_le_bytes());
    let crc = crc32c::crc32c(&header[..32]);
    header[32..36].copy_from_slice(&crc.to_le_bytes());
    header
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Version(u32),
    Damaged(&'static str),
}

/// Checks a segment's header. Magic, checksum and their places are the same in every version.
pub(crate) fn check_header(bytes: &[u8], seq: u64) -> Result<(), BadHeader> {
    let Some(header) = bytes.first_chunk::<SEGMENT_HEADER>() else {
        return Err(BadHeader::Damaged("the file is shorter than a segment header"));
    };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if header[0..8] != MAGIC {
        return Err(BadHeader::Damaged("this is not the header of a log segment"));
    }
    if crc32c::crc32c(&header[..32]) != word(32) {
        return Err(BadHeader::Damaged("the checksum of the segment header does not match"));
    }
    if word(8) != VERSION {
        return Err(BadHeader::Version(word(8)));
    }
    if header[16..24] != seq.to_le_bytes() {
        return Err(BadHeader::Damaged("the segment header has another segment's number"));
    }
    Ok(())
}

/// Makes segment `seq` with room for at least `room` bytes of frames after its base frame.
pub(crate) fn create(
    disk: &dyn Disk,
    dir: &Path,
    seq: u64,
    base: &Replay,
    prev_end: u64,
    size: u64,
    room: usize,
) -> Result<Active, Poisoned> {
    let mut frame = vec![0; FRAME_HEADER];
    base.encode_base(prev_end, &mut frame);
    frame::seal(&mut frame, seq, SEGMENT_HEADER as u64);
    let mut start = encode_header(seq).to_vec();
    start.extend_from_slice(&frame);
    let pos = frame::align(start.len());
    let capacity = size.max(frame::align(pos + room) as u64);

    let temp = dir.join(TEMP_NAME);
    if disk.exists(&temp).map_err(Poisoned::new("look for", &temp))? {
        disk.remove(&temp).map_err(Poisoned::new("remove", &temp))?;
    }
    let file = disk
        .open(&temp, OpenMode::Create)
        .map_err(Poisoned::new("create", &temp))?;
    file.allocate(capacity)
        .map_err(Poisoned::new("allocate space for", &temp))?;
    file.write_at(0, &start).map_err(Poisoned::new("write", &temp))?;
    file.sync_data().map_err(Poisoned::new("sync", &temp))?;
    let path = path(dir, seq);
    disk.rename(&temp, &path)
        .map_err(Poisoned::new("rename a new segment to", &path))?;
    disk.sync_dir(dir).map_err(Poisoned::new("sync", dir))?;
    Ok(Active {
        segment: Arc::new(Segment { seq, path, file }),
        pos: pos as u64,
        capacity,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_headers_read_back() {
        assert_eq!(parse_name("log-00000000000000ff.seg"), Some(255));
        for name in [
            "log-ff.seg",
            "log-00000000000000FF.seg",
            "log-00000000000000ff.seg.bak",
            TEMP_NAME,
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
        let header = encode_header(9);
        assert_eq!(check_header(&header, 9), Ok(()));
        assert!(matches!(check_header(&header, 8), Err(BadHeader::Damaged(_))));
        for at in 0..36 {
            let mut harmed = header;
            harmed[at] ^= 1;
            assert!(
                matches!(check_header(&harmed, 9), Err(BadHeader::Damaged(_))),
                "byte {at}"
            );
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut header = encode_header(1);
        header[8] = 2;
        let crc = crc32c::crc32c(&header[..32]);
        header[32..36].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(check_header(&header, 1), Err(BadHeader::Version(2)));
    }
}

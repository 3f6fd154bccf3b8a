//! Bytes that rot, files that vanish: what is a torn tail, what is damage.

use std::path::PathBuf;

use bytes::Bytes;
use revoada_log::{DamagedEntry, Disk, Log, LogOptions, OpenError};

use crate::model::Model;
use crate::util::{all, dir, entry, inline, sync};
use revoada_log::testing::FaultDisk;

fn segment(seq: u64) -> PathBuf {
    dir().join(format!("log-{seq:016x}.seg"))
}

/// A disk with a log of several segments that was never closed; the log before its last call; the whole log.
fn filled() -> (FaultDisk, Model, Model) {
    let disk = FaultDisk::new();
    let log = Log::open(disk.arc(), dir(), inline()).unwrap();
    sync(|done| log.put_state(0, Bytes::from_static(b"vote"), true, done)).unwrap();
    for index in 0..10 {
        sync(|done| log.append(vec![entry(index, 0, 397)], done)).unwrap();
    }
    let before = Model::of(&log);
    sync(|done| log.append(vec![entry(10, 0, 301)], done)).unwrap();
    let whole = Model::of(&log);
    (disk.copy(), before, whole)
}

fn open(disk: &FaultDisk) -> Result<Log, OpenError> {
    Log::open(disk.arc(), dir(), inline())
}

/// Offset behind the last byte that isn't zero.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1)
}

#[test]
fn every_flipped_bit_is_harmless_or_a_torn_tail_or_refused() {
    let (disk, before, whole) = filled();
    let files = disk.files();
    assert!(files.len() >= 3, "{files:?}");
    let last = files.last().unwrap();
    let last_bytes = disk.read_file(last);
    // The last frame: header of 16 bytes, record header of 17, data of 301.
    let last_frame = used(&last_bytes) - (16 + 17 + 301);
    for path in &files {
        let bytes = disk.read_file(path);
        let end = used(&bytes);
        let mut harmless = 0;
        for at in 0..bytes.len() {
            let harmed = disk.copy();
            harmed.edit(path, |bytes| bytes[at] ^= 1 << (at % 8));
            let context = format!("{} byte {at} of {end} used", path.display());
            match open(&harmed) {
                Err(error @ OpenError::Damaged { .. }) => {
                    assert!(at < end, "{context}: {error}");
                    assert!(path != last || at < last_frame, "{context}: {error}");
                    let OpenError::Damaged {
                        path: named, offset, ..
                    } = &error
                    else {
                        unreachable!()
                    };
                    assert_eq!(named, path, "{context}: {error}");
                    assert!(*offset <= at as u64, "{context}: {error}");
                }
                Err(error) => panic!("{context}: {error}"),
                Ok(log) if path == last && (last_frame..end).contains(&at) => {
                    assert_eq!(Model::of(&log), before, "{context}");
                    assert_eq!(
                        log.recovered().cut_at,
                        Some((path.clone(), last_frame as u64)),
                        "{context}"
                    );
                    assert_eq!(log.recovered().cut_bytes, (end - last_frame) as u64, "{context}");
                }
                Ok(log) => {
                    assert_eq!(Model::of(&log), whole, "{context}");
                    harmless += usize::from(at < end);
                    assert_eq!(
                        log.recovered().cut_bytes > 0,
                        path == last && at >= end.next_multiple_of(8),
                        "{context}"
                    );
                }
            }
        }
        // Fill bytes of the header and between frames carry nothing.
        assert!(
            harmless <= 4 + 7 * 8,
            "{}: {harmless} bytes of {end} are not protected",
            path.display()
        );
    }
}

#[test]
fn a_flip_in_the_last_frame_of_a_closed_log_is_refused() {
    let (disk, _, whole) = filled();
    let log = open(&disk).unwrap();
    sync(|done| log.put_state(0, Bytes::from_static(b"vote"), true, done)).unwrap();
    log.close().unwrap();
    let last = disk.files().pop().unwrap();
    let found = open(&disk.copy()).unwrap();
    assert_eq!(Model::of(&found), whole);
    disk.edit(&last, |bytes| {
        let vote = bytes.windows(4).rposition(|window| window == b"vote").unwrap();
        bytes[vote] ^= 1;
    });
    assert!(matches!(open(&disk), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_missing_segment_is_refused_unless_all_in_it_was_purged() {
    let (disk, _, _) = filled();
    let count = disk.files().len() as u64;
    for seq in 1..count {
        let harmed = disk.copy();
        harmed.remove(&segment(seq)).unwrap();
        let Err(OpenError::Damaged { path, what, .. }) = open(&harmed) else {
            panic!("segment {seq} is missing")
        };
        assert_eq!(path, segment(seq));
        assert!(what.contains("missing"), "{what}");
    }

    let log = open(&disk).unwrap();
    sync(|done| log.purge_to(9, Bytes::from_static(b"m"), done)).unwrap();
    assert_eq!(log.stats().segments, disk.files().len());
    assert!(disk.files().len() < count as usize);
    let left = Model::of(&log);
    log.close().unwrap();
    assert_eq!(Model::of(&open(&disk).unwrap()), left);

    // Purged segments that a power cut brought back, with a gap.
    let (old, _, _) = filled();
    let first = old.read_file(&segment(1));
    let file = disk.open(&segment(1), revoada_log::OpenMode::Create).unwrap();
    file.write_at(0, &first).unwrap();
    assert_eq!(Model::of(&open(&disk).unwrap()), left);
    assert!(!disk.exists(&segment(1)).unwrap(), "removed again");
}

#[test]
fn a_shortened_or_swapped_segment_is_refused() {
    let (disk, before, _) = filled();
    let last = disk.files().len() as u64;
    for len in [0, 39, 60, 500] {
        let harmed = disk.copy();
        harmed.edit(&segment(1), |bytes| bytes.truncate(len));
        assert!(
            matches!(open(&harmed), Err(OpenError::Damaged { .. })),
            "{len} bytes left"
        );
        let harmed = disk.copy();
        harmed.edit(&segment(last), |bytes| bytes.truncate(len.min(60)));
        assert!(
            matches!(open(&harmed), Err(OpenError::Damaged { .. })),
            "{len} bytes of the last left"
        );
    }
    let harmed = disk.copy();
    harmed.edit(&segment(last), |bytes| bytes.truncate(used(bytes) - 1));
    let log = open(&harmed).unwrap();
    assert_eq!(Model::of(&log), before, "cut inside the last frame");
    sync(|done| log.append(vec![entry(10, 5, 700)], done)).unwrap();
    drop(log);
    assert_eq!(all(&open(&harmed).unwrap()).last(), Some(&entry(10, 5, 700)));

    let other = disk.read_file(&segment(2));
    disk.edit(&segment(1), |bytes| *bytes = other);
    assert!(matches!(open(&disk), Err(OpenError::Damaged { offset: 0, .. })));
}

#[test]
fn another_version_is_refused_by_name_and_help_is_offered() {
    let (disk, _, _) = filled();
    let harmed = disk.copy();
    harmed.edit(&segment(1), |bytes| {
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    });
    let error = open(&harmed).err().unwrap();
    assert_eq!(
        error.to_string(),
        "/data/log/log-0000000000000001.seg has format version 9, this program reads version 1"
    );
    assert!(error.help().contains("newer"));

    disk.edit(&segment(1), |bytes| bytes[200] ^= 1);
    let error = open(&disk).err().unwrap();
    assert!(
        error
            .to_string()
            .starts_with("/data/log/log-0000000000000001.seg is damaged at byte "),
        "{error}"
    );
    assert!(error.help().contains("engenho expel"));
}

#[test]
fn an_entry_that_rots_while_the_log_is_open_is_not_served() {
    let disk = FaultDisk::new();
    let log = Log::open(disk.arc(), dir(), inline()).unwrap();
    for index in 0..10 {
        sync(|done| log.append(vec![entry(index, 0, 300)], done)).unwrap();
    }
    assert!(!log.is_cached(1));
    let data = entry(1, 0, 300).1;
    disk.edit(&segment(1), |bytes| {
        let at = bytes.windows(300).position(|window| window == &data[..]).unwrap();
        bytes[at + 100] ^= 4;
    });
    let error = log.read(1..2, 1000).unwrap_err();
    let damaged = error.get_ref().and_then(|e| e.downcast_ref::<DamagedEntry>()).unwrap();
    assert_eq!((damaged.index, &damaged.path), (1, &segment(1)));
    assert_eq!(log.read(2..3, 1000).unwrap(), [entry(2, 0, 300)]);
}

#[test]
fn a_forged_frame_inside_an_entry_does_not_turn_a_torn_tail_into_damage() {
    // The data is a copy of the segment itself, at every alignment; then the write of it is torn at both ends.
    let options = LogOptions {
        segment_bytes: 64 << 10,
        ..inline()
    };
    for shift in 0..8 {
        let disk = FaultDisk::new();
        let log = Log::open(disk.arc(), dir(), options.clone()).unwrap();
        for index in 0..5 {
            sync(|done| log.append(vec![entry(index, 0, 100)], done)).unwrap();
        }
        let bytes = disk.read_file(&segment(1));
        let end = used(&bytes).next_multiple_of(8);
        let forged = [vec![7; shift], bytes[..end].to_vec(), vec![1; 64]].concat();
        sync(|done| log.append(vec![(5, forged.into())], done)).unwrap();
        let disk = disk.copy();
        disk.edit(&segment(1), |bytes| {
            bytes[end] ^= 1;
            let end = used(bytes);
            bytes[end - 40..end].fill(0);
        });
        let log =
            Log::open(disk.arc(), dir(), options.clone()).unwrap_or_else(|error| panic!("shift {shift}: {error}"));
        assert_eq!(log.last_index(), Some(4));
        assert_eq!(log.recovered().cut_at, Some((segment(1), end as u64)));
    }
}

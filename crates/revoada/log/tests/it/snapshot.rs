//! Snapshots: written, read, sent, received, interrupted, damaged.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use revoada_log::{
    CHUNK_BYTES, DamagedSnapshot, Disk, META_BYTES_MAX, OpenError, OsDisk, ReceiveError, SnapshotRef, SnapshotStore,
    chunk_hash,
};

use revoada_log::testing::{Fault, FaultDisk};

fn dir() -> &'static Path {
    Path::new("/data/snapshots")
}

fn data(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 7) as u8 ^ salt).collect()
}

fn write(store: &SnapshotStore, data: &[u8], meta: &[u8]) -> io::Result<SnapshotRef> {
    let mut writer = store.begin()?;
    writer.write_all(data)?;
    assert_eq!(writer.bytes(), data.len() as u64);
    writer.finish(meta)
}

fn read(store: &SnapshotStore, snapshot: &SnapshotRef) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    store.open_reader(snapshot)?.read_to_end(&mut out)?;
    Ok(out)
}

fn store(disk: &FaultDisk) -> SnapshotStore {
    SnapshotStore::open(disk.arc(), dir()).unwrap()
}

#[test]
fn a_snapshot_on_a_real_disk_is_there_after_reopening() {
    let temp = tempfile::tempdir().unwrap();
    let open = || SnapshotStore::open(Arc::new(OsDisk), &temp.path().join("s")).unwrap();
    let store = open();
    assert_eq!(store.latest(), None);
    let mut made = None;
    for len in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 5] {
        let snapshot = write(&store, &data(len, 1), b"meta").unwrap();
        assert_eq!(snapshot.bytes, len as u64);
        assert_eq!(read(&store, &snapshot).unwrap(), data(len, 1));
        assert_eq!(store.latest(), Some(snapshot.clone()));
        made = Some(snapshot);
    }
    drop(store);
    let store = open();
    assert_eq!(store.latest(), made);
    assert_eq!(
        OsDisk.list(&temp.path().join("s")).unwrap().len(),
        1,
        "older ones are gone"
    );
}

#[test]
fn the_hash_covers_data_and_meta_and_nothing_else() {
    let store = store(&FaultDisk::new());
    let hash = |data: &[u8], meta: &[u8]| write(&store, data, meta).unwrap().hash;
    let one = hash(b"data", b"meta");
    assert_eq!(hash(b"data", b"meta"), one);
    assert_ne!(hash(b"datb", b"meta"), one);
    assert_ne!(hash(b"data", b"metb"), one);
    assert_ne!(hash(b"datam", b"eta"), one);
}

#[test]
fn a_snapshot_is_kept_while_it_is_read() {
    let disk = FaultDisk::new();
    let store = store(&disk);
    let old = write(&store, &data(2 * CHUNK_BYTES, 1), b"1").unwrap();
    let mut reader = store.open_reader(&old).unwrap();
    let mut chunks = store.chunks(&old, 0).unwrap();
    let new = write(&store, &data(10, 2), b"2").unwrap();
    let newest = write(&store, &data(10, 3), b"3").unwrap();
    assert!(!disk.exists(&new.path).unwrap());
    assert!(disk.exists(&old.path).unwrap());
    let mut out = Vec::new();
    reader.read_to_end(&mut out).unwrap();
    assert_eq!(out, data(2 * CHUNK_BYTES, 1));
    drop(reader);
    assert!(disk.exists(&old.path).unwrap(), "still being sent");
    assert_eq!(chunks.by_ref().count(), 2);
    drop(chunks);
    assert!(!disk.exists(&old.path).unwrap());
    assert_eq!(store.open_reader(&old).err().unwrap().kind(), io::ErrorKind::NotFound);
    assert_eq!(store.latest(), Some(newest));
}

#[test]
fn a_snapshot_travels_chunk_by_chunk() {
    let (from, disk) = (store(&FaultDisk::new()), FaultDisk::new());
    let to = store(&disk);
    for len in [0, 5, CHUNK_BYTES, 2 * CHUNK_BYTES + 9] {
        let sent = write(&from, &data(len, 4), b"m").unwrap();
        let mut receiver = to.receive().unwrap();
        for chunk in from.chunks(&sent, 0).unwrap() {
            let chunk = chunk.unwrap();
            let mut harmed = chunk.data.to_vec();
            harmed[0] ^= 1;
            let refused = receiver.push(chunk.offset, &harmed, &chunk.hash);
            assert!(matches!(refused, Err(ReceiveError::ChunkHash { .. })), "{refused:?}");
            let refused = receiver.push(chunk.offset + 1, &chunk.data, &chunk.hash);
            assert!(matches!(refused, Err(ReceiveError::OutOfOrder { expected, .. }) if expected == chunk.offset));
            receiver.push(chunk.offset, &chunk.data, &chunk.hash).unwrap();
        }
        assert_eq!(receiver.next_offset(), len as u64);
        let got = receiver.finish(b"m", &sent.hash).unwrap();
        assert_eq!((got.bytes, got.hash, &got.meta), (sent.bytes, sent.hash, &sent.meta));
        assert_eq!(read(&to, &got).unwrap(), data(len, 4));
    }
    // Sending may go on in the middle.
    let sent = from.latest().unwrap();
    let offsets: Vec<u64> = from
        .chunks(&sent, CHUNK_BYTES as u64)
        .unwrap()
        .map(|chunk| chunk.unwrap().offset)
        .collect();
    assert_eq!(offsets, [CHUNK_BYTES as u64, 2 * CHUNK_BYTES as u64]);
}

#[test]
fn a_receiver_refuses_what_is_not_the_snapshot_announced() {
    let disk = FaultDisk::new();
    let store = store(&disk);
    let kept = write(&store, b"kept", b"").unwrap();
    let mut receiver = store.receive().unwrap();
    let whole = data(CHUNK_BYTES, 1);
    let too_long = data(CHUNK_BYTES + 1, 1);
    assert!(matches!(
        receiver.push(0, &too_long, &chunk_hash(&too_long)),
        Err(ReceiveError::ChunkLength { offset: 0, .. })
    ));
    assert!(matches!(
        receiver.push(0, b"", &chunk_hash(b"")),
        Err(ReceiveError::ChunkLength { .. })
    ));
    receiver.push(0, &whole, &chunk_hash(&whole)).unwrap();
    receiver
        .push(CHUNK_BYTES as u64, b"short", &chunk_hash(b"short"))
        .unwrap();
    let refused = receiver.push(CHUNK_BYTES as u64 + 5, b"more", &chunk_hash(b"more"));
    assert!(matches!(refused, Err(ReceiveError::ChunkLength { .. })), "{refused:?}");
    assert!(matches!(
        receiver.finish(b"", &kept.hash),
        Err(ReceiveError::TotalHash { bytes: 262_149 })
    ));
    assert_eq!(store.latest(), Some(kept));
    assert_eq!(disk.files().len(), 1, "the refused one is removed");
}

#[test]
fn unfinished_and_refused_ones_leave_nothing() {
    let disk = FaultDisk::new();
    let store1 = store(&disk);
    let mut writer = store1.begin().unwrap();
    writer.write_all(&data(2 * CHUNK_BYTES, 1)).unwrap();
    assert_eq!(disk.files().len(), 1);
    // A crash leaves the file; opening removes it.
    let crashed = disk.copy();
    assert_eq!(store(&crashed).latest(), None);
    assert!(crashed.files().is_empty());
    drop(writer);
    assert!(disk.files().is_empty());
    let refused = write(&store1, b"x", &vec![0; META_BYTES_MAX + 1]);
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert!(disk.files().is_empty());
}

#[test]
fn every_flipped_bit_is_refused_at_opening_or_at_reading() {
    let disk = FaultDisk::new();
    let whole = data(CHUNK_BYTES + 300, 1);
    let snapshot = write(&store(&disk), &whole, b"meta").unwrap();
    let len = disk.read_file(&snapshot.path).len();
    let head = 0..80;
    let tail = len - 64 - 4 - 64 - 100..len;
    for at in head.chain((100..len).step_by(40_009)).chain(tail) {
        let harmed = disk.copy();
        harmed.edit(&snapshot.path, |bytes| bytes[at] ^= 0x20);
        match SnapshotStore::open(harmed.arc(), dir()) {
            Err(OpenError::Damaged { path, .. }) => assert_eq!(path, snapshot.path),
            Err(error) => panic!("byte {at}: {error}"),
            Ok(store) => match read(&store, &snapshot) {
                Ok(out) => assert!((36..40).contains(&at) && out == whole, "byte {at} is not protected"),
                Err(error) => {
                    let damaged = error
                        .get_ref()
                        .and_then(|e| e.downcast_ref::<DamagedSnapshot>())
                        .unwrap();
                    assert_eq!(
                        damaged.offset,
                        (at - 40) as u64 / CHUNK_BYTES as u64 * CHUNK_BYTES as u64
                    );
                    let last = store.chunks(&snapshot, 0).unwrap().last().unwrap();
                    assert!(last.is_err(), "iteration ends with the error");
                }
            },
        }
    }
    for cut in [0, 39, 100, len - 1] {
        let harmed = disk.copy();
        harmed.edit(&snapshot.path, |bytes| bytes.truncate(cut));
        assert!(
            matches!(SnapshotStore::open(harmed.arc(), dir()), Err(OpenError::Damaged { .. })),
            "{cut} bytes left"
        );
    }
}

#[test]
fn a_damaged_newest_gives_way_to_an_older_one() {
    let disk = FaultDisk::new();
    let store1 = store(&disk);
    let old = write(&store1, b"old", b"").unwrap();
    let _reader = store1.open_reader(&old).unwrap();
    let new = write(&store1, b"new", b"").unwrap();
    let harmed = disk.copy();
    harmed.edit(&new.path, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let store2 = store(&harmed);
    assert_eq!(store2.latest(), Some(old));
    let newer = write(&store2, b"newer", b"").unwrap();
    assert_eq!(store(&harmed).latest(), Some(newer));
    assert_eq!(harmed.files().len(), 1);
}

#[test]
fn a_fault_at_any_operation_leaves_the_old_or_the_new() {
    let run = |disk: &FaultDisk| -> Option<bool> {
        let store = SnapshotStore::open(disk.arc(), dir()).ok()?;
        write(&store, &data(CHUNK_BYTES + 1, 1), b"1").ok()?;
        Some(write(&store, &data(CHUNK_BYTES * 2 + 1, 2), b"2").is_ok())
    };
    let whole = FaultDisk::new();
    assert_eq!(run(&whole), Some(true));
    for fault in [Fault::PowerCut, Fault::Eio, Fault::NoSpace] {
        for at in 0..whole.ops() {
            let disk = FaultDisk::new();
            disk.set_fault(at, fault);
            let acked = match run(&disk) {
                None => 0,
                Some(false) => 1,
                Some(true) => 2,
            };
            disk.clear_fault();
            for seed in 0..6 {
                let after = disk.after_power_cut(seed);
                let store = SnapshotStore::open(after.arc(), dir())
                    .unwrap_or_else(|error| panic!("{fault:?} at {at}, seed {seed}: {error}"));
                let found = store.latest();
                let number = found.as_ref().map_or(0, |found| found.meta[0] - b'0');
                assert!(
                    number >= acked && number <= acked + 1,
                    "{fault:?} at {at}, seed {seed}: {number}, {acked}"
                );
                if let Some(found) = found {
                    let len = CHUNK_BYTES * number as usize + 1;
                    assert_eq!(read(&store, &found).unwrap(), data(len, number));
                }
                assert!(after.files().iter().all(|path| path.extension().is_none()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_writes_reads_back(pieces in proptest::collection::vec(0..300_000usize, 0..6), step in 1..400_000usize) {
        let store = store(&FaultDisk::new());
        let whole = data(pieces.iter().sum(), 9);
        let mut writer = store.begin().unwrap();
        let mut at = 0;
        for piece in pieces {
            writer.write_all(&whole[at..at + piece]).unwrap();
            at += piece;
        }
        let snapshot = writer.finish(b"").unwrap();
        let mut reader = store.open_reader(&snapshot).unwrap();
        let mut out = Vec::new();
        let mut buf = vec![0; step];
        loop {
            let n = reader.read(&mut buf).unwrap();
            if n == 0 {
                break;
            }
            out.extend_from_slice(&buf[..n]);
        }
        prop_assert!(out == whole);
    }
}

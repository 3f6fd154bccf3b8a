//! A log is written, its files are damaged, and it is opened again: it opens with what was written or refuses, and
//! never makes entries up.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use engenho_fuzz::MemoryDisk;
use libfuzzer_sys::fuzz_target;
use revoada_log::{Log, LogOptions, WriterMode};

fn open(disk: &MemoryDisk) -> Option<Log> {
    let options = LogOptions {
        segment_bytes: 4096,
        writer: WriterMode::Inline,
        ..LogOptions::default()
    };
    Log::open(Arc::new(disk.clone()), Path::new("/log"), options).ok()
}

fuzz_target!(|input: (Vec<Vec<u8>>, Vec<(u16, u8)>, Option<u16>)| {
    let (entries, flips, cut) = input;
    let disk = MemoryDisk::default();
    let log = open(&disk).expect("an empty disk takes a log");
    for (index, entry) in (1..).zip(&entries) {
        log.append(vec![(index, Bytes::copy_from_slice(entry))], Box::new(|_| {}));
    }
    let _ = log.close();
    disk.change(|_, content| {
        if let Some(cut) = cut {
            content.truncate(usize::from(cut));
        }
        for (at, mask) in &flips {
            if let Some(byte) = content.get_mut(usize::from(*at)) {
                *byte ^= mask;
            }
        }
    });
    let Some(log) = open(&disk) else { return };
    let Some(last) = log.last_index() else { return };
    let first = log.first_index().unwrap_or(last);
    let Ok(read) = log.read(first..last + 1, usize::MAX) else {
        return;
    };
    for (index, data) in read {
        let written = usize::try_from(index - 1).ok().and_then(|at| entries.get(at));
        assert!(
            written.is_some_and(|entry| entry[..] == data[..]),
            "entry {index} was never written"
        );
    }
});

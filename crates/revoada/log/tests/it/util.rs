//! Small helpers.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use revoada_log::{Done, Log, LogOptions, WriterMode};

pub const DIR: &str = "/data/log";

pub fn dir() -> &'static Path {
    Path::new(DIR)
}

/// Small segments, a small cache, no thread.
pub fn inline() -> LogOptions {
    LogOptions {
        segment_bytes: 2048,
        cache_bytes: 256,
        writer: WriterMode::Inline,
        ..LogOptions::default()
    }
}

pub fn threaded() -> LogOptions {
    LogOptions {
        writer: WriterMode::Thread,
        ..inline()
    }
}

/// A callback and where its result arrives.
pub fn done() -> (Done, mpsc::Receiver<io::Result<()>>) {
    let (send, receive) = mpsc::sync_channel(1);
    (
        Box::new(move |result| {
            let _ = send.send(result);
        }),
        receive,
    )
}

pub fn wait(receive: mpsc::Receiver<io::Result<()>>) -> io::Result<()> {
    receive
        .recv_timeout(Duration::from_secs(10))
        .expect("no completion within 10 s")
}

/// Makes a call and waits for its completion.
pub fn sync(call: impl FnOnce(Done)) -> io::Result<()> {
    let (done, receive) = done();
    call(done);
    wait(receive)
}

pub fn entry(index: u64, salt: u64, len: usize) -> (u64, Bytes) {
    let data: Vec<u8> = (0..len as u64).map(|at| (index * 31 + salt * 7 + at) as u8).collect();
    (index, data.into())
}

pub fn all(log: &Log) -> Vec<(u64, Bytes)> {
    log.read(0..u64::MAX, usize::MAX).expect("log reads")
}

pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !check() {
        assert!(std::time::Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}

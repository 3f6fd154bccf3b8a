//! What the log's API promises, without faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use revoada_log::{Log, LogOptions, OsDisk, STATE_BYTES_MAX};

use crate::util::{all, dir, done, entry, eventually, inline, sync, threaded, wait};
use revoada_log::testing::FaultDisk;

#[test]
fn a_log_on_a_real_disk_survives_reopening() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("log");
    let open = || {
        Log::open(
            Arc::new(OsDisk),
            &path,
            LogOptions {
                segment_bytes: 64 << 10,
                ..LogOptions::default()
            },
        )
    };
    let log = open().unwrap();
    assert_eq!((log.first_index(), log.last_index(), log.purged()), (None, None, None));
    for index in 0..300 {
        sync(|done| log.append(vec![entry(index, 0, 1000)], done)).unwrap();
    }
    sync(|done| log.put_state(1, Bytes::from_static(b"vote"), true, done)).unwrap();
    sync(|done| log.purge_to(99, Bytes::from_static(b"99"), done)).unwrap();
    eventually("purged segments are removed", || log.stats().segments <= 4);
    let expected: Vec<_> = (100..300).map(|index| entry(index, 0, 1000)).collect();
    assert_eq!(all(&log), expected);
    log.close().unwrap();

    let log = open().unwrap();
    assert_eq!(log.recovered().entries, 200);
    assert_eq!(log.recovered().cut_bytes, 0);
    assert_eq!((log.first_index(), log.last_index()), (Some(100), Some(299)));
    assert_eq!(log.purged(), Some((99, Bytes::from_static(b"99"))));
    assert_eq!(log.state(1).as_deref(), Some(&b"vote"[..]));
    assert_eq!(log.state(2), None);
    assert_eq!(all(&log), expected);
    sync(|done| log.append(vec![entry(300, 0, 10)], done)).unwrap();
    assert_eq!(log.last_index(), Some(300));
}

#[test]
fn entries_are_readable_before_they_are_durable_and_calls_share_a_sync() {
    let disk = FaultDisk::new();
    let log = Log::open(disk.arc(), dir(), threaded()).unwrap();
    disk.stall(true);
    let (first, first_done) = done();
    log.append(vec![entry(1, 0, 10)], first);
    disk.wait_for_stall();
    let mut waiting = Vec::new();
    for index in 2..=50 {
        let (done, receive) = done();
        log.append(vec![entry(index, 0, 10)], done);
        waiting.push(receive);
    }
    assert_eq!(all(&log).len(), 50);
    assert!(first_done.try_recv().is_err(), "reported before the sync");
    let before = log.stats();
    disk.stall(false);
    wait(first_done).unwrap();
    for receive in waiting {
        wait(receive).unwrap();
    }
    let stats = log.stats();
    assert_eq!(stats.entries_appended, 50);
    assert!(stats.fsyncs - before.fsyncs <= 3, "{stats:?}");
    assert_eq!(stats.batch_sizes.iter().sum::<u64>(), 2, "{stats:?}");
    assert!(stats.fsync_max <= stats.fsync_total);
}

#[test]
fn the_queue_is_bounded() {
    let disk = FaultDisk::new();
    let log = Log::open(
        disk.arc(),
        dir(),
        LogOptions {
            queue_bytes: 1000,
            ..threaded()
        },
    )
    .unwrap();
    disk.stall(true);
    sync_free_append(&log, 1, 100);
    disk.wait_for_stall();
    sync_free_append(&log, 2, 800);
    let reached = Arc::new(AtomicU64::new(2));
    let (log2, reached2) = (log.clone(), reached.clone());
    let thread = std::thread::spawn(move || {
        for index in 3..=6 {
            sync_free_append(&log2, index, 800);
            reached2.store(index, Ordering::SeqCst);
        }
    });
    // The thread can't get beyond the bound while the disk stalls, however long we look.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(reached.load(Ordering::SeqCst), 2);
    assert!(log.stats().queued_bytes <= 1000);
    disk.stall(false);
    thread.join().unwrap();
    log.clone().close().unwrap();
    assert_eq!(log.stats().entries_appended, 6);
    assert_eq!(log.stats().queued_bytes, 0);
}

fn sync_free_append(log: &Log, index: u64, len: usize) {
    log.append(vec![entry(index, 0, len)], Box::new(|result| result.unwrap()));
}

#[test]
fn a_callback_may_call_the_log() {
    for options in [inline(), threaded()] {
        // A queue this small would block any other thread.
        let log = Log::open(
            FaultDisk::new().arc(),
            dir(),
            LogOptions {
                queue_bytes: 1,
                ..options
            },
        )
        .unwrap();
        let (last, receive) = done();
        let log2 = log.clone();
        log.append(
            vec![entry(0, 0, 10)],
            Box::new(move |result| {
                result.unwrap();
                sync_free_append(&log2, 1, 100);
                sync_free_append(&log2, 2, 100);
                log2.append(vec![entry(3, 0, 1)], last);
            }),
        );
        wait(receive).unwrap();
        assert_eq!(log.last_index(), Some(3));
    }
}

#[test]
fn a_panicking_callback_stops_nothing() {
    let log = Log::open(FaultDisk::new().arc(), dir(), threaded()).unwrap();
    log.append(
        vec![entry(0, 0, 1)],
        Box::new(|_| std::panic::resume_unwind(Box::new("a callback's panic"))),
    );
    sync(|done| log.append(vec![entry(1, 0, 1)], done)).unwrap();
}

#[test]
fn callbacks_come_in_the_order_of_calls() {
    let log = Log::open(FaultDisk::new().arc(), dir(), threaded()).unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    for n in 0..200u64 {
        let send = send.clone();
        let done = Box::new(move |_| send.send(n).unwrap());
        match n % 4 {
            0 => log.append(vec![], done),
            1 => log.put_state(0, Bytes::new(), false, done),
            2 => log.truncate_after(Some(u64::MAX), done),
            _ => log.append(vec![entry(n / 4, 0, 3)], done),
        }
    }
    log.close().unwrap();
    assert_eq!(receive.try_iter().collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
}

#[test]
fn contradictions_are_refused_and_change_nothing() {
    let log = Log::open(FaultDisk::new().arc(), dir(), inline()).unwrap();
    sync(|done| log.append(vec![entry(5, 0, 1), entry(6, 0, 1)], done)).unwrap();
    sync(|done| log.purge_to(5, Bytes::new(), done)).unwrap();
    let refused =
        |result: std::io::Result<()>| assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    refused(sync(|done| log.append(vec![entry(8, 0, 1)], done)));
    refused(sync(|done| log.append(vec![entry(6, 0, 1)], done)));
    refused(sync(|done| log.append(vec![entry(7, 0, 1), entry(9, 0, 1)], done)));
    refused(sync(|done| log.truncate_after(Some(4), done)));
    refused(sync(|done| {
        log.put_state(0, vec![0; STATE_BYTES_MAX + 1].into(), true, done)
    }));
    refused(sync(|done| log.purge_to(6, vec![0; STATE_BYTES_MAX + 1].into(), done)));
    assert_eq!(all(&log), [entry(6, 0, 1)]);
    sync(|done| log.append(vec![entry(7, 0, 1)], done)).unwrap();
    log.clone().close().unwrap();
    assert!(sync(|done| log.append(vec![entry(8, 0, 1)], done)).is_err(), "closed");
}

#[test]
fn reads_are_bounded_but_never_empty_where_entries_are() {
    let disk = FaultDisk::new();
    let log = Log::open(disk.arc(), dir(), inline()).unwrap();
    for index in 10..40 {
        sync(|done| log.append(vec![entry(index, 0, 100)], done)).unwrap();
    }
    assert!(!log.is_cached(10) && log.is_cached(39));
    assert!(log.stats().cached_bytes <= 256);
    for start in [10, 25, 38] {
        let read = log.read(start..u64::MAX, 250).unwrap();
        assert_eq!(read, [entry(start, 0, 100), entry(start + 1, 0, 100)]);
        assert_eq!(log.read(start..u64::MAX, 0).unwrap(), [entry(start, 0, 100)]);
    }
    assert_eq!(log.read(0..12, 1000).unwrap().len(), 2);
    assert_eq!(log.read(39..99, 1000).unwrap().len(), 1);
    assert!(log.read(0..10, 1000).unwrap().is_empty());
    assert!(log.read(40..99, 1000).unwrap().is_empty());
    let (from, to) = (20, 15);
    assert!(log.read(from..to, 1000).unwrap().is_empty());
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_size() {
    let disk = FaultDisk::new();
    let log = Log::open(disk.arc(), dir(), inline()).unwrap();
    let entries: Vec<_> = (0..100).map(|index| entry(index, 1, 500)).collect();
    sync(|done| log.append(entries.clone(), done)).unwrap();
    sync(|done| log.append(vec![entry(100, 0, 1)], done)).unwrap();
    log.close().unwrap();
    let log = Log::open(disk.arc(), dir(), inline()).unwrap();
    assert_eq!(log.read(0..100, usize::MAX).unwrap(), entries);
    assert_eq!(log.last_index(), Some(100));
}

#[test]
fn a_replaced_entry_is_never_served_in_its_old_form() {
    // All three calls wait in the queue; the first entry 1 must not be located in place of the second.
    let disk = FaultDisk::new();
    let options = LogOptions {
        cache_bytes: 0,
        batch_bytes: 1,
        ..threaded()
    };
    let log = Log::open(disk.arc(), dir(), options).unwrap();
    disk.stall(true);
    sync_free_append(&log, 0, 10);
    disk.wait_for_stall();
    sync_free_append(&log, 1, 10);
    log.truncate_after(Some(0), Box::new(|result| result.unwrap()));
    let (done, receive) = done();
    log.append(vec![entry(1, 9, 10)], done);
    assert_eq!(all(&log), [entry(0, 0, 10), entry(1, 9, 10)]);
    // Entry 0, then the first entry 1 become durable; the truncation is held back.
    disk.step();
    disk.step();
    assert_eq!(all(&log), [entry(0, 0, 10), entry(1, 9, 10)]);
    disk.stall(false);
    wait(receive).unwrap();
    assert!(!log.is_cached(1));
    assert_eq!(all(&log), [entry(0, 0, 10), entry(1, 9, 10)]);
}

#[test]
fn states_that_need_not_be_durable_cost_no_sync_but_arrive() {
    let disk = FaultDisk::new();
    let log = Log::open(
        disk.arc(),
        dir(),
        LogOptions {
            lazy_flush: Duration::from_millis(20),
            ..threaded()
        },
    )
    .unwrap();
    sync(|done| log.put_state(3, Bytes::from_static(b"a"), false, done)).unwrap();
    eventually("the state is written", || log.stats().fsyncs == 1);
    assert_eq!(
        Log::open(disk.after_power_cut(0).arc(), dir(), inline())
            .unwrap()
            .state(3)
            .as_deref(),
        Some(&b"a"[..])
    );
    log.close().unwrap();

    let log = Log::open(disk.arc(), dir(), inline()).unwrap();
    for n in 0..100u8 {
        sync(|done| log.put_state(3, vec![n].into(), false, done)).unwrap();
    }
    assert_eq!(log.stats().fsyncs, 0);
    assert_eq!(log.state(3).as_deref(), Some(&[99][..]));
    log.close().unwrap();
    let log = Log::open(disk.after_power_cut(0).arc(), dir(), inline()).unwrap();
    assert_eq!(log.state(3).as_deref(), Some(&[99][..]));
}

#[test]
fn many_threads_may_append_and_read() {
    let log = Log::open(
        FaultDisk::new().arc(),
        dir(),
        LogOptions {
            queue_bytes: 4096,
            ..threaded()
        },
    )
    .unwrap();
    let next = Arc::new(parking_lot::Mutex::new(0u64));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (log, next) = (log.clone(), next.clone());
            std::thread::spawn(move || {
                for _ in 0..200 {
                    let mut next = next.lock();
                    sync_free_append(&log, *next, 50);
                    let index = *next;
                    *next += 1;
                    drop(next);
                    assert_eq!(log.read(index..index + 1, 1).unwrap(), [entry(index, 0, 50)]);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(all(&log), (0..800).map(|index| entry(index, 0, 50)).collect::<Vec<_>>());
}

//! A power cut, an I/O error or a full disk at every single operation of a workload.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use revoada_log::{Log, LogOptions, Poisoned};

use crate::model::{Call, Model, calls};
use crate::util::{all, dir, done, entry, inline, sync, threaded, wait};
use revoada_log::testing::{Fault, FaultDisk};

const SEEDS: std::ops::Range<u64> = 0..7;
/// The slot that scripts write without asking for durability.
const LAZY: u8 = 3;

fn script() -> Vec<Call> {
    let append = |count, len, salt| Call::Append { count, len, salt };
    let state = |slot, durable| Call::State { slot, len: 40, durable };
    vec![
        state(0, true),
        append(1, 30, 0),
        append(3, 300, 1),
        state(LAZY, false),
        append(2, 700, 2),
        state(1, true),
        Call::Truncate { back: 2 },
        append(2, 500, 3),
        append(1, 3000, 4),
        Call::Purge { ahead: 2 },
        append(4, 200, 5),
        state(0, true),
        append(1, 900, 6),
        append(1, 900, 7),
        Call::Purge { ahead: 5 },
        Call::Reopen,
        append(2, 900, 8),
        Call::TruncateAll,
        append(2, 100, 9),
        Call::Purge { ahead: 20 },
        append(1, 100, 10),
    ]
}

/// The model after each number of calls; states without durability aren't compared.
fn history(calls: &[Call]) -> Vec<Model> {
    let mut model = Model::default();
    let mut history = vec![model.clone()];
    for call in calls {
        model.apply(call);
        history.push(durable(model.clone()));
    }
    history
}

fn durable(mut model: Model) -> Model {
    model.states.remove(&LAZY);
    model
}

/// Runs a script until it fails; returns how many calls were made and how many of them reported `Ok`.
fn run(disk: &FaultDisk, calls: &[Call]) -> (usize, usize) {
    let Ok(mut log) = Log::open(disk.arc(), dir(), inline()) else {
        return (0, 0);
    };
    let mut model = Model::default();
    for (at, call) in calls.iter().enumerate() {
        match model.apply(call) {
            Some(make) => {
                if sync(|done| make(&log, done)).is_err() {
                    return (at + 1, at);
                }
            }
            None => {
                let _ = log.close();
                match Log::open(disk.arc(), dir(), inline()) {
                    Ok(reopened) => log = reopened,
                    Err(_) => return (at + 1, at),
                }
            }
        }
    }
    drop(log);
    (calls.len(), calls.len())
}

/// What was found is what some number of calls, no fewer than were acknowledged, lead to.
fn check(found: &Log, history: &[Model], acked: usize, made: usize, context: &str) {
    let found = durable(Model::of(found));
    let fits = history[acked..=made].contains(&found);
    assert!(
        fits,
        "{context}: acknowledged {acked} of {made} calls, found {found:?}, wanted {:?}",
        history[acked]
    );
}

fn reopen(disk: &FaultDisk, context: &str) -> Log {
    Log::open(disk.arc(), dir(), inline()).unwrap_or_else(|error| panic!("{context}: {error}"))
}

#[test]
fn no_power_cut_loses_what_was_acknowledged() {
    let calls = script();
    let history = history(&calls);
    let whole = FaultDisk::new();
    assert_eq!(run(&whole, &calls), (calls.len(), calls.len()));
    for at in 0..whole.ops() {
        let disk = FaultDisk::new();
        disk.set_fault(at, Fault::PowerCut);
        let (made, acked) = run(&disk, &calls);
        for seed in SEEDS {
            let context = format!("power cut at operation {at}, seed {seed}");
            let after = disk.after_power_cut(seed);
            let log = reopen(&after, &context);
            check(&log, &history, acked, made, &context);
            // It goes on from there, and that survives another power cut.
            let next = log
                .last_index()
                .or(log.purged().map(|(index, _)| index))
                .map_or(0, |index| index + 1);
            sync(|done| log.append(vec![entry(next, 77, 50)], done)).unwrap();
            let again = reopen(&after.after_power_cut(seed), &context);
            assert_eq!(again.recovered().cut_bytes, 0, "{context}: cut twice");
            assert_eq!(all(&again).last(), Some(&entry(next, 77, 50)), "{context}");
            assert_eq!(all(&again), all(&log), "{context}");
        }
    }
}

#[test]
fn nor_does_one_during_recovery() {
    let calls = script();
    let history = history(&calls);
    let whole = FaultDisk::new();
    run(&whole, &calls);
    for at in (0..whole.ops()).step_by(3) {
        let disk = FaultDisk::new();
        disk.set_fault(at, Fault::PowerCut);
        let (made, acked) = run(&disk, &calls);
        for (seed, second) in SEEDS.zip(0..) {
            for seed2 in SEEDS {
                let context = format!("power cuts at operations {at} and {second} of recovery, seeds {seed}, {seed2}");
                let recovering = disk.after_power_cut(seed);
                recovering.set_fault(second, Fault::PowerCut);
                drop(Log::open(recovering.arc(), dir(), inline()));
                let log = reopen(&recovering.after_power_cut(seed2), &context);
                check(&log, &history, acked, made, &context);
            }
        }
    }
}

#[test]
fn after_an_io_error_nothing_is_lost_and_nothing_goes_on() {
    let calls = script();
    let history = history(&calls);
    let whole = FaultDisk::new();
    run(&whole, &calls);
    for fault in [Fault::Eio, Fault::NoSpace] {
        for at in 0..whole.ops() {
            let disk = FaultDisk::new();
            disk.set_fault(at, fault);
            let (made, acked) = run(&disk, &calls);
            disk.clear_fault();
            // What opening without a power cut shows must not vanish with a later one: pages that a failed sync
            // left clean in the cache included.
            let context = format!("{fault:?} from operation {at}");
            let log = reopen(&disk, &context);
            check(&log, &history, acked, made, &context);
            let shown = durable(Model::of(&log));
            for seed in SEEDS {
                let after = reopen(&disk.after_power_cut(seed), &context);
                assert_eq!(durable(Model::of(&after)), shown, "{context}, seed {seed}");
            }
            // Nor what is acknowledged from here on, in a segment whose name may not have been durable.
            sync(|done| log.put_state(0, Bytes::from_static(b"later"), true, done)).unwrap();
            for seed in SEEDS {
                let after = reopen(&disk.after_power_cut(seed), &context);
                assert_eq!(after.state(0).as_deref(), Some(&b"later"[..]), "{context}, seed {seed}");
            }
        }
    }
}

#[test]
fn the_first_error_poisons_the_log() {
    for (fault, kind) in [
        (Fault::Eio, io::Error::from_raw_os_error(5).kind()),
        (Fault::NoSpace, io::ErrorKind::StorageFull),
    ] {
        for options in [inline(), threaded()] {
            let disk = FaultDisk::new();
            let log = Log::open(disk.arc(), dir(), options).unwrap();
            sync(|done| log.append(vec![entry(0, 0, 100)], done)).unwrap();
            disk.set_fault(0, fault);
            // Larger than what is left of the segment, so that space is needed.
            let first = sync(|done| log.append(vec![entry(1, 0, 4000)], done)).unwrap_err();
            assert_eq!(first.kind(), kind);
            let poisoned = first
                .get_ref()
                .and_then(|e| e.downcast_ref::<Poisoned>())
                .expect("says it is poisoned");
            assert!(poisoned.path.starts_with(dir()));
            disk.clear_fault();
            for result in [
                sync(|done| log.append(vec![entry(2, 0, 1)], done)),
                sync(|done| log.truncate_after(None, done)),
                sync(|done| log.purge_to(0, Bytes::new(), done)),
                sync(|done| log.put_state(0, Bytes::new(), false, done)),
                log.read(0..1, 10).map(|_| ()),
            ] {
                assert_eq!(result.unwrap_err().to_string(), first.to_string());
            }
            let ops = disk.ops();
            assert_eq!(log.close().unwrap_err().to_string(), first.to_string());
            assert_eq!(disk.ops(), ops, "a poisoned log writes nothing");
            let log = Log::open(disk.arc(), dir(), inline()).unwrap();
            assert_eq!(all(&log), [entry(0, 0, 100)]);
        }
    }
}

#[test]
fn a_failed_sync_fails_all_that_waited_for_it_and_all_behind() {
    let disk = FaultDisk::new();
    let log = Log::open(disk.arc(), dir(), threaded()).unwrap();
    disk.stall(true);
    let mut waiting = Vec::new();
    for index in 0..10 {
        let (done, receive) = done();
        log.append(vec![entry(index, 0, 10)], done);
        waiting.push(receive);
        if index == 0 {
            disk.wait_for_stall();
        }
    }
    disk.set_fault(0, Fault::Eio);
    disk.stall(false);
    for receive in waiting {
        assert!(wait(receive).is_err());
    }
}

#[test]
fn a_torn_group_of_calls_is_kept_or_dropped_as_one() {
    for seed in 0..40 {
        let disk = FaultDisk::new();
        let log = Log::open(
            disk.arc(),
            dir(),
            LogOptions {
                segment_bytes: 64 << 10,
                ..threaded()
            },
        )
        .unwrap();
        sync(|done| log.append(vec![entry(0, 0, 10)], done)).unwrap();
        disk.stall(true);
        let acked = Arc::new(Mutex::new(0));
        for index in 1..=20 {
            let acked = acked.clone();
            log.append(
                vec![entry(index, 0, 200)],
                Box::new(move |result| {
                    if result.is_ok() {
                        *acked.lock().unwrap() = index;
                    }
                }),
            );
            if index == 1 {
                disk.wait_for_stall();
            }
        }
        // The sync in progress, the next write, or the sync after it.
        disk.set_fault(disk.ops() + seed % 3, Fault::PowerCut);
        disk.stall(false);
        let _ = log.close();
        let acked = *acked.lock().unwrap();
        let log = reopen(&disk.after_power_cut(seed), &format!("seed {seed}"));
        let last = log.last_index().unwrap();
        assert!(
            last >= acked && [0, 1, 20].contains(&last),
            "seed {seed}: last {last}, acknowledged {acked}"
        );
        assert_eq!(
            all(&log).last(),
            Some(&entry(last, 0, if last == 0 { 10 } else { 200 }))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_calls_survive_random_power_cuts(calls in calls(), at in any::<prop::sample::Index>(), seed in 2..u64::MAX) {
        // The strategy puts any slot without durability; compare only those that ask for it.
        let calls: Vec<Call> = calls
            .into_iter()
            .map(|call| match call {
                Call::State { slot, len, durable } => {
                    Call::State { slot: if durable { slot % LAZY } else { LAZY }, len, durable }
                }
                other => other,
            })
            .collect();
        let whole = FaultDisk::new();
        run(&whole, &calls);
        let disk = FaultDisk::new();
        disk.set_fault(at.index(whole.ops() as usize) as u64, Fault::PowerCut);
        let (made, acked) = run(&disk, &calls);
        let log = reopen(&disk.after_power_cut(seed), "random");
        check(&log, &history(&calls), acked, made, "random");
    }
}

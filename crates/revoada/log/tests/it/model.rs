//! Random calls against a plain model, with reopening in between.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use revoada_log::{Log, LogOptions};

use crate::util::{all, dir, entry, inline, sync};
use revoada_log::testing::FaultDisk;

#[derive(Clone, Debug)]
pub enum Call {
    Append {
        count: u64,
        len: usize,
        salt: u64,
    },
    Truncate {
        back: u64,
    },
    TruncateAll,
    /// Up to an index relative to the first entry; may lie beyond the last.
    Purge {
        ahead: u64,
    },
    State {
        slot: u8,
        len: usize,
        durable: bool,
    },
    Reopen,
}

pub fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        6 => (1..6u64, 0..400usize, any::<u64>()).prop_map(|(count, len, salt)| Call::Append { count, len, salt: salt % 256 }),
        2 => (0..8u64).prop_map(|back| Call::Truncate { back }),
        1 => Just(Call::TruncateAll),
        2 => (0..12u64).prop_map(|ahead| Call::Purge { ahead }),
        2 => (0..4u8, 0..50usize, any::<bool>()).prop_map(|(slot, len, durable)| Call::State { slot, len, durable }),
        1 => Just(Call::Reopen),
    ];
    proptest::collection::vec(call, 1..60)
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub entries: Vec<(u64, Bytes)>,
    pub purged: Option<(u64, Bytes)>,
    pub states: BTreeMap<u8, Bytes>,
}

impl Model {
    fn next(&self) -> u64 {
        let last = self.entries.last().map(|(index, _)| *index);
        last.or(self.purged.as_ref().map(|(index, _)| *index))
            .map_or(0, |index| index + 1)
    }

    /// Makes the call on the model and returns what makes it on a log; `None` for reopening.
    pub fn apply(&mut self, call: &Call) -> Option<Box<dyn FnOnce(&Log, revoada_log::Done)>> {
        match *call {
            Call::Append { count, len, salt } => {
                let next = self.next();
                let entries: Vec<_> = (next..next + count).map(|index| entry(index, salt, len)).collect();
                self.entries.extend(entries.clone());
                Some(Box::new(move |log, done| log.append(entries, done)))
            }
            Call::Truncate { back } => {
                let keep = self.entries.len().saturating_sub(back as usize).max(1);
                self.entries.truncate(keep);
                let last = self.entries.last().map(|(index, _)| *index);
                let kept = last.or(self.purged.as_ref().map(|(index, _)| *index));
                Some(Box::new(move |log, done| log.truncate_after(kept, done)))
            }
            Call::TruncateAll => {
                self.entries.clear();
                Some(Box::new(|log, done| log.truncate_after(None, done)))
            }
            Call::Purge { ahead } => {
                let first = self.entries.first().map_or(self.next(), |(index, _)| *index);
                let index = first + ahead;
                let marker = Bytes::from(format!("marker {index}"));
                self.entries.retain(|(at, _)| *at > index);
                self.purged = Some((index, marker.clone()));
                Some(Box::new(move |log, done| log.purge_to(index, marker, done)))
            }
            Call::State { slot, len, durable } => {
                let value = Bytes::from(vec![slot; len]);
                self.states.insert(slot, value.clone());
                Some(Box::new(move |log, done| log.put_state(slot, value, durable, done)))
            }
            Call::Reopen => None,
        }
    }

    pub fn of(log: &Log) -> Self {
        let states = (0..=255).filter_map(|slot| Some((slot, log.state(slot)?))).collect();
        Self {
            entries: all(log),
            purged: log.purged(),
            states,
        }
    }
}

fn run(calls: &[Call], options: &LogOptions) -> Result<(), TestCaseError> {
    let disk = FaultDisk::new();
    let mut log = Log::open(disk.arc(), dir(), options.clone()).unwrap();
    let mut model = Model::default();
    for call in calls {
        match model.apply(call) {
            Some(make) => sync(|done| make(&log, done)).unwrap(),
            None => {
                log.close().unwrap();
                log = Log::open(disk.arc(), dir(), options.clone()).unwrap();
                prop_assert_eq!(log.recovered().cut_bytes, 0);
            }
        }
        prop_assert_eq!(log.first_index(), model.entries.first().map(|(index, _)| *index));
        prop_assert_eq!(log.last_index(), model.entries.last().map(|(index, _)| *index));
    }
    prop_assert_eq!(&Model::of(&log), &model);
    log.close().unwrap();
    let log = Log::open(disk.arc(), dir(), options.clone()).unwrap();
    prop_assert_eq!(&Model::of(&log), &model);
    for (at, expected) in model.entries.iter().enumerate().step_by(3) {
        let read = log.read(expected.0..expected.0 + 2, usize::MAX).unwrap();
        prop_assert_eq!(&read[..], &model.entries[at..model.entries.len().min(at + 2)]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_its_model(calls in calls()) {
        run(&calls, &inline())?;
    }

    #[test]
    fn so_it_is_with_tiny_segments_and_no_cache(calls in calls()) {
        run(&calls, &LogOptions { segment_bytes: 1, cache_bytes: 0, ..inline() })?;
    }
}

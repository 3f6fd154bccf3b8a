//! Any sequence of commands gives what a naive model gives, at every revision.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use engenho_store::*;
use proptest::prelude::*;
use revoada_core::consensus::{Application, LogPosition};

pub const SECOND: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub enum Step {
    Put(u8, u8),
    Delete(u8, u8),
    Txn(Vec<(u8, Option<u8>)>),
    Guarded(u8, u64, u8),
    Compact(u8),
    Restart,
    Settle,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..12u8, any::<u8>()).prop_map(|(k, v)| Step::Put(k, v)),
        3 => (0..12u8, 0..3u8).prop_map(|(k, n)| Step::Delete(k, n)),
        2 => proptest::collection::vec((0..12u8, proptest::option::of(any::<u8>())), 0..4).prop_map(Step::Txn),
        2 => (0..12u8, 0..12u64, any::<u8>()).prop_map(|(k, r, v)| Step::Guarded(k, r, v)),
        1 => (0..6u8).prop_map(Step::Compact),
        1 => Just(Step::Restart),
        1 => Just(Step::Settle),
    ];
    proptest::collection::vec(step, 1..40)
}

pub fn key(k: u8) -> Bytes {
    // Keys that are prefixes of others, with zero bytes, and of several rings.
    let name = match k % 4 {
        0 => format!("/registry/core/pods/{k}"),
        1 => format!("/registry/core/pods/{}\0", k - 1),
        2 => format!("/registry/apps/sets/\0{k}\u{1}"),
        _ => format!("free{k}"),
    };
    name.into()
}

/// Every version of every key.
#[derive(Default, Clone)]
struct Model {
    versions: BTreeMap<Bytes, Vec<(u64, Option<KeyValue>)>>,
    revision: u64,
    compacted: u64,
}

impl Model {
    fn at(&self, revision: u64) -> BTreeMap<Bytes, KeyValue> {
        let newest = |versions: &Vec<(u64, Option<KeyValue>)>| {
            versions
                .iter()
                .rev()
                .find(|(at, _)| *at <= revision)
                .and_then(|(_, version)| version.clone())
        };
        self.versions
            .iter()
            .filter_map(|(key, versions)| Some((key.clone(), newest(versions)?)))
            .collect()
    }

    fn write(&mut self, changes: Vec<(Bytes, Option<Bytes>)>) {
        let now = self.at(self.revision);
        let revision = self.revision + 1;
        let mut written = false;
        for (key, value) in changes {
            let before = now.get(&key);
            if value.is_none() && before.is_none() {
                continue;
            }
            let version = value.map(|value| KeyValue {
                key: key.clone(),
                value,
                create_revision: before.map_or(revision, |before| before.create_revision),
                mod_revision: revision,
                version: before.map_or(1, |before| before.version + 1),
                lease: 0,
            });
            self.versions.entry(key).or_default().push((revision, version));
            written = true;
        }
        self.revision += u64::from(written);
    }

    fn events(&self, after: u64, range: &KeyRange) -> Vec<(u64, Bytes, Option<Bytes>, Option<Bytes>)> {
        let mut events = Vec::new();
        for (key, versions) in self.versions.iter().filter(|(key, _)| range.contains(key)) {
            let mut prev: Option<Bytes> = None;
            for (at, version) in versions {
                let value = version.as_ref().map(|version| version.value.clone());
                if *at > after {
                    events.push((*at, key.clone(), value.clone(), prev.clone()));
                }
                prev = value;
            }
        }
        events.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        events
    }
}

fn value(v: u8) -> Bytes {
    Bytes::from(vec![v; 1 + usize::from(v % 5)])
}

/// The command of a step and what it does to the model.
fn command(step: &Step, model: &mut Model) -> Option<StoreCommand> {
    let txn = |success| Txn {
        success,
        ..Txn::default()
    };
    Some(match step {
        Step::Put(k, v) => {
            model.write(vec![(key(*k), Some(value(*v)))]);
            StoreCommand::Txn(txn(vec![Op::put(key(*k), value(*v))]))
        }
        Step::Delete(k, width) => {
            let range = KeyRange::span(key(*k), [&key(*k)[..], &[*width]].concat());
            let doomed = model.at(model.revision).into_keys().filter(|key| range.contains(key));
            model.write(doomed.map(|key| (key, None)).collect());
            StoreCommand::Txn(txn(vec![Op::DeleteRange { range, prev_kv: true }]))
        }
        Step::Txn(writes) => {
            let writes: BTreeMap<u8, Option<u8>> = writes.iter().copied().collect();
            let ops = writes.iter().map(|(k, v)| match v {
                Some(v) => Op::put(key(*k), value(*v)),
                None => Op::delete(key(*k)),
            });
            model.write(writes.iter().map(|(k, v)| (key(*k), v.map(value))).collect());
            StoreCommand::Txn(txn(ops.collect()))
        }
        Step::Guarded(k, revision, v) => {
            let holds = model
                .at(model.revision)
                .get(&key(*k))
                .map_or(0, |version| version.mod_revision)
                == *revision;
            if holds {
                model.write(vec![(key(*k), Some(value(*v)))]);
            }
            StoreCommand::Txn(Txn {
                compares: vec![Compare::mod_revision(key(*k), *revision)],
                success: vec![Op::put(key(*k), value(*v))],
                failure: vec![Op::get(key(*k))],
            })
        }
        Step::Compact(back) => {
            let revision = model.revision.saturating_sub(u64::from(*back));
            if revision > model.compacted {
                model.compacted = revision;
            }
            StoreCommand::Compact { revision }
        }
        Step::Restart | Step::Settle => return None,
    })
}

fn check_ranges(store: &Store, model: &Model) -> Result<(), TestCaseError> {
    let (oldest, revision) = (store.compacted(), store.revision());
    prop_assert_eq!(revision, model.revision);
    for at in 0..oldest {
        let refused = store.range(&RangeRequest::new(KeyRange::all()).at(at));
        prop_assert!(
            matches!(refused, Err(StoreError::Compacted { .. })),
            "{} of {}: {:?}",
            at,
            oldest,
            refused
        );
    }
    let future = store.range(&RangeRequest::new(KeyRange::all()).at(revision + 1));
    prop_assert_eq!(
        future,
        Err(StoreError::FutureRevision {
            revision: revision + 1,
            current: revision
        })
    );
    for at in oldest..=revision {
        let expected: Vec<KeyValue> = model.at(at).into_values().collect();
        let read = store.range(&RangeRequest::new(KeyRange::all()).at(at)).unwrap();
        prop_assert_eq!(&read.kvs, &expected, "all at {}", at);
        prop_assert_eq!((read.count, read.more), (expected.len() as u64, false));

        let range = KeyRange::prefix("/registry/core/pods/");
        let expected: Vec<KeyValue> = expected.into_iter().filter(|kv| range.contains(&kv.key)).collect();
        let request = RangeRequest::new(range).at(at).limit(2);
        let read = store.range(&request).unwrap();
        let page = store.range_page(&request).unwrap();
        prop_assert_eq!((&page.kvs, page.more, page.revision), (&read.kvs, read.more, at));
        prop_assert_eq!(&read.kvs[..], &expected[..expected.len().min(2)], "limited at {}", at);
        prop_assert_eq!((read.count, read.more), (expected.len() as u64, expected.len() > 2));
    }
    Ok(())
}

fn check_watches(store: &std::sync::Arc<Store>, model: &Model) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for range in [
        KeyRange::all(),
        KeyRange::prefix("/registry/core/pods/"),
        KeyRange::key(key(3)),
    ] {
        for from in 0..=store.revision() {
            let expected = model.events(from, &range);
            let mut watcher = match store.watch(range.clone(), from) {
                Ok(watcher) => watcher,
                Err(refused) => {
                    prop_assert!(from < store.compacted(), "from {}: {}", from, refused);
                    continue;
                }
            };
            let mut seen = Vec::new();
            while seen.len() < expected.len() {
                let batch = runtime.block_on(watcher.next_within(SECOND)).unwrap();
                prop_assert!(!batch.events.is_empty(), "from {}: {:?} of {:?}", from, seen, expected);
                prop_assert!(batch.events.iter().all(|event| event.mod_revision <= batch.revision));
                for event in batch.events {
                    let value = (event.kind == EventKind::Put).then(|| event.value.clone());
                    let prev = event.prev.as_ref().map(|prev| prev.value.clone());
                    seen.push((event.mod_revision, event.key.clone(), value, prev));
                }
            }
            prop_assert!(seen.is_sorted_by_key(|event| event.0));
            seen.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
            prop_assert_eq!(seen, expected, "from {}", from);
            let mut end = watcher.progress().unwrap();
            while end.revision < store.revision() {
                end = runtime.block_on(watcher.next_within(Duration::from_millis(1))).unwrap();
                prop_assert!(end.events.is_empty());
            }
            prop_assert_eq!(end.revision, store.revision());
        }
    }
    Ok(())
}

pub fn image(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.image().write(&mut bytes).unwrap();
    bytes
}

pub fn apply(store: &Store, index: u64, command: &StoreCommand) -> Bytes {
    let response = store.apply(LogPosition { index, term: 1 }, &command.encode().unwrap());
    store.applied(index);
    response
}

fn run(steps: &[Step], ring_events_max: usize) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let options = || StoreOptions {
        ring_events_max,
        ..StoreOptions::with_history(dir.path().join("history"))
    };
    let mut store = Store::open(options());
    let twin = Store::open(StoreOptions::default());
    let mut model = Model {
        revision: 1,
        ..Model::default()
    };
    let mut log: Vec<StoreCommand> = Vec::new();
    let mut snapshot: Option<(usize, Vec<u8>)> = None;
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Restart => {
                // The newest image, and the log after it.
                let before = (image(&store), store.hash_kv());
                drop(store);
                store = Store::open(options());
                let first = match &snapshot {
                    Some((index, bytes)) => {
                        store.restore(*index as u64, &mut &bytes[..]).unwrap();
                        *index
                    }
                    None => 0,
                };
                for (at, command) in log.iter().enumerate().skip(first) {
                    apply(&store, at as u64 + 1, command);
                }
                prop_assert_eq!(&image(&store), &before.0);
                prop_assert_eq!(store.hash_kv(), before.1);
                if number % 2 == 0 {
                    snapshot = Some((log.len(), before.0));
                }
            }
            Step::Settle => prop_assert!(store.settled(SECOND)),
            _ => {
                if let Some(command) = command(step, &mut model) {
                    log.push(command.clone());
                    let answer = apply(&store, log.len() as u64, &command);
                    prop_assert_eq!(answer, apply(&twin, log.len() as u64, &command));
                }
            }
        }
    }
    prop_assert_eq!(image(&store), image(&twin));
    check_ranges(&store, &model)?;
    check_watches(&store, &model)?;
    prop_assert!(store.settled(SECOND));
    check_ranges(&store, &model)?;
    check_watches(&store, &model)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_the_model_with_large_rings(steps in steps()) {
        run(&steps, 1000)?;
    }

    #[test]
    fn as_the_model_with_tiny_rings(steps in steps()) {
        run(&steps, 1)?;
    }
}

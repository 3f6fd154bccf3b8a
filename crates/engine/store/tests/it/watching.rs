//! Watchers that lag, that are ended, and that share the store with writers and readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engenho_store::*;
use revoada_core::consensus::{Application, LogPosition};

use crate::model::{SECOND, apply, image};

fn tiny(dir: &std::path::Path) -> StoreOptions {
    StoreOptions {
        ring_events_max: 4,
        ..StoreOptions::with_history(dir)
    }
}

fn put(key: impl Into<bytes::Bytes>, value: impl Into<bytes::Bytes>) -> StoreCommand {
    StoreCommand::Txn(Txn {
        success: vec![Op::put(key, value)],
        ..Txn::default()
    })
}

#[tokio::test]
async fn a_batch_is_seen_whole_and_after_it_was_applied() {
    let store = Store::open(StoreOptions::default());
    let mut watcher = store.watch(KeyRange::prefix("/registry/core/pods/"), 1).unwrap();
    for index in 1..=3u64 {
        let payload = put(format!("/registry/core/pods/{index}"), "x").encode().unwrap();
        store.apply(LogPosition { index, term: 1 }, &payload);
    }
    assert_eq!(
        watcher.progress().unwrap(),
        WatchBatch {
            events: vec![],
            revision: 1
        }
    );
    store.applied(3);
    let batch = watcher.next_within(SECOND).await.unwrap();
    assert_eq!((batch.events.len(), batch.revision), (3, 4));

    // Other resources don't wake it, but it learns how far the store is.
    apply(&store, 4, &put("/registry/core/nodes/n", "x"));
    let batch = watcher.next_within(Duration::from_millis(20)).await.unwrap();
    assert_eq!(
        batch,
        WatchBatch {
            events: vec![],
            revision: 5
        }
    );
}

#[tokio::test]
async fn a_waiting_watcher_is_woken() {
    let store = Store::open(StoreOptions::default());
    for range in [KeyRange::key("k"), KeyRange::all()] {
        let mut watcher = store.watch(range, store.revision()).unwrap();
        let waiting = tokio::spawn(async move { watcher.next().await });
        tokio::task::yield_now().await;
        apply(&store, 1, &put("k", "v"));
        let batch = tokio::time::timeout(SECOND, waiting).await.unwrap().unwrap().unwrap();
        assert_eq!(batch.revision, store.revision());
        assert_eq!(batch.events[0].value, "v");
    }
}

#[tokio::test]
async fn a_lagging_watcher_catches_up_from_the_history_or_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(tiny(dir.path()));
    apply(&store, 1, &put("k", "0"));
    let mut slow = store.watch(KeyRange::key("k"), 1).unwrap();
    let mut slower = store.watch(KeyRange::key("k"), 1).unwrap();
    for index in 2..=100 {
        apply(&store, index, &put("k", index.to_string()));
    }
    let mut seen = Vec::new();
    while slow.position() < 101 {
        let batch = slow.next_within(SECOND).await.unwrap();
        seen.extend(batch.events.iter().map(|event| event.mod_revision));
    }
    assert_eq!(seen, (2..=101).collect::<Vec<_>>());

    apply(&store, 101, &StoreCommand::Compact { revision: 50 });
    assert_eq!(
        slower.next_within(SECOND).await,
        Err(WatchError::Compacted { oldest: 50 })
    );
    assert!(matches!(
        store.watch(KeyRange::key("k"), 49),
        Err(WatchError::Compacted { oldest: 50 })
    ));
    let mut watcher = store.watch(KeyRange::key("k"), 50).unwrap();
    let first = watcher.next_within(SECOND).await.unwrap();
    assert_eq!(first.events[0].mod_revision, 51);
    assert_eq!(first.events[0].prev.as_ref().map(|prev| prev.mod_revision), Some(50));
}

#[tokio::test]
async fn a_restored_image_ends_watches_that_it_does_not_cover() {
    let source = Store::open(StoreOptions::default());
    for index in 1..=9 {
        apply(&source, index, &put("k", "s"));
    }
    let bytes = image(&source);

    let store = Store::open(StoreOptions::default());
    apply(&store, 1, &put("k", "1"));
    let mut behind = store.watch(KeyRange::key("k"), 2).unwrap();
    let mut at = store.watch(KeyRange::key("k"), 10).unwrap();
    let ended = tokio::spawn(async move { behind.next().await });
    tokio::task::yield_now().await;
    store.restore(9, &mut &bytes[..]).unwrap();
    let ended = tokio::time::timeout(SECOND, ended).await.unwrap().unwrap();
    assert_eq!(ended, Err(WatchError::Compacted { oldest: 10 }));
    apply(&store, 10, &put("k", "new"));
    assert_eq!(at.next_within(SECOND).await.unwrap().revision, 11);

    // An older state than a watcher has seen.
    store.restore(9, &mut &bytes[..]).unwrap();
    assert_eq!(at.next_within(SECOND).await, Err(WatchError::Compacted { oldest: 10 }));
}

/// Tokens move from key to key; whatever is read or watched, there is always the same number of them.
#[test]
fn readers_and_watchers_see_whole_revisions_under_writes() {
    const TOKENS: u64 = 6000;
    const MOVES: u64 = 800;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions {
        ring_events_max: 64,
        ..StoreOptions::with_history(dir.path())
    });
    let key = |slot: u64| {
        format!(
            "/registry/core/tokens/{:08}",
            slot.wrapping_mul(2_654_435_761) % 100_000_007
        )
    };
    for first in (0..TOKENS).step_by(100) {
        let success = (first..first + 100).map(|slot| Op::put(key(slot), "token")).collect();
        apply(
            &store,
            first / 100 + 1,
            &StoreCommand::Txn(Txn {
                success,
                ..Txn::default()
            }),
        );
    }
    let start = store.revision();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for pages in [false, true] {
            let (store, done) = (store.clone(), &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    if pages {
                        count_in_pages(&store, TOKENS)
                    } else {
                        count_at_once(&store, TOKENS)
                    }
                }
            });
        }
        for range in [KeyRange::prefix("/registry/core/tokens/"), KeyRange::all()] {
            let store = store.clone();
            let watcher = store.watch(range.clone(), start).unwrap();
            scope.spawn(move || watch_moves(&store, watcher, range, start + MOVES));
        }
        for step in 0..MOVES {
            let success = vec![Op::delete(key(step)), Op::put(key(TOKENS + step), "token")];
            let command = StoreCommand::Txn(Txn {
                success,
                ..Txn::default()
            });
            apply(&store, 1000 + step, &command);
            if step % 300 == 299 {
                apply(
                    &store,
                    0,
                    &StoreCommand::Compact {
                        revision: start + step - 200,
                    },
                );
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(store.settled(SECOND));
    let read = store
        .range(&RangeRequest::new(KeyRange::all()).at(start + MOVES - 300))
        .unwrap();
    assert_eq!(read.count, TOKENS);
}

fn count_at_once(store: &Store, tokens: u64) {
    let read = store
        .range(&RangeRequest::new(KeyRange::prefix("/registry/core/tokens/")))
        .unwrap();
    assert_eq!((read.count, read.kvs.len() as u64), (tokens, tokens));
    assert!(read.kvs.iter().all(|kv| kv.mod_revision <= read.revision));
    assert!(read.kvs.is_sorted_by(|a, b| a.key < b.key));
}

fn count_in_pages(store: &Store, tokens: u64) {
    let mut request = RangeRequest::new(KeyRange::prefix("/registry/core/tokens/")).limit(700);
    let mut seen = 0;
    loop {
        let page = match store.range_page(&request) {
            Ok(page) => page,
            Err(StoreError::Compacted { .. }) => return,
            Err(error) => panic!("{error}"),
        };
        seen += page.kvs.len() as u64;
        request.revision = Some(page.revision);
        let Some(last) = page.kvs.last().filter(|_| page.more) else {
            break;
        };
        request.range.start = KeyRange::key(last.key.clone()).end.unwrap();
    }
    assert_eq!(seen, tokens);
}

fn watch_moves(store: &Arc<Store>, mut watcher: Watcher, range: KeyRange, until: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut next = watcher.position() + 1;
    while next <= until {
        let oldest = match runtime.block_on(watcher.next_within(SECOND)) {
            Ok(batch) => {
                for pair in batch.events.chunks(2) {
                    let kinds: Vec<_> = pair.iter().map(|event| (event.mod_revision, event.kind)).collect();
                    assert_eq!(kinds, [(next, EventKind::Delete), (next, EventKind::Put)]);
                    next += 1;
                }
                assert_eq!(batch.revision, next - 1);
                continue;
            }
            Err(WatchError::Compacted { oldest }) => oldest,
            Err(error) => panic!("{error}"),
        };
        // What it missed is gone: it goes on where it can, as a client does after reading anew.
        next = oldest.max(next - 1) + 1;
        if let Ok(anew) = store.watch(range.clone(), next - 1) {
            watcher = anew;
        }
    }
}

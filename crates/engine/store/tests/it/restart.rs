//! Images, restarts, and a history that is damaged, foreign or not there.

use std::path::Path;
use std::sync::Arc;

use engenho_store::*;
use proptest::prelude::*;
use revoada_core::consensus::Application;

use crate::model::{SECOND, apply, image};

fn open(dir: &Path) -> Arc<Store> {
    Store::open(StoreOptions::with_history(dir))
}

fn put(store: &Store, index: u64, key: &str, value: &str) {
    let txn = Txn {
        success: vec![Op::put(key.to_owned(), value.to_owned())],
        ..Txn::default()
    };
    apply(store, index, &StoreCommand::Txn(txn));
}

/// Writes `a` so often that the store is at revision `upto`.
fn fill(store: &Store, upto: u64) {
    for revision in store.revision() + 1..=upto {
        put(store, revision - 1, "a", &revision.to_string());
    }
}

fn value_at(store: &Store, revision: u64) -> Result<String, StoreError> {
    let read = store.range(&RangeRequest::new(KeyRange::key("a")).at(revision))?;
    Ok(String::from_utf8_lossy(&read.kvs[0].value).into_owned())
}

async fn watched_from(store: &Arc<Store>, from: u64) -> Result<Vec<u64>, WatchError> {
    let mut watcher = store.watch(KeyRange::key("a"), from)?;
    let mut revisions = Vec::new();
    while watcher.position() < store.revision() {
        let batch = watcher.next_within(SECOND).await?;
        revisions.extend(batch.events.iter().map(|event| event.mod_revision));
    }
    Ok(revisions)
}

#[tokio::test]
async fn a_restart_keeps_the_history_of_its_own_image() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store, 10);
    let bytes = image(&store);
    fill(&store, 20);
    drop(store);

    let store = open(dir.path());
    store.restore(9, &mut &bytes[..]).unwrap();
    assert_eq!((store.revision(), store.compacted()), (10, 0));
    fill(&store, 15);
    for revision in 2..=15 {
        assert_eq!(value_at(&store, revision).unwrap(), revision.to_string());
    }
    assert!(matches!(value_at(&store, 16), Err(StoreError::FutureRevision { .. })));
    assert_eq!(watched_from(&store, 1).await.unwrap(), (2..=15).collect::<Vec<_>>());
    assert_eq!(watched_from(&store, 12).await.unwrap(), [13, 14, 15]);
}

#[tokio::test]
async fn a_foreign_image_drops_the_history() {
    let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let elsewhere = open(other.path());
    put(&elsewhere, 1, "b", "else");
    fill(&elsewhere, 8);
    let bytes = image(&elsewhere);

    let store = open(mine.path());
    fill(&store, 20);
    drop(image(&store));
    store.restore(7, &mut &bytes[..]).unwrap();
    assert_eq!((store.revision(), store.compacted()), (8, 8));
    assert!(matches!(
        value_at(&store, 7),
        Err(StoreError::Compacted { compacted: 8, .. })
    ));
    assert!(matches!(
        store.watch(KeyRange::key("a"), 7),
        Err(WatchError::Compacted { oldest: 8 })
    ));
    fill(&store, 12);
    assert_eq!(value_at(&store, 8).unwrap(), "8");
    assert_eq!(watched_from(&store, 8).await.unwrap(), [9, 10, 11, 12]);
    assert_eq!(store.hash_kv(), {
        fill(&elsewhere, 12);
        elsewhere.hash_kv()
    });
}

#[test]
fn a_history_compacted_beyond_the_image_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store, 10);
    let bytes = image(&store);
    fill(&store, 20);
    apply(&store, 20, &StoreCommand::Compact { revision: 15 });
    assert!(store.settled(SECOND));
    drop(store);

    let store = open(dir.path());
    store.restore(9, &mut &bytes[..]).unwrap();
    assert_eq!((store.revision(), store.compacted()), (10, 10));
    fill(&store, 20);
    apply(&store, 20, &StoreCommand::Compact { revision: 15 });
    assert_eq!(store.compacted(), 15);
    assert_eq!(value_at(&store, 15).unwrap(), "15");
    assert!(matches!(
        value_at(&store, 14),
        Err(StoreError::Compacted {
            revision: 14,
            compacted: 15
        })
    ));
}

#[test]
fn damage_costs_the_history_and_nothing_else() {
    for damage in 0..3u64 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let store = open(&path);
        fill(&store, 1000);
        let bytes = image(&store);
        assert!(store.settled(SECOND));
        drop(store);
        damage_files(&path, damage);
        let store = open(&path);
        store.restore(1, &mut &bytes[..]).unwrap();
        assert_eq!(store.revision(), 1000);
        fill(&store, 1010);
        assert_eq!(value_at(&store, 1005).unwrap(), "1005");
        assert!(store.settled(SECOND));
        assert_eq!(value_at(&store, 1005).unwrap(), "1005");
    }
}

/// Makes files short, or of other bytes, or both in turn.
fn damage_files(dir: &Path, how: u64) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            damage_files(&entry.path(), how);
        } else {
            let length = entry.metadata().unwrap().len();
            let bytes = match how {
                0 => Vec::new(),
                1 => vec![0xa5; length.min(1 << 16) as usize],
                _ => std::fs::read(entry.path()).unwrap()[..length.min(100) as usize].to_vec(),
            };
            std::fs::write(entry.path(), bytes).unwrap();
        }
    }
}

#[tokio::test]
async fn without_a_usable_folder_only_old_revisions_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "not a folder").unwrap();
    let shared = dir.path().join("shared");
    let _first = open(&shared);
    for path in [blocked.join("below"), shared] {
        let store = open(&path);
        fill(&store, 20);
        assert_eq!(value_at(&store, 20).unwrap(), "20");
        assert!(matches!(
            value_at(&store, 19),
            Err(StoreError::Compacted { compacted: 20, .. })
        ));
        // What the ring still has can be watched.
        assert_eq!(watched_from(&store, 17).await.unwrap(), [18, 19, 20]);
        apply(&store, 20, &StoreCommand::Compact { revision: 10 });
        assert!(store.settled(SECOND));
    }
}

#[test]
fn compaction_gives_disk_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Bytes that don't compress.
    let noise: String = (0..3000u32)
        .map(|i| char::from(b'!' + (i.wrapping_mul(2_654_435_761) >> 26) as u8))
        .collect();
    for index in 1..=4000u64 {
        put(
            &store,
            index,
            &format!("k{}", index % 50),
            &format!("{}{index}", &noise[(index % 97) as usize..]),
        );
    }
    assert!(store.settled(SECOND));
    apply(&store, 4001, &StoreCommand::Compact { revision: 3990 });
    assert!(store.settled(SECOND));
    // Of 12 MB written, 50 versions at most and 11 events of 3 kB are left.
    let left = store.stats().history_bytes;
    assert!(left < 400_000, "{left} bytes are left");
    let read = store.range(&RangeRequest::new(KeyRange::all()).at(3990)).unwrap();
    assert_eq!(read.count, 50);
    assert!(
        read.kvs
            .iter()
            .all(|kv| kv.value.ends_with((kv.mod_revision - 1).to_string().as_bytes()))
    );
}

#[test]
fn an_image_with_leases_restores_whole() {
    let store = Store::open(StoreOptions::default());
    apply(&store, 1, &StoreCommand::LeaseGrant { id: 5, ttl_s: 30 });
    let leased = Op::Put {
        key: "a".into(),
        value: "1".into(),
        lease: 5,
        prev_kv: false,
        revision_splice: None,
    };
    apply(
        &store,
        2,
        &StoreCommand::Txn(Txn {
            success: vec![leased],
            ..Txn::default()
        }),
    );
    apply(&store, 3, &StoreCommand::LeaseKeepAlive { id: 5 });
    let (bytes, leases) = (image(&store), store.leases());
    let other = Store::open(StoreOptions::default());
    // The reader takes the image and leaves what follows.
    let mut stream = std::io::Cursor::new([&bytes[..], b"more"].concat());
    other.restore(3, &mut stream).unwrap();
    assert_eq!(stream.position(), bytes.len() as u64);
    assert_eq!((other.leases(), other.lease_keys(5)), (leases, Some(vec!["a".into()])));
    assert_eq!((other.stats().bytes, other.hash_kv()), (2, store.hash_kv()));
    apply(&other, 4, &StoreCommand::LeaseRevoke { id: 5 });
    assert_eq!((other.get(b"a"), other.revision()), (None, 3));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_image_is_refused_and_changes_nothing(at in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<bool>()) {
        let source = Store::open(StoreOptions::default());
        fill(&source, 5);
        put(&source, 5, "b", "x");
        let mut bytes = image(&source);
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        let store = Store::open(StoreOptions::default());
        put(&store, 1, "kept", "y");
        prop_assert!(store.restore(9, &mut &bytes[..]).is_err());
        prop_assert_eq!(store.revision(), 2);
        prop_assert!(store.get(b"kept").is_some());
    }

    #[test]
    fn any_bytes_in_the_log_are_refused(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        let store = Store::open(StoreOptions::default());
        store.apply(revoada_core::consensus::LogPosition { index: 1, term: 1 }, &payload);
        prop_assert!(store.revision() <= 2);
    }
}

//! Sealed values: they open for the same place, and for nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engenho_pki::sealer::{KEYS_MAX, MAGIC, PLAINTEXT_BYTES_MAX};
use engenho_pki::{KeysError, SealerError, SealingKey, SealingKeys, SecretSealer};
use proptest::prelude::*;

/// Bytes from a counter: every salt differs, and a run can be repeated.
fn entropy(seed: u64) -> Arc<dyn Fn(&mut [u8]) + Send + Sync> {
    let next = AtomicU64::new(seed << 32);
    Arc::new(move |out| {
        for part in out.chunks_mut(32) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            part.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..part.len()]);
        }
    })
}

fn key(seed: u64) -> SealingKey {
    SealingKey::generate(|out| entropy(seed)(out))
}

fn keys(seeds: &[u64]) -> SealingKeys {
    let mut keys = SealingKeys::new();
    for seed in seeds {
        keys.add(key(*seed)).expect("room");
    }
    keys
}

fn sealer(seeds: &[u64]) -> SecretSealer {
    SecretSealer::new(keys(seeds), entropy(99))
}

const AT: &[u8] = b"/registry/secrets/default/one";

#[test]
fn the_newest_key_seals_and_all_open() {
    let old = sealer(&[1]);
    let sealed = old.seal(AT, b"value").expect("sealed");
    let rotated = sealer(&[1, 2]);
    assert_eq!(rotated.open(AT, &sealed).expect("opened"), b"value");
    assert!(rotated.is_stale(&sealed) && !old.is_stale(&sealed));
    let new = rotated.seal(AT, b"value").expect("sealed");
    assert!(!rotated.is_stale(&new));
    assert_eq!(
        old.open(AT, &new),
        Err(SealerError::UnknownKey { id: key(2).id() }),
        "an old member says which key it lacks"
    );
    assert_eq!(
        SecretSealer::new(SealingKeys::new(), entropy(0)).seal(AT, b"x"),
        Err(SealerError::NoKey)
    );
}

#[test]
fn sealing_is_random_from_the_given_source_only() {
    let one = sealer(&[1]);
    assert_ne!(one.seal(AT, b"v").expect("sealed"), one.seal(AT, b"v").expect("sealed"));
    assert_eq!(
        sealer(&[1]).seal(AT, b"v").expect("sealed"),
        sealer(&[1]).seal(AT, b"v").expect("sealed"),
        "the same source gives the same bytes"
    );
}

#[test]
fn the_format_is_fixed() {
    let sealed = sealer(&[1]).seal(AT, b"value").expect("sealed");
    assert_eq!(sealed.len(), 6 + 8 + 16 + 5 + 16);
    assert!(SecretSealer::is_sealed(&sealed));
    assert!(!SecretSealer::is_sealed(b"{\"kind\":\"Secret\"}") && !SecretSealer::is_sealed(b"k8s\x00"));
    // A change of this hash is a change of the format: values on disk would not open any more.
    assert_eq!(
        blake3::hash(&sealed).to_hex().as_str(),
        "5ab1bb1bb9cf353e034fb7a76e471b5de26aea945bce064dad55abb05f695a46"
    );
}

#[test]
fn damage_is_told_apart() {
    let sealer = sealer(&[1]);
    let sealed = sealer.seal(AT, b"value").expect("sealed");
    assert_eq!(
        sealer.open(b"/registry/secrets/default/two", &sealed),
        Err(SealerError::Tampered)
    );
    let mut newer = sealed.clone();
    newer[MAGIC.len() - 1] = 2;
    assert_eq!(sealer.open(AT, &newer), Err(SealerError::Version { version: 2 }));
    assert!(matches!(sealer.open(AT, b"plain"), Err(SealerError::Format { .. })));
    assert!(matches!(sealer.open(AT, &MAGIC), Err(SealerError::Format { .. })));
    let long = vec![0u8; PLAINTEXT_BYTES_MAX + 1];
    assert!(matches!(sealer.seal(AT, &long), Err(SealerError::TooLong { .. })));
}

#[test]
fn keys_survive_their_text_and_stay_out_of_logs() {
    let mut ring = keys(&[1, 2, 3]);
    let text = ring.to_json();
    assert_eq!(SealingKeys::from_json(&text).expect("read"), ring);
    let printed = format!("{ring:?}");
    for secret in text.split('"').filter(|s| s.len() == 64) {
        assert!(!printed.contains(secret));
    }
    for broken in [
        "",
        "{}",
        r#"{"version":2,"keys":[]}"#,
        r#"{"version":1,"keys":["00"]}"#,
        r#"{"version":1,"keys":["zz"]}"#,
    ] {
        assert!(
            matches!(SealingKeys::from_json(broken), Err(KeysError::Read { .. })),
            "{broken}"
        );
    }
    let first = ring.ids()[0].clone();
    ring.add(key(1)).expect("it is there already");
    assert_eq!(ring.ids().len(), 3);
    assert_eq!(ring.ids().last(), Some(&first), "and becomes the newest");
    assert!(ring.remove(&first) && !ring.remove(&first));
    for seed in 100..100 + KEYS_MAX as u64 - 2 {
        ring.add(key(seed)).expect("room");
    }
    assert_eq!(ring.add(key(1000)), Err(KeysError::TooMany));
}

proptest! {
    #[test]
    fn what_is_sealed_opens_only_where_it_stands(
        at in proptest::collection::vec(any::<u8>(), 0..64), elsewhere in proptest::collection::vec(any::<u8>(), 0..64),
        plaintext in proptest::collection::vec(any::<u8>(), 0..512),
    ) {
        let sealer = sealer(&[1, 2]);
        let sealed = sealer.seal(&at, &plaintext).expect("sealed");
        prop_assert_eq!(sealer.open(&at, &sealed).expect("opened"), plaintext);
        if at != elsewhere {
            prop_assert_eq!(sealer.open(&elsewhere, &sealed), Err(SealerError::Tampered));
        }
    }

    #[test]
    fn any_change_is_noticed(
        plaintext in proptest::collection::vec(any::<u8>(), 0..64),
        at: prop::sample::Index, flip in 1u8.., cut: prop::sample::Index, tail in proptest::collection::vec(any::<u8>(), 1..9),
    ) {
        let sealer = sealer(&[1, 2]);
        let sealed = sealer.seal(AT, &plaintext).expect("sealed");
        let mut changed = sealed.clone();
        changed[at.index(sealed.len())] ^= flip;
        prop_assert!(sealer.open(AT, &changed).is_err());
        prop_assert!(sealer.open(AT, &sealed[..cut.index(sealed.len())]).is_err());
        let mut longer = sealed.clone();
        longer.extend(tail);
        prop_assert_eq!(sealer.open(AT, &longer), Err(SealerError::Tampered));
    }

    #[test]
    fn garbage_never_opens(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
        prop_assert!(sealer(&[1]).open(AT, &bytes).is_err());
        let mut with_magic = MAGIC.to_vec();
        with_magic.extend(bytes);
        prop_assert!(sealer(&[1]).open(AT, &with_magic).is_err());
    }
}

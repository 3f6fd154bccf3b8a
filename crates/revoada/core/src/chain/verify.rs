//! Offline verification of an exported chain: nothing is trusted but the cluster id.

use std::collections::BTreeMap;
use std::fmt;

use crate::id::{ClusterId, Hash32, MemberId};

use super::bundle::{BUNDLE_BLOCKS_MAX, BUNDLE_FORMAT, Bundle, BundleError, BundleFault};
use super::checkpoint::{self, Checkpoint};
use super::note::{NoteKey, NoteKeyKind};
use super::state::ChainState;

/// A chain that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Number of blocks after genesis.
    pub blocks: u64,
    /// How many of them have a seal of their own.
    pub sealed: u64,
    /// The others, ascending. A later seal vouches for them through the hashes; the last ones rest on the
    /// checkpoint's signature alone.
    pub unsealed: Vec<u64>,
    /// Hash of the last block; the cluster id if there is none.
    pub head: Hash32,
    /// Admitted members that signed the checkpoint for the log, ascending.
    pub signers: Vec<MemberId>,
    /// What the chain leads to.
    pub state: ChainState,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ok: {} blocks, {} sealed, head {}",
            self.blocks, self.sealed, self.head
        )
    }
}

/// Verifies a whole chain: the genesis against `cluster` (if given; without it the result says only that the
/// bundle is consistent with itself), every link, every rule, every seal, and the checkpoint, which commits to
/// the number of blocks so that the last ones cannot be dropped unnoticed.
///
/// Every signature line of the checkpoint must be an admitted member's: unlike in a note from elsewhere, a line
/// nobody can check has no business in an export, and ignoring it would let damage pass.
pub fn verify_bundle(bundle: &Bundle, cluster: Option<ClusterId>) -> Result<Verified, BundleError> {
    if bundle.format != BUNDLE_FORMAT {
        return Err(BundleFault::Format { got: bundle.format }.into());
    }
    if bundle.blocks.len() > BUNDLE_BLOCKS_MAX {
        return Err(BundleFault::TooManyBlocks {
            got: bundle.blocks.len(),
        }
        .into());
    }
    let got = bundle.genesis.cluster_id();
    if let Some(want) = cluster.filter(|want| *want != got) {
        return Err(BundleFault::OtherCluster { want, got }.into());
    }
    let mut state = ChainState::genesis(bundle.genesis.clone()).map_err(BundleFault::Genesis)?;
    let mut seals = bundle.seals.iter().peekable();
    let mut unsealed = Vec::new();
    for (index, block) in (1..).zip(&bundle.blocks) {
        let at = |fault| BundleError {
            index: Some(index),
            fault,
        };
        state.extend(block).map_err(|error| at(BundleFault::Block(error)))?;
        match seals.next_if(|seal| seal.index == index) {
            Some(seal) => state.seal(seal).map_err(|error| at(BundleFault::Seal(error)))?,
            None => unsealed.push(index),
        }
    }
    if let Some(stray) = seals.next() {
        let index = (1..=state.height()).contains(&stray.index).then_some(stray.index);
        return Err(BundleError {
            index,
            fault: BundleFault::StraySeal { seal: stray.index },
        });
    }
    let signers = verify_checkpoint(&bundle.checkpoint, &state)?;
    Ok(Verified {
        cluster: state.cluster(),
        blocks: state.height(),
        sealed: state.sealed_count(),
        unsealed,
        head: state.head(),
        signers,
        state,
    })
}

fn verify_checkpoint(text: &str, state: &ChainState) -> Result<Vec<MemberId>, BundleFault> {
    let checkpoint = Checkpoint::parse(text).map_err(BundleFault::Checkpoint)?;
    let want = checkpoint::origin(state.cluster());
    if checkpoint.origin() != want {
        return Err(BundleFault::CheckpointOrigin {
            want,
            got: checkpoint.origin().to_owned(),
        });
    }
    if checkpoint.size() != state.tree_size() {
        return Err(BundleFault::CheckpointSize {
            size: checkpoint.size(),
            blocks: state.height(),
        });
    }
    if checkpoint.root() != state.tree_root() {
        return Err(BundleFault::CheckpointRoot);
    }
    let keys: Vec<NoteKey> = state
        .admitted()
        .keys()
        .flat_map(|member| {
            [
                checkpoint::log_key(state.cluster(), *member),
                checkpoint::cosigner_key(*member),
            ]
        })
        .collect();
    let mut by_id: BTreeMap<(&str, [u8; 4]), Vec<&NoteKey>> = BTreeMap::new();
    for key in &keys {
        by_id.entry((key.name(), key.id())).or_default().push(key);
    }
    let mut signers = Vec::new();
    for signature in checkpoint.signatures() {
        // Key ids are short, so more than one key may have to be tried.
        let candidates = by_id
            .get(&(signature.name(), signature.key_id()))
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut fault = BundleFault::CheckpointStranger {
            name: signature.name().to_owned(),
        };
        let mut signer = None;
        for key in candidates {
            match key.verify(checkpoint.text(), signature) {
                Ok(_) => signer = Some(*key),
                Err(error) => fault = BundleFault::CheckpointForged(error),
            }
        }
        let Some(key) = signer else { return Err(fault) };
        if key.kind() == NoteKeyKind::Ed25519 {
            signers.push(key.key());
        }
    }
    if signers.is_empty() {
        return Err(BundleFault::CheckpointUnsigned);
    }
    signers.sort();
    signers.dedup();
    Ok(signers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::error::{ChainError, SealError};
    use super::super::fixture::{Fixture, key};
    use super::super::{Event, sign_recover, sign_seal};
    use super::*;
    use crate::role::Role;

    fn verify(bundle: &Bundle, cluster: ClusterId) -> Result<String, BundleError> {
        verify_bundle(bundle, Some(cluster)).map(|verified| verified.to_string())
    }

    #[test]
    fn a_good_bundle() {
        let f = Fixture::nine();
        let bundle = f.bundle();
        let json = bundle.to_json().unwrap();
        let read = Bundle::from_json(json.as_bytes()).unwrap();
        assert_eq!(read, bundle);
        let verified = verify_bundle(&read, Some(f.state.cluster())).unwrap();
        assert_eq!(
            verified.to_string(),
            format!("ok: 9 blocks, 9 sealed, head {}", f.state.head())
        );
        assert_eq!(verified.state, f.state);
        assert_eq!(verified.signers, [f.id(2)]);
        // White space and order of fields are free.
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(Bundle::from_json(pretty.as_bytes()), Ok(bundle));
        let empty = Fixture::new();
        let text = verify(&empty.bundle(), empty.state.cluster()).unwrap();
        assert_eq!(text, format!("ok: 0 blocks, 0 sealed, head {}", empty.state.cluster()));
    }

    #[test]
    fn gaps_of_seals_are_reported() {
        let f = Fixture::nine();
        let mut bundle = f.bundle();
        bundle.seals.retain(|seal| ![3, 9].contains(&seal.index));
        let verified = verify_bundle(&bundle, None).unwrap();
        assert_eq!((verified.sealed, verified.unsealed), (7, vec![3, 9]));
    }

    /// Every byte of the file but the last newline matters. Two short histories, because the time grows with the
    /// square of the length.
    #[test]
    fn every_flipped_byte_is_noticed() {
        let mut recovered = Fixture::new();
        recovered.push_sealed(recovered.admit(1));
        recovered.push_sealed(recovered.transition(1, Role::Worker, Role::Voter, Some(0)));
        recovered.push_sealed(sign_recover(&recovered.keys[1], &recovered.state, []));
        let mut expelled = Fixture::new();
        expelled.push_sealed(expelled.admit(1));
        expelled.push_sealed(Event::Formation {
            formation: Default::default(),
        });
        expelled.push_sealed(Event::Leave { member: expelled.id(1) });
        expelled.push_sealed(Event::Expel { member: expelled.id(1) });
        for f in [recovered, expelled] {
            let json = f.bundle().to_json().unwrap();
            let json = json.trim_end().as_bytes();
            for at in 0..json.len() {
                // One mask a byte, the place decides which.
                let masks = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff];
                let mut bent = json.to_vec();
                bent[at] ^= masks[at % masks.len()];
                let result = Bundle::from_json(&bent).and_then(|bundle| verify(&bundle, f.state.cluster()));
                let near = String::from_utf8_lossy(&bent[at.saturating_sub(40)..at + 1]);
                assert!(result.is_err(), "byte {at}: {near:?}");
            }
        }
    }

    #[test]
    fn dropped_and_swapped_blocks_are_noticed() {
        let f = Fixture::nine();
        let (bundle, cluster) = (f.bundle(), f.state.cluster());
        for at in 0..9 {
            for with_seal in [false, true] {
                let mut dropped = bundle.clone();
                dropped.blocks.remove(at);
                if with_seal {
                    dropped.seals.remove(at);
                }
                let error = verify(&dropped, cluster).unwrap_err();
                match (at, with_seal) {
                    (8, true) => assert_eq!(error.fault, BundleFault::CheckpointSize { size: 10, blocks: 8 }),
                    (8, false) => assert_eq!(error.fault, BundleFault::StraySeal { seal: 9 }),
                    _ => {
                        let (want, got) = (at as u64 + 1, at as u64 + 2);
                        let fault = BundleFault::Block(ChainError::WrongIndex { want, got });
                        assert_eq!(
                            error,
                            BundleError {
                                index: Some(want),
                                fault
                            }
                        );
                    }
                }
            }
            for other in at + 1..9 {
                let mut swapped = bundle.clone();
                swapped.blocks.swap(at, other);
                assert_eq!(verify(&swapped, cluster).unwrap_err().index, Some(at as u64 + 1));
                // Also when the indexes are made to look right.
                let index = swapped.blocks[at].index;
                swapped.blocks[at].index = swapped.blocks[other].index;
                swapped.blocks[other].index = index;
                assert!(verify(&swapped, cluster).is_err());
                let mut swapped = bundle.clone();
                swapped.seals.swap(at, other);
                assert!(verify(&swapped, cluster).is_err());
            }
            let mut doubled = bundle.clone();
            doubled.blocks.insert(at, bundle.blocks[at].clone());
            assert!(verify(&doubled, cluster).is_err());
            let mut doubled = bundle.clone();
            doubled.seals.insert(at, bundle.seals[at].clone());
            assert!(verify(&doubled, cluster).is_err());
        }
    }

    #[test]
    fn forged_seals_are_noticed() {
        let f = Fixture::nine();
        let (bundle, cluster) = (f.bundle(), f.state.cluster());
        let error = |bundle: &Bundle| verify(bundle, cluster).unwrap_err();
        // By a key that was never admitted.
        let mut forged = bundle.clone();
        let hash = forged.seals[4].hash;
        forged.seals[4].signatures = vec![sign_seal(&key(77), cluster, 5, hash)];
        assert!(matches!(
            error(&forged).fault,
            BundleFault::Seal(SealError::NoQuorum { index: 5, .. })
        ));
        // With another member's name under the signature.
        let mut forged = bundle.clone();
        forged.seals[4].signatures[0].signature = sign_seal(&key(77), cluster, 5, hash).signature;
        assert!(matches!(
            error(&forged).fault,
            BundleFault::Seal(SealError::Signature { index: 5, .. })
        ));
        assert_eq!(
            error(&forged).to_string(),
            "block 5: the seal of block 5 is forged or damaged"
        );
        // By a member that was expelled in this very block.
        let mut forged = bundle.clone();
        let hash = forged.seals[8].hash;
        forged.seals[8].signatures = vec![sign_seal(&f.keys[3], cluster, 9, hash)];
        assert!(matches!(
            error(&forged).fault,
            BundleFault::Seal(SealError::NotAdmitted { index: 9, .. })
        ));
    }

    #[test]
    fn another_cluster_is_noticed() {
        let f = Fixture::nine();
        let mut other = f.bundle();
        other.genesis.salt = Hash32([1; 32]);
        let (want, got) = (f.state.cluster(), other.genesis.cluster_id());
        assert_eq!(
            verify(&other, want),
            Err(BundleFault::OtherCluster { want, got }.into())
        );
        let error = verify_bundle(&other, None).unwrap_err();
        assert!(matches!(
            error.fault,
            BundleFault::Block(ChainError::WrongPrev { index: 1, .. })
        ));
    }

    #[test]
    fn a_rewritten_history_needs_an_admitted_key() {
        // All of it made anew with the last two blocks gone, signed by someone who is not admitted.
        let mut f = Fixture::nine();
        let bundle = f.bundle();
        f.push(Event::Formation {
            formation: Default::default(),
        });
        let mut longer = f.bundle();
        longer.checkpoint = bundle.checkpoint.clone();
        let fault = |bundle: &Bundle| verify_bundle(bundle, None).unwrap_err().fault;
        assert_eq!(fault(&longer), BundleFault::CheckpointSize { size: 10, blocks: 10 });
        let mut stranger = Checkpoint::new(&f.state);
        stranger.sign(&f.keys[0]).unwrap();
        longer.checkpoint = stranger.to_string();
        assert!(
            matches!(fault(&longer), BundleFault::CheckpointStranger { .. }),
            "fenced members cannot sign"
        );
        let mut only_cosigned = Checkpoint::new(&f.state);
        only_cosigned.cosign(&f.keys[2], 1).unwrap();
        longer.checkpoint = only_cosigned.to_string();
        assert_eq!(fault(&longer), BundleFault::CheckpointUnsigned);
        let other = Fixture::new();
        longer.checkpoint = other.bundle().checkpoint;
        assert!(matches!(fault(&longer), BundleFault::CheckpointSize { .. }));
        longer.checkpoint = bundle.checkpoint.replace("\n10\n", "\n11\n");
        assert_eq!(fault(&longer), BundleFault::CheckpointRoot);
    }

    #[test]
    fn other_spellings_are_refused() {
        let f = Fixture::nine();
        let json = f.bundle().to_json().unwrap();
        let refused = |other: &str| {
            assert_ne!(other, json);
            Bundle::from_json(other.as_bytes()).expect_err(other)
        };
        let founder = f.id(0).to_string();
        let upper = json.replacen(&founder, &founder.to_uppercase(), 1);
        assert_eq!(refused(&upper).fault, BundleFault::Spelling);
        let member = format!("\"member\":\"{}\"", f.id(1));
        let upper = json.replacen(
            &member,
            &format!("\"member\":\"{}\"", f.id(1).to_string().to_uppercase()),
            1,
        );
        assert_eq!(
            refused(&upper),
            BundleError {
                index: Some(1),
                fault: BundleFault::Spelling
            }
        );
        assert_eq!(refused(&json.replacen(",\"replaces\":null", "", 1)).index, Some(3));
        for (from, to) in [
            ("{\"format\":1", "{\"format\":1,\"format\":1"),
            ("{\"format\":1", "{\"format\":2"),
            ("{\"format\":1", "{\"more\":1,\"format\":1"),
            ("\"founderName\"", "\"more\":1,\"founderName\""),
            (
                "\"founderName\":\"m0\"",
                "\"founderName\":\"m0\",\"founderName\":\"m0\"",
            ),
            ("\"logIndex\":10,", "\"logIndex\":10.0,"),
            ("\"logIndex\":10,", "\"logIndex\":1e1,"),
            ("\"logIndex\":10,", "\"logIndex\":10,\"logIndex\":10,"),
            ("\"logIndex\":10,", "\"logIndex\":10,\"more\":null,"),
            ("\"type\":\"admit\"", "\"type\":\"admit\",\"type\":\"admit\""),
            ("\"type\":\"admit\"", "\"type\":\"admit\",\"more\":0"),
            ("\"witness\":false", "\"witness\":false,\"witness\":false"),
            ("\"signatures\":[", "\"more\":0,\"signatures\":["),
            ("\"signatures\":[{", "\"signatures\":[{\"more\":0,"),
            ("\"checkpoint\"", "\"seals\":[],\"checkpoint\""),
        ] {
            refused(&json.replacen(from, to, 1));
        }
        refused(&format!("{json}{json}"));
        refused(&json[..json.len() - 3]);
    }

    #[test]
    fn a_hostile_file_is_bounded() {
        let many = format!(
            "{{\"format\":1,\"genesis\":0,\"blocks\":[{}0]",
            "0,".repeat(BUNDLE_BLOCKS_MAX)
        );
        assert!(
            Bundle::from_json(many.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("more than 65536 elements")
        );
        assert!(Bundle::from_json("[".repeat(100_000).as_bytes()).is_err());
        let deep = format!("{{\"format\":1,\"genesis\":{}", "[".repeat(100_000));
        assert!(Bundle::from_json(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Bundle::from_json(&bytes);
        }

        #[test]
        fn spliced_files_never_panic_or_pass(
            from in any::<prop::sample::Index>(), length in 1usize..300, patch in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            thread_local!(static GOOD: (ClusterId, Bundle, Vec<u8>) = {
                let f = Fixture::nine();
                let bundle = f.bundle();
                let json = bundle.to_json().unwrap().into_bytes();
                (f.state.cluster(), bundle, json)
            });
            GOOD.with(|(cluster, bundle, json)| {
                let mut bent = json.clone();
                let from = from.index(bent.len());
                let to = (from + length).min(bent.len());
                bent.splice(from..to, patch);
                if let Ok(read) = Bundle::from_json(&bent) && verify(&read, *cluster).is_ok() {
                    // What remains is the chain itself, at most with fewer seals.
                    prop_assert_eq!(&read.blocks, &bundle.blocks);
                }
                Ok(())
            })?;
        }
    }
}

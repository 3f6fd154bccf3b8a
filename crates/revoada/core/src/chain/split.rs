//! Proof that a cluster's history split: two sealed blocks in one place.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, Hash32, MemberId};

use super::block::{Block, Event};
use super::error::SealError;
use super::seal::Seal;

/// A block and the seal under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedBlock {
    /// The block.
    pub block: Block,
    /// Its seal.
    pub seal: Seal,
}

/// Two sealed blocks of one cluster and epoch with the same index and different hashes. One Raft log can never
/// bring that about: whoever verifies such a proof should halt writes and say so loudly.
///
/// Blocks of different epochs prove nothing: a recovery goes on from what its survivor had, and what only the
/// lost majority had is given up on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitBrainProof {
    /// One of the two.
    pub left: SealedBlock,
    /// The other.
    pub right: SealedBlock,
}

/// Why two sealed blocks prove nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitBrainError {
    /// They stand in different places.
    #[error("the blocks have different places: {left} and {right}")]
    OtherIndex {
        /// Index of the left block.
        left: u64,
        /// Index of the right block.
        right: u64,
    },
    /// They belong to different epochs.
    #[error("the blocks belong to different epochs, {left} and {right}: a recovery lies between them")]
    OtherEpoch {
        /// Epoch of the left block.
        left: u64,
        /// Epoch of the right block.
        right: u64,
    },
    /// They are the same block.
    #[error("both blocks are the same: {hash}")]
    Same {
        /// Its hash.
        hash: Hash32,
    },
    /// A seal belongs to another block.
    #[error("the seal is for block {index} {sealed}, the block is {hash}")]
    SealOfOther {
        /// Index in the seal.
        index: u64,
        /// Hash in the seal.
        sealed: Hash32,
        /// Hash of the block.
        hash: Hash32,
    },
    /// A seal does not hold.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl SplitBrainProof {
    /// Checks the proof. `admitted` are the members, ascending, that the verifier knows to have been admitted
    /// when both blocks were made: those of its own chain at the block before.
    pub fn verify(&self, cluster: ClusterId, admitted: &[MemberId]) -> Result<(), SplitBrainError> {
        let (left, right) = (&self.left.block, &self.right.block);
        if left.index != right.index {
            return Err(SplitBrainError::OtherIndex {
                left: left.index,
                right: right.index,
            });
        }
        if left.epoch != right.epoch {
            return Err(SplitBrainError::OtherEpoch {
                left: left.epoch,
                right: right.epoch,
            });
        }
        if left == right {
            return Err(SplitBrainError::Same { hash: left.hash() });
        }
        for SealedBlock { block, seal } in [&self.left, &self.right] {
            let hash = block.hash();
            if (seal.index, seal.hash) != (block.index, hash) {
                return Err(SplitBrainError::SealOfOther {
                    index: seal.index,
                    sealed: seal.hash,
                    hash,
                });
            }
            seal.verify(cluster, &admitted_after(admitted, &block.event))?;
        }
        Ok(())
    }

    /// Members that signed both, ascending: those broke their word, or their key is in other hands.
    pub fn signed_both(&self) -> Vec<MemberId> {
        let right = &self.right.seal.signatures;
        let both = |member: &MemberId| right.iter().any(|signature| signature.member == *member);
        self.left
            .seal
            .signatures
            .iter()
            .map(|signature| signature.member)
            .filter(both)
            .collect()
    }
}

/// Who may seal a block: the members once its event is applied.
fn admitted_after(before: &[MemberId], event: &Event) -> Vec<MemberId> {
    let mut after: BTreeSet<_> = before.iter().copied().collect();
    match event {
        Event::Admit { member, .. } => _ = after.insert(*member),
        Event::Leave { member } | Event::Expel { member } => _ = after.remove(member),
        Event::Recover { keep, .. } => after.retain(|member| keep.contains(member)),
        Event::Transition { .. } | Event::Formation { .. } => {}
    }
    after.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::seal::sign_seal;
    use super::*;
    use crate::formation::Formation;
    use crate::key::SecretKey;

    #[test]
    fn only_two_sealed_blocks_in_one_place_are_a_proof() {
        let keys: Vec<_> = (1..=3u8).map(|n| SecretKey::from_bytes(&[n; 32])).collect();
        let mut admitted: Vec<_> = keys.iter().map(SecretKey::member_id).collect();
        admitted.sort();
        let cluster = ClusterId([4; 32]);
        let sealed = |index, epoch, reason: &str| {
            let block = Block {
                index,
                prev: Hash32([5; 32]),
                event: Event::Formation {
                    formation: Formation::default(),
                },
                reason: reason.into(),
                epoch,
                term: 2,
                log_index: 30,
                proposed_ms: 4,
            };
            let hash = block.hash();
            let seal = Seal::assemble(index, hash, keys.iter().map(|key| sign_seal(key, cluster, index, hash)));
            SealedBlock { block, seal }
        };
        let proof = |right| SplitBrainProof {
            left: sealed(6, 1, "left"),
            right,
        };
        let good = proof(sealed(6, 1, "right"));
        assert_eq!(good.verify(cluster, &admitted), Ok(()));
        assert_eq!(good.signed_both(), admitted);
        let bytes = borsh::to_vec(&good).unwrap();
        assert_eq!(borsh::from_slice::<SplitBrainProof>(&bytes).unwrap(), good);

        assert!(matches!(
            proof(sealed(6, 1, "left")).verify(cluster, &admitted),
            Err(SplitBrainError::Same { .. })
        ));
        assert!(matches!(
            proof(sealed(7, 1, "right")).verify(cluster, &admitted),
            Err(SplitBrainError::OtherIndex { left: 6, right: 7 })
        ));
        assert!(matches!(
            proof(sealed(6, 2, "right")).verify(cluster, &admitted),
            Err(SplitBrainError::OtherEpoch { left: 1, right: 2 })
        ));
        assert!(matches!(
            good.verify(ClusterId([9; 32]), &admitted),
            Err(SplitBrainError::Seal(_))
        ));
        assert!(matches!(
            good.verify(cluster, &admitted[1..]),
            Err(SplitBrainError::Seal(_))
        ));
        let mut swapped = good.clone();
        swapped.right.seal = swapped.left.seal.clone();
        assert!(matches!(
            swapped.verify(cluster, &admitted),
            Err(SplitBrainError::SealOfOther { .. })
        ));
    }
}

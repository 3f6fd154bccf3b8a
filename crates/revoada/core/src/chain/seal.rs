//! Seals: members' signatures under a block, so that no single member can invent history.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, Hash32, MemberId};
use crate::key::{self, SecretKey, SignatureError};

use super::error::SealError;

const CONTEXT: &str = "engenho 2026 chain seal v1";

/// The most signatures a seal may carry; more add size and no certainty.
pub const SEAL_SIGNATURES_MAX: usize = 16;

/// One member's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Who signed.
    pub member: MemberId,
    /// The signature over [`seal_message`]; see [`SecretKey::sign`].
    #[serde(with = "super::hex64")]
    pub signature: [u8; 64],
}

/// Enough members' signatures under one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Index of the sealed block.
    pub index: u64,
    /// Its hash.
    pub hash: Hash32,
    /// The signatures, ascending by member, each member once.
    pub signatures: Vec<Signature>,
}

/// What is signed: cluster, index and hash in Borsh.
pub fn seal_message(cluster: ClusterId, index: u64, hash: Hash32) -> Vec<u8> {
    borsh::to_vec(&(cluster, index, hash)).expect("encoding to memory cannot fail")
}

/// A member's part of a seal. Sign only blocks that this member has applied itself.
pub fn sign_seal(key: &SecretKey, cluster: ClusterId, index: u64, hash: Hash32) -> Signature {
    Signature {
        member: key.member_id(),
        signature: key.sign(CONTEXT, &seal_message(cluster, index, hash)),
    }
}

/// Checks one member's part of a seal, without asking whether the member is admitted.
pub fn verify_signature(
    signature: &Signature,
    cluster: ClusterId,
    index: u64,
    hash: Hash32,
) -> Result<(), SignatureError> {
    key::verify(
        signature.member,
        CONTEXT,
        &seal_message(cluster, index, hash),
        &signature.signature,
    )
}

/// How many members must sign a block when `admitted` members are admitted: the leader and two others, or a
/// majority where that is fewer. Asking for all members of a small cluster would mean that with one of three
/// dead nothing could be sealed any more, just when the chain has most to say.
pub fn seal_quorum(admitted: usize) -> usize {
    (admitted / 2 + 1).min(3)
}

impl Seal {
    /// A seal from parts that were gathered in any order; of several by one member the first counts. The parts
    /// must be [verified](verify_signature): a wrong one would spoil the seal. At most
    /// [`SEAL_SIGNATURES_MAX`] are kept.
    pub fn assemble(index: u64, hash: Hash32, parts: impl IntoIterator<Item = Signature>) -> Self {
        let mut by_member = BTreeMap::new();
        for part in parts {
            by_member.entry(part.member).or_insert(part);
        }
        Self {
            index,
            hash,
            signatures: by_member.into_values().take(SEAL_SIGNATURES_MAX).collect(),
        }
    }

    /// Checks order, signatures and quorum. `admitted` are the members admitted once the block was applied,
    /// ascending.
    pub fn verify(&self, cluster: ClusterId, admitted: &[MemberId]) -> Result<(), SealError> {
        let index = self.index;
        let got = self.signatures.len();
        if got > SEAL_SIGNATURES_MAX {
            return Err(SealError::TooMany { index, got });
        }
        let want = seal_quorum(admitted.len());
        if got < want {
            return Err(SealError::NoQuorum { index, want, got });
        }
        if !self.signatures.is_sorted_by(|a, b| a.member < b.member) {
            return Err(SealError::NotSorted { index });
        }
        for signature in &self.signatures {
            if admitted.binary_search(&signature.member).is_err() {
                return Err(SealError::NotAdmitted {
                    index,
                    member: signature.member,
                });
            }
            verify_signature(signature, cluster, index, self.hash)
                .map_err(|source| SealError::Signature { index, source })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorum_by_size() {
        let table: Vec<_> = (1..=7).map(seal_quorum).collect();
        assert_eq!(table, [1, 2, 2, 3, 3, 3, 3]);
    }

    #[test]
    fn only_a_quorum_of_distinct_admitted_signers_seals() {
        let keys: Vec<_> = (1..=5u8).map(|n| SecretKey::from_bytes(&[n; 32])).collect();
        let mut admitted: Vec<_> = keys[..4].iter().map(SecretKey::member_id).collect();
        admitted.sort();
        let (cluster, hash) = (ClusterId([1; 32]), Hash32([2; 32]));
        let part = |n: usize| sign_seal(&keys[n], cluster, 7, hash);
        let seal = Seal::assemble(7, hash, [part(2), part(0), part(1), part(0)]);
        assert_eq!(seal.signatures.len(), 3);
        assert_eq!(seal.verify(cluster, &admitted), Ok(()));

        assert_eq!(
            Seal::assemble(7, hash, [part(0), part(1)]).verify(cluster, &admitted),
            Err(SealError::NoQuorum {
                index: 7,
                want: 3,
                got: 2
            })
        );
        let stranger = keys[4].member_id();
        assert_eq!(
            Seal::assemble(7, hash, [part(0), part(1), part(2), part(4)]).verify(cluster, &admitted),
            Err(SealError::NotAdmitted {
                index: 7,
                member: stranger
            })
        );
        let mut twice = seal.clone();
        twice.signatures[1] = twice.signatures[0].clone();
        assert_eq!(twice.verify(cluster, &admitted), Err(SealError::NotSorted { index: 7 }));
        for (cluster, index, hash) in [
            (ClusterId([9; 32]), 7, hash),
            (cluster, 8, hash),
            (cluster, 7, Hash32([9; 32])),
        ] {
            let other = Seal {
                index,
                hash,
                signatures: seal.signatures.clone(),
            };
            assert!(matches!(
                other.verify(cluster, &admitted),
                Err(SealError::Signature { .. })
            ));
        }
        let many = Seal {
            signatures: vec![part(0); SEAL_SIGNATURES_MAX + 1],
            ..seal
        };
        assert_eq!(
            many.verify(cluster, &admitted),
            Err(SealError::TooMany { index: 7, got: 17 })
        );
    }
}

//! The Merkle tree over the chain: RFC 6962 hashes, inclusion proofs and consistency proofs.
//!
//! Leaf 0 is the genesis, leaf i is block i, each as its canonical bytes. A replica keeps only a
//! [`CompactRange`]; whoever holds the blocks can make proofs from their leaf hashes.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256 hash of the tree: of a leaf, an inner node or the root.
pub type TreeHash = [u8; 32];

/// Why a proof was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The proof is about a leaf or a size that the tree does not have.
    #[error("the proof speaks of {wanted}, the tree has {size} leaves")]
    OutOfRange {
        /// The leaf index or the older size in question.
        wanted: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// A proof for these numbers has another length.
    #[error("the proof has {got} hashes, which does not fit the sizes it speaks of")]
    WrongLength {
        /// Hashes given.
        got: usize,
    },
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    WrongRoot,
}

/// Hash of a leaf: SHA-256(0x00 || bytes).
pub fn leaf_hash(bytes: &[u8]) -> TreeHash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

/// Hash of an inner node: SHA-256(0x01 || left || right).
pub fn node_hash(left: &TreeHash, right: &TreeHash) -> TreeHash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// Root of the empty tree: SHA-256 of nothing.
pub fn empty_root() -> TreeHash {
    Sha256::digest([]).into()
}

/// What is needed of a tree to append to it and to know its root: the roots of its perfect subtrees, at most
/// 64 hashes whatever its size.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CompactRange {
    size: u64,
    /// Roots of the perfect subtrees from left (largest) to right; one for each bit set in `size`.
    nodes: Vec<TreeHash>,
}

impl CompactRange {
    /// Leaves in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf, given as its [`leaf_hash`].
    pub fn push(&mut self, leaf: TreeHash) {
        let mut node = leaf;
        let mut bits = self.size;
        while bits & 1 == 1 {
            let Some(left) = self.nodes.pop() else { break };
            node = node_hash(&left, &node);
            bits >>= 1;
        }
        self.nodes.push(node);
        self.size += 1;
    }

    /// The root.
    pub fn root(&self) -> TreeHash {
        let mut from_right = self.nodes.iter().rev().copied();
        match from_right.next() {
            None => empty_root(),
            Some(last) => from_right.fold(last, |right, left| node_hash(&left, &right)),
        }
    }
}

/// Root over leaf hashes.
pub fn root(leaves: &[TreeHash]) -> TreeHash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// The largest power of two below `n`, for n of 2 and more.
fn split(n: usize) -> usize {
    1 << (n - 1).ilog2()
}

/// The inclusion proof of leaf `index` (RFC 9162, 2.1.3.1), from the bottom up. `None` if there is no such leaf.
pub fn inclusion_proof(leaves: &[TreeHash], index: usize) -> Option<Vec<TreeHash>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut leaves, mut index) = (leaves, index);
    let mut path = Vec::new();
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if index < left.len() {
            path.push(root(right));
            leaves = left;
        } else {
            path.push(root(left));
            index -= left.len();
            leaves = right;
        }
    }
    path.reverse();
    Some(path)
}

/// Checks that `leaf` stands at `index` in the tree of `size` leaves with this root (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(
    leaf: &TreeHash,
    index: u64,
    size: u64,
    proof: &[TreeHash],
    root: &TreeHash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange { wanted: index, size });
    }
    let wrong_length = ProofError::WrongLength { got: proof.len() };
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(wrong_length);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong_length);
    }
    if hash == *root {
        Ok(())
    } else {
        Err(ProofError::WrongRoot)
    }
}

/// The proof that the tree over all `leaves` extends the one over the first `old_size` (RFC 9162, 2.1.4.1).
/// `None` if `old_size` is 0 or more than there are; empty if the sizes are equal.
pub fn consistency_proof(leaves: &[TreeHash], old_size: usize) -> Option<Vec<TreeHash>> {
    if old_size == 0 || old_size > leaves.len() {
        return None;
    }
    let (mut leaves, mut old) = (leaves, old_size);
    let mut path = Vec::new();
    // Whether the verifier already knows the root of the current subtree: it is the old root itself.
    let mut known = true;
    while old != leaves.len() {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if old <= left.len() {
            path.push(root(right));
            leaves = left;
        } else {
            path.push(root(left));
            old -= left.len();
            leaves = right;
            known = false;
        }
    }
    if !known {
        path.push(root(leaves));
    }
    path.reverse();
    Some(path)
}

/// Checks that the tree of `size` extends the one of `old_size` (RFC 9162, 2.1.4.2).
pub fn verify_consistency(
    old_size: u64,
    old_root: &TreeHash,
    size: u64,
    root: &TreeHash,
    proof: &[TreeHash],
) -> Result<(), ProofError> {
    if old_size == 0 || old_size > size {
        return Err(ProofError::OutOfRange { wanted: old_size, size });
    }
    let wrong_length = ProofError::WrongLength { got: proof.len() };
    if old_size == size {
        return match (proof, old_root == root) {
            ([], true) => Ok(()),
            ([], false) => Err(ProofError::WrongRoot),
            _ => Err(wrong_length),
        };
    }
    let (first, rest) = match proof.split_first() {
        // A perfect old tree is a node of the new one, so the proof need not repeat its root.
        _ if old_size.is_power_of_two() && !proof.is_empty() => (*old_root, proof),
        Some((first, rest)) => (*first, rest),
        None => return Err(wrong_length),
    };
    let (mut at, mut last) = (old_size - 1, size - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(wrong_length);
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong_length);
    }
    if old_hash == *old_root && new_hash == *root {
        Ok(())
    } else {
        Err(ProofError::WrongRoot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    /// The leaves that certificate-transparency implementations share as test data.
    fn known_leaves() -> Vec<TreeHash> {
        [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ]
        .iter()
        .map(|leaf| leaf_hash(&hex(leaf)))
        .collect()
    }

    const KNOWN_ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn known_roots() {
        let leaves = known_leaves();
        let mut range = CompactRange::default();
        for (size, want) in KNOWN_ROOTS.iter().enumerate() {
            assert_eq!(range.root().to_vec(), hex(want), "size {size}");
            assert_eq!(root(&leaves[..size]).to_vec(), hex(want), "size {size}");
            if let Some(leaf) = leaves.get(size) {
                range.push(*leaf);
            }
        }
    }

    #[test]
    fn rfc_6962_example_proofs() {
        // The seven-leaf tree drawn in RFC 6962, 2.1.3.
        let d: Vec<TreeHash> = (0..7u8).map(|n| leaf_hash(&[n])).collect();
        let (g, h, i) = (
            node_hash(&d[0], &d[1]),
            node_hash(&d[2], &d[3]),
            node_hash(&d[4], &d[5]),
        );
        let (k, l) = (node_hash(&g, &h), node_hash(&i, &d[6]));
        assert_eq!(inclusion_proof(&d, 0), Some(vec![d[1], h, l]));
        assert_eq!(inclusion_proof(&d, 3), Some(vec![d[2], g, l]));
        assert_eq!(inclusion_proof(&d, 4), Some(vec![d[5], d[6], k]));
        assert_eq!(inclusion_proof(&d, 6), Some(vec![i, k]));
        assert_eq!(consistency_proof(&d, 3), Some(vec![d[2], d[3], g, l]));
        assert_eq!(consistency_proof(&d, 4), Some(vec![l]));
        assert_eq!(consistency_proof(&d, 6), Some(vec![i, d[6], k]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_proof_verifies_and_no_other_does(size in 1usize..70, bend in any::<prop::sample::Index>()) {
            let leaves: Vec<TreeHash> = (0..size).map(|n| leaf_hash(&n.to_le_bytes())).collect();
            let full = root(&leaves);
            let mut range = CompactRange::default();
            for (index, leaf) in leaves.iter().enumerate() {
                range.push(*leaf);
                prop_assert_eq!(range.root(), root(&leaves[..=index]));
                let proof = inclusion_proof(&leaves, index).unwrap();
                prop_assert_eq!(verify_inclusion(leaf, index as u64, size as u64, &proof, &full), Ok(()));
                for other in (0..size).filter(|other| *other != index) {
                    prop_assert!(verify_inclusion(leaf, other as u64, size as u64, &proof, &full).is_err());
                }
                let old = index + 1;
                let old_root = root(&leaves[..old]);
                let between = consistency_proof(&leaves, old).unwrap();
                let check = |proof: &[TreeHash]| verify_consistency(old as u64, &old_root, size as u64, &full, proof);
                prop_assert_eq!(check(&between), Ok(()));
                for (hashes, inclusion) in [(proof, true), (between, false)] {
                    let verify = |hashes: &[TreeHash]| match inclusion {
                        true => verify_inclusion(leaf, index as u64, size as u64, hashes, &full),
                        false => check(hashes),
                    };
                    prop_assert!(verify(&[&hashes[..], &[full]].concat()).is_err());
                    if !hashes.is_empty() {
                        let mut bent = hashes.clone();
                        bent[bend.index(hashes.len())][0] ^= 1;
                        prop_assert!(verify(&bent).is_err());
                        prop_assert!(verify(&hashes[1..]).is_err());
                    }
                }
            }
            prop_assert_eq!(inclusion_proof(&leaves, size), None);
            prop_assert_eq!(consistency_proof(&leaves, size + 1), None);
        }

        #[test]
        fn arbitrary_proofs_never_panic(
            index in any::<u64>(), size in any::<u64>(), proof in prop::collection::vec(any::<TreeHash>(), 0..70),
        ) {
            let root = [0; 32];
            let _ = verify_inclusion(&root, index, size, &proof, &root);
            let _ = verify_consistency(index, &root, size, &root, &proof);
        }
    }
}

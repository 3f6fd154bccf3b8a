//! The signed head of the Merkle tree, in the format that public witnesses cosign (c2sp.org/tlog-checkpoint).

use std::fmt;

use data_encoding::BASE64;

use crate::id::{ClusterId, MemberId};
use crate::key::SecretKey;

use super::merkle::TreeHash;
use super::note::{Note, NoteError, NoteKey, NoteKeyKind, NoteSignature};
use super::state::ChainState;

/// Why a checkpoint was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is not a signed note, or a signature does not hold.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text of the note is no checkpoint.
    #[error("not a checkpoint: {problem}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
    },
}

/// Size and root of the tree over genesis and blocks, with the signatures under them.
///
/// Extension lines are refused: the specification advises against them, and this log has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: TreeHash,
    note: Note,
}

/// Origin line of a cluster's checkpoints: `engenho/` and the cluster id.
pub fn origin(cluster: ClusterId) -> String {
    format!("engenho/{cluster}")
}

/// The key under which a member signs checkpoints for the cluster: the name is the origin, as the specification
/// wants it of a log; the key id tells members apart.
pub fn log_key(cluster: ClusterId, member: MemberId) -> NoteKey {
    NoteKey::new(origin(cluster), NoteKeyKind::Ed25519, member).expect("an origin is a valid name")
}

/// The key under which a member cosigns checkpoints, as a witness would. The name says nothing of the cluster,
/// because one key must not cosign under two names.
pub fn cosigner_key(member: MemberId) -> NoteKey {
    let name = format!("engenho-member/{member}");
    NoteKey::new(name, NoteKeyKind::Cosignature, member).expect("a member id is a valid name")
}

impl Checkpoint {
    /// An unsigned checkpoint of the present state.
    pub fn new(state: &ChainState) -> Self {
        Self::of(origin(state.cluster()), state.tree_size(), state.tree_root())
            .expect("an origin of our own is valid text")
    }

    fn of(origin: String, size: u64, root: TreeHash) -> Result<Self, NoteError> {
        let note = Note::new(format!("{origin}\n{size}\n{}\n", BASE64.encode(&root)))?;
        Ok(Self {
            origin,
            size,
            root,
            note,
        })
    }

    /// Reads a checkpoint, bounded by [`super::note::NOTE_BYTES_MAX`]. Nothing is verified.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let refuse = |problem| CheckpointError::Malformed { problem };
        let note = Note::parse(text)?;
        let mut lines = note.text().strip_suffix('\n').unwrap_or_default().split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(refuse("want origin, size and root"));
        };
        if origin.is_empty() {
            return Err(refuse("the origin is empty"));
        }
        if lines.next().is_some() {
            return Err(refuse("it has extension lines"));
        }
        let number: u64 = size.parse().map_err(|_| refuse("the size is not a number"))?;
        // Signs and leading zeroes would give one size several spellings.
        if number.to_string() != size {
            return Err(refuse("the size is not in plain decimal"));
        }
        let root = BASE64
            .decode(root.as_bytes())
            .map_err(|_| refuse("the root is not base64"))?;
        let root = root.try_into().map_err(|_| refuse("the root does not have 32 bytes"))?;
        Ok(Self {
            origin: origin.to_owned(),
            size: number,
            root,
            note,
        })
    }

    /// The log it is about.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Leaves of the tree: genesis and blocks.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree.
    pub fn root(&self) -> TreeHash {
        self.root
    }

    /// The text that is signed.
    pub fn text(&self) -> &str {
        self.note.text()
    }

    /// The signatures, verified or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        self.note.signatures()
    }

    /// Signs for the log. Never sign one that is inconsistent with one signed before.
    pub fn sign(&mut self, secret: &SecretKey) -> Result<(), NoteError> {
        let name = self.origin.clone();
        self.note.sign(&name, NoteKeyKind::Ed25519, secret, 0)
    }

    /// Cosigns: states that at this time (seconds since the Unix epoch) this is the largest consistent tree the
    /// member has seen of the log.
    pub fn cosign(&mut self, secret: &SecretKey, seconds: u64) -> Result<(), NoteError> {
        let key = cosigner_key(secret.member_id());
        self.note.sign(key.name(), NoteKeyKind::Cosignature, secret, seconds)
    }

    /// Adds a signature made elsewhere, such as a public witness' cosignature.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        self.note.add(signature)
    }

    /// Checks that `key` signed; gives the time of its cosignature in seconds.
    pub fn verify(&self, key: &NoteKey) -> Result<Option<u64>, NoteError> {
        self.note.verify(key)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of c2sp.org/tlog-cosignature.
    const EXAMPLE: &str = "example.com/behind-the-sofa\n\
        20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        \u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

    fn checkpoint() -> Checkpoint {
        Checkpoint::of(origin(ClusterId([3; 32])), 10, [7; 32]).unwrap()
    }

    #[test]
    fn the_example_of_the_specification() {
        let checkpoint = Checkpoint::parse(EXAMPLE).unwrap();
        assert_eq!(
            (checkpoint.origin(), checkpoint.size()),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert_eq!(checkpoint.signatures().len(), 2);
        assert_eq!(checkpoint.to_string(), EXAMPLE);
    }

    #[test]
    fn signatures_and_cosignatures() {
        let (leader, other) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
        let mut checkpoint = checkpoint();
        checkpoint.sign(&leader).unwrap();
        checkpoint.cosign(&other, 1_679_315_147).unwrap();
        let mut read = Checkpoint::parse(&checkpoint.to_string()).unwrap();
        assert_eq!(read, checkpoint);
        let cluster = ClusterId([3; 32]);
        assert_eq!(read.verify(&log_key(cluster, leader.member_id())), Ok(None));
        assert_eq!(read.verify(&cosigner_key(other.member_id())), Ok(Some(1_679_315_147)));
        assert!(read.verify(&log_key(cluster, other.member_id())).is_err());
        assert!(read.verify(&cosigner_key(leader.member_id())).is_err());
        // A later cosignature takes the place of the earlier one.
        read.cosign(&other, 1_679_315_148).unwrap();
        assert_eq!(read.signatures().len(), 2);
        assert_eq!(read.verify(&cosigner_key(other.member_id())), Ok(Some(1_679_315_148)));
        assert!(read.cosign(&other, u64::MAX).is_err());
        // The time is signed too.
        let moved = checkpoint.to_string().replace("\n10\n", "\n11\n");
        let moved = Checkpoint::parse(&moved).unwrap();
        assert!(matches!(
            moved.verify(&log_key(cluster, leader.member_id())),
            Err(NoteError::Forged { .. })
        ));
        assert!(matches!(
            moved.verify(&cosigner_key(other.member_id())),
            Err(NoteError::Forged { .. })
        ));
    }

    #[test]
    fn the_cosigned_message_is_that_of_the_specification() {
        let secret = SecretKey::from_bytes(&[2; 32]);
        let mut checkpoint = checkpoint();
        checkpoint.cosign(&secret, 1_679_315_147).unwrap();
        let line = checkpoint.signatures()[0].to_string();
        let raw = BASE64.decode(line.rsplit_once(' ').unwrap().1.as_bytes()).unwrap();
        let message = format!("cosignature/v1\ntime 1679315147\n{}", checkpoint.text());
        assert_eq!(raw[..4], cosigner_key(secret.member_id()).id());
        assert_eq!(raw[4..12], 1_679_315_147u64.to_be_bytes());
        assert_eq!(raw[12..], secret.sign_raw(message.as_bytes()));
    }

    #[test]
    fn other_spellings_are_refused() {
        let mut signed = checkpoint();
        signed.sign(&SecretKey::from_bytes(&[1; 32])).unwrap();
        let text = signed.to_string();
        assert!(Checkpoint::parse(&text).is_ok());
        for (from, to) in [
            ("\n10\n", "\n010\n"),
            ("\n10\n", "\n+10\n"),
            ("\n10\n", "\n\n10\n"),
            ("\n10\n", "\nten\n"),
            ("\n10\n", "\n18446744073709551616\n"),
            ("engenho/", "\nengenho/"),
            ("=\n\n", "\n\n"),
            ("=\n\n", "=\nextension\n\n"),
            ("=\n\n", "=\r\n\n"),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text);
            assert!(Checkpoint::parse(&other).is_err(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(head in "[a-z\n0-9+=]{0,60}", tail in "(\\PC|\n){0,100}") {
            let _ = Checkpoint::parse(&format!("{head}\n\n\u{2014} {tail}"));
            let _ = Checkpoint::parse(&tail);
        }
    }
}

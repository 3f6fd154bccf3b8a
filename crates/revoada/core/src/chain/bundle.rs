//! The exported chain: one JSON file with all that an outsider needs to check a cluster's history.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::id::ClusterId;

use super::block::{Block, Genesis};
use super::checkpoint::CheckpointError;
use super::error::{ChainError, SealError};
use super::note::NoteError;
use super::seal::Seal;

/// Version of the file's layout.
pub const BUNDLE_FORMAT: u32 = 1;
/// The largest file that is read, in bytes.
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most blocks a file may hold.
pub const BUNDLE_BLOCKS_MAX: usize = 65_536;

/// Genesis, blocks, seals and a signed checkpoint.
///
/// White space and the order of an object's fields are free in the file. All else has one spelling: hexadecimal
/// is in lower case, no field is unknown, repeated or left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bundle {
    /// [`BUNDLE_FORMAT`].
    pub format: u32,
    /// The genesis.
    pub genesis: Genesis,
    /// All blocks, ascending from index 1.
    pub blocks: Vec<Block>,
    /// Seals, ascending by index, at most one a block.
    pub seals: Vec<Seal>,
    /// The head of the Merkle tree, signed by an admitted member: see [`super::Checkpoint`].
    pub checkpoint: String,
}

/// Why a bundle was refused: what is wrong, and with which block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleError {
    /// The first block that fails, unless the fault lies elsewhere.
    pub index: Option<u64>,
    /// What is wrong.
    pub fault: BundleFault,
}

/// What is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleFault {
    /// The file is too large.
    #[error("the bundle has {bytes} bytes, at most {BUNDLE_BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The file is not the JSON of a bundle.
    #[error("not a chain bundle: {0}")]
    Json(String),
    /// A value is spelled in another way than it is exported.
    #[error("a value is not spelled as it is exported (lower-case hexadecimal, plain numbers, every field)")]
    Spelling,
    /// The layout has another version.
    #[error("the bundle has format {got}, want {BUNDLE_FORMAT}")]
    Format {
        /// Its version.
        got: u32,
    },
    /// More blocks than a bundle may hold.
    #[error("the bundle has {got} blocks, at most {BUNDLE_BLOCKS_MAX} fit")]
    TooManyBlocks {
        /// Number of blocks.
        got: usize,
    },
    /// It is the chain of another cluster, or its genesis was changed.
    #[error("the genesis is that of cluster {got}, not of {want}")]
    OtherCluster {
        /// The cluster asked for.
        want: ClusterId,
        /// Hash of the genesis in the bundle.
        got: ClusterId,
    },
    /// The genesis breaks a rule.
    #[error("the genesis is not valid: {0}")]
    Genesis(ChainError),
    /// A block does not follow the one before, or breaks a rule.
    #[error(transparent)]
    Block(ChainError),
    /// A seal does not hold.
    #[error(transparent)]
    Seal(SealError),
    /// Seals are out of order, repeated, or for blocks that are not there.
    #[error("a seal for block {seal} is repeated, out of order or has no block")]
    StraySeal {
        /// Index that the seal names.
        seal: u64,
    },
    /// The checkpoint cannot be read.
    #[error("the checkpoint is not valid: {0}")]
    Checkpoint(CheckpointError),
    /// The checkpoint is of another log.
    #[error("the checkpoint is of {got}, want {want}")]
    CheckpointOrigin {
        /// Origin of this cluster's checkpoints.
        want: String,
        /// Origin in the checkpoint.
        got: String,
    },
    /// The checkpoint covers fewer or more blocks: some were dropped or added.
    #[error("the checkpoint covers genesis and {} blocks, the bundle has {blocks}", .size.saturating_sub(1))]
    CheckpointSize {
        /// Tree size in the checkpoint.
        size: u64,
        /// Blocks in the bundle.
        blocks: u64,
    },
    /// The checkpoint is over other blocks.
    #[error("the checkpoint has another root than these blocks")]
    CheckpointRoot,
    /// The checkpoint carries a signature that nobody admitted could have made.
    #[error("the checkpoint is signed by {name}, which is no key of an admitted member")]
    CheckpointStranger {
        /// Name in the signature line.
        name: String,
    },
    /// A signature under the checkpoint does not hold.
    #[error("the checkpoint is not valid: {0}")]
    CheckpointForged(NoteError),
    /// No admitted member signed the checkpoint for the log.
    #[error("the checkpoint is not signed by an admitted member")]
    CheckpointUnsigned,
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "block {index}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl std::error::Error for BundleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.fault)
    }
}

impl From<BundleFault> for BundleError {
    fn from(fault: BundleFault) -> Self {
        Self { index: None, fault }
    }
}

/// The file's outline; the parts are read one by one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outline<'a> {
    format: u32,
    #[serde(borrow)]
    genesis: &'a RawValue,
    #[serde(borrow, deserialize_with = "bounded")]
    blocks: Vec<&'a RawValue>,
    #[serde(borrow, deserialize_with = "bounded")]
    seals: Vec<&'a RawValue>,
    #[serde(borrow)]
    checkpoint: Cow<'a, str>,
}

/// A list of at most [`BUNDLE_BLOCKS_MAX`] elements, so that a file of commas cannot fill the memory.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'de RawValue>, D::Error> {
    struct Bounded;

    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {BUNDLE_BLOCKS_MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = seq.next_element()? {
                if elements.len() == BUNDLE_BLOCKS_MAX {
                    return Err(A::Error::custom(format_args!(
                        "a list has more than {BUNDLE_BLOCKS_MAX} elements"
                    )));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }

    deserializer.deserialize_seq(Bounded)
}

/// Reads one part and makes sure that it is spelled as we would spell it.
fn part<T: Serialize + DeserializeOwned>(raw: &RawValue) -> Result<T, BundleFault> {
    let json = |error: serde_json::Error| BundleFault::Json(error.to_string());
    let value: T = serde_json::from_str(raw.get()).map_err(json)?;
    let given: Value = serde_json::from_str(raw.get()).map_err(json)?;
    match given == serde_json::to_value(&value).map_err(json)? {
        true => Ok(value),
        false => Err(BundleFault::Spelling),
    }
}

impl Bundle {
    /// A bundle of the whole chain. `seals` may come in any order.
    pub fn new(genesis: Genesis, blocks: Vec<Block>, mut seals: Vec<Seal>, checkpoint: String) -> Self {
        seals.sort_by_key(|seal| seal.index);
        seals.dedup_by_key(|seal| seal.index);
        Self {
            format: BUNDLE_FORMAT,
            genesis,
            blocks,
            seals,
            checkpoint,
        }
    }

    /// The file: one line of JSON.
    pub fn to_json(&self) -> Result<String, BundleError> {
        if self.blocks.len() > BUNDLE_BLOCKS_MAX {
            return Err(BundleFault::TooManyBlocks { got: self.blocks.len() }.into());
        }
        let mut json = serde_json::to_string(self).map_err(|error| BundleFault::Json(error.to_string()))?;
        json.push('\n');
        match json.len() > BUNDLE_BYTES_MAX {
            true => Err(BundleFault::TooLarge { bytes: json.len() }.into()),
            false => Ok(json),
        }
    }

    /// Reads a file, bounded by [`BUNDLE_BYTES_MAX`] and [`BUNDLE_BLOCKS_MAX`]. Nothing is verified but the form.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(BundleFault::TooLarge { bytes: bytes.len() }.into());
        }
        let outline: Outline<'_> =
            serde_json::from_slice(bytes).map_err(|error| BundleFault::Json(error.to_string()))?;
        if outline.format != BUNDLE_FORMAT {
            return Err(BundleFault::Format { got: outline.format }.into());
        }
        let genesis = part(outline.genesis)?;
        let mut blocks = Vec::with_capacity(outline.blocks.len());
        for (index, raw) in (1..).zip(outline.blocks) {
            blocks.push(part(raw).map_err(|fault| BundleError {
                index: Some(index),
                fault,
            })?);
        }
        let seals = outline.seals.into_iter().map(part).collect::<Result<_, _>>()?;
        Ok(Self {
            format: outline.format,
            genesis,
            blocks,
            seals,
            checkpoint: outline.checkpoint.into_owned(),
        })
    }
}

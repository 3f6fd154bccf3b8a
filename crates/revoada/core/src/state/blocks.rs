//! Blocks within a snapshot: their canonical bytes, the very ones that are hashed.

use serde::{Deserialize, Deserializer, Serializer};

use crate::chain::Block;

pub(super) fn serialize<S: Serializer>(blocks: &[Block], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(blocks.iter().map(|block| bytes::Bytes::from(block.encode())))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Block>, D::Error> {
    let encoded = <Vec<bytes::Bytes> as Deserialize>::deserialize(deserializer)?;
    encoded
        .iter()
        .map(|bytes| borsh::from_slice(bytes).map_err(serde::de::Error::custom))
        .collect()
}

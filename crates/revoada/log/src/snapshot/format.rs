//! The file: header, data, BLAKE3 hash of each chunk of the data, meta, trailer.
//!
//! Integers are little-endian. Header (40 bytes): magic, version u32, chunk size u32, 16 bytes of zeros, CRC-32C u32 of
//! all that, 4 zeros. Trailer (64 bytes): data length u64, meta length u32, number of chunks u32, root hash, 8 zeros,
//! CRC-32C u32 of all that, magic u32.

use std::path::Path;

use crate::disk::{DiskFile, read_exact_at};
use crate::error::OpenError;

/// Bytes of a chunk; only the last of a snapshot may have fewer.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Most bytes of the meta data kept with a snapshot.
pub const META_BYTES_MAX: usize = 1 << 20;

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

pub(super) const HEADER: usize = 40;
pub(super) const TRAILER: usize = 64;
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"RVDASNP\n";
const TRAILER_MAGIC: u32 = 0x706e_7352;

/// The hash of one chunk's data.
pub fn chunk_hash(data: &[u8]) -> Hash {
    blake3::hash(data).into()
}

/// The hash of a whole snapshot: of its length, the hashes of its chunks in order, and its meta data.
pub(super) fn root_hash(len: u64, chunks: &[Hash], meta: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key("revoada snapshot root, version 1");
    hasher.update(&len.to_le_bytes());
    hasher.update(&(chunks.len() as u64).to_le_bytes());
    for hash in chunks {
        hasher.update(hash);
    }
    hasher.update(meta);
    hasher.finalize().into()
}

pub(super) fn header() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&(CHUNK_BYTES as u32).to_le_bytes());
    let crc = crc32c::crc32c(&header[..32]);
    header[32..36].copy_from_slice(&crc.to_le_bytes());
    header
}

/// What follows the data.
pub(super) fn ending(len: u64, chunks: &[Hash], meta: &[u8], root: &Hash) -> Vec<u8> {
    let mut out = chunks.concat();
    out.extend_from_slice(meta);
    let start = out.len();
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    out.extend_from_slice(&(chunks.len() as u32).to_le_bytes());
    out.extend_from_slice(root);
    out.extend_from_slice(&[0; 8]);
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&TRAILER_MAGIC.to_le_bytes());
    out
}

/// Everything of a snapshot but its data.
pub(super) struct Index {
    pub(super) len: u64,
    pub(super) chunks: Vec<Hash>,
    pub(super) meta: Vec<u8>,
    pub(super) root: Hash,
}

/// Reads header, hashes, meta and trailer, and checks them against each other and the root hash.
pub(super) fn read_index(file: &dyn DiskFile, path: &Path) -> Result<Index, OpenError> {
    let damaged = |offset: u64, what: &str| OpenError::damaged(path, offset, what);
    let file_len = file.len().map_err(OpenError::io("read the length of", path))?;
    if file_len < (HEADER + TRAILER) as u64 {
        return Err(damaged(file_len, "the file is too short for a snapshot"));
    }
    let mut head = [0; HEADER];
    read_exact_at(file, 0, &mut head).map_err(OpenError::io("read", path))?;
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if head[0..8] != MAGIC || word(&head, 32) != crc32c::crc32c(&head[..32]) {
        return Err(damaged(
            0,
            "the header is not a snapshot's or its checksum does not match",
        ));
    }
    if word(&head, 8) != VERSION {
        return Err(OpenError::UnknownVersion {
            path: path.to_owned(),
            version: word(&head, 8),
            supported: VERSION,
        });
    }
    if word(&head, 12) != CHUNK_BYTES as u32 {
        return Err(damaged(12, "the header has an unknown chunk size"));
    }

    let trailer_at = file_len - TRAILER as u64;
    let mut tail = [0; TRAILER];
    read_exact_at(file, trailer_at, &mut tail).map_err(OpenError::io("read", path))?;
    if word(&tail, 60) != TRAILER_MAGIC || word(&tail, 56) != crc32c::crc32c(&tail[..56]) {
        return Err(damaged(
            trailer_at,
            "the trailer is missing or its checksum does not match",
        ));
    }
    let mut len = [0; 8];
    len.copy_from_slice(&tail[..8]);
    let len = u64::from_le_bytes(len);
    let (meta_len, count) = (word(&tail, 8) as usize, word(&tail, 12) as usize);
    let mut root = [0; 32];
    root.copy_from_slice(&tail[16..48]);
    let expected = len.checked_add((HEADER + TRAILER + meta_len + count * 32) as u64);
    if expected != Some(file_len) || count as u64 != len.div_ceil(CHUNK_BYTES as u64) || meta_len > META_BYTES_MAX {
        return Err(damaged(trailer_at, "the lengths in the trailer do not fit the file"));
    }

    let mut between = vec![0; count * 32 + meta_len];
    let hashes_at = HEADER as u64 + len;
    read_exact_at(file, hashes_at, &mut between).map_err(OpenError::io("read", path))?;
    let meta = between.split_off(count * 32);
    let (chunks, _) = between.as_chunks::<32>();
    let chunks = chunks.to_vec();
    if root_hash(len, &chunks, &meta) != root {
        return Err(damaged(
            hashes_at,
            "the hashes of the chunks do not match the root hash",
        ));
    }
    Ok(Index {
        len,
        chunks,
        meta,
        root,
    })
}

//! The image of the whole state: deterministic bytes, read and written as a stream.
//!
//! Frames of at most 64 KiB, each after its length (u32); a frame of length 0, then BLAKE3 of all that was in
//! the frames. Inside: a header, the leases by id, the keys in order. Numbers are big endian.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Read, Write};

use bytes::Bytes;
use revoada_core::consensus::ApplicationImage;

use crate::command::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::history::{ImageHash, Marker};
use crate::state::{Lease, State, Stored};

const MAGIC: &[u8; 8] = b"engstore";
const VERSION: u16 = 1;
const FRAME_BYTES: usize = 64 * 1024;
/// A spliced revision may make a value longer than a client can.
const STORED_BYTES_MAX: usize = VALUE_BYTES_MAX + 32;

/// A consistent copy of the state; values are shared with it.
pub(crate) struct Image {
    revision: u64,
    compacted: u64,
    leases: Vec<(i64, i64, u64)>,
    kv: Vec<(Bytes, Stored)>,
    marker: Marker,
}

impl Image {
    pub fn of(state: &State, marker: Marker) -> Self {
        Self {
            revision: state.revision,
            compacted: state.compacted,
            leases: state
                .leases
                .iter()
                .map(|(id, lease)| (*id, lease.ttl_s, lease.renewals))
                .collect(),
            kv: state
                .kv
                .iter()
                .map(|(key, stored)| (key.clone(), stored.clone()))
                .collect(),
            marker,
        }
    }

    /// The hash that writing would give.
    pub fn hash(&self) -> ImageHash {
        // A sink takes everything.
        self.write_frames(&mut std::io::sink()).unwrap_or_default()
    }

    fn write_frames(&self, out: &mut dyn Write) -> std::io::Result<ImageHash> {
        let mut frames = FrameWriter::new(out);
        frames.put(MAGIC)?;
        frames.put(&VERSION.to_be_bytes())?;
        let counts = [self.leases.len() as u64, self.kv.len() as u64];
        for number in [self.revision, self.compacted].into_iter().chain(counts) {
            frames.put(&number.to_be_bytes())?;
        }
        for (id, ttl_s, renewals) in &self.leases {
            frames.put(&id.to_be_bytes())?;
            frames.put(&ttl_s.to_be_bytes())?;
            frames.put(&renewals.to_be_bytes())?;
        }
        for (key, stored) in &self.kv {
            put_version(&mut frames, key, stored)?;
        }
        frames.finish()
    }
}

impl ApplicationImage for Image {
    fn write(&mut self, out: &mut dyn Write) -> std::io::Result<()> {
        #[cfg(feature = "mutations")]
        if sim_mutation::is("snapshot-forgets") {
            self.kv.pop();
        }
        let hash = self.write_frames(out)?;
        self.marker.mark(self.revision, hash);
        Ok(())
    }
}

fn put_version(out: &mut FrameWriter<'_>, key: &[u8], stored: &Stored) -> std::io::Result<()> {
    out.put(&(key.len() as u32).to_be_bytes())?;
    out.put(&(stored.value.len() as u32).to_be_bytes())?;
    for number in [stored.create, stored.modified, stored.version] {
        out.put(&number.to_be_bytes())?;
    }
    out.put(&stored.lease.to_be_bytes())?;
    out.put(key)?;
    out.put(&stored.value)
}

/// Reads an image to its end and no further. Gives the state and the hash of the image.
pub(crate) fn read(input: &mut dyn Read) -> std::io::Result<(State, ImageHash)> {
    let mut frames = FrameReader::new(input);
    let mut magic = [0; 10];
    frames.read_exact(&mut magic)?;
    if magic[..8] != MAGIC[..] {
        return Err(invalid("not an image of a store"));
    }
    if magic[8..] != VERSION.to_be_bytes() {
        return Err(invalid("an image of another version of engenho"));
    }
    let (revision, compacted) = (frames.u64()?, frames.u64()?);
    let (leases_count, kv_count) = (frames.u64()?, frames.u64()?);
    if revision == 0 || compacted > revision {
        return Err(invalid("its revisions contradict each other"));
    }
    let mut leases = BTreeMap::new();
    for _ in 0..leases_count {
        let (id, ttl_s, renewals) = (frames.i64()?, frames.i64()?, frames.u64()?);
        if id == 0 || leases.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(invalid("its leases are out of order"));
        }
        leases.insert(
            id,
            Lease {
                ttl_s,
                renewals,
                keys: BTreeSet::new(),
            },
        );
    }
    let mut state = State {
        kv: BTreeMap::new(),
        leases,
        revision,
        compacted,
        bytes: 0,
    };
    // Sorted input lets the map be built in one pass, which is several times faster than inserting.
    let mut sorted: Vec<(Bytes, Stored)> = Vec::new();
    for _ in 0..kv_count {
        let (key, stored) = read_version(&mut frames, revision)?;
        if sorted.last().is_some_and(|(last, _)| *last >= key) {
            return Err(invalid("its keys are out of order"));
        }
        if stored.lease != 0 {
            let lease = state
                .leases
                .get_mut(&stored.lease)
                .ok_or_else(|| invalid("a key has an unknown lease"))?;
            lease.keys.insert(key.clone());
        }
        state.bytes += (key.len() + stored.value.len()) as u64;
        sorted.push((key, stored));
    }
    state.kv = sorted.into_iter().collect();
    Ok((state, frames.finish()?))
}

fn read_version(frames: &mut FrameReader<'_>, revision: u64) -> std::io::Result<(Bytes, Stored)> {
    let (key_bytes, value_bytes) = (frames.u32()? as usize, frames.u32()? as usize);
    if key_bytes == 0 || key_bytes > KEY_BYTES_MAX || value_bytes > STORED_BYTES_MAX {
        return Err(invalid("a key or value has an impossible length"));
    }
    let (create, modified, version, lease) = (frames.u64()?, frames.u64()?, frames.u64()?, frames.i64()?);
    if create == 0 || create > modified || modified > revision || version == 0 {
        return Err(invalid("a key's revisions contradict each other"));
    }
    let (key, value) = (frames.take_bytes(key_bytes)?, frames.take_bytes(value_bytes)?);
    Ok((
        key,
        Stored {
            value,
            create,
            modified,
            version,
            lease,
        },
    ))
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the image can't be restored: {what}"))
}

struct FrameWriter<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
}

impl<'a> FrameWriter<'a> {
    fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            buffer: Vec::with_capacity(FRAME_BYTES),
            hasher: blake3::Hasher::new(),
        }
    }

    fn put(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FRAME_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == FRAME_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if !self.buffer.is_empty() {
            self.out.write_all(&(self.buffer.len() as u32).to_be_bytes())?;
            self.out.write_all(&self.buffer)?;
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> std::io::Result<ImageHash> {
        self.flush()?;
        let hash = *self.hasher.finalize().as_bytes();
        self.out.write_all(&0u32.to_be_bytes())?;
        self.out.write_all(&hash)?;
        Ok(hash)
    }
}

struct FrameReader<'a> {
    input: &'a mut dyn Read,
    frame: Vec<u8>,
    at: usize,
    hasher: blake3::Hasher,
}

impl<'a> FrameReader<'a> {
    fn new(input: &'a mut dyn Read) -> Self {
        Self {
            input,
            frame: Vec::new(),
            at: 0,
            hasher: blake3::Hasher::new(),
        }
    }

    /// Reads the next frame; false at the end.
    fn advance(&mut self) -> std::io::Result<bool> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_BYTES {
            return Err(invalid("a frame is too long"));
        }
        self.frame.resize(length, 0);
        self.at = 0;
        self.input.read_exact(&mut self.frame)?;
        self.hasher.update(&self.frame);
        Ok(length > 0)
    }

    fn u32(&mut self) -> std::io::Result<u32> {
        let mut bytes = [0; 4];
        self.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn u64(&mut self) -> std::io::Result<u64> {
        let mut bytes = [0; 8];
        self.read_exact(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn i64(&mut self) -> std::io::Result<i64> {
        Ok(self.u64()?.cast_signed())
    }

    /// Reads so many bytes, with memory for what really comes.
    fn take_bytes(&mut self, length: usize) -> std::io::Result<Bytes> {
        let mut bytes = Vec::with_capacity(length.min(FRAME_BYTES));
        self.take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(invalid("it ends too early"));
        }
        bytes.shrink_to_fit();
        Ok(bytes.into())
    }

    fn finish(mut self) -> std::io::Result<ImageHash> {
        if self.at < self.frame.len() || self.advance()? {
            return Err(invalid("it has more than it says"));
        }
        let mut hash = [0; 32];
        self.input.read_exact(&mut hash)?;
        if hash != *self.hasher.finalize().as_bytes() {
            return Err(invalid("its hash is wrong"));
        }
        Ok(hash)
    }
}

impl Read for FrameReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.at == self.frame.len() && !self.advance()? {
            return Err(invalid("it ends too early"));
        }
        let count = into.len().min(self.frame.len() - self.at);
        into[..count].copy_from_slice(&self.frame[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

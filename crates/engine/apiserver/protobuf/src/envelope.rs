//! The outer message: magic, kind, and the object's own bytes (`runtime.Unknown`).

use crate::error::DecodeError;
use crate::wire::{LENGTH, Reader, put_bytes, put_nested};

/// First bytes of every object in this form.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// What the envelope says and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(DecodeError::NoMagic)?;
        let mut envelope = Self {
            api_version: String::new(),
            kind: String::new(),
            raw: &[],
        };
        let mut reader = Reader::new(rest);
        while !reader.is_empty() {
            match reader.tag()? {
                (1, LENGTH) => envelope.read_type(reader.bytes()?)?,
                (2, LENGTH) => envelope.raw = reader.bytes()?,
                (_, wire) => reader.skip(wire)?,
            }
        }
        Ok(envelope)
    }

    fn read_type(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            match reader.tag()? {
                (1, LENGTH) => self.api_version = String::from_utf8_lossy(reader.bytes()?).into_owned(),
                (2, LENGTH) => self.kind = String::from_utf8_lossy(reader.bytes()?).into_owned(),
                (_, wire) => reader.skip(wire)?,
            }
        }
        Ok(())
    }
}

/// Writes an envelope around what `write` appends.
pub(crate) fn put<E>(
    out: &mut Vec<u8>,
    api_version: &str,
    kind: &str,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    out.extend_from_slice(&MAGIC);
    put_nested(out, 1, |out| {
        put_bytes(out, 1, api_version.as_bytes());
        put_bytes(out, 2, kind.as_bytes());
        Ok(())
    })?;
    put_nested(out, 2, write)?;
    // Content encoding and type, both empty.
    put_bytes(out, 3, &[]);
    put_bytes(out, 4, &[]);
    Ok(())
}

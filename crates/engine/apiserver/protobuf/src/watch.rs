//! Watch events: each frame is four bytes of length, big endian, and a bare `meta.v1.WatchEvent` with an enveloped object.

use serde_json::Value;

use crate::decode::{Limits, decode_with};
use crate::encode::put_object;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{LENGTH, Reader, put_bytes, put_nested};

/// One event as a frame of the stream. `kind` is `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
pub fn encode_watch_event(kind: &str, object: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = vec![0; 4];
    put_bytes(&mut out, 1, kind.as_bytes());
    put_nested(&mut out, 2, |out| put_nested(out, 1, |out| put_object(out, object)))?;
    // An object of more than 4 GiB is never held: requests and stored values are bounded far below.
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(out)
}

/// Reads one event from the front of a stream: its type, its object and how many bytes it took. `None`: more bytes are needed.
pub fn decode_watch_event(bytes: &[u8]) -> Result<Option<(String, Value, usize)>, DecodeError> {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*head) as usize;
    let Some(frame) = rest.get(..length) else {
        return Ok(None);
    };
    let (mut kind, mut object): (String, &[u8]) = (String::new(), &[]);
    let mut reader = Reader::new(frame);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, LENGTH) => kind = String::from_utf8_lossy(reader.bytes()?).into_owned(),
            (2, LENGTH) => {
                let mut extension = Reader::new(reader.bytes()?);
                while !extension.is_empty() {
                    match extension.tag()? {
                        (1, LENGTH) => object = extension.bytes()?,
                        (_, wire) => extension.skip(wire)?,
                    }
                }
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    let object = decode_with(object, None, Limits::default())?;
    Ok(Some((kind, object, 4 + length)))
}

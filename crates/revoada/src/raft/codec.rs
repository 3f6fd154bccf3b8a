//! Encoding of consensus messages and log entries: a version byte, then Postcard.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of the encoding that this build writes, and the only one it reads.
pub const VERSION: u8 = 1;

/// Why bytes could not be read as a message.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Written by a build with another encoding.
    #[error("{what} has encoding version {found}, this build reads version {VERSION}: upgrade the older member")]
    Version {
        /// What was being read.
        what: &'static str,
        /// The version found.
        found: u32,
    },
    /// Not an encoding of this type.
    #[error("{what} of {bytes} bytes cannot be decoded: {source}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// Postcard's reason.
        source: postcard::Error,
    },
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Version byte and Postcard body.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    let out = vec![VERSION];
    Bytes::from(postcard::to_extend(value, out).expect("encoding plain data to memory cannot fail"))
}

/// Reads what [`encode`] wrote.
pub fn decode<T: DeserializeOwned>(what: &'static str, raw: &[u8]) -> Result<T, CodecError> {
    match raw.split_first() {
        Some((&VERSION, body)) => decode_body(what, body),
        Some((&other, _)) => Err(CodecError::Version {
            what,
            found: u32::from(other),
        }),
        None => Err(CodecError::Version { what, found: 0 }),
    }
}

/// Postcard without the version byte, for envelopes that carry the version in a field of their own.
pub fn encode_body<T: Serialize>(value: &T) -> Bytes {
    Bytes::from(postcard::to_stdvec(value).expect("encoding plain data to memory cannot fail"))
}

/// Reads what [`encode_body`] wrote.
pub fn decode_body<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, CodecError> {
    postcard::from_bytes(body).map_err(|source| CodecError::Malformed {
        what,
        bytes: body.len(),
        source,
    })
}

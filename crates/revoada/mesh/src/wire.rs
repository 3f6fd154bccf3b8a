//! The frames with which two members greet each other on the first stream of a connection.
//!
//! A frame is a 32-bit big-endian length, a version byte and a postcard value; the length counts what follows
//! it. The dialler sends [`Hello`], the acceptor [`Hello`] and [`Verdict`], the dialler its [`Verdict`].

use std::net::SocketAddr;

use bytes::Bytes;
use revoada_core::{ClusterId, MemberId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::trust::LocalHello;

/// Version of the frames.
pub const WIRE_VERSION: u8 = 1;
/// The largest frame, without its length.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// The largest proof of an epoch.
pub const EVIDENCE_BYTES_MAX: usize = 56 * 1024;
/// Most addresses in a hello.
pub const ADDRESSES_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 253;
const SOFTWARE_BYTES_MAX: usize = 64;
const REASON_BYTES_MAX: usize = 512;

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its epoch.
    pub epoch: u64,
    /// Different after each start of its process.
    pub boot: u64,
    /// Its wall clock, milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Its name.
    pub name: String,
    /// Its software version.
    pub software: String,
    /// Where it can be reached.
    pub addresses: Vec<SocketAddr>,
}

impl Hello {
    /// A hello within the bounds, from what the upper layer says.
    pub fn new(local: LocalHello, boot: u64, unix_ms: u64) -> Self {
        let LocalHello {
            cluster,
            epoch,
            mut name,
            version: mut software,
            mut addresses,
        } = local;
        cut(&mut name, NAME_BYTES_MAX);
        cut(&mut software, SOFTWARE_BYTES_MAX);
        addresses.truncate(ADDRESSES_MAX);
        Self {
            cluster,
            epoch,
            boot,
            unix_ms,
            name,
            software,
            addresses,
        }
    }
}

/// What one side thinks of the other's hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The connection may be used.
    Accept,
    /// It may not.
    Refuse {
        /// A [`crate::Refusal`] code.
        code: u32,
        /// Why, in words.
        reason: String,
        /// Proof of the epoch when the other side is fenced, else empty.
        evidence: Bytes,
    },
}

impl Verdict {
    /// A refusal within the bounds; evidence that is too large is left out.
    pub fn refuse(code: u32, mut reason: String, mut evidence: Bytes) -> Self {
        cut(&mut reason, REASON_BYTES_MAX);
        if evidence.len() > EVIDENCE_BYTES_MAX {
            evidence = Bytes::new();
        }
        Verdict::Refuse { code, reason, evidence }
    }
}

/// Why a frame can't be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream ended or broke.
    #[error("the stream broke: {0}")]
    Io(#[from] std::io::Error),
    /// Longer than allowed, or empty.
    #[error("a frame of {bytes} bytes, want 1 to {FRAME_BYTES_MAX}")]
    Length {
        /// The announced length.
        bytes: usize,
    },
    /// Of another version.
    #[error("frame version {version}, this side speaks {WIRE_VERSION}")]
    Version {
        /// The version read.
        version: u8,
    },
    /// Not the value it should be.
    #[error("a frame that can't be decoded: {0}")]
    Decode(String),
}

/// Encodes a value as a frame.
pub fn encode_frame<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let body = postcard::to_stdvec(value).map_err(|error| FrameError::Decode(error.to_string()))?;
    let bytes = body.len() + 1;
    if bytes > FRAME_BYTES_MAX {
        return Err(FrameError::Length { bytes });
    }
    let mut frame = Vec::with_capacity(4 + bytes);
    frame.extend_from_slice(&(bytes as u32).to_be_bytes());
    frame.push(WIRE_VERSION);
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Decodes what follows the length of a frame.
pub fn decode_frame<T: DeserializeOwned>(frame: &[u8]) -> Result<T, FrameError> {
    let (&version, body) = frame.split_first().ok_or(FrameError::Length { bytes: 0 })?;
    if version != WIRE_VERSION {
        return Err(FrameError::Version { version });
    }
    let (value, rest) = postcard::take_from_bytes(body).map_err(|error| FrameError::Decode(error.to_string()))?;
    if !rest.is_empty() {
        return Err(FrameError::Decode(format!("{} bytes too many", rest.len())));
    }
    Ok(value)
}

/// Decodes a hello and checks its bounds.
pub fn decode_hello(frame: &[u8]) -> Result<Hello, FrameError> {
    let hello: Hello = decode_frame(frame)?;
    let bounds = [
        ("name", hello.name.len(), NAME_BYTES_MAX),
        ("software", hello.software.len(), SOFTWARE_BYTES_MAX),
        ("addresses", hello.addresses.len(), ADDRESSES_MAX),
    ];
    match bounds.into_iter().find(|(_, len, max)| len > max) {
        Some((what, len, max)) => Err(FrameError::Decode(format!("{what}: {len}, at most {max}"))),
        None => Ok(hello),
    }
}

/// Decodes a verdict and checks its bounds.
pub fn decode_verdict(frame: &[u8]) -> Result<Verdict, FrameError> {
    match decode_frame(frame)? {
        Verdict::Accept => Ok(Verdict::Accept),
        Verdict::Refuse { code, reason, evidence } => {
            if evidence.len() > EVIDENCE_BYTES_MAX || reason.len() > REASON_BYTES_MAX {
                return Err(FrameError::Decode("a refusal that is too long".into()));
            }
            Ok(Verdict::Refuse { code, reason, evidence })
        }
    }
}

/// Writes a frame.
pub(crate) async fn write_frame<T: Serialize>(
    out: &mut (impl AsyncWrite + Unpin + Send),
    value: &T,
) -> Result<(), FrameError> {
    out.write_all(&encode_frame(value)?).await?;
    Ok(())
}

/// Reads a frame without its length. Never holds more than what has arrived and at most [`FRAME_BYTES_MAX`].
pub(crate) async fn read_frame(input: &mut (impl AsyncRead + Unpin + Send)) -> Result<Vec<u8>, FrameError> {
    let bytes = input.read_u32().await? as usize;
    if bytes == 0 || bytes > FRAME_BYTES_MAX {
        return Err(FrameError::Length { bytes });
    }
    let mut frame = Vec::new();
    let read = input.take(bytes as u64).read_to_end(&mut frame).await?;
    if read < bytes {
        return Err(FrameError::Io(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(frame)
}

/// A peer's name for logs: what it calls itself and the start of its key.
pub(crate) fn describe(peer: MemberId, hello: &Hello) -> String {
    let name: String = hello.name.chars().filter(|c| !c.is_control()).collect();
    format!("{name} ({})", peer.short())
}

fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let mut end = bytes_max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn hello() -> impl Strategy<Value = Hello> {
        (
            any::<[u8; 32]>(),
            any::<(u64, u64, u64)>(),
            ".{0,300}",
            ".{0,90}",
            vec(any::<SocketAddr>(), 0..20),
        )
            .prop_map(|(cluster, (epoch, boot, unix_ms), name, version, mut addresses)| {
                // The scope and flow label of an IPv6 address aren't part of its encoding.
                for address in &mut addresses {
                    *address = SocketAddr::new(address.ip(), address.port());
                }
                let local = LocalHello {
                    cluster: ClusterId(cluster),
                    epoch,
                    name,
                    version,
                    addresses,
                };
                Hello::new(local, boot, unix_ms)
            })
    }

    proptest! {
        #[test]
        fn hello_round_trips(hello in hello()) {
            let frame = encode_frame(&hello).unwrap();
            prop_assert_eq!(frame.len(), 4 + u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize);
            prop_assert_eq!(decode_hello(&frame[4..]).unwrap(), hello);
        }

        #[test]
        fn verdict_round_trips(code: u32, reason in ".{0,600}", byte: u8, bytes in 0usize..70_000) {
            let verdict = Verdict::refuse(code, reason, vec![byte; bytes].into());
            prop_assert_eq!(decode_verdict(&encode_frame(&verdict).unwrap()[4..]).unwrap(), verdict);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..512)) {
            let _ = decode_hello(&bytes);
            let _ = decode_verdict(&bytes);
            let mut versioned = vec![WIRE_VERSION];
            versioned.extend_from_slice(&bytes);
            let _ = decode_hello(&versioned);
            let _ = decode_verdict(&versioned);
        }

        #[test]
        fn a_flipped_byte_never_panics(hello in hello(), at: prop::sample::Index, xor in 1u8..) {
            let mut frame = encode_frame(&hello).unwrap();
            let at = at.index(frame.len());
            frame[at] ^= xor;
            let _ = decode_hello(&frame[4..]);
        }
    }

    #[tokio::test]
    async fn a_huge_or_short_frame_is_refused() {
        let mut huge: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1];
        assert!(matches!(read_frame(&mut huge).await, Err(FrameError::Length { .. })));
        let mut short: &[u8] = &[0, 0, 0, 9, 1, 2];
        assert!(matches!(read_frame(&mut short).await, Err(FrameError::Io(_))));
    }
}

//! Signed notes as C2SP defines them (c2sp.org/signed-note), with the two signature types the chain uses.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use crate::id::MemberId;
use crate::key::{self, SecretKey, SignatureError};

/// The longest note that is looked at, in bytes.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;
/// The most signatures a note may carry. The specification asks for at least 16.
pub const NOTE_SIGNATURES_MAX: usize = 64;
/// The longest key name, in bytes.
pub const NOTE_NAME_BYTES_MAX: usize = 255;

const MARK: &str = "\u{2014} ";
const KEY_ID_BYTES: usize = 4;
/// Cosignatures carry their time as a number that fits 63 bits.
const TIMESTAMP_MAX: u64 = i64::MAX as u64;

/// Why a note or a key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is longer than a note may be.
    #[error("the note has {bytes} bytes, at most {NOTE_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The text is not a signed note.
    #[error("not a signed note: {problem}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
    },
    /// A key's name cannot stand in a signature line.
    #[error("{name:?} cannot name a key: want 1 to {NOTE_NAME_BYTES_MAX} bytes without spaces and plus signs")]
    BadName {
        /// The refused name, shortened to 80 characters.
        name: String,
    },
    /// The text is not a verifier key of a known type.
    #[error("not a verifier key: {problem}")]
    BadKey {
        /// What is wrong.
        problem: &'static str,
    },
    /// The time of a cosignature is out of bounds.
    #[error("a cosignature cannot be of second {seconds}")]
    BadTime {
        /// The refused time, seconds since the Unix epoch.
        seconds: u64,
    },
    /// No signature is of this key.
    #[error("the note is not signed by {name}")]
    NotSigned {
        /// Name of the key.
        name: String,
    },
    /// A signature of this key does not hold.
    #[error("the signature of {name} is forged or damaged")]
    Forged {
        /// Name of the key.
        name: String,
        /// Why.
        #[source]
        source: SignatureError,
    },
}

/// What a key's signature looks like and means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKeyKind {
    /// Type 0x01: an ed25519 signature over the text.
    Ed25519,
    /// Type 0x04: a timestamped cosignature of a checkpoint (c2sp.org/tlog-cosignature, `cosignature/v1`).
    Cosignature,
}

impl NoteKeyKind {
    const fn byte(self) -> u8 {
        match self {
            NoteKeyKind::Ed25519 => 0x01,
            NoteKeyKind::Cosignature => 0x04,
        }
    }
}

/// A key that signs notes, public half. Its text form is the `vkey` of the specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    kind: NoteKeyKind,
    key: MemberId,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: [u8; KEY_ID_BYTES],
    bytes: Vec<u8>,
}

/// A text and the signatures under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let refused = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    match (1..=NOTE_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(refused) {
        true => Ok(()),
        false => Err(NoteError::BadName {
            name: name.chars().take(80).collect(),
        }),
    }
}

impl NoteKey {
    /// A key by name, type and value.
    pub fn new(name: impl Into<String>, kind: NoteKeyKind, key: MemberId) -> Result<Self, NoteError> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self { name, kind, key })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type.
    pub fn kind(&self) -> NoteKeyKind {
        self.kind
    }

    /// The ed25519 public key.
    pub fn key(&self) -> MemberId {
        self.key
    }

    /// The four bytes that stand before a signature: SHA-256(name || 0x0A || type || public key)[:4].
    pub fn id(&self) -> [u8; KEY_ID_BYTES] {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', self.kind.byte()])
            .chain_update(self.key.as_bytes())
            .finalize()
            .into();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// Signs a text. `seconds` since the Unix epoch go into a cosignature and are ignored otherwise. The secret
    /// must be that of this key.
    fn sign(&self, secret: &SecretKey, text: &str, seconds: u64) -> NoteSignature {
        let bytes = match self.kind {
            NoteKeyKind::Ed25519 => secret.sign_raw(text.as_bytes()).to_vec(),
            NoteKeyKind::Cosignature => {
                let signature = secret.sign_raw(cosigned(text, seconds).as_bytes());
                [&seconds.to_be_bytes()[..], &signature[..]].concat()
            }
        };
        NoteSignature {
            name: self.name.clone(),
            key_id: self.id(),
            bytes,
        }
    }

    /// Checks a signature of this key over a text; gives the time of a cosignature, in seconds.
    pub fn verify(&self, text: &str, signature: &NoteSignature) -> Result<Option<u64>, NoteError> {
        let forged = |source| NoteError::Forged {
            name: self.name.clone(),
            source,
        };
        let mismatch = || forged(SignatureError::Mismatch { member: self.key });
        if !signature.is_of(self) {
            return Err(NoteError::NotSigned {
                name: self.name.clone(),
            });
        }
        match self.kind {
            NoteKeyKind::Ed25519 => {
                let raw: &[u8; 64] = signature.bytes.as_slice().try_into().map_err(|_| mismatch())?;
                key::verify_raw(self.key, text.as_bytes(), raw).map_err(forged)?;
                Ok(None)
            }
            NoteKeyKind::Cosignature => {
                let (time, raw) = signature.bytes.split_first_chunk::<8>().ok_or_else(mismatch)?;
                let raw: &[u8; 64] = raw.try_into().map_err(|_| mismatch())?;
                let seconds = u64::from_be_bytes(*time);
                if seconds > TIMESTAMP_MAX {
                    return Err(NoteError::BadTime { seconds });
                }
                key::verify_raw(self.key, cosigned(text, seconds).as_bytes(), raw).map_err(forged)?;
                Ok(Some(seconds))
            }
        }
    }
}

fn cosigned(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = [&[self.kind.byte()][..], self.key.as_bytes()].concat();
        write!(
            f,
            "{}+{}+{}",
            self.name,
            HEXLOWER.encode(&self.id()),
            BASE64.encode(&material)
        )
    }
}

impl FromStr for NoteKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let refuse = |problem| NoteError::BadKey { problem };
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(refuse("want name+id+base64"));
        };
        let id = HEXLOWER
            .decode(id.as_bytes())
            .map_err(|_| refuse("the id is not hexadecimal"))?;
        let material = BASE64
            .decode(material.as_bytes())
            .map_err(|_| refuse("the key is not base64"))?;
        let (kind, key) = match material.split_first() {
            Some((0x01, key)) => (NoteKeyKind::Ed25519, key),
            Some((0x04, key)) => (NoteKeyKind::Cosignature, key),
            _ => return Err(refuse("the type is not ed25519 (1) or cosignature (4)")),
        };
        let key = key.try_into().map_err(|_| refuse("the key does not have 32 bytes"))?;
        let key = Self::new(name, kind, MemberId(key))?;
        if key.id()[..] == id[..] {
            Ok(key)
        } else {
            Err(refuse("the id is not that of the key"))
        }
    }
}

impl NoteSignature {
    /// Name of the key that it claims.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of the key that it claims; see [`NoteKey::id`].
    pub fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// Whether name and id are those of `key`. Says nothing about the signature itself.
    pub fn is_of(&self, key: &NoteKey) -> bool {
        self.name == key.name && self.key_id == key.id()
    }

    fn parse(line: &str) -> Result<Self, NoteError> {
        let refuse = |problem| NoteError::Malformed { problem };
        let rest = line
            .strip_prefix(MARK)
            .ok_or(refuse("a signature line does not begin with a dash"))?;
        let (name, base64) = rest
            .split_once(' ')
            .ok_or(refuse("a signature line lacks its signature"))?;
        check_name(name)?;
        let raw = BASE64
            .decode(base64.as_bytes())
            .map_err(|_| refuse("a signature is not base64"))?;
        match raw.split_first_chunk::<KEY_ID_BYTES>() {
            Some((key_id, bytes)) if !bytes.is_empty() => Ok(Self {
                name: name.to_owned(),
                key_id: *key_id,
                bytes: bytes.to_vec(),
            }),
            _ => Err(refuse("a signature is too short")),
        }
    }
}

impl Note {
    /// An unsigned note; the text must end in a newline and hold no other control character.
    pub fn new(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        if text.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { bytes: text.len() });
        }
        if !text.ends_with('\n') {
            return Err(NoteError::Malformed {
                problem: "the text does not end in a newline",
            });
        }
        if text.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::Malformed {
                problem: "it holds control characters",
            });
        }
        Ok(Self {
            text,
            signatures: Vec::new(),
        })
    }

    /// Reads a signed note. Nothing is verified.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let refuse = |problem| NoteError::Malformed { problem };
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { bytes: note.len() });
        }
        let at = note
            .rfind("\n\n")
            .ok_or(refuse("no empty line stands before the signatures"))?;
        let (text, lines) = (&note[..=at], &note[at + 2..]);
        let lines = lines
            .strip_suffix('\n')
            .ok_or(refuse("the last line does not end in a newline"))?;
        let mut parsed = Self::new(text)?;
        for line in lines.split('\n') {
            if parsed.signatures.len() == NOTE_SIGNATURES_MAX {
                return Err(refuse("it has too many signatures"));
            }
            parsed.signatures.push(NoteSignature::parse(line)?);
        }
        Ok(parsed)
    }

    /// The signed text, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature; an older one of the same key is replaced.
    pub fn sign(&mut self, name: &str, kind: NoteKeyKind, secret: &SecretKey, seconds: u64) -> Result<(), NoteError> {
        if kind == NoteKeyKind::Cosignature && seconds > TIMESTAMP_MAX {
            return Err(NoteError::BadTime { seconds });
        }
        let key = NoteKey::new(name, kind, secret.member_id())?;
        self.add(key.sign(secret, &self.text, seconds))
    }

    /// Adds a signature made elsewhere; an older one of the same key is replaced.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        let same = |old: &NoteSignature| old.name == signature.name && old.key_id == signature.key_id;
        self.signatures.retain(|old| !same(old));
        if self.signatures.len() == NOTE_SIGNATURES_MAX {
            return Err(NoteError::Malformed {
                problem: "it has too many signatures",
            });
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Checks that `key` signed; gives the time of its cosignature. Every signature that claims the key must
    /// hold; those of other keys are ignored, as the specification demands.
    pub fn verify(&self, key: &NoteKey) -> Result<Option<u64>, NoteError> {
        let mut verified = Err(NoteError::NotSigned { name: key.name.clone() });
        for signature in self.signatures.iter().filter(|signature| signature.is_of(key)) {
            verified = Ok(key.verify(&self.text, signature)?);
        }
        verified
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = [&self.key_id[..], &self.bytes].concat();
        write!(f, "{MARK}{} {}", self.name, BASE64.encode(&raw))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // The key and note that implementations of signed notes share as their example.
    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn known_note_and_keys() {
        let key: NoteKey = VKEY.parse().unwrap();
        assert_eq!(
            (key.name(), key.kind(), key.to_string()),
            ("PeterNeumann", NoteKeyKind::Ed25519, VKEY.into())
        );
        let note = Note::parse(NOTE).unwrap();
        assert_eq!(note.to_string(), NOTE);
        assert_eq!(note.verify(&key), Ok(None));
        // A published witness key of the cosignature type.
        let witness = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
        let witness_key: NoteKey = witness.parse().unwrap();
        assert_eq!(
            (witness_key.kind(), witness_key.to_string()),
            (NoteKeyKind::Cosignature, witness.into())
        );
        assert!(matches!(note.verify(&witness_key), Err(NoteError::NotSigned { .. })));
    }

    #[test]
    fn every_changed_byte_of_a_note_is_noticed() {
        let key: NoteKey = VKEY.parse().unwrap();
        for at in 0..NOTE.len() {
            for mask in [0x01, 0x20, 0x80] {
                let mut bytes = NOTE.as_bytes().to_vec();
                bytes[at] ^= mask;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                assert!(
                    Note::parse(&text).and_then(|note| note.verify(&key)).is_err(),
                    "byte {at}, mask {mask:#x}"
                );
            }
        }
    }

    #[test]
    fn malformed_notes_and_keys_are_refused() {
        for bad in [
            "",
            "\n",
            "\n\n",
            "text\n",
            "text\n\n",
            "text\n\nsignature\n",
            "text\n\n\u{2014} name AAAAAA==",
            "text\n\n\u{2014} name AAAA\n",
            "text\n\n\u{2014} name AAAAAB==\n",
            "text\n\n\u{2014} na+me AAAAAAA=\n",
            "text\n\n\u{2014}  AAAAAAA=\n",
            "te\txt\n\n\u{2014} name AAAAAAA=\n",
            "te\rxt\n\n\u{2014} name AAAAAAA=\n",
            "text\n\n\u{2014} name AAAAAAA=\n\n",
        ] {
            assert!(Note::parse(bad).is_err(), "{bad:?}");
        }
        let line = "\u{2014} name AAAAAAA=\n";
        assert!(Note::parse(&format!("text\n\n{}", line.repeat(NOTE_SIGNATURES_MAX))).is_ok());
        assert!(Note::parse(&format!("text\n\n{}", line.repeat(NOTE_SIGNATURES_MAX + 1))).is_err());
        for bad in [
            "",
            "a+b",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+AhpC",
            " +c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert!(bad.parse::<NoteKey>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(\\PC|\n|\u{2014} |[a-z +/=]){0,200}") {
            if let Ok(note) = Note::parse(&text) {
                prop_assert_eq!(Note::parse(&note.to_string()), Ok(note));
            }
            let _ = text.parse::<NoteKey>();
        }
    }
}

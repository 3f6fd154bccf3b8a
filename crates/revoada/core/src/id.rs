//! Identities: members are ed25519 public keys, a cluster is the hash of its genesis.

use std::fmt;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a hexadecimal identifier was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{input:?} is not a {what}: want 64 hexadecimal digits")]
pub struct ParseIdError {
    /// What was being parsed, for example `member id`.
    pub what: &'static str,
    /// The refused text, shortened to 80 characters.
    pub input: String,
}

macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The 32 raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first ten hexadecimal digits, for people and logs; never for decisions.
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..5])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let refuse = || ParseIdError { what: $what, input: text.chars().take(80).collect() };
                let raw = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| refuse())?;
                Ok(Self(raw.try_into().map_err(|_| refuse())?))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    Serialize::serialize(&self.0, serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = <String as Deserialize>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 32] as Deserialize>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

bytes32!(
    /// A member: its ed25519 public key. Addresses are never identity.
    MemberId,
    "member id"
);
bytes32!(
    /// A cluster: the BLAKE3 hash of its genesis block.
    ClusterId,
    "cluster id"
);
bytes32!(
    /// A BLAKE3 hash.
    Hash32,
    "hash"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip_and_refusal() {
        let id = MemberId([0xab; 32]);
        assert_eq!(id.to_string().parse::<MemberId>(), Ok(id));
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
        let error = "abc".parse::<MemberId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"abc\" is not a member id: want 64 hexadecimal digits"
        );
    }
}

//! The multicast beacon: a signed hint where a member can be reached.
//!
//! Outsiders learn a public key and addresses, but not the cluster: its id enters only as a keyed hash that differs
//! in each beacon, and as context of the signature.

use std::net::SocketAddr;

use ed25519_dalek::{Signature, VerifyingKey};
use revoada_core::{ClusterId, MemberId};
use serde::{Deserialize, Serialize};

use crate::identity::Identity;

/// Version of the beacon.
pub const BEACON_VERSION: u8 = 1;
/// The largest beacon: fits in one packet everywhere.
pub const BEACON_BYTES_MAX: usize = 1024;
/// Most addresses in a beacon.
pub const BEACON_ADDRESSES_MAX: usize = 16;
/// The farthest a beacon's time may be from the receiver's.
pub const BEACON_AGE_MS_MAX: u64 = 10 * 60 * 1000;

const SIGNATURE_BYTES: usize = 64;
const TAG_CONTEXT: &str = "engenho mesh 2025-10 beacon cluster tag";
const SIGNATURE_CONTEXT: &[u8] = b"engenho mesh 2025-10 beacon signature";

/// What a beacon says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// Keyed hash of the cluster id, the member and the time.
    pub tag: [u8; 16],
    /// Who sends it.
    pub member: MemberId,
    /// When, milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Where it can be reached.
    pub addresses: Vec<SocketAddr>,
}

/// Why a beacon is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BeaconError {
    /// Not a beacon.
    #[error("not a beacon")]
    Malformed,
    /// Of another version.
    #[error("beacon of version {version}")]
    Version {
        /// Its version.
        version: u8,
    },
    /// Of another cluster.
    #[error("beacon of another cluster")]
    OtherCluster,
    /// Too old or from the future.
    #[error("beacon sent {age_ms} ms from now")]
    Stale {
        /// Difference of its time and the receiver's.
        age_ms: u64,
    },
    /// Not signed by the member it names.
    #[error("beacon with a wrong signature")]
    Signature,
}

fn tag(cluster: ClusterId, member: MemberId, unix_ms: u64) -> [u8; 16] {
    let key = blake3::derive_key(TAG_CONTEXT, cluster.as_bytes());
    let mut message = member.as_bytes().to_vec();
    message.extend_from_slice(&unix_ms.to_le_bytes());
    let mut tag = [0; 16];
    tag.copy_from_slice(&blake3::keyed_hash(&key, &message).as_bytes()[..16]);
    tag
}

fn signed_message(cluster: ClusterId, body: &[u8]) -> Vec<u8> {
    [SIGNATURE_CONTEXT, cluster.as_bytes(), body].concat()
}

impl Beacon {
    /// A beacon of this member; addresses beyond the bound are left out.
    pub fn new(cluster: ClusterId, member: MemberId, unix_ms: u64, mut addresses: Vec<SocketAddr>) -> Self {
        addresses.truncate(BEACON_ADDRESSES_MAX);
        Self {
            tag: tag(cluster, member, unix_ms),
            member,
            unix_ms,
            addresses,
        }
    }

    /// Version byte, postcard body, signature.
    pub fn encode(&self, cluster: ClusterId, identity: &Identity) -> Result<Vec<u8>, BeaconError> {
        let mut datagram = vec![BEACON_VERSION];
        datagram.extend(postcard::to_stdvec(self).map_err(|_| BeaconError::Malformed)?);
        let signature = identity.sign(&signed_message(cluster, &datagram));
        datagram.extend_from_slice(&signature);
        if datagram.len() > BEACON_BYTES_MAX {
            Err(BeaconError::Malformed)
        } else {
            Ok(datagram)
        }
    }

    /// Decodes a datagram and checks all that is cheap: form, cluster and time, but not the signature.
    pub fn decode(datagram: &[u8], cluster: ClusterId, now_ms: u64) -> Result<UnverifiedBeacon<'_>, BeaconError> {
        let Some(body_len) = datagram.len().checked_sub(SIGNATURE_BYTES).filter(|len| *len > 1) else {
            return Err(BeaconError::Malformed);
        };
        if datagram.len() > BEACON_BYTES_MAX {
            return Err(BeaconError::Malformed);
        }
        let (body, signature) = datagram.split_at(body_len);
        if body[0] != BEACON_VERSION {
            return Err(BeaconError::Version { version: body[0] });
        }
        let (beacon, rest): (Beacon, _) = postcard::take_from_bytes(&body[1..]).map_err(|_| BeaconError::Malformed)?;
        if !rest.is_empty() || beacon.addresses.len() > BEACON_ADDRESSES_MAX {
            return Err(BeaconError::Malformed);
        }
        if beacon.tag != tag(cluster, beacon.member, beacon.unix_ms) {
            return Err(BeaconError::OtherCluster);
        }
        let age_ms = now_ms.abs_diff(beacon.unix_ms);
        if age_ms > BEACON_AGE_MS_MAX {
            return Err(BeaconError::Stale { age_ms });
        }
        Ok(UnverifiedBeacon {
            beacon,
            body,
            signature,
            cluster,
        })
    }
}

/// A beacon whose signature wasn't checked yet.
#[derive(Debug)]
pub struct UnverifiedBeacon<'a> {
    beacon: Beacon,
    body: &'a [u8],
    signature: &'a [u8],
    cluster: ClusterId,
}

impl UnverifiedBeacon<'_> {
    /// Who claims to have sent it.
    pub fn member(&self) -> MemberId {
        self.beacon.member
    }

    /// When it claims to have been sent.
    pub fn unix_ms(&self) -> u64 {
        self.beacon.unix_ms
    }

    /// Checks the signature of the member it names.
    pub fn verify(self) -> Result<Beacon, BeaconError> {
        let refuse = |_| BeaconError::Signature;
        let key = VerifyingKey::from_bytes(self.beacon.member.as_bytes()).map_err(refuse)?;
        let signature = Signature::from_slice(self.signature).map_err(refuse)?;
        key.verify_strict(&signed_message(self.cluster, self.body), &signature)
            .map_err(refuse)?;
        Ok(self.beacon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const CLUSTER: ClusterId = ClusterId([7; 32]);
    const NOW: u64 = 1_800_000_000_000;

    fn datagram() -> Vec<u8> {
        let identity = Identity::from_secret(&[1; 32]);
        let addresses = vec!["127.0.0.1:5000".parse().unwrap(), "[::1]:5000".parse().unwrap()];
        Beacon::new(CLUSTER, identity.id(), NOW, addresses)
            .encode(CLUSTER, &identity)
            .unwrap()
    }

    #[test]
    fn round_trips_within_its_cluster_and_time() {
        let datagram = datagram();
        let beacon = Beacon::decode(&datagram, CLUSTER, NOW + BEACON_AGE_MS_MAX)
            .unwrap()
            .verify()
            .unwrap();
        assert_eq!(beacon.addresses.len(), 2);
        let late = Beacon::decode(&datagram, CLUSTER, NOW + BEACON_AGE_MS_MAX + 1).unwrap_err();
        assert_eq!(
            late,
            BeaconError::Stale {
                age_ms: BEACON_AGE_MS_MAX + 1
            }
        );
        assert_eq!(
            Beacon::decode(&datagram, ClusterId([8; 32]), NOW).unwrap_err(),
            BeaconError::OtherCluster
        );
        assert!(!datagram.windows(8).any(|window| window == &CLUSTER.as_bytes()[..8]));
    }

    #[test]
    fn the_largest_beacon_fits() {
        let identity = Identity::from_secret(&[1; 32]);
        let addresses = vec!["[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap(); 40];
        Beacon::new(CLUSTER, identity.id(), u64::MAX, addresses)
            .encode(CLUSTER, &identity)
            .unwrap();
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_never_accepted(at: prop::sample::Index, xor in 1u8..) {
            let mut datagram = datagram();
            let at = at.index(datagram.len());
            datagram[at] ^= xor;
            let accepted = Beacon::decode(&datagram, CLUSTER, NOW).and_then(UnverifiedBeacon::verify);
            prop_assert!(accepted.is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..1200)) {
            prop_assert!(Beacon::decode(&bytes, CLUSTER, NOW).is_err());
            if let Some(first) = bytes.first_mut() {
                *first = BEACON_VERSION;
            }
            prop_assert!(Beacon::decode(&bytes, CLUSTER, NOW).is_err());
        }
    }
}

//! Blocks: what is written down about every change of membership and role.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::formation::Formation;
use crate::id::{ClusterId, Hash32, MemberId};
use crate::role::Role;

/// The first block. Its hash is the cluster id, so trust needs nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Genesis {
    /// Key of the founding member, the first admitted one.
    pub founder: MemberId,
    /// The founder's name, a DNS label.
    pub founder_name: String,
    /// Wall-clock time of the founder, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Random, so that one founder can found several clusters.
    pub salt: Hash32,
}

/// What happened. In text formats an object with a `type`; in binary ones its Borsh bytes, since those cannot
/// read tagged objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(
    remote = "Self",
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Event {
    /// A key was admitted.
    Admit {
        /// The admitted key.
        member: MemberId,
        /// Its name, unique among admitted members.
        name: String,
        /// Whether it serves only as a witness.
        witness: bool,
    },
    /// A member left on its own.
    Leave {
        /// The key that is no longer admitted.
        member: MemberId,
    },
    /// A member was expelled; its key is refused for good.
    Expel {
        /// The refused key.
        member: MemberId,
    },
    /// A role transition was committed by Raft.
    Transition {
        /// The member whose role changed.
        member: MemberId,
        /// Its role before.
        from: Role,
        /// Its role after.
        to: Role,
        /// The dead voter that was removed by the same joint change, if any; it became a worker.
        replaces: Option<MemberId>,
    },
    /// The target shape was changed.
    Formation {
        /// The new target.
        formation: Formation,
    },
    /// A lost majority was given up and one survivor went on alone, in a new epoch.
    Recover {
        /// The new epoch.
        epoch: u64,
        /// Who went on.
        survivor: MemberId,
        /// Members that stay admitted (the survivor among them); everyone else is fenced for good.
        keep: Vec<MemberId>,
        /// The survivor's signature over the recovery message, so that a fenced member can check the claim.
        #[serde(with = "super::hex64")]
        signature: [u8; 64],
    },
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            Event::serialize(self, serializer)
        } else {
            serializer.serialize_bytes(&borsh::to_vec(self).map_err(serde::ser::Error::custom)?)
        }
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Event::deserialize(deserializer)
        } else {
            let raw = <Vec<u8> as Deserialize>::deserialize(deserializer)?;
            borsh::from_slice(&raw).map_err(serde::de::Error::custom)
        }
    }
}

/// One link of the chain. Every replica makes the same block from the same log entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Block {
    /// Height, 1 for the first block after genesis.
    pub index: u64,
    /// Hash of the block before; the cluster id for block 1.
    pub prev: Hash32,
    /// What happened.
    pub event: Event,
    /// Why, for people.
    pub reason: String,
    /// Recovery epoch, 1 from genesis on.
    pub epoch: u64,
    /// Raft term of the log entry.
    pub term: u64,
    /// Raft index of the log entry.
    pub log_index: u64,
    /// The proposer's wall clock, milliseconds since the Unix epoch.
    pub proposed_ms: u64,
}

const GENESIS_CONTEXT: &str = "engenho 2026 chain genesis v1";
const BLOCK_CONTEXT: &str = "engenho 2026 chain block v1";

impl Genesis {
    /// The canonical bytes: Borsh, which has exactly one encoding for a value.
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("encoding to memory cannot fail")
    }

    /// Reads the canonical bytes; anything left over is an error.
    pub fn decode(bytes: &[u8]) -> std::io::Result<Self> {
        borsh::from_slice(bytes)
    }

    /// The cluster id: BLAKE3 of the canonical bytes under a context of its own.
    pub fn cluster_id(&self) -> ClusterId {
        ClusterId(blake3::derive_key(GENESIS_CONTEXT, &self.encode()))
    }
}

impl Block {
    /// The canonical bytes: Borsh, which has exactly one encoding for a value.
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("encoding to memory cannot fail")
    }

    /// Reads the canonical bytes; anything left over is an error.
    pub fn decode(bytes: &[u8]) -> std::io::Result<Self> {
        borsh::from_slice(bytes)
    }

    /// BLAKE3 of the canonical bytes under a context of its own.
    pub fn hash(&self) -> Hash32 {
        Hash32(blake3::derive_key(BLOCK_CONTEXT, &self.encode()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formation::Spread;

    fn event() -> impl Strategy<Value = Event> {
        let id = || any::<[u8; 32]>().prop_map(MemberId);
        let role = || prop::sample::select(vec![Role::Worker, Role::Standby, Role::Voter, Role::Witness]);
        let signature = prop::collection::vec(any::<u8>(), 64).prop_map(|bytes| bytes.try_into().unwrap());
        prop_oneof![
            (id(), ".*", any::<bool>()).prop_map(|(member, name, witness)| Event::Admit { member, name, witness }),
            id().prop_map(|member| Event::Leave { member }),
            id().prop_map(|member| Event::Expel { member }),
            (id(), role(), role(), prop::option::of(id())).prop_map(|(member, from, to, replaces)| Event::Transition {
                member,
                from,
                to,
                replaces
            }),
            (any::<Option<u8>>(), any::<Option<u8>>(), any::<bool>()).prop_map(|(voters, standbys, zone)| {
                let spread = if zone { Spread::Zone } else { Spread::None };
                Event::Formation {
                    formation: Formation {
                        voters,
                        standbys,
                        spread,
                    },
                }
            }),
            (any::<u64>(), id(), prop::collection::vec(id(), 0..5), signature).prop_map(
                |(epoch, survivor, keep, signature)| Event::Recover {
                    epoch,
                    survivor,
                    keep,
                    signature
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn both_encodings_round_trip(
            event in event(), prev: [u8; 32], reason in ".*", numbers: [u64; 5], at in any::<prop::sample::Index>(),
        ) {
            let [index, epoch, term, log_index, proposed_ms] = numbers;
            let block = Block { index, prev: Hash32(prev), event, reason, epoch, term, log_index, proposed_ms };
            let bytes = block.encode();
            prop_assert_eq!(&Block::decode(&bytes).unwrap(), &block);
            let json = serde_json::to_string(&block).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Block>(&json).unwrap(), &block);
            // One value, one encoding: whatever else decodes is another block.
            let mut bent = bytes.clone();
            bent[at.index(bytes.len())] ^= 1;
            if let Ok(other) = Block::decode(&bent) {
                prop_assert_ne!(other.hash(), block.hash());
                prop_assert_eq!(other.encode(), bent);
            }
            prop_assert!(Block::decode(&bytes[..bytes.len() - 1]).is_err());
            prop_assert!(Block::decode(&[&bytes[..], &[0]].concat()).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Block::decode(&bytes);
            let _ = Genesis::decode(&bytes);
        }
    }

    /// The encodings are for ever: a change here is a change of every cluster's identity.
    #[test]
    fn hashes_are_pinned() {
        let genesis = Genesis {
            founder: MemberId([1; 32]),
            founder_name: "a".into(),
            created_ms: 2,
            salt: Hash32([3; 32]),
        };
        assert_eq!(
            genesis.cluster_id().to_string(),
            "2556a280b68c65e03109ef8ba1ae371e2451b41cb0dcdda67def5da05c01b2fc"
        );
        let block = Block {
            index: 1,
            prev: Hash32(genesis.cluster_id().0),
            event: Event::Transition {
                member: MemberId([4; 32]),
                from: Role::Worker,
                to: Role::Voter,
                replaces: Some(MemberId([1; 32])),
            },
            reason: "why".into(),
            epoch: 1,
            term: 2,
            log_index: 3,
            proposed_ms: 4,
        };
        assert_eq!(
            block.hash().to_string(),
            "02a465720f69dd8d13c7714d26011aad1aa4266a3a1eee635872a84023c65dc9"
        );
        let (one, four) = ("01".repeat(32), "04".repeat(32));
        let json = format!(
            "{{\"index\":1,\"prev\":\"{}\",\"event\":{{\"type\":\"transition\",\"member\":\"{four}\",\"from\":\"worker\",\
             \"to\":\"voter\",\"replaces\":\"{one}\"}},\"reason\":\"why\",\"epoch\":1,\"term\":2,\"logIndex\":3,\"proposedMs\":4}}",
            genesis.cluster_id()
        );
        assert_eq!(serde_json::to_string(&block).unwrap(), json);
    }
}

//! What the chain says now: who is admitted, in which role, who is refused for good.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::formation::Formation;
use crate::id::{ClusterId, Hash32, MemberId};
use crate::role::Role;

use super::block::{Block, Event, Genesis};
use super::error::{ChainError, SealError};
use super::merkle::{self, CompactRange, TreeHash};
use super::rules;
use super::seal::Seal;

/// How many of the latest blocks can wait for their seal. A block that leaves this window unsealed stays so
/// (later seals still vouch for it through the hashes).
pub const UNSEALED_MAX: usize = 256;

/// An admitted member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmittedMember {
    /// Its name, unique among admitted members.
    pub name: String,
    /// Whether it was admitted as a witness.
    pub witness: bool,
    /// Its role by the last transition.
    pub role: Role,
    /// Index of the block that admitted it; 0 for the founder.
    pub since_block: u64,
}

/// How a key stopped being admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// Index of the block that says so.
    pub block: u64,
    /// The epoch that block belongs to (for a fenced member: the epoch that fences it).
    pub epoch: u64,
    /// Name the member had.
    pub name: String,
    /// Reason given in the block.
    pub reason: String,
}

/// What a key is to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Admitted.
    Admitted(AdmittedMember),
    /// Never seen.
    Unknown,
    /// Left on its own; may be admitted again.
    Left,
    /// Refused for good by an operator.
    Expelled,
    /// Refused for good because a recovery went on without it.
    Fenced {
        /// The epoch that began without it.
        epoch: u64,
    },
}

impl Standing {
    /// Whether the key may take part now.
    pub fn is_admitted(&self) -> bool {
        matches!(self, Standing::Admitted(_))
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Admitted(_) => f.write_str("admitted"),
            Standing::Unknown => f.write_str("unknown"),
            Standing::Left => f.write_str("gone (it left)"),
            Standing::Expelled => f.write_str("expelled"),
            Standing::Fenced { epoch } => write!(f, "fenced since epoch {epoch}"),
        }
    }
}

/// A block that waits for its seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Unsealed {
    hash: Hash32,
    /// Members admitted once the block was applied, ascending.
    admitted: Vec<MemberId>,
}

/// The state that the chain leads to. Same blocks, same state, on every replica and in an offline verifier.
///
/// Its size does not grow with the number of blocks. It grows with the members ([`super::MEMBERS_MAX`]), with the
/// waiting seals ([`UNSEALED_MAX`]), and by one [`Departure`] (up to about 1.2 KiB) for each key that is no
/// longer admitted: those cannot be forgotten, because they are refused for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    cluster: ClusterId,
    genesis: Genesis,
    height: u64,
    head: Hash32,
    epoch: u64,
    term: u64,
    log_index: u64,
    admitted: BTreeMap<MemberId, AdmittedMember>,
    left: BTreeMap<MemberId, Departure>,
    expelled: BTreeMap<MemberId, Departure>,
    fenced: BTreeMap<MemberId, Departure>,
    formation: Formation,
    sealed_height: u64,
    sealed_count: u64,
    unsealed: BTreeMap<u64, Unsealed>,
    tree: CompactRange,
}

impl ChainState {
    /// The state of a new cluster: the founder is its only member and voter.
    pub fn genesis(genesis: Genesis) -> Result<Self, ChainError> {
        rules::check_name(&genesis.founder_name)?;
        let cluster = genesis.cluster_id();
        let mut tree = CompactRange::default();
        tree.push(merkle::leaf_hash(&genesis.encode()));
        let founder =
            AdmittedMember { name: genesis.founder_name.clone(), witness: false, role: Role::Voter, since_block: 0 };
        Ok(Self {
            cluster,
            height: 0,
            head: Hash32(cluster.0),
            epoch: 1,
            term: 0,
            log_index: 0,
            admitted: BTreeMap::from([(genesis.founder, founder)]),
            left: BTreeMap::new(),
            expelled: BTreeMap::new(),
            fenced: BTreeMap::new(),
            formation: Formation::default(),
            sealed_height: 0,
            sealed_count: 0,
            unsealed: BTreeMap::new(),
            tree,
            genesis,
        })
    }

    /// The cluster id.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The genesis block.
    pub fn genesis_block(&self) -> &Genesis {
        &self.genesis
    }

    /// Index of the last block, 0 if there is only the genesis.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// Hash of the last block; the cluster id if there is none.
    pub fn head(&self) -> Hash32 {
        self.head
    }

    /// Recovery epoch, 1 from genesis on.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The target shape.
    pub fn formation(&self) -> &Formation {
        &self.formation
    }

    /// Admitted members.
    pub fn admitted(&self) -> &BTreeMap<MemberId, AdmittedMember> {
        &self.admitted
    }

    /// An admitted member.
    pub fn member(&self, member: &MemberId) -> Option<&AdmittedMember> {
        self.admitted.get(member)
    }

    /// The admitted member of that name.
    pub fn member_by_name(&self, name: &str) -> Option<(&MemberId, &AdmittedMember)> {
        self.admitted.iter().find(|(_, member)| member.name == name)
    }

    /// Role of an admitted member.
    pub fn role(&self, member: &MemberId) -> Option<Role> {
        self.admitted.get(member).map(|member| member.role)
    }

    /// Admitted members that vote by the chain.
    pub fn voters(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.admitted.iter().filter(|(_, member)| member.role.votes()).map(|(id, _)| *id)
    }

    /// Members that left on their own and did not come back.
    pub fn left(&self) -> &BTreeMap<MemberId, Departure> {
        &self.left
    }

    /// Members refused for good by an operator.
    pub fn expelled(&self) -> &BTreeMap<MemberId, Departure> {
        &self.expelled
    }

    /// Members refused for good because a recovery went on without them.
    pub fn fenced(&self) -> &BTreeMap<MemberId, Departure> {
        &self.fenced
    }

    /// What a key is to the cluster.
    pub fn standing(&self, member: &MemberId) -> Standing {
        if let Some(admitted) = self.admitted.get(member) {
            Standing::Admitted(admitted.clone())
        } else if self.expelled.contains_key(member) {
            Standing::Expelled
        } else if let Some(departure) = self.fenced.get(member) {
            Standing::Fenced { epoch: departure.epoch }
        } else if self.left.contains_key(member) {
            Standing::Left
        } else {
            Standing::Unknown
        }
    }

    /// Index of the highest sealed block; its seal vouches for all before it.
    pub fn sealed_height(&self) -> u64 {
        self.sealed_height
    }

    /// How many blocks have a seal of their own.
    pub fn sealed_count(&self) -> u64 {
        self.sealed_count
    }

    /// Blocks that wait for a seal, as index and hash, oldest first.
    pub fn unsealed(&self) -> impl Iterator<Item = (u64, Hash32)> + '_ {
        self.unsealed.iter().map(|(index, block)| (*index, block.hash))
    }

    /// Members whose signature counts under block `index`, if it waits for a seal.
    pub fn sealers(&self, index: u64) -> Option<&[MemberId]> {
        self.unsealed.get(&index).map(|block| block.admitted.as_slice())
    }

    /// Leaves of the Merkle tree: genesis and all blocks.
    pub fn tree_size(&self) -> u64 {
        self.tree.size()
    }

    /// Root of the Merkle tree over genesis and all blocks.
    pub fn tree_root(&self) -> TreeHash {
        self.tree.root()
    }

    /// The block that records `event` next. It is not checked; control characters in `reason` become spaces
    /// and what exceeds [`super::REASON_BYTES_MAX`] is cut.
    pub fn next_block(&self, event: Event, reason: &str, term: u64, log_index: u64, proposed_ms: u64) -> Block {
        let epoch = match &event {
            Event::Recover { epoch, .. } => *epoch,
            _ => self.epoch,
        };
        Block {
            index: self.height + 1,
            prev: self.head,
            event,
            reason: rules::clean_reason(reason),
            epoch,
            term,
            log_index,
            proposed_ms,
        }
    }

    /// Whether `event` could be recorded now.
    pub fn check_event(&self, event: &Event) -> Result<(), ChainError> {
        rules::check_event(self, event)
    }

    /// Appends a block. On error the state is unchanged.
    pub fn extend(&mut self, block: &Block) -> Result<(), ChainError> {
        self.check_link(block)?;
        rules::check_event(self, &block.event)?;
        self.apply(block);
        self.height = block.index;
        self.head = block.hash();
        self.epoch = block.epoch;
        self.term = block.term;
        self.log_index = block.log_index;
        self.tree.push(merkle::leaf_hash(&block.encode()));
        let waiting = Unsealed { hash: self.head, admitted: self.admitted.keys().copied().collect() };
        self.unsealed.insert(self.height, waiting);
        while self.unsealed.len() > UNSEALED_MAX {
            self.unsealed.pop_first();
        }
        Ok(())
    }

    fn check_link(&self, block: &Block) -> Result<(), ChainError> {
        let index = block.index;
        let want = self.height + 1;
        if index != want {
            return Err(ChainError::WrongIndex { want, got: index });
        }
        if block.prev != self.head {
            return Err(ChainError::WrongPrev { index, want: self.head, got: block.prev });
        }
        let recovers = matches!(block.event, Event::Recover { .. });
        let want = if recovers { self.epoch + 1 } else { self.epoch };
        if block.epoch != want {
            return Err(ChainError::WrongEpoch { index, want, got: block.epoch });
        }
        // A recovery may begin a new log.
        if !recovers && (block.term < self.term || block.log_index < self.log_index) {
            return Err(ChainError::LogOrder { index, term: block.term, log_index: block.log_index });
        }
        if rules::clean_reason(&block.reason) != block.reason {
            return Err(ChainError::BadReason { index });
        }
        Ok(())
    }

    fn apply(&mut self, block: &Block) {
        match &block.event {
            Event::Admit { member, name, witness } => {
                self.left.remove(member);
                let admitted = AdmittedMember {
                    name: name.clone(),
                    witness: *witness,
                    role: Role::Worker,
                    since_block: block.index,
                };
                self.admitted.insert(*member, admitted);
            }
            Event::Leave { member } => {
                let departure = self.depart(member, block);
                self.left.insert(*member, departure);
            }
            Event::Expel { member } => {
                let departure = self.depart(member, block);
                self.left.remove(member);
                self.expelled.insert(*member, departure);
            }
            Event::Transition { member, to, replaces, .. } => {
                self.set_role(member, *to);
                if let Some(replaced) = replaces {
                    self.set_role(replaced, Role::Worker);
                }
            }
            Event::Formation { formation } => self.formation = *formation,
            Event::Recover { survivor, keep, .. } => {
                let keep: BTreeSet<_> = keep.iter().collect();
                let fenced: Vec<_> = self.admitted.keys().filter(|id| !keep.contains(id)).copied().collect();
                for member in fenced {
                    let departure = self.depart(&member, block);
                    self.fenced.insert(member, departure);
                }
                for (id, member) in &mut self.admitted {
                    member.role = match (id == survivor, member.witness) {
                        (true, false) => Role::Voter,
                        (true, true) => Role::Witness,
                        (false, _) => Role::Worker,
                    };
                }
            }
        }
    }

    fn set_role(&mut self, member: &MemberId, role: Role) {
        if let Some(member) = self.admitted.get_mut(member) {
            member.role = role;
        }
    }

    fn depart(&mut self, member: &MemberId, block: &Block) -> Departure {
        let name = match (self.admitted.remove(member), self.left.get(member)) {
            (Some(admitted), _) => admitted.name,
            (None, Some(left)) => left.name.clone(),
            (None, None) => String::new(),
        };
        Departure { block: block.index, epoch: block.epoch, name, reason: block.reason.clone() }
    }

    /// Checks a seal against the block it is for, as of that block.
    pub fn check_seal(&self, seal: &Seal) -> Result<(), SealError> {
        let index = seal.index;
        if index == 0 || index > self.height {
            return Err(SealError::NoSuchBlock { index, height: self.height });
        }
        let waiting = self.unsealed.get(&index).ok_or(SealError::NotWaiting { index })?;
        if seal.hash != waiting.hash {
            return Err(SealError::WrongHash { index, want: waiting.hash, got: seal.hash });
        }
        seal.verify(self.cluster, &waiting.admitted)
    }

    /// Checks a seal and records that its block is sealed. Seals may come in any order.
    pub fn seal(&mut self, seal: &Seal) -> Result<(), SealError> {
        self.check_seal(seal)?;
        self.unsealed.remove(&seal.index);
        self.sealed_height = self.sealed_height.max(seal.index);
        self.sealed_count += 1;
        Ok(())
    }
}

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
        let founder = AdmittedMember {
            name: genesis.founder_name.clone(),
            witness: false,
            role: Role::Voter,
            since_block: 0,
        };
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
        self.admitted
            .iter()
            .filter(|(_, member)| member.role.votes())
            .map(|(id, _)| *id)
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
        let waiting = Unsealed {
            hash: self.head,
            admitted: self.admitted.keys().copied().collect(),
        };
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
            return Err(ChainError::WrongPrev {
                index,
                want: self.head,
                got: block.prev,
            });
        }
        let recovers = matches!(block.event, Event::Recover { .. });
        let want = if recovers { self.epoch + 1 } else { self.epoch };
        if block.epoch != want {
            return Err(ChainError::WrongEpoch {
                index,
                want,
                got: block.epoch,
            });
        }
        // A recovery may begin a new log.
        if !recovers && (block.term < self.term || block.log_index < self.log_index) {
            return Err(ChainError::LogOrder {
                index,
                term: block.term,
                log_index: block.log_index,
            });
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
            Event::Transition {
                member, to, replaces, ..
            } => {
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
        Departure {
            block: block.index,
            epoch: block.epoch,
            name,
            reason: block.reason.clone(),
        }
    }

    /// Checks a seal against the block it is for, as of that block.
    pub fn check_seal(&self, seal: &Seal) -> Result<(), SealError> {
        let index = seal.index;
        if index == 0 || index > self.height {
            return Err(SealError::NoSuchBlock {
                index,
                height: self.height,
            });
        }
        let waiting = self.unsealed.get(&index).ok_or(SealError::NotWaiting { index })?;
        if seal.hash != waiting.hash {
            return Err(SealError::WrongHash {
                index,
                want: waiting.hash,
                got: seal.hash,
            });
        }
        seal.verify(self.cluster, &waiting.admitted)
    }

    /// Checks a seal and records that its block is sealed. Seals may come in any order.
    pub fn seal(&mut self, seal: &Seal) -> Result<(), SealError> {
        self.check_seal(seal)?;
        self.take_seal(seal);
        Ok(())
    }

    /// The mutation that takes any seal.
    #[cfg(feature = "mutations")]
    pub(crate) fn seal_blindly(&mut self, seal: &Seal) {
        self.take_seal(seal);
    }

    fn take_seal(&mut self, seal: &Seal) {
        self.unsealed.remove(&seal.index);
        self.sealed_height = self.sealed_height.max(seal.index);
        self.sealed_count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::super::{REASON_BYTES_MAX, SEAL_SIGNATURES_MAX, sign_recover, sign_seal, verify_recovery};
    use super::*;

    #[test]
    fn genesis_admits_the_founder() {
        let f = Fixture::new();
        assert_eq!(
            (f.state.height(), f.state.epoch(), f.state.head().0),
            (0, 1, f.state.cluster().0)
        );
        assert_eq!(f.state.role(&f.id(0)), Some(Role::Voter));
        assert_eq!(f.state.standing(&f.id(1)), Standing::Unknown);
        let bad = Genesis {
            founder_name: "Not a label".into(),
            ..f.state.genesis_block().clone()
        };
        assert!(matches!(ChainState::genesis(bad), Err(ChainError::BadName { .. })));
    }

    #[test]
    fn a_history_of_every_event() {
        let f = Fixture::nine();
        assert_eq!(
            (
                f.state.height(),
                f.state.epoch(),
                f.state.sealed_height(),
                f.state.sealed_count()
            ),
            (9, 2, 9, 9)
        );
        assert_eq!(f.state.standing(&f.id(0)), Standing::Fenced { epoch: 2 });
        assert_eq!(f.state.standing(&f.id(1)), Standing::Left);
        assert_eq!(f.state.role(&f.id(2)), Some(Role::Voter));
        assert_eq!(f.state.standing(&f.id(3)), Standing::Expelled);
        assert_eq!(f.state.expelled()[&f.id(3)].name, "m3");
        assert_eq!(f.state.formation().voters, Some(3));
        assert_eq!(f.state.tree_size(), 10);
        assert_eq!(f.state.admitted().len(), 1);
    }

    #[test]
    fn keys_that_are_refused_stay_refused() {
        let mut f = Fixture::nine();
        for n in [0, 2, 3] {
            assert!(
                matches!(f.try_push(f.admit(n)), Err(ChainError::NotAdmissible { .. })),
                "{n}"
            );
        }
        f.push(f.admit(1));
        assert!(f.state.left().is_empty(), "who left may come back");
        f.push(Event::Leave { member: f.id(1) });
        f.push(Event::Expel { member: f.id(1) });
        assert_eq!(f.state.standing(&f.id(1)), Standing::Expelled);
        assert_eq!(f.state.expelled()[&f.id(1)].name, "m1");
        assert!(matches!(f.try_push(f.admit(1)), Err(ChainError::NotAdmissible { .. })));
        for n in [0, 1, 5] {
            assert!(matches!(
                f.try_push(Event::Expel { member: f.id(n) }),
                Err(ChainError::NotAdmitted { .. })
            ));
        }
    }

    #[test]
    fn names_are_labels_and_unique() {
        let mut f = Fixture::new();
        let admit = |name: &str| Event::Admit {
            member: f.id(1),
            name: name.into(),
            witness: false,
        };
        let taken = ChainError::NameTaken {
            name: "m0".into(),
            member: f.id(0),
        };
        let events = ["", "-a", "a-", "A", "a.b", "a\n", &"a".repeat(64)].map(admit);
        let (good, duplicate) = (admit(&"a".repeat(63)), admit("m0"));
        for event in events {
            assert!(matches!(f.try_push(event), Err(ChainError::BadName { .. })));
        }
        assert_eq!(f.try_push(duplicate), Err(taken));
        f.push(good);
    }

    #[test]
    fn transitions_follow_the_recorded_roles() {
        let mut f = Fixture::new();
        for n in [1, 2, 7] {
            f.push(f.admit(n));
        }
        let wrong = f.transition(1, Role::Standby, Role::Voter, None);
        assert!(matches!(f.try_push(wrong), Err(ChainError::WrongRole { .. })));
        let same = f.transition(1, Role::Worker, Role::Worker, None);
        assert!(matches!(f.try_push(same), Err(ChainError::NoChange { .. })));
        let unknown = f.transition(5, Role::Worker, Role::Voter, None);
        assert!(matches!(f.try_push(unknown), Err(ChainError::NotAdmitted { .. })));
        for (n, to) in [(1, Role::Witness), (7, Role::Voter)] {
            let event = f.transition(n, Role::Worker, to, None);
            assert!(matches!(f.try_push(event), Err(ChainError::WitnessRole { .. })));
        }
        f.push(f.transition(7, Role::Worker, Role::Witness, None));
        f.push(f.transition(7, Role::Witness, Role::Worker, None));
        for event in [
            f.transition(0, Role::Voter, Role::Worker, None),
            Event::Leave { member: f.id(0) },
            Event::Expel { member: f.id(0) },
        ] {
            assert_eq!(f.try_push(event), Err(ChainError::LastVoter { member: f.id(0) }));
        }
        for (n, to, replaced) in [(1, Role::Voter, 1), (1, Role::Voter, 2), (1, Role::Standby, 0)] {
            let event = f.transition(n, Role::Worker, to, Some(replaced));
            assert!(
                matches!(f.try_push(event), Err(ChainError::BadReplacement { .. })),
                "{n} {to} {replaced}"
            );
        }
        f.push(f.transition(1, Role::Worker, Role::Voter, Some(0)));
        assert_eq!(f.state.role(&f.id(0)), Some(Role::Worker));
        assert_eq!(f.state.voters().collect::<Vec<_>>(), [f.id(1)]);
        let even = Formation {
            voters: Some(4),
            ..Formation::default()
        };
        assert_eq!(
            f.try_push(Event::Formation { formation: even }),
            Err(ChainError::BadFormation)
        );
    }

    #[test]
    fn a_recovery_needs_its_survivors_signature_over_everything() {
        let mut f = Fixture::new();
        for n in [1, 2, 3] {
            f.push(f.admit(n));
        }
        f.push(f.transition(1, Role::Worker, Role::Voter, None));
        let good = sign_recover(&f.keys[1], &f.state, [f.id(2)]);
        let Event::Recover {
            epoch,
            survivor,
            keep,
            signature,
        } = good.clone()
        else {
            unreachable!()
        };
        let all: BTreeSet<_> = keep.iter().copied().chain([f.id(3)]).collect();
        let mut bent = signature;
        bent[9] ^= 1;
        let other = |survivor, keep: &[MemberId], signature| Event::Recover {
            epoch,
            survivor,
            keep: keep.to_vec(),
            signature,
        };
        let reversed: Vec<_> = keep.iter().rev().copied().collect();
        for event in [
            other(survivor, &keep, bent),
            other(f.id(2), &keep, signature),
            other(survivor, &all.into_iter().collect::<Vec<_>>(), signature),
            other(survivor, &reversed, signature),
            other(survivor, &[f.id(2)], signature),
            other(survivor, &[], signature),
            Event::Recover {
                epoch: 3,
                survivor,
                keep: keep.clone(),
                signature,
            },
            sign_recover(&f.keys[1], &f.state, [f.id(5)]),
            sign_recover(&f.keys[5], &f.state, []),
            sign_recover(&f.keys[1], &Fixture::new().state, [f.id(2)]),
        ] {
            assert!(f.try_push(event.clone()).is_err(), "{event:?}");
        }
        let mut block = f.state.next_block(good.clone(), "", 1, 1, 0);
        block.epoch = 1;
        assert!(matches!(
            f.state.extend(&block),
            Err(ChainError::WrongEpoch { want: 2, got: 1, .. })
        ));
        f.push(good);
        assert_eq!(f.state.epoch(), 2);
        assert_eq!(
            (f.state.role(&f.id(1)), f.state.role(&f.id(2))),
            (Some(Role::Voter), Some(Role::Worker))
        );
        for n in [0, 3] {
            assert_eq!(f.state.standing(&f.id(n)), Standing::Fenced { epoch: 2 });
            assert!(matches!(f.try_push(f.admit(n)), Err(ChainError::NotAdmissible { .. })));
        }
    }

    #[test]
    fn a_recovery_is_checked_from_afar() {
        let mut f = Fixture::new();
        f.push(f.admit(1));
        f.push(f.transition(1, Role::Worker, Role::Voter, None));
        let behind = f.state.clone();
        f.push(f.admit(2));
        let mut ahead = f.state.clone();
        f.push(sign_recover(&f.keys[1], &f.state, [f.id(2)]));
        let block = f.blocks.last().unwrap();
        // Another history of the same length, that the survivor never saw.
        ahead.extend(&ahead.next_block(f.admit(3), "", 9, 90, 0)).unwrap();
        assert_eq!(verify_recovery(block, &behind), Ok(()));
        assert_eq!(verify_recovery(block, &ahead), Ok(()));
        assert!(matches!(
            verify_recovery(block, &f.state),
            Err(ChainError::WrongEpoch { want: 3, got: 2, .. })
        ));
        assert!(matches!(
            verify_recovery(block, &Fixture::new().state),
            Err(ChainError::NotAdmitted { .. })
        ));
        assert_eq!(
            verify_recovery(&f.blocks[0], &behind),
            Err(ChainError::NotRecovery { index: 1 })
        );
        let changes: [fn(&mut Block); 4] = [
            |block| block.index += 1,
            |block| block.index = 0,
            |block| block.epoch += 1,
            |block| block.prev.0[0] ^= 1,
        ];
        for change in changes {
            let mut bent = block.clone();
            change(&mut bent);
            assert!(verify_recovery(&bent, &behind).is_err());
        }
    }

    #[test]
    fn links_are_checked() {
        let mut f = Fixture::new();
        f.push(f.admit(1));
        let good = f.state.next_block(f.admit(2), "why", 2, 20, 0);
        let refused = |change: fn(&mut Block)| {
            let mut block = good.clone();
            change(&mut block);
            f.state.clone().extend(&block).unwrap_err()
        };
        assert_eq!(
            refused(|block| block.index = 3),
            ChainError::WrongIndex { want: 2, got: 3 }
        );
        assert!(matches!(
            refused(|block| block.prev.0[0] ^= 1),
            ChainError::WrongPrev { index: 2, .. }
        ));
        assert_eq!(
            refused(|block| block.epoch = 2),
            ChainError::WrongEpoch {
                index: 2,
                want: 1,
                got: 2
            }
        );
        assert!(matches!(refused(|block| block.term = 1), ChainError::LogOrder { .. }));
        assert!(matches!(
            refused(|block| block.log_index = 9),
            ChainError::LogOrder { .. }
        ));
        assert_eq!(
            refused(|block| block.reason.push('\u{7}')),
            ChainError::BadReason { index: 2 }
        );
        assert_eq!(
            refused(|block| block.reason = "é".repeat(513)),
            ChainError::BadReason { index: 2 }
        );
        let long = f
            .state
            .next_block(f.admit(2), &format!("a\n{}", "é".repeat(2000)), 2, 20, 0);
        assert_eq!(long.reason.len(), REASON_BYTES_MAX);
        f.state.extend(&long).unwrap();
    }

    #[test]
    fn seals_count_signers_as_of_their_block() {
        let mut f = Fixture::new();
        f.push(f.admit(1));
        let early = f.seal_of(1);
        f.push(f.admit(2));
        f.push(Event::Leave { member: f.id(1) });
        assert_eq!(
            f.state.unsealed().map(|(index, _)| index).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        // Sealed late and out of order, by a member that has left since.
        f.state.seal(&f.seal_of(3)).unwrap();
        f.state.seal(&early).unwrap();
        assert_eq!((f.state.sealed_height(), f.state.sealed_count()), (3, 2));
        assert_eq!(f.state.seal(&early), Err(SealError::NotWaiting { index: 1 }));
        let (index, hash) = f.state.unsealed().next().unwrap();
        let parts = [0, 5].map(|n| sign_seal(&f.keys[n], f.state.cluster(), index, hash));
        let stranger = Seal::assemble(index, hash, parts);
        assert_eq!(
            f.state.seal(&stranger),
            Err(SealError::NotAdmitted { index, member: f.id(5) })
        );
        let other = Seal {
            hash: Hash32([1; 32]),
            ..f.seal_of(2)
        };
        assert!(matches!(
            f.state.seal(&other),
            Err(SealError::WrongHash { index: 2, .. })
        ));
        assert!(matches!(
            f.state.seal(&Seal {
                index: 4,
                ..early.clone()
            }),
            Err(SealError::NoSuchBlock { .. })
        ));
        assert!(matches!(
            f.state.seal(&Seal { index: 0, ..early }),
            Err(SealError::NoSuchBlock { .. })
        ));
        const { assert!(SEAL_SIGNATURES_MAX >= 3) }
    }

    #[test]
    fn waiting_seals_are_bounded() {
        let mut f = Fixture::new();
        for _ in 0..UNSEALED_MAX {
            f.push(f.admit(1));
            f.push(Event::Leave { member: f.id(1) });
        }
        assert_eq!(f.state.unsealed().count(), UNSEALED_MAX);
        assert_eq!(f.state.sealers(1), None);
    }

    #[test]
    fn the_state_survives_serde() {
        let f = Fixture::nine();
        let json = serde_json::to_string(&f.state).unwrap();
        assert_eq!(serde_json::from_str::<ChainState>(&json).unwrap(), f.state);
        let everything = (f.state, f.blocks, f.seals);
        let bytes = postcard::to_stdvec(&everything).unwrap();
        assert_eq!(
            postcard::from_bytes::<(ChainState, Vec<Block>, Vec<Seal>)>(&bytes).unwrap(),
            everything
        );
    }
}

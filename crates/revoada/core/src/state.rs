//! The replicated state of the mesh: who is admitted, in which role, what is being changed.
//!
//! [`MeshState::apply`] is deterministic. The only clock it knows is the proposer's wall clock in each command,
//! used for tickets, cool-downs and labels.

mod blocks;
mod outcome;
mod tickets;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use outcome::{MeshOutcome, MeshRefusal};
pub use tickets::TICKETS_MAX;

use crate::chain::{AdmittedMember, Block, ChainState, Event, Genesis, Seal, Standing};
use crate::command::{CodecError, Hold, MeshCommand, decode, encode};
use crate::consensus::LogPosition;
use crate::formation::Formation;
use crate::id::{Hash32, MemberId};
use crate::policy::{FLAP_WINDOW_MS, cooldown_ms};
use crate::role::Role;
use crate::transition::{Phase, Transition, TransitionSpec};
use tickets::Tickets;

const VERSION: u8 = 1;
const SNAPSHOT_BYTES_MAX: usize = 1 << 31;

/// Ended transitions remembered for display and for repeated requests.
const ENDED_MAX: usize = 32;

/// How often a member was demoted lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Damping {
    strikes: u32,
    last_ms: u64,
    until_ms: u64,
}

/// The replicated state of the mesh.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshState {
    chain: Option<ChainState>,
    #[serde(with = "blocks")]
    blocks: Vec<Block>,
    seals: BTreeMap<u64, Seal>,
    tickets: Tickets,
    holds: BTreeMap<MemberId, Hold>,
    in_flight: Option<Transition>,
    ended: VecDeque<Transition>,
    transitions: u64,
    damping: BTreeMap<MemberId, Damping>,
    applied_index: u64,
    applied_term: u64,
}

impl MeshState {
    /// The chain's state; `None` before the cluster is founded.
    pub fn chain(&self) -> Option<&ChainState> {
        self.chain.as_ref()
    }

    /// All blocks since genesis; the one with index `i` is at `i - 1`.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Seals by the index of their block.
    pub fn seals(&self) -> &BTreeMap<u64, Seal> {
        &self.seals
    }

    /// Admitted members, ascending by id.
    pub fn members(&self) -> impl Iterator<Item = (MemberId, &AdmittedMember)> {
        self.chain
            .iter()
            .flat_map(|chain| chain.admitted().iter())
            .map(|(id, member)| (*id, member))
    }

    /// An admitted member.
    pub fn member(&self, id: &MemberId) -> Option<&AdmittedMember> {
        self.chain.as_ref()?.member(id)
    }

    /// What a key is to the cluster; `Unknown` before it is founded.
    pub fn standing(&self, id: &MemberId) -> Standing {
        self.chain
            .as_ref()
            .map_or(Standing::Unknown, |chain| chain.standing(id))
    }

    /// Role of an admitted member.
    pub fn role(&self, id: &MemberId) -> Option<Role> {
        self.member(id).map(|member| member.role)
    }

    /// The target shape.
    pub fn formation(&self) -> Formation {
        self.chain.as_ref().map(|chain| *chain.formation()).unwrap_or_default()
    }

    /// What an operator asked of a member's role.
    pub fn hold(&self, id: &MemberId) -> Option<Hold> {
        self.holds.get(id).copied()
    }

    /// Until when a member cools down, milliseconds since the Unix epoch; 0 if it doesn't.
    pub fn cooling_until_ms(&self, id: &MemberId) -> u64 {
        self.damping.get(id).map_or(0, |damping| damping.until_ms)
    }

    /// How long a member's cool-down is in all, milliseconds; 0 if it doesn't cool down.
    pub fn cooldown_ms(&self, id: &MemberId) -> u64 {
        self.damping.get(id).map_or(0, |damping| cooldown_ms(damping.strikes))
    }

    /// The transition that is neither committed nor given up.
    pub fn in_flight(&self) -> Option<&Transition> {
        self.in_flight.as_ref()
    }

    /// The last committed transitions (`Committed` until their block is sealed), oldest first.
    pub fn ended(&self) -> impl Iterator<Item = &Transition> {
        self.ended.iter()
    }

    /// How many tickets are valid.
    pub fn tickets_valid(&self, at_ms: u64) -> u32 {
        self.tickets.valid(at_ms)
    }

    /// Where the last applied command stood in the log; `None` before the first.
    pub fn applied(&self) -> Option<LogPosition> {
        (self.applied_index > 0).then_some(LogPosition {
            index: self.applied_index,
            term: self.applied_term,
        })
    }

    /// The state as bytes: the same for equal states.
    pub fn encode(&self) -> Result<Bytes, CodecError> {
        encode("mesh state", VERSION, SNAPSHOT_BYTES_MAX, self)
    }

    /// Reads what [`MeshState::encode`] wrote, and checks that blocks and chain agree.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let state: Self = decode("mesh state", VERSION, SNAPSHOT_BYTES_MAX, bytes)?;
        let (height, head) = state
            .chain
            .as_ref()
            .map_or((0, None), |chain| (chain.height(), Some(chain.head())));
        let linked = state.blocks.last().is_none_or(|last| head == Some(last.hash()));
        if height != state.blocks.len() as u64 || !linked {
            let reason = format!("its {} blocks do not lead to height {height}", state.blocks.len());
            return Err(CodecError::Damaged {
                what: "mesh state",
                reason,
            });
        }
        Ok(state)
    }

    /// Applies one committed command, proposed at `at_ms` (milliseconds since the Unix epoch) for `by`.
    pub fn apply(&mut self, at: LogPosition, at_ms: u64, by: MemberId, command: &MeshCommand) -> MeshOutcome {
        self.applied_index = at.index;
        self.applied_term = at.term;
        self.tickets.expire(at_ms);
        self.damping
            .retain(|_, damping| at_ms < damping.last_ms.saturating_add(2 * FLAP_WINDOW_MS));
        let stamp = Stamp { at, at_ms, by };
        self.dispatch(stamp, command).unwrap_or_else(MeshOutcome::Refused)
    }

    fn dispatch(&mut self, stamp: Stamp, command: &MeshCommand) -> Result<MeshOutcome, MeshRefusal> {
        if let MeshCommand::Found { genesis } = command {
            return self.found(genesis);
        }
        if self.chain.is_none() {
            return Err(MeshRefusal::NotFounded);
        }
        match command {
            MeshCommand::Found { genesis } => self.found(genesis),
            MeshCommand::Admit {
                member,
                name,
                witness,
                secret_hash,
            } => self.admit(stamp, *member, name, *witness, secret_hash),
            MeshCommand::Leave { member } => {
                self.depart(stamp, Event::Leave { member: *member }, *member, "left on its own")?;
                Ok(MeshOutcome::Left { member: *member })
            }
            MeshCommand::Expel { member, reason } => self.expel(stamp, *member, reason),
            MeshCommand::IssueTicket {
                secret_hash,
                expires_ms,
                uses,
                witness,
            } => {
                self.tickets
                    .issue(stamp.at_ms, *secret_hash, *expires_ms, *uses, *witness)?;
                Ok(MeshOutcome::TicketIssued {
                    expires_ms: *expires_ms,
                    uses: *uses,
                })
            }
            MeshCommand::RevokeTickets => Ok(MeshOutcome::TicketsRevoked {
                count: self.tickets.revoke(stamp.at_ms),
            }),
            MeshCommand::SetFormation { formation } => self.set_formation(stamp, formation),
            MeshCommand::Hold { member, hold } => self.set_hold(*member, *hold),
            MeshCommand::BeginTransition { spec } => self.begin(stamp, spec),
            MeshCommand::AdvanceTransition { id, phase } => self.advance(stamp, *id, *phase),
            MeshCommand::AbortTransition { id, .. } => self.abort(stamp, *id),
            MeshCommand::Seal { seal } => self.seal(seal),
            MeshCommand::Recover {
                epoch,
                survivor,
                keep,
                signature,
            } => {
                let (epoch, survivor) = (*epoch, *survivor);
                let event = Event::Recover {
                    epoch,
                    survivor,
                    keep: keep.clone(),
                    signature: *signature,
                };
                self.recover(stamp, event, epoch, survivor)
            }
        }
    }

    // ---- Membership ----

    fn found(&mut self, genesis: &Genesis) -> Result<MeshOutcome, MeshRefusal> {
        if let Some(chain) = &self.chain {
            let cluster = chain.cluster();
            return match chain.genesis_block() == genesis {
                true => Ok(MeshOutcome::Founded { cluster }),
                false => Err(MeshRefusal::AlreadyFounded { cluster }),
            };
        }
        let chain = ChainState::genesis(genesis.clone())?;
        let cluster = chain.cluster();
        self.chain = Some(chain);
        Ok(MeshOutcome::Founded { cluster })
    }

    fn admit(
        &mut self,
        stamp: Stamp,
        member: MemberId,
        name: &str,
        witness: bool,
        secret_hash: &Hash32,
    ) -> Result<MeshOutcome, MeshRefusal> {
        match self.standing(&member) {
            Standing::Admitted(known) if known.name == name => {
                return Ok(MeshOutcome::Admitted {
                    member,
                    name: known.name,
                    witness: known.witness,
                    again: true,
                });
            }
            Standing::Admitted(known) => return Err(MeshRefusal::AdmittedAs { name: known.name }),
            Standing::Unknown | Standing::Left => {}
            standing => return Err(MeshRefusal::of_standing(member, &standing)),
        }
        let witness = self.tickets.check(stamp.at_ms, secret_hash)? || witness;
        let event = Event::Admit {
            member,
            name: name.to_owned(),
            witness,
        };
        self.append(stamp, event, &format!("joined with a ticket at {}", stamp.by.short()))?;
        self.tickets.spend(secret_hash);
        Ok(MeshOutcome::Admitted {
            member,
            name: name.to_owned(),
            witness,
            again: false,
        })
    }

    fn expel(&mut self, stamp: Stamp, member: MemberId, reason: &str) -> Result<MeshOutcome, MeshRefusal> {
        if self.standing(&member) == Standing::Expelled {
            return Ok(MeshOutcome::Expelled { member });
        }
        self.depart(stamp, Event::Expel { member }, member, reason)?;
        Ok(MeshOutcome::Expelled { member })
    }

    /// Leave or expel: only a member without a replica, and without a change of role in flight, may go.
    fn depart(&mut self, stamp: Stamp, event: Event, member: MemberId, reason: &str) -> Result<(), MeshRefusal> {
        if let Some(role) = self.role(&member).filter(|role| role.is_replica()) {
            return Err(MeshRefusal::StillReplica { member, role });
        }
        if let Some(transition) = &self.in_flight
            && (transition.spec.member == member || transition.spec.replaces == Some(member))
        {
            return Err(MeshRefusal::InTransition {
                member,
                id: transition.id,
            });
        }
        self.append(stamp, event, reason)?;
        self.holds.remove(&member);
        self.damping.remove(&member);
        Ok(())
    }

    fn recover(
        &mut self,
        stamp: Stamp,
        event: Event,
        epoch: u64,
        survivor: MemberId,
    ) -> Result<MeshOutcome, MeshRefusal> {
        if self
            .chain
            .as_ref()
            .is_some_and(|chain| chain.epoch() == epoch && self.is_last_event(&event))
        {
            return Ok(MeshOutcome::Recovered { epoch });
        }
        self.append(stamp, event, "a majority of the voters was given up by an operator")?;
        // Whatever was under way belongs to a Raft configuration that is no more.
        self.in_flight = None;
        self.holds.remove(&survivor);
        let admitted: Vec<_> = self.members().map(|(id, _)| id).collect();
        self.holds.retain(|id, _| admitted.binary_search(id).is_ok());
        self.damping.clear();
        Ok(MeshOutcome::Recovered { epoch })
    }

    fn is_last_event(&self, event: &Event) -> bool {
        self.blocks.last().is_some_and(|block| block.event == *event)
    }

    // ---- What operators ask for ----

    fn set_formation(&mut self, stamp: Stamp, formation: &Formation) -> Result<MeshOutcome, MeshRefusal> {
        if self.formation() != *formation {
            let reason = format!("set by an operator at {}", stamp.by.short());
            self.append(stamp, Event::Formation { formation: *formation }, &reason)?;
        }
        // A new shape is a new start: what flapped under the old one need not hold it up.
        self.damping.clear();
        Ok(MeshOutcome::FormationSet)
    }

    fn set_hold(&mut self, member: MemberId, hold: Option<Hold>) -> Result<MeshOutcome, MeshRefusal> {
        let Some(admitted) = self.member(&member) else {
            return Err(MeshRefusal::of_standing(member, &self.standing(&member)));
        };
        if let Some(Hold::Pinned(role)) = hold {
            let fits = match role {
                Role::Worker => true,
                Role::Standby | Role::Voter => !admitted.witness,
                Role::Witness => admitted.witness,
            };
            if !fits {
                let reason = if admitted.witness {
                    "it is a witness"
                } else {
                    "it is not a witness"
                };
                return Err(MeshRefusal::BadHold {
                    member,
                    role,
                    reason: reason.to_owned(),
                });
            }
        }
        let may_vote = |hold: Option<Hold>| matches!(hold, None | Some(Hold::Pinned(Role::Voter)));
        let others = self
            .members()
            .any(|(id, other)| id != member && !other.witness && may_vote(self.hold(&id)));
        if !admitted.witness && !may_vote(hold) && !others {
            return Err(MeshRefusal::NobodyLeft { member });
        }
        match hold {
            Some(hold) => self.holds.insert(member, hold),
            None => self.holds.remove(&member),
        };
        self.damping.remove(&member);
        Ok(MeshOutcome::HoldSet { member })
    }

    // ---- Transitions ----

    fn begin(&mut self, stamp: Stamp, spec: &TransitionSpec) -> Result<MeshOutcome, MeshRefusal> {
        #[cfg(feature = "mutations")]
        if sim_mutation::is("promote-two") {
            self.in_flight = None;
        }
        if let Some(other) = &self.in_flight {
            return Err(MeshRefusal::TransitionInFlight { id: other.id });
        }
        spec.validate().map_err(|reason| MeshRefusal::BadTransition {
            reason: reason.to_owned(),
        })?;
        if let Some(chain) = &self.chain {
            chain.check_event(&transition_event(spec))?;
        }
        self.transitions += 1;
        let id = self.transitions;
        self.in_flight = Some(Transition {
            id,
            spec: spec.clone(),
            phase: Phase::Proposed,
            since_ms: stamp.at_ms,
            phase_since_ms: stamp.at_ms,
            block: None,
        });
        Ok(MeshOutcome::TransitionStarted { id })
    }

    fn advance(&mut self, stamp: Stamp, id: u64, phase: Phase) -> Result<MeshOutcome, MeshRefusal> {
        let Some(transition) = self.in_flight.as_ref().filter(|transition| transition.id == id) else {
            // Said twice, because the first answer was lost.
            return match self.ended.iter().find(|transition| transition.id == id) {
                Some(ended) if phase <= ended.phase => Ok(MeshOutcome::TransitionAt { id, phase: ended.phase }),
                _ => Err(MeshRefusal::StaleTransition { id }),
            };
        };
        let now = transition.phase;
        if phase < now || phase > Phase::Committed {
            return Err(MeshRefusal::PhaseOrder {
                id,
                phase: now,
                wanted: phase,
            });
        }
        if phase == now {
            return Ok(MeshOutcome::TransitionAt { id, phase });
        }
        if phase == Phase::Committed {
            return self.commit(stamp, id);
        }
        if let Some(transition) = &mut self.in_flight {
            transition.phase = phase;
            transition.phase_since_ms = stamp.at_ms;
        }
        Ok(MeshOutcome::TransitionAt { id, phase })
    }

    fn commit(&mut self, stamp: Stamp, id: u64) -> Result<MeshOutcome, MeshRefusal> {
        let Some(mut transition) = self.in_flight.clone() else {
            return Err(MeshRefusal::StaleTransition { id });
        };
        let spec = transition.spec.clone();
        self.append(stamp, transition_event(&spec), &spec.reason)?;
        self.in_flight = None;
        if spec.to < spec.from {
            self.damp(stamp.at_ms, spec.member);
        }
        if let Some(replaced) = spec.replaces {
            self.damp(stamp.at_ms, replaced);
        }
        transition.phase = Phase::Committed;
        transition.phase_since_ms = stamp.at_ms;
        transition.block = Some(self.blocks.len() as u64);
        self.ended.push_back(transition);
        while self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
        Ok(MeshOutcome::TransitionAt {
            id,
            phase: Phase::Committed,
        })
    }

    fn abort(&mut self, stamp: Stamp, id: u64) -> Result<MeshOutcome, MeshRefusal> {
        let Some(transition) = self.in_flight.take_if(|transition| transition.id == id) else {
            return Err(MeshRefusal::StaleTransition { id });
        };
        if transition.spec.to > transition.spec.from {
            self.damp(stamp.at_ms, transition.spec.member);
        }
        Ok(MeshOutcome::TransitionAborted { id })
    }

    /// Starts a cool-down, twice as long as the last one if that was lately. Not for a member that an operator
    /// holds: its role changes because someone said so.
    fn damp(&mut self, at_ms: u64, member: MemberId) {
        if self.holds.contains_key(&member) {
            return;
        }
        let before = self
            .damping
            .get(&member)
            .filter(|d| at_ms < d.last_ms.saturating_add(FLAP_WINDOW_MS));
        let strikes = before.map_or(0, |damping| damping.strikes).saturating_add(1);
        let until_ms = at_ms.saturating_add(cooldown_ms(strikes));
        #[cfg(feature = "mutations")]
        let until_ms = if sim_mutation::is("no-damper") { at_ms } else { until_ms };
        self.damping.insert(
            member,
            Damping {
                strikes,
                last_ms: at_ms,
                until_ms,
            },
        );
    }

    // ---- Chain ----

    fn seal(&mut self, seal: &Seal) -> Result<MeshOutcome, MeshRefusal> {
        let index = seal.index;
        // Two leaders in a row may both gather signatures; the first seal that arrives stays.
        if self.seals.get(&index).is_some_and(|known| known.hash == seal.hash) {
            return Ok(MeshOutcome::Sealed { index });
        }
        let Some(chain) = &mut self.chain else {
            return Err(MeshRefusal::NotFounded);
        };
        #[cfg(feature = "mutations")]
        if sim_mutation::is("seal-unverified") {
            chain.seal_blindly(seal);
            self.seals.insert(index, seal.clone());
            return Ok(MeshOutcome::Sealed { index });
        }
        chain.seal(seal).map_err(|error| MeshRefusal::Chain {
            message: error.to_string(),
        })?;
        let sealed = chain.sealed_height();
        self.seals.insert(index, seal.clone());
        for transition in &mut self.ended {
            if transition.block.is_some_and(|block| block <= sealed) {
                transition.phase = Phase::Sealed;
            }
        }
        Ok(MeshOutcome::Sealed { index })
    }

    fn append(&mut self, stamp: Stamp, event: Event, reason: &str) -> Result<(), MeshRefusal> {
        let Some(chain) = &mut self.chain else {
            return Err(MeshRefusal::NotFounded);
        };
        let block = chain.next_block(event, reason, stamp.at.term, stamp.at.index, stamp.at_ms);
        chain.extend(&block)?;
        self.blocks.push(block);
        Ok(())
    }
}

/// Where, when and for whom a command was proposed.
#[derive(Clone, Copy)]
struct Stamp {
    at: LogPosition,
    at_ms: u64,
    by: MemberId,
}

fn transition_event(spec: &TransitionSpec) -> Event {
    Event::Transition {
        member: spec.member,
        from: spec.from,
        to: spec.to,
        replaces: spec.replaces,
    }
}

#[cfg(test)]
mod tests;

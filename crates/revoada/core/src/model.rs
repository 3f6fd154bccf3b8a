//! A whole cluster in one value, for golden scripts and simulation: real mesh state on every replica, the real
//! planner and transition machine, an abstract Raft, and faults. Time passes only in [`Model::tick`].

mod raft;
#[cfg(test)]
mod script;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

pub use raft::Raft;

use crate::chain::{Event, Genesis, Seal, sign_recover, sign_seal};
use crate::command::{Command, MeshCommand, RequestId};
use crate::consensus::LogPosition;
use crate::id::{Hash32, MemberId};
use crate::key::SecretKey;
use crate::planner::{Decision, plan, preempt};
use crate::policy::Policy;
use crate::role::Role;
use crate::state::{MeshOutcome, MeshRefusal, MeshState};
use crate::transition::{Phase, PhaseClock, ProgressView, Step, TransitionSpec, next_step};
use crate::view::{Liveness, Observation, View};

/// Milliseconds between two rounds of the leader's loop.
pub const TICK_MS: u64 = 100;

/// Wall clock at the start of the model, milliseconds since the Unix epoch.
const UNIX_START_MS: u64 = 1_800_000_000_000;

/// Log entries a healthy member can catch up in one tick.
pub const CATCH_UP: u64 = 1_000;

/// How long gossip takes to hold a silent member for dead.
const DETECT_MS: u64 = 2_000;

const TICKET: Hash32 = Hash32([0x7e; 32]);

/// A machine.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its key.
    pub key: SecretKey,
    /// Its name.
    pub name: String,
    /// Failure domain.
    pub zone: String,
    /// Whether its process runs.
    pub up: bool,
    /// Side of the network partition it is on.
    pub side: u8,
    /// When `up` or `side` last changed.
    pub changed_ms: u64,
    /// Whether it can write its log.
    pub storage_ok: bool,
    /// Log entries it can catch up in one tick.
    pub catch_up: u64,
    /// Its copy of the state, if it has a replica.
    pub replica: Option<MeshState>,
}

/// What the leader remembers about the transition it drives; lost when it loses leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Driving {
    leader: MemberId,
    id: u64,
    phase: Phase,
    since_ms: u64,
    lag: Option<u64>,
    progress_ms: u64,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The planner decided.
    Decided(Decision),
    /// The machine took a step.
    Stepped(u64, Step),
    /// Another leader.
    Leader(Option<MemberId>),
    /// A mesh command was refused.
    Refused(&'static str, MeshRefusal),
}

/// A cluster.
#[derive(Debug, Clone)]
pub struct Model {
    /// Now, milliseconds since the start.
    pub now_ms: u64,
    /// All machines, also those that left.
    pub nodes: BTreeMap<MemberId, Node>,
    /// Consensus.
    pub raft: Raft,
    /// Timings.
    pub policy: Policy,
    /// Application entries appended in each tick.
    pub load: u64,
    /// Whether blocks are sealed (costs signatures).
    pub sealing: bool,
    /// What happened, with its time; taken out by the reader.
    pub happenings: Vec<(u64, Happening)>,
    seq: u64,
    /// Mesh commands of the log.
    log: Vec<(LogPosition, Bytes)>,
    /// What the leader's state answered to the last one.
    answer: Option<MeshOutcome>,
    driving: Option<Driving>,
    last_leader: Option<MemberId>,
}

impl Model {
    /// A new cluster of one.
    pub fn found(name: &str, zone: &str) -> Self {
        let node = Node::new(name, zone, 0);
        let founder = node.id();
        let mut model = Self {
            now_ms: 0,
            nodes: BTreeMap::from([(founder, node)]),
            raft: Raft::bootstrap(founder),
            policy: Policy::default(),
            load: 1,
            sealing: false,
            happenings: Vec::new(),
            seq: 0,
            log: Vec::new(),
            answer: None,
            driving: None,
            last_leader: Some(founder),
        };
        if let Some(node) = model.nodes.get_mut(&founder) {
            node.replica = Some(MeshState::default());
        }
        let genesis = Genesis {
            founder,
            founder_name: name.to_owned(),
            created_ms: UNIX_START_MS,
            salt: Hash32([1; 32]),
        };
        model.propose(MeshCommand::Found { genesis });
        let (expires_ms, uses) = (u64::MAX, u32::MAX);
        model.propose(MeshCommand::IssueTicket {
            secret_hash: TICKET,
            expires_ms,
            uses,
            witness: false,
        });
        model
    }

    /// The member of that name.
    pub fn id(&self, name: &str) -> Option<MemberId> {
        self.nodes.iter().find(|(_, node)| node.name == name).map(|(id, _)| *id)
    }

    /// Members reachable from `id`, itself included; nobody from one that is down.
    pub fn reach(&self, id: &MemberId) -> BTreeSet<MemberId> {
        let Some(from) = self.nodes.get(id).filter(|node| node.up) else {
            return BTreeSet::new();
        };
        self.nodes
            .iter()
            .filter(|(_, node)| node.up && node.side == from.side)
            .map(|(id, _)| *id)
            .collect()
    }

    /// The leader's state, or that of the replica that holds most.
    pub fn state(&self) -> Option<&MeshState> {
        let best = || {
            self.raft
                .matched
                .iter()
                .max_by_key(|(_, matched)| **matched)
                .map(|(id, _)| *id)
        };
        self.nodes.get(&self.raft.leader.or_else(best)?)?.replica.as_ref()
    }

    /// A new machine joins with a ticket.
    pub fn join(&mut self, name: &str, zone: &str, witness: bool) -> Option<MeshOutcome> {
        let node = Node::new(name, zone, self.now_ms);
        let member = node.id();
        let outcome = self.propose(MeshCommand::Admit {
            member,
            name: name.to_owned(),
            witness,
            secret_hash: TICKET,
        })?;
        if matches!(outcome, MeshOutcome::Admitted { .. }) {
            self.nodes.entry(member).or_insert(node);
        }
        Some(outcome)
    }

    /// The process of a machine stops or starts; its disk is kept.
    pub fn set_up(&mut self, id: &MemberId, up: bool) {
        let now_ms = self.now_ms;
        if let Some(node) = self.nodes.get_mut(id).filter(|node| node.up != up) {
            node.up = up;
            node.changed_ms = now_ms;
        }
    }

    /// A machine goes to a side of a network partition.
    pub fn set_side(&mut self, id: &MemberId, side: u8) {
        let now_ms = self.now_ms;
        if let Some(node) = self.nodes.get_mut(id).filter(|node| node.side != side) {
            node.side = side;
            node.changed_ms = now_ms;
        }
    }

    /// Commits a command through the leader, if there is one that can; gives what the leader's state answered.
    pub fn propose(&mut self, command: MeshCommand) -> Option<MeshOutcome> {
        let leader = self.raft.leader?;
        let live = self.reach(&leader);
        if !self.raft.append(&live, 1) {
            return None;
        }
        self.seq += 1;
        let kind = command.kind();
        let request = RequestId {
            origin: leader,
            boot: 1,
            seq: self.seq,
        };
        // Through the wire format, as in the real log.
        let entry = Command::Mesh {
            request,
            at_ms: self.unix_ms(),
            by: leader,
            command,
        }
        .encode()
        .ok()?;
        self.log.push((
            LogPosition {
                index: self.raft.index,
                term: self.raft.term,
            },
            entry,
        ));
        self.answer = None;
        self.apply();
        if let Some(MeshOutcome::Refused(refusal)) = &self.answer {
            self.happened(Happening::Refused(kind, refusal.clone()));
        }
        self.answer.take()
    }

    /// An operator gives up the lost majority: `survivor` goes on alone, keeping `keep` admitted.
    pub fn recover(&mut self, survivor: &MemberId, keep: &[MemberId]) -> Option<MeshOutcome> {
        let node = self.nodes.get(survivor)?;
        let state = node.replica.as_ref()?;
        let event = sign_recover(&node.key, state.chain()?, keep.iter().copied());
        let Event::Recover {
            epoch,
            survivor,
            keep,
            signature,
        } = event
        else {
            return None;
        };
        // A new log begins with what the survivor holds.
        let applied = state.applied().map_or(0, |at| at.index);
        let index = self.raft.matched.get(&survivor).copied().unwrap_or(0).max(applied);
        let term = self.raft.term + 1;
        self.raft = Raft::bootstrap(survivor);
        (self.raft.term, self.raft.index) = (term, index);
        self.raft.matched.insert(survivor, index);
        self.log.retain(|(at, _)| at.index <= index);
        for (id, node) in &mut self.nodes {
            if *id != survivor {
                node.replica = None;
            }
        }
        self.propose(MeshCommand::Recover {
            epoch,
            survivor,
            keep,
            signature,
        })
    }

    /// Lets [`TICK_MS`] pass and the leader do at most one thing.
    pub fn tick(&mut self) {
        self.pass(TICK_MS);
    }

    /// Lets `duration_ms` pass at once and the leader do at most one thing.
    pub fn pass(&mut self, duration_ms: u64) {
        self.now_ms += duration_ms;
        let ticks = duration_ms / TICK_MS;
        let nodes = &self.nodes;
        self.raft.elect(self.now_ms, |id| reach(nodes, id));
        if self.raft.leader != self.last_leader {
            self.last_leader = self.raft.leader;
            self.happened(Happening::Leader(self.raft.leader));
        }
        let Some(leader) = self.raft.leader else { return };
        let live = self.reach(&leader);
        self.raft.append(&live, self.load * ticks);
        self.replicate(&live, ticks);
        self.lead(leader, &live);
        if self.sealing {
            self.seal(leader, &live);
        }
    }

    /// Ticks until `duration_ms` has passed.
    pub fn run(&mut self, duration_ms: u64) {
        let end_ms = self.now_ms + duration_ms;
        while self.now_ms < end_ms {
            self.tick();
        }
    }

    /// What the leader would plan from now.
    pub fn view(&self, leader: MemberId) -> Option<View> {
        let state = self.nodes.get(&leader)?.replica.as_ref()?;
        let side = self.nodes.get(&leader)?.side;
        let observe = |id: &MemberId| self.observe(side, id);
        Some(View::new(
            state,
            leader,
            self.raft.config.clone(),
            self.now_ms,
            self.unix_ms(),
            observe,
        ))
    }

    /// The wall clock of every machine, milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> u64 {
        UNIX_START_MS + self.now_ms
    }

    /// What a leader on that side of the network observes of a member.
    fn observe(&self, side: u8, id: &MemberId) -> Observation {
        let Some(node) = self.nodes.get(id) else {
            return Observation::default();
        };
        let reachable = node.up && node.side == side;
        let lost_ms = self.now_ms - node.changed_ms;
        let liveness = match reachable {
            true => Liveness::Alive {
                since_ms: node.changed_ms,
            },
            false if lost_ms < DETECT_MS => Liveness::Suspect {
                since_ms: node.changed_ms,
            },
            false => Liveness::Dead {
                since_ms: node.changed_ms + DETECT_MS,
            },
        };
        Observation {
            liveness,
            zone: node.zone.clone(),
            lag: if reachable { self.raft.lag(id) } else { None },
            replica_ready: node.replica.is_some(),
            storage_ok: node.storage_ok,
            version: String::new(),
        }
    }

    /// Replicas catch up; members outside the configuration drop theirs.
    fn replicate(&mut self, live: &BTreeSet<MemberId>, ticks: u64) {
        for id in live {
            let Some(node) = self.nodes.get_mut(id) else { continue };
            match self.raft.matched.get_mut(id) {
                Some(matched) => *matched = (*matched + node.catch_up * ticks).min(self.raft.index),
                None => node.replica = None,
            }
        }
        self.apply();
    }

    /// Every replica applies what it holds of the log; a new one starts from the leader's snapshot.
    fn apply(&mut self) {
        let mut snapshot = None;
        for (id, matched) in &self.raft.matched {
            if *matched == 0 && self.raft.leader != Some(*id) {
                continue;
            }
            if self.nodes.get(id).is_some_and(|node| node.replica.is_none()) {
                let leader = self
                    .raft
                    .leader
                    .and_then(|leader| self.nodes.get(&leader)?.replica.as_ref());
                let bytes = snapshot.get_or_insert_with(|| leader.and_then(|state| state.encode().ok()));
                let restored = bytes.as_ref().and_then(|bytes| MeshState::decode(bytes).ok());
                if let Some(node) = self.nodes.get_mut(id) {
                    node.replica = restored;
                }
            }
            let Some(state) = self.nodes.get_mut(id).and_then(|node| node.replica.as_mut()) else {
                continue;
            };
            let applied = state.applied().map_or(0, |at| at.index);
            let from = self.log.partition_point(|(at, _)| at.index <= applied);
            for (at, entry) in self.log[from..].iter().take_while(|(at, _)| at.index <= *matched) {
                if let Ok(Command::Mesh { at_ms, by, command, .. }) = Command::decode(entry) {
                    let outcome = state.apply(*at, at_ms, by, &command);
                    if self.raft.leader == Some(*id) {
                        self.answer = Some(outcome);
                    }
                }
            }
        }
    }

    fn happened(&mut self, happening: Happening) {
        self.happenings.push((self.now_ms, happening));
    }

    // ---- The executor: what the real leader's loop does ----

    fn lead(&mut self, leader: MemberId, live: &BTreeSet<MemberId>) {
        let Some(view) = self.view(leader) else { return };
        let decisions = plan(&view, &self.policy);
        if decisions.is_empty() {
            let urgent = preempt(&view, &self.policy);
            self.drive(leader, live, urgent);
        }
        for decision in decisions {
            self.happened(Happening::Decided(decision.clone()));
            match decision {
                Decision::TransferLeadership { to, .. } => {
                    self.raft.transfer(live, to);
                }
                Decision::Begin(spec) => {
                    self.propose(MeshCommand::BeginTransition { spec });
                }
                Decision::FinishJoint { voters } => {
                    let removed = self.raft.config.outgoing.clone().unwrap_or_default();
                    self.raft.change_voters(live, &voters, &removed);
                }
                Decision::Forget { member, .. } => {
                    let mut voters = self.raft.config.voters.clone();
                    if voters.remove(&member) {
                        self.raft.change_voters(live, &voters, &BTreeSet::new());
                    } else {
                        self.raft.remove_learner(live, member);
                    }
                }
            }
        }
    }

    fn drive(&mut self, leader: MemberId, live: &BTreeSet<MemberId>, urgent: Option<Step>) {
        let Some(state) = self.nodes.get(&leader).and_then(|node| node.replica.as_ref()) else {
            return;
        };
        let Some(transition) = state.in_flight().cloned() else {
            self.driving = None;
            return;
        };
        let lag = self.raft.lag(&transition.spec.member);
        let fresh = Driving {
            leader,
            id: transition.id,
            phase: transition.phase,
            since_ms: self.now_ms,
            lag,
            progress_ms: self.now_ms,
        };
        let mut driving = self
            .driving
            .filter(|d| (d.leader, d.id, d.phase) == (fresh.leader, fresh.id, fresh.phase))
            .unwrap_or(fresh);
        if lag.is_some() && lag < driving.lag.or(Some(u64::MAX)) {
            (driving.lag, driving.progress_ms) = (lag, self.now_ms);
        }
        self.driving = Some(driving);
        let clock = PhaseClock {
            in_phase_ms: self.now_ms - driving.since_ms,
            since_progress_ms: self.now_ms - driving.progress_ms,
        };
        let progress = ProgressView {
            live: live.clone(),
            lag,
        };
        let step = urgent.unwrap_or_else(|| next_step(&transition, &self.raft.config, &progress, clock, &self.policy));
        if step != Step::Wait {
            self.happened(Happening::Stepped(transition.id, step.clone()));
        }
        match step {
            Step::AddLearner(id) => {
                self.raft.add_learner(live, id);
            }
            Step::RemoveLearner(id) => {
                self.raft.remove_learner(live, id);
            }
            Step::ChangeVoters {
                voters,
                keep_as_learner,
            } => {
                self.raft.change_voters(live, &voters, &keep_as_learner);
            }
            Step::Advance(phase) => {
                self.propose(MeshCommand::AdvanceTransition {
                    id: transition.id,
                    phase,
                });
            }
            Step::Abort {
                undo: Some(learner), ..
            } if self.raft.config.learners.contains(&learner) => {
                self.raft.remove_learner(live, learner);
            }
            Step::Abort { reason, .. } => {
                self.propose(MeshCommand::AbortTransition {
                    id: transition.id,
                    reason,
                });
            }
            Step::Wait => {}
        }
    }

    fn seal(&mut self, leader: MemberId, live: &BTreeSet<MemberId>) {
        let Some(chain) = self.nodes.get(&leader).and_then(|node| node.replica.as_ref()?.chain()) else {
            return;
        };
        let Some((index, hash)) = chain.unsealed().next() else {
            return;
        };
        let sealers: BTreeSet<_> = chain.sealers(index).unwrap_or_default().iter().copied().collect();
        let cluster = chain.cluster();
        let signers = live.intersection(&sealers).filter_map(|id| self.nodes.get(id));
        let parts: Vec<_> = signers.map(|node| sign_seal(&node.key, cluster, index, hash)).collect();
        if parts.len() >= crate::chain::seal_quorum(sealers.len()) {
            self.propose(MeshCommand::Seal {
                seal: Seal::assemble(index, hash, parts),
            });
        }
    }

    /// Roles by the leader's state, for display: one word a member in order of name.
    pub fn roles(&self) -> BTreeMap<String, Role> {
        let members = self.state().into_iter().flat_map(MeshState::members);
        members.map(|(_, member)| (member.name.clone(), member.role)).collect()
    }

    /// Replaces keys by names in a text.
    pub fn with_names(&self, text: &str) -> String {
        self.nodes.iter().fold(text.to_owned(), |text, (id, node)| {
            text.replace(&id.to_string(), &node.name)
                .replace(&id.short(), &node.name)
        })
    }

    /// A line that tells of a happening.
    pub fn describe(&self, happening: &Happening) -> String {
        let name = |id: &MemberId| self.nodes.get(id).map_or_else(|| id.short(), |node| node.name.clone());
        let names = |ids: &BTreeSet<MemberId>| {
            let mut names: Vec<_> = ids.iter().map(name).collect();
            names.sort();
            format!("{{{}}}", names.join(" "))
        };
        let spec_line = |spec: &TransitionSpec| {
            let replaces = spec
                .replaces
                .map(|id| format!(" in place of {}", name(&id)))
                .unwrap_or_default();
            format!(
                "begin {}: {} -> {}{replaces} ({})",
                name(&spec.member),
                spec.from,
                spec.to,
                spec.reason
            )
        };
        let line = match happening {
            Happening::Decided(Decision::Begin(spec)) => spec_line(spec),
            Happening::Decided(Decision::TransferLeadership { to, reason }) => {
                format!("transfer leadership to {} ({reason})", name(to))
            }
            Happening::Decided(Decision::FinishJoint { voters }) => format!("finish joint {}", names(voters)),
            Happening::Decided(Decision::Forget { member, reason }) => format!("forget {} ({reason})", name(member)),
            Happening::Stepped(id, step) => match step {
                Step::AddLearner(member) => format!("#{id} add learner {}", name(member)),
                Step::RemoveLearner(member) => format!("#{id} remove learner {}", name(member)),
                Step::ChangeVoters {
                    voters,
                    keep_as_learner,
                } if keep_as_learner.is_empty() => {
                    format!("#{id} change voters to {}", names(voters))
                }
                Step::ChangeVoters {
                    voters,
                    keep_as_learner,
                } => {
                    format!(
                        "#{id} change voters to {}, keep learner {}",
                        names(voters),
                        names(keep_as_learner)
                    )
                }
                Step::Advance(phase) => format!("#{id} {phase}"),
                Step::Abort {
                    reason,
                    undo: Some(learner),
                } => {
                    format!("#{id} abort, undo learner {}: {reason}", name(learner))
                }
                Step::Abort { reason, undo: None } => format!("#{id} abort: {reason}"),
                Step::Wait => format!("#{id} wait"),
            },
            Happening::Leader(Some(leader)) => format!("leader is {}", name(leader)),
            Happening::Leader(None) => "no leader".to_owned(),
            Happening::Refused(kind, refusal) => format!("{kind} refused: {refusal}"),
        };
        self.with_names(&line)
    }
}

fn reach(nodes: &BTreeMap<MemberId, Node>, id: &MemberId) -> BTreeSet<MemberId> {
    let Some(from) = nodes.get(id).filter(|node| node.up) else {
        return BTreeSet::new();
    };
    nodes
        .iter()
        .filter(|(_, node)| node.up && node.side == from.side)
        .map(|(id, _)| *id)
        .collect()
}

impl Node {
    fn new(name: &str, zone: &str, now_ms: u64) -> Self {
        Self {
            key: SecretKey::from_bytes(&blake3::derive_key("engenho model key", name.as_bytes())),
            name: name.to_owned(),
            zone: zone.to_owned(),
            up: true,
            side: 0,
            changed_ms: now_ms,
            storage_ok: true,
            catch_up: CATCH_UP,
            replica: None,
        }
    }

    /// Its id.
    pub fn id(&self) -> MemberId {
        self.key.member_id()
    }
}

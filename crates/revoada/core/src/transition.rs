//! The transition machine: one role change of one member, from decision to committed.
//!
//! The phase is replicated; what Raft already did is read from Raft's own configuration, which is the truth.
//! [`next_step`] is a pure function of both, so a step that is carried out twice does no harm and a new leader
//! goes on where the old one stopped.
//!
//! ```text
//! promotion:  Proposed -> Learning -> CaughtUp -> Joint -> Committed -> Sealed
//! demotion:   Proposed ------------------------> Joint -> Committed -> Sealed
//! to standby: Proposed -> Learning -------------------> Committed -> Sealed
//! ```
//!
//! Up to `CaughtUp`, and in `Joint` until Raft accepted the joint configuration, a transition can be given up
//! without a trace. From then on it only goes forward: Raft itself will finish it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::MemberId;
use crate::policy::Policy;
use crate::role::Role;
use crate::view::RaftView;

/// How far a transition has come. Append-only: the order of the variants is their encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Decided, nothing done yet.
    Proposed,
    /// The member is, or is becoming, a learner and receives the log.
    Learning,
    /// The learner holds the log up to a small lag.
    CaughtUp,
    /// The voters are being changed through a joint configuration.
    Joint,
    /// Raft committed the new configuration; the role is in force and a block says so.
    Committed,
    /// The block was signed by enough members.
    Sealed,
}

impl Phase {
    /// The word used in status and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Proposed => "Proposed",
            Phase::Learning => "Learning",
            Phase::CaughtUp => "CaughtUp",
            Phase::Joint => "Joint",
            Phase::Committed => "Committed",
            Phase::Sealed => "Sealed",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which role change, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionSpec {
    /// The member whose role changes.
    pub member: MemberId,
    /// Its role when the transition was decided.
    pub from: Role,
    /// Its role afterwards.
    pub to: Role,
    /// A voter that the same joint change removes; it becomes a worker.
    pub replaces: Option<MemberId>,
    /// Why, for people.
    pub reason: String,
}

/// A role change in the replicated state. Times are wall-clock milliseconds of the proposer and for display
/// only; deadlines are measured by the leader's own clock, see [`PhaseClock`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Number of the transition, counted from 1.
    pub id: u64,
    /// What changes.
    pub spec: TransitionSpec,
    /// How far it has come.
    pub phase: Phase,
    /// When it was begun.
    pub since_ms: u64,
    /// When the present phase was entered.
    pub phase_since_ms: u64,
    /// Height of the block that records it, once committed.
    pub block: Option<u64>,
}

/// How long the leader that drives the transition has seen it in its phase, by its own monotonic clock. A new
/// leader starts at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PhaseClock {
    /// Milliseconds in the present phase.
    pub in_phase_ms: u64,
    /// Milliseconds since the member's replicated log last grew; at most `in_phase_ms`.
    pub since_progress_ms: u64,
}

/// What the leader sees of the members that a transition concerns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgressView {
    /// Members that are alive now, the leader among them.
    pub live: BTreeSet<MemberId>,
    /// Entries the member of the transition is behind the leader; `None` while unknown.
    pub lag: Option<u64>,
}

/// What the executor is to do next. Every step may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Add the member to Raft as a learner, without waiting for it to catch up.
    AddLearner(MemberId),
    /// Change the voters to exactly `voters`; of the removed ones keep `keep_as_learner`, drop the others.
    /// In a joint configuration this finishes it.
    ChangeVoters {
        /// The whole new set.
        voters: BTreeSet<MemberId>,
        /// Removed voters that stay learners.
        keep_as_learner: BTreeSet<MemberId>,
    },
    /// Remove a learner from Raft.
    RemoveLearner(MemberId),
    /// Propose `AdvanceTransition` to this phase.
    Advance(Phase),
    /// Remove the learner `undo` if there is one, then propose `AbortTransition`.
    Abort {
        /// Why, for people.
        reason: String,
        /// A learner that only this transition added.
        undo: Option<MemberId>,
    },
    /// Nothing now; ask again at the next change or tick.
    Wait,
}

impl TransitionSpec {
    /// The voters once the transition is through, given the voters now. Applying it twice changes nothing.
    pub fn target_voters(&self, voters: &BTreeSet<MemberId>) -> BTreeSet<MemberId> {
        let mut target = voters.clone();
        if let Some(replaced) = self.replaces {
            target.remove(&replaced);
        }
        if self.to.votes() {
            target.insert(self.member);
        } else {
            target.remove(&self.member);
        }
        target
    }

    /// Whether Raft's configuration already is what the transition wants, so that only recording it is left.
    pub fn is_done(&self, raft: &RaftView) -> bool {
        if raft.is_joint() {
            return false;
        }
        let in_place = match self.to {
            Role::Voter | Role::Witness => raft.voters.contains(&self.member),
            Role::Standby => raft.learners.contains(&self.member),
            Role::Worker => !raft.contains(&self.member),
        };
        in_place && self.replaces.is_none_or(|replaced| !raft.contains(&replaced))
    }

    /// Whether the voters change.
    pub fn changes_voters(&self) -> bool {
        self.from.votes() != self.to.votes() || self.replaces.is_some()
    }

    /// The learner that giving up would leave behind: only one that this transition added.
    pub fn undo(&self, raft: &RaftView) -> Option<MemberId> {
        (self.from == Role::Worker && raft.learners.contains(&self.member)).then_some(self.member)
    }

    /// Checks that the request makes sense by itself.
    pub fn validate(&self) -> Result<(), &'static str> {
        if self.from == self.to {
            return Err("the member has that role already");
        }
        if self.from.votes() && self.to.votes() {
            return Err("a voter cannot become a witness, nor a witness a voter");
        }
        if self.replaces.is_some() && !self.to.votes() {
            return Err("only a new voter can replace a voter");
        }
        if self.replaces == Some(self.member) {
            return Err("a member cannot replace itself");
        }
        if self.reason.len() > crate::chain::REASON_BYTES_MAX {
            return Err("the reason is too long");
        }
        Ok(())
    }
}

/// What to do next for the transition in flight.
pub fn next_step(
    transition: &Transition,
    raft: &RaftView,
    progress: &ProgressView,
    clock: PhaseClock,
    policy: &Policy,
) -> Step {
    #[cfg(feature = "mutations")]
    let clock = if sim_mutation::is("no-deadline") {
        PhaseClock::default()
    } else {
        clock
    };
    let spec = &transition.spec;
    if transition.phase >= Phase::Committed {
        return Step::Wait;
    }
    if spec.is_done(raft) && (spec.to != Role::Standby || spec.from.votes() || caught_up(progress, policy)) {
        return Step::Advance(Phase::Committed);
    }
    if raft.is_joint() {
        // Joint configurations are finished, never rolled back: both majorities already agreed to it.
        return change_voters(spec, raft, progress);
    }
    if spec.to.votes() && !raft.voters.contains(&spec.member) {
        return promote(transition, raft, progress, clock, policy);
    }
    if spec.changes_voters() && spec.target_voters(&raft.voters) != raft.voters {
        return demote(transition, raft, progress, clock, policy);
    }
    // The voters are as wanted: what is left is about learners.
    match spec.to {
        Role::Standby if spec.from.votes() => Step::AddLearner(spec.member),
        Role::Standby => learn(transition, raft, progress, clock, policy),
        Role::Worker => Step::RemoveLearner(spec.member),
        Role::Voter | Role::Witness => spec.replaces.map_or(Step::Wait, Step::RemoveLearner),
    }
}

fn caught_up(progress: &ProgressView, policy: &Policy) -> bool {
    progress.lag.is_some_and(|lag| lag <= policy.lag_entries_max)
}

/// Worker or standby to voter, perhaps in place of another.
fn promote(
    transition: &Transition,
    raft: &RaftView,
    progress: &ProgressView,
    clock: PhaseClock,
    policy: &Policy,
) -> Step {
    let spec = &transition.spec;
    if !raft.learners.contains(&spec.member) || !caught_up(progress, policy) {
        return learn(transition, raft, progress, clock, policy);
    }
    match transition.phase {
        Phase::Joint => {}
        // A standby is caught up from the start: no entry is spent on saying so.
        Phase::CaughtUp | Phase::Proposed if is_safe(spec, raft, progress) => return Step::Advance(Phase::Joint),
        Phase::Learning => return Step::Advance(Phase::CaughtUp),
        _ => {}
    }
    if is_safe(spec, raft, progress) && clock.in_phase_ms < policy.joint_ms {
        return change_voters(spec, raft, progress);
    }
    wait_until(
        clock.in_phase_ms,
        policy.joint_ms,
        spec,
        raft,
        "the joint change was not possible in time",
    )
}

/// Voter to standby or worker.
fn demote(
    transition: &Transition,
    raft: &RaftView,
    progress: &ProgressView,
    clock: PhaseClock,
    policy: &Policy,
) -> Step {
    let spec = &transition.spec;
    if !is_safe(spec, raft, progress) || clock.in_phase_ms >= policy.joint_ms {
        return wait_until(
            clock.in_phase_ms,
            policy.joint_ms,
            spec,
            raft,
            "the rest would have no live majority",
        );
    }
    if transition.phase < Phase::Joint {
        return Step::Advance(Phase::Joint);
    }
    change_voters(spec, raft, progress)
}

/// Makes the member a learner and waits for it.
fn learn(
    transition: &Transition,
    raft: &RaftView,
    progress: &ProgressView,
    clock: PhaseClock,
    policy: &Policy,
) -> Step {
    let spec = &transition.spec;
    let give_up = |reason: String| Step::Abort {
        reason,
        undo: spec.undo(raft),
    };
    if clock.in_phase_ms >= policy.learning_ms_max {
        return give_up(format!("did not catch up within {} s", policy.learning_ms_max / 1000));
    }
    let stalled_ms = clock.in_phase_ms.min(clock.since_progress_ms);
    if stalled_ms >= policy.learning_stalled_ms {
        let lag = progress.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        let waited_s = policy.learning_stalled_ms / 1000;
        return give_up(format!("made no progress for {waited_s} s, lag {lag} entries"));
    }
    if !progress.live.contains(&spec.member) && stalled_ms >= policy.learner_lost_ms {
        return give_up("died before it had caught up".to_owned());
    }
    if transition.phase == Phase::Proposed {
        return Step::Advance(Phase::Learning);
    }
    if !raft.learners.contains(&spec.member) {
        return Step::AddLearner(spec.member);
    }
    Step::Wait
}

fn change_voters(spec: &TransitionSpec, raft: &RaftView, progress: &ProgressView) -> Step {
    let voters = spec.target_voters(&raft.voters);
    // A live member that stops voting stays a learner until it has seen so itself: then it will not stand for
    // election in a configuration it has left. A dead one is dropped at once.
    let keep_as_learner = [spec.replaces, Some(spec.member)]
        .into_iter()
        .flatten()
        .filter(|id| !voters.contains(id) && raft.votes(id))
        .filter(|id| progress.live.contains(id) || (*id == spec.member && spec.to == Role::Standby))
        .collect();
    Step::ChangeVoters {
        voters,
        keep_as_learner,
    }
}

/// Whether the live members can commit the change and go on after it.
fn is_safe(spec: &TransitionSpec, raft: &RaftView, progress: &ProgressView) -> bool {
    #[cfg(feature = "mutations")]
    if sim_mutation::is("unsafe-removal") {
        return true;
    }
    let target = spec.target_voters(&raft.voters);
    let joins_live = !spec.to.votes() || progress.live.contains(&spec.member);
    joins_live
        && crate::view::is_majority(&raft.voters, &progress.live)
        && crate::view::is_majority(&target, &progress.live)
}

fn wait_until(in_phase_ms: u64, deadline_ms: u64, spec: &TransitionSpec, raft: &RaftView, reason: &str) -> Step {
    if in_phase_ms < deadline_ms {
        return Step::Wait;
    }
    Step::Abort {
        reason: format!("{reason} ({} s)", deadline_ms / 1000),
        undo: spec.undo(raft),
    }
}

#[cfg(test)]
mod tests;

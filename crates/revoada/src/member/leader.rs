//! What only the leader does: plan roles, carry out the one transition in flight, collect seals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;
use revoada_core::MemberId;
use revoada_core::command::MeshCommand;
use revoada_core::planner::{Decision, plan, preempt};
use revoada_core::state::MeshOutcome;
use revoada_core::transition::{Phase, PhaseClock, ProgressView, Step, Transition, next_step};
use revoada_core::view::{Cooling, Observation, View};
use tokio::time::Instant;

use super::Shared;
use crate::known::Known;
use crate::raft::machine::raft_view;
use crate::raft::replica::Replica;

/// How often the leader looks, changes aside.
const TICK: Duration = Duration::from_millis(250);

/// Deadline of one step of a transition.
const STEP_DEADLINE: Duration = Duration::from_secs(8);

/// A follower that acknowledged nothing for this long counts as not answering, whatever its log.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(5);

/// Runs as long as the replica is open: leads while it is the leader.
pub(super) async fn run(shared: Arc<Shared>, replica: Arc<Replica>) {
    let mut metrics = replica.raft.server_metrics();
    loop {
        if shared.running().is_none_or(|current| !Arc::ptr_eq(&current, &replica)) {
            return;
        }
        let term = leading(&shared, &replica).await;
        shared
            .leadership
            .send_if_modified(|current| std::mem::replace(current, term) != term);
        if let Some(term) = term {
            tracing::info!(term, "this member leads");
            tokio::select! {
                () = lead(&shared, &replica, term) => {}
                () = shared.stop.cancelled() => return,
            }
            tracing::info!(term, "this member leads no more");
            shared.leadership.send_replace(None);
            continue;
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}

/// The term this member leads in, once everything before it is applied here.
async fn leading(shared: &Shared, replica: &Replica) -> Option<u64> {
    let metrics = replica.metrics();
    if !metrics.state.is_leader() || metrics.current_leader != Some(shared.me) {
        return None;
    }
    let read = super::propose::read_index_at(shared, replica, Duration::from_secs(2))
        .await
        .ok()?;
    let mut applied = replica.machine.applied();
    tokio::time::timeout(Duration::from_secs(5), applied.wait_for(|index| *index >= read))
        .await
        .ok()?
        .ok()?;
    replica
        .machine
        .known()
        .borrow()
        .is_some()
        .then_some(metrics.current_term)
}

/// When a phase was first seen, and when its member last made progress, by this leader's clock.
#[derive(Default)]
struct Clocks {
    phase: Option<(u64, Phase, Instant)>,
    progress: Option<(Option<u64>, Instant)>,
}

impl Clocks {
    fn of(&mut self, transition: &Transition, matched: Option<u64>) -> PhaseClock {
        let now = Instant::now();
        let key = (transition.id, transition.phase);
        let (_, _, since) = *match &mut self.phase {
            Some(seen) if (seen.0, seen.1) == key => seen,
            slot => {
                self.progress = None;
                slot.insert((key.0, key.1, now))
            }
        };
        let progress = match &mut self.progress {
            Some(seen) if seen.0 == matched => seen.1,
            slot => slot.insert((matched, now)).1,
        };
        PhaseClock {
            in_phase_ms: now.duration_since(since).as_millis() as u64,
            since_progress_ms: now.duration_since(progress).as_millis() as u64,
        }
    }
}

async fn lead(shared: &Arc<Shared>, replica: &Arc<Replica>, term: u64) {
    let mut clocks = Clocks::default();
    let mut cooling = Cooling::default();
    let mut known = shared.trust.watch();
    let mut everyone = shared.gossip.everyone();
    let mut metrics = replica.raft.server_metrics();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Ok(()) = known.changed() => {}
            Ok(()) = everyone.changed() => {}
            changed = metrics.changed() => if changed.is_err() { return },
        }
        let state = replica.metrics();
        if !state.state.is_leader() || state.current_term != term || shared.halted.borrow().is_some() {
            return;
        }
        if shared.running().is_none_or(|current| !Arc::ptr_eq(&current, replica)) {
            return;
        }
        let Some(picture) = replica.machine.known().borrow().clone() else {
            continue;
        };
        if shared.is_recovering() {
            continue;
        }
        super::seal::start(shared, &picture);
        if let Err(reason) = turn(shared, replica, &picture, &mut clocks, &mut cooling).await {
            tracing::info!(%reason, "a role change did not advance; it is tried again");
            tokio::time::sleep(TICK).await;
        }
    }
}

/// One look at the cluster: hand over, advance the transition in flight, or decide.
async fn turn(
    shared: &Arc<Shared>,
    replica: &Arc<Replica>,
    picture: &Known,
    clocks: &mut Clocks,
    cooling: &mut Cooling,
) -> Result<(), String> {
    let policy = &shared.options.policy;
    let mut view = view(shared, replica, picture);
    cooling.hold(&mut view, picture.state());
    let decisions = plan(&view, policy);
    if let Some(hand_over @ Decision::TransferLeadership { .. }) = decisions.first() {
        return decide(shared, replica, hand_over.clone()).await;
    }
    if let Some(transition) = &view.in_flight {
        let matched = matched(replica, &transition.spec.member);
        let clock = clocks.of(transition, matched);
        let progress = ProgressView {
            live: view.live(),
            lag: lag(replica, &transition.spec.member),
        };
        // A dead voter does not wait for a slow learner.
        let step =
            preempt(&view, policy).unwrap_or_else(|| next_step(transition, &view.raft, &progress, clock, policy));
        if step != Step::Wait {
            return carry_out(shared, replica, transition, step).await;
        }
    }
    for decision in decisions {
        decide(shared, replica, decision).await?;
    }
    Ok(())
}

fn view(shared: &Shared, replica: &Replica, picture: &Known) -> View {
    let everyone = shared.gossip.everyone();
    let everyone = everyone.borrow().clone();
    let raft = raft_view(&replica.metrics().membership_config);
    View::new(
        picture.state(),
        shared.me,
        raft,
        shared.gossip.now_ms(),
        shared.unix_ms(),
        |id| {
            let heard = everyone.get(id);
            let mine = *id == shared.me;
            Observation {
                liveness: heard.map(|heard| heard.liveness).unwrap_or_default(),
                zone: heard.map(|heard| heard.announcement.zone.clone()).unwrap_or_default(),
                lag: if mine { Some(0) } else { lag(replica, id) },
                replica_ready: mine || heard.is_some_and(|heard| heard.pulse.replica),
                // Not yet heard of is no sign of a bad disk.
                storage_ok: heard.is_none_or(|heard| heard.announcement.name.is_empty() || heard.pulse.storage_ok),
                version: heard
                    .map(|heard| heard.announcement.version.clone())
                    .unwrap_or_default(),
            }
        },
    )
}

fn matched(replica: &Replica, member: &MemberId) -> Option<u64> {
    let metrics = replica.metrics();
    metrics
        .replication?
        .get(member)
        .and_then(|matched| matched.as_ref().map(|id| id.index))
}

/// Entries that `member` is behind this leader; `None` when nothing is replicated to it or it acknowledged nothing yet.
pub(super) fn lag(replica: &Replica, member: &MemberId) -> Option<u64> {
    let metrics = replica.metrics();
    let last = metrics.last_log_index.unwrap_or(0);
    let matched = metrics.replication.as_ref()?.get(member)?.as_ref()?.index;
    Some(last.saturating_sub(matched))
}

async fn carry_out(
    shared: &Arc<Shared>,
    replica: &Arc<Replica>,
    transition: &Transition,
    step: Step,
) -> Result<(), String> {
    let id = transition.id;
    tracing::info!(member = %transition.spec.member.short(), to = %transition.spec.to, phase = %transition.phase, ?step, "transition");
    match step {
        Step::Wait => Ok(()),
        Step::AddLearner(member) => {
            shared.mesh.reset_backoff(member);
            change(replica.raft.add_learner(member, (), false)).await
        }
        Step::ChangeVoters {
            voters,
            keep_as_learner,
        } => {
            change(
                replica
                    .raft
                    .change_membership(ChangeMembers::ReplaceAllVoters(voters), !keep_as_learner.is_empty()),
            )
            .await
        }
        Step::RemoveLearner(member) => remove_learner(replica, member).await,
        Step::Advance(phase) => propose(shared, MeshCommand::AdvanceTransition { id, phase }).await,
        Step::Abort { reason, undo } => {
            tracing::warn!(member = %transition.spec.member.short(), %reason, "a role change is given up");
            if let Some(member) = undo {
                remove_learner(replica, member).await?;
            }
            propose(shared, MeshCommand::AbortTransition { id, reason }).await
        }
    }
}

async fn decide(shared: &Arc<Shared>, replica: &Arc<Replica>, decision: Decision) -> Result<(), String> {
    match decision {
        Decision::TransferLeadership { to, reason } => {
            tracing::info!(to = %to.short(), %reason, "handing leadership over");
            replica
                .raft
                .trigger()
                .transfer_leader(to)
                .await
                .map_err(|error| error.to_string())?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(())
        }
        Decision::Begin(spec) => {
            tracing::info!(member = %spec.member.short(), from = %spec.from, to = %spec.to, reason = %spec.reason, "a role change begins");
            propose(shared, MeshCommand::BeginTransition { spec }).await
        }
        Decision::FinishJoint { voters } => {
            // Those that stop voting stay learners: whether they go is the next decision.
            change(
                replica
                    .raft
                    .change_membership(ChangeMembers::ReplaceAllVoters(voters), true),
            )
            .await
        }
        Decision::Forget { member, reason } => {
            tracing::info!(member = %member.short(), %reason, "removed from the Raft configuration");
            let raft = raft_view(&replica.metrics().membership_config);
            if raft.votes(&member) {
                let voters: BTreeSet<MemberId> = raft.voters.into_iter().filter(|voter| *voter != member).collect();
                change(
                    replica
                        .raft
                        .change_membership(ChangeMembers::ReplaceAllVoters(voters), false),
                )
                .await?;
            }
            let raft = raft_view(&replica.metrics().membership_config);
            if raft.contains(&member) {
                remove_learner(replica, member).await
            } else {
                Ok(())
            }
        }
    }
}

async fn remove_learner(replica: &Replica, member: MemberId) -> Result<(), String> {
    change(
        replica
            .raft
            .change_membership(ChangeMembers::RemoveNodes(BTreeSet::from([member])), false),
    )
    .await
}

async fn change<T, E: std::fmt::Display>(change: impl Future<Output = Result<T, E>>) -> Result<(), String> {
    match tokio::time::timeout(STEP_DEADLINE, change).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "the configuration change was not committed within {} s",
            STEP_DEADLINE.as_secs()
        )),
    }
}

async fn propose(shared: &Shared, command: MeshCommand) -> Result<(), String> {
    match shared.propose_mesh(command, PROPOSE_DEADLINE).await {
        Ok(MeshOutcome::Refused(refusal)) => Err(refusal.to_string()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Live voters other than this one, the most caught-up first.
fn heirs(shared: &Shared, replica: &Replica) -> Vec<MemberId> {
    let view = raft_view(&replica.metrics().membership_config);
    let known = shared.trust.known();
    let everyone = shared.gossip.everyone();
    let everyone = everyone.borrow().clone();
    let mut heirs: BTreeMap<(bool, u64, MemberId), MemberId> = BTreeMap::new();
    for id in view.voters {
        if id != shared.me && everyone.get(&id).is_some_and(|heard| heard.liveness.is_alive()) {
            let witness = known.chain().member(&id).is_some_and(|member| member.witness);
            heirs.insert((witness, lag(replica, &id).unwrap_or(u64::MAX), id), id);
        }
    }
    heirs.into_values().collect()
}

impl super::Member {
    /// Hands leadership to another live voter, if this member leads and there is one.
    pub async fn hand_over_leadership(&self, deadline: Duration) -> Result<(), String> {
        let shared = &self.shared;
        let Some(replica) = shared.running() else { return Ok(()) };
        if !replica.metrics().state.is_leader() {
            return Ok(());
        }
        let Some(heir) = heirs(shared, &replica).first().copied() else {
            return Err("there is no other live voter".into());
        };
        replica
            .raft
            .trigger()
            .transfer_leader(heir)
            .await
            .map_err(|error| error.to_string())?;
        let mut metrics = replica.raft.server_metrics();
        let handed = async {
            while metrics
                .borrow_watched()
                .current_leader
                .is_none_or(|leader| leader == shared.me)
            {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(deadline, handed)
            .await
            .map_err(|_| format!("no new leader within {} ms", deadline.as_millis()))
    }
}

//! How a member without a leader of its own learns what the cluster is: it follows a peer's picture.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use revoada_core::MemberId;
use revoada_mesh::Refusal;
use tokio::time::Instant;
use tokio_stream::StreamExt;

use super::Shared;
use crate::known::Known;
use crate::raft::network::open;
use crate::rpc::{RpcError, call, from_status, pb};

/// A replica that hears its leader needs nobody else's picture.
const LEADERLESS: Duration = Duration::from_millis(1_000);

/// A replica without a leader for this long asks everyone it knows of, heard of or not.
const LOST: Duration = Duration::from_secs(10);

/// When for so long nobody answered but those who say that this member is none, they are believed, however few.
const REFUSED: Duration = Duration::from_secs(30);

/// What an operator must do is said again after this long.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// Pause between attempts at peers.
const PAUSE: Duration = Duration::from_millis(200);

/// One peer is followed for at most this long before the choice is made anew.
const TURN: Duration = Duration::from_secs(60);

/// The same for a replica, which waits for a leader, and at a peer without a replica: who has nothing of its own to say
/// is little help.
const SHORT_TURN: Duration = Duration::from_secs(3);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut turn = 0_usize;
    let mut refused_by: BTreeMap<MemberId, Refusal> = BTreeMap::new();
    let mut clock_refused_by: BTreeSet<MemberId> = BTreeSet::new();
    let mut refused_since: Option<Instant> = None;
    let mut warned: Option<Instant> = None;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        if !needs_peer(&shared) {
            continue;
        }
        let candidates = candidates(&shared, &refused_by);
        let Some(peer) = candidates.get(turn % candidates.len().max(1)).copied() else {
            continue;
        };
        let vouches = is_replica(&shared, &peer);
        let turn_max = if shared.running().is_some() || !vouches {
            SHORT_TURN
        } else {
            TURN
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            ended = tokio::time::timeout(turn_max, follow(&shared, peer)) => match ended {
                Ok(Err(reason)) => {
                    tracing::debug!(peer = %peer.short(), %reason, "this peer's picture cannot be followed");
                    if reason.refusal() == Some(Refusal::ClockSkew) {
                        clock_refused_by.insert(peer);
                    } else {
                        clock_refused_by.remove(&peer);
                    }
                    // Who merely isn't reached this time has not taken its word back.
                    if let Some(refusal @ (Refusal::Expelled | Refusal::Left)) = reason.refusal() {
                        refused_by.insert(peer, refusal);
                        refused_since.get_or_insert_with(Instant::now);
                    }
                    turn = turn.wrapping_add(1);
                }
                Ok(Ok(())) if !needs_peer(&shared) => {
                    refused_by.clear();
                    refused_since = None;
                    clock_refused_by.clear();
                }
                // The peer died.
                Ok(Ok(())) => turn = turn.wrapping_add(1),
                // Followed to the end of the turn: this peer at least takes this member for one. Who has no replica may
                // itself not have heard that neither of them is.
                Err(_) => {
                    if vouches {
                        refused_by.remove(&peer);
                        refused_since = None;
                        clock_refused_by.remove(&peer);
                    }
                    turn = turn.wrapping_add(1);
                }
            },
        }
        if clock_refused_by.len() * 2 > shared.trust.known().members().len().saturating_sub(1)
            && warned.is_none_or(|at| at.elapsed() > WARN_AGAIN)
        {
            warned = Some(Instant::now());
            tracing::error!(
                peers = clock_refused_by.len(),
                "most members refuse this one because of its clock: set this machine's time right, for example with NTP"
            );
        }
        if let Some(refusal) = refused_by.values().next()
            && (refused_since.is_some_and(|since| since.elapsed() > REFUSED)
                || are_enough(&shared.trust.known(), shared.me, &refused_by))
        {
            shared.refused.send_replace(Some(*refusal));
            let cluster = shared.cluster.short();
            shared.halt(format!(
                "this member is not admitted to cluster {cluster} any more: {refusal}; \
                 to come back, move its data directory aside and join with a new ticket"
            ));
        }
    }
}

/// Why a peer could not be followed.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    /// It could not be asked.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// It sent something else than a picture.
    #[error("{0}")]
    Answer(String),
}

impl FollowError {
    fn refusal(&self) -> Option<Refusal> {
        match self {
            FollowError::Rpc(RpcError::Unreachable { refusal, .. }) => *refusal,
            _ => None,
        }
    }
}

fn needs_peer(shared: &Shared) -> bool {
    shared.running().is_none() || shared.leaderless_for(LEADERLESS)
}

/// Whether so many say that this member is none. One member's word is not enough, as long as there are others to ask;
/// that of most voters is.
fn are_enough(known: &Known, me: MemberId, refused_by: &BTreeMap<MemberId, Refusal>) -> bool {
    let others = known.members().len().saturating_sub(1);
    let voters = known.config().voters.iter().filter(|voter| **voter != me);
    let (said, asked) = voters.fold((0, 0), |(said, asked), voter| {
        (said + usize::from(refused_by.contains_key(voter)), asked + 1)
    });
    refused_by.len() * 2 >= others || said * 2 > asked
}

/// Whether a peer says that it has a replica.
fn is_replica(shared: &Shared, peer: &MemberId) -> bool {
    let everyone = shared.gossip.everyone();
    let everyone = everyone.borrow();
    everyone.get(peer).is_some_and(|heard| heard.pulse.replica)
}

/// Live replicas first: their picture is the newest. Who says that this member is none comes last.
fn candidates(shared: &Shared, refused_by: &BTreeMap<MemberId, Refusal>) -> Vec<MemberId> {
    let known = shared.trust.known();
    let replicas = known.replicas();
    let everyone = shared.gossip.everyone();
    let everyone = everyone.borrow();
    let mut all: Vec<_> = known
        .members()
        .into_iter()
        .filter(|id| *id != shared.me)
        .map(|id| {
            let heard = everyone.get(&id);
            let alive = heard.is_some_and(|heard| heard.liveness.is_alive());
            let replica = heard.is_some_and(|heard| heard.pulse.replica) || replicas.contains(&id);
            let refused = refused_by.contains_key(&id);
            (refused, !(alive && replica), !alive, id)
        })
        .collect();
    all.sort();
    // With live replicas known there is no point in waiting for dead ones, nor in following somebody who follows too:
    // members without a replica would go round in circles. Unless they are as lost as this member: those who were
    // expelled together hear each other only.
    let replicas = all.iter().filter(|(refused, other, _, _)| !refused && !other).count();
    let lost = shared.running().is_some() && shared.leaderless_for(LOST);
    if !lost && replicas > 0 {
        all.truncate(replicas);
    }
    all.into_iter().map(|(_, _, _, id)| id).collect()
}

async fn follow(shared: &Arc<Shared>, peer: MemberId) -> Result<(), FollowError> {
    let version = shared.trust.known().version();
    let mut client = shared.rpc.peer(peer);
    let request = pb::KnownRequest {
        epoch: version.epoch,
        version: version.index,
    };
    let mut updates = call(peer, Duration::from_secs(2), client.known(request)).await?;
    let answer = |text: &str| FollowError::Answer(text.to_owned());
    loop {
        tokio::select! {
            update = updates.next() => {
                let update = update.ok_or_else(|| answer("the peer ended the stream"))?;
                let update = update.map_err(|status| from_status(peer, &status))?;
                let envelope = update.known.ok_or_else(|| answer("an empty update"))?;
                let known: Known = open("picture of the cluster", &envelope).map_err(|error| answer(&error.to_string()))?;
                shared.trust.accept(Arc::new(known));
            }
            () = tokio::time::sleep(Duration::from_millis(500)) => {
                if !needs_peer(shared) || shared.is_dead(&peer) {
                    return Ok(());
                }
            }
        }
    }
}

//! Whether this replica leads, by the word of a majority: what a linearizable read has to know.
//!
//! The library's own confirmation notes by position which request an answer is for, so the answer to an append passes for
//! one to a later request that ends at the same entry. Answers that a broken link held back then confirm a leader that
//! was replaced meanwhile. Here each question has an answer of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use openraft::RaftState;
use openraft::network::{RPCOption, RaftNetworkFactory as _, RaftNetworkV2 as _};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use revoada_core::MemberId;
use revoada_core::view::is_majority;

use super::replica::Replica;
use super::types::{TypeConfig, Vote};

type C = TypeConfig;

/// Why leadership was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// Another member leads, or nobody that is known of.
    #[error("another member leads")]
    Elsewhere(Option<MemberId>),
    /// Nothing of this term is committed yet: what earlier ones committed isn't known for sure.
    #[error("the term has just begun")]
    Early,
    /// Too few answered in time.
    #[error("no majority confirmed in time")]
    NoMajority,
    /// The consensus core stopped.
    #[error("this replica stopped: {0}")]
    Stopped(String),
}

/// What a leader claims.
struct Claim {
    vote: Vote,
    /// Everything up to here is committed.
    index: u64,
    /// Each of these needs a majority of its own.
    configs: Vec<BTreeSet<MemberId>>,
}

fn claim(me: MemberId, state: &RaftState<C>) -> Result<Claim, Unconfirmed> {
    let vote = state.vote_ref();
    let leader = vote.committed.then_some(vote.leader_id.voted_for);
    if leader != Some(me) || !state.server_state.is_leader() {
        return Err(Unconfirmed::Elsewhere(leader.filter(|leader| *leader != me)));
    }
    let committed = state.cluster_committed().ok_or(Unconfirmed::Early)?;
    if **committed.committed_leader_id() != vote.leader_id.term {
        return Err(Unconfirmed::Early);
    }
    Ok(Claim {
        vote: *vote,
        index: committed.index,
        configs: state
            .membership_state
            .effective()
            .membership()
            .get_joint_config()
            .clone(),
    })
}

impl Replica {
    /// The index that a read begun now has to see applied. A majority says, after this call began, that it follows no
    /// later leader (Ongaro's thesis, 6.4).
    pub async fn confirmed_index(&self, deadline: Duration) -> Result<u64, Unconfirmed> {
        tokio::time::timeout(deadline, self.confirm())
            .await
            .unwrap_or(Err(Unconfirmed::NoMajority))
    }

    async fn confirm(&self) -> Result<u64, Unconfirmed> {
        let me = self.me;
        let claim = self.raft.with_raft_state(move |state| claim(me, state)).await;
        let claim = claim.map_err(|fatal| Unconfirmed::Stopped(fatal.to_string()))??;
        let others: BTreeSet<MemberId> = claim.configs.iter().flatten().copied().filter(|id| *id != me).collect();
        let mut asked: FuturesUnordered<_> = others.into_iter().map(|peer| self.ask(peer, &claim.vote)).collect();
        // Its own word is in the claim.
        let mut agreed = BTreeSet::from([me]);
        while !claim.configs.iter().all(|voters| is_majority(voters, &agreed)) {
            match asked.next().await {
                Some((peer, Some(true))) => drop(agreed.insert(peer)),
                Some((_, Some(false))) => return Err(Unconfirmed::Elsewhere(None)),
                Some((_, None)) => {}
                None => return Err(Unconfirmed::NoMajority),
            }
        }
        Ok(claim.index)
    }

    /// Whether `peer` follows nobody later than `vote`; `None` if it does not say.
    async fn ask(&self, peer: MemberId, vote: &Vote) -> (MemberId, Option<bool>) {
        // An append of nothing, after nothing: it conflicts with no log.
        let request = AppendEntriesRequest {
            vote: *vote,
            prev_log_id: None,
            entries: Vec::new(),
            leader_commit: None,
        };
        let mut target = self.network.clone().new_client(peer, &()).await;
        let answer = match target.append_entries(request, RPCOption::new(ASK_DEADLINE)).await {
            Ok(AppendEntriesResponse::HigherVote(_)) => Some(false),
            Ok(_) => Some(true),
            Err(error) => {
                tracing::trace!(%error, peer = %peer.short(), "leadership is not confirmed");
                None
            }
        };
        (peer, answer)
    }
}

/// How long one voter may take.
const ASK_DEADLINE: Duration = Duration::from_millis(500);

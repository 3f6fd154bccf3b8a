//! Raft reduced to what role changes depend on: one log, a configuration, who holds how much of it, who leads.
//!
//! An entry is appended only if it commits at once, by a majority of every configuration in force. Elections
//! take the reachable voter with the longest log, which therefore holds everything that was committed.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::MemberId;
use crate::view::{RaftView, is_majority};

/// How long after the loss of a leader the next one is elected.
const ELECTION_MS: u64 = 1_000;

/// The log, the configuration and the leader.
#[derive(Debug, Clone, Default)]
pub struct Raft {
    /// Last index of the log.
    pub index: u64,
    /// Current term.
    pub term: u64,
    /// The configuration in force.
    pub config: RaftView,
    /// The leader, if it hears a majority.
    pub leader: Option<MemberId>,
    /// How much of the log each member of the configuration holds.
    pub matched: BTreeMap<MemberId, u64>,
    leaderless_since_ms: u64,
}

impl Raft {
    /// A cluster of one.
    pub fn bootstrap(founder: MemberId) -> Self {
        let config = RaftView {
            voters: BTreeSet::from([founder]),
            ..RaftView::default()
        };
        Self {
            term: 1,
            config,
            leader: Some(founder),
            matched: BTreeMap::from([(founder, 0)]),
            ..Self::default()
        }
    }

    /// Whether `live` can commit in the configuration in force.
    pub fn has_quorum(&self, live: &BTreeSet<MemberId>) -> bool {
        let outgoing = self.config.outgoing.as_ref();
        is_majority(&self.config.voters, live) && outgoing.is_none_or(|voters| is_majority(voters, live))
    }

    /// Entries a member is behind the leader; unknown for one that never answered.
    pub fn lag(&self, id: &MemberId) -> Option<u64> {
        self.matched
            .get(id)
            .filter(|matched| **matched > 0)
            .map(|matched| self.index - matched)
    }

    /// Appends `entries` entries if they commit; live members that were up to date stay so.
    pub fn append(&mut self, live: &BTreeSet<MemberId>, entries: u64) -> bool {
        if self.leader.is_none() || !self.has_quorum(live) {
            return false;
        }
        let before = self.index;
        self.index += entries;
        for (id, matched) in &mut self.matched {
            if live.contains(id) && *matched == before {
                *matched = self.index;
            }
        }
        // A majority must hold an entry for it to commit: the voters that lag are brought up first.
        for id in live {
            if self.config.votes(id) {
                self.matched.insert(*id, self.index);
            }
        }
        true
    }

    /// A learner joins the configuration.
    pub fn add_learner(&mut self, live: &BTreeSet<MemberId>, id: MemberId) -> bool {
        if self.config.contains(&id) || !self.append(live, 1) {
            return false;
        }
        self.config.learners.insert(id);
        self.matched.entry(id).or_insert(0);
        true
    }

    /// A learner leaves the configuration.
    pub fn remove_learner(&mut self, live: &BTreeSet<MemberId>, id: MemberId) -> bool {
        if !self.config.learners.contains(&id) || !self.append(live, 1) {
            return false;
        }
        self.config.learners.remove(&id);
        self.matched.remove(&id);
        true
    }

    /// One half of a change of voters: into the joint configuration, or out of it.
    pub fn change_voters(
        &mut self,
        live: &BTreeSet<MemberId>,
        voters: &BTreeSet<MemberId>,
        keep_as_learner: &BTreeSet<MemberId>,
    ) -> bool {
        let mut after = self.config.clone();
        if self.config.is_joint() && self.config.voters == *voters {
            let removed = after.outgoing.take().unwrap_or_default();
            for id in removed.difference(voters) {
                match keep_as_learner.contains(id) {
                    true => after.learners.insert(*id),
                    false => self.matched.remove(id).is_some(),
                };
            }
        } else if !self.config.is_joint() {
            if self.config.voters == *voters || voters.iter().any(|id| !self.config.contains(id)) {
                return false;
            }
            after.outgoing = Some(std::mem::replace(&mut after.voters, voters.clone()));
            after.learners.retain(|id| !voters.contains(id));
        } else {
            return false;
        }
        // A configuration is in force from its append on, so it is what must commit itself. If it can't, it stays
        // in the leader's log and there is no quorum until it can: that is the harm a careless change does.
        let able = self.leader.is_some() && self.has_quorum(live);
        if !able {
            return false;
        }
        self.config = after;
        self.append(live, 1);
        if self.leader.is_some_and(|leader| !self.config.votes(&leader)) {
            self.leader = None;
        }
        true
    }

    /// Hands leadership to a voter that holds the whole log.
    pub fn transfer(&mut self, live: &BTreeSet<MemberId>, to: MemberId) -> bool {
        let able = self.config.voters.contains(&to) && live.contains(&to) && self.lag(&to) == Some(0);
        if able && self.has_quorum(live) {
            self.leader = Some(to);
            self.term += 1;
        }
        able
    }

    /// Lets the leader go when it cannot commit, and elects another after a while. `reach` gives who is
    /// reachable from a member, itself included; nobody from one that is down.
    pub fn elect(&mut self, now_ms: u64, reach: impl Fn(&MemberId) -> BTreeSet<MemberId>) {
        if let Some(leader) = self.leader {
            if self.has_quorum(&reach(&leader)) && self.config.votes(&leader) {
                self.leaderless_since_ms = now_ms;
                return;
            }
            self.leader = None;
            self.leaderless_since_ms = now_ms;
        }
        if now_ms < self.leaderless_since_ms + ELECTION_MS {
            return;
        }
        let candidates = self.config.voters.iter().chain(self.config.outgoing.iter().flatten());
        let best = candidates
            .filter(|id| self.has_quorum(&reach(id)))
            .max_by_key(|id| (self.matched.get(id).copied().unwrap_or(0), **id));
        if let Some(id) = best.copied() {
            self.leader = Some(id);
            self.term += 1;
        }
    }
}

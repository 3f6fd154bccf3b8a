//! The parts of `engenho status -o json` that checks rely on.

use serde::Deserialize;

/// The whole answer. Fields that are not read here are ignored.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// Hexadecimal.
    pub cluster_id: String,
    /// Recovery epoch.
    pub epoch: u64,
    /// Raft term.
    pub term: u64,
    /// Id of the leader, if one is known.
    pub leader: Option<String>,
    /// Whether writes can be committed.
    pub quorum: bool,
    /// The wanted shape.
    pub formation: Shape,
    /// Everyone.
    pub members: Vec<MemberRow>,
    /// Role changes in flight.
    pub transitions: Vec<serde_json::Value>,
    /// The chain.
    pub chain: Chain,
}

/// How many of each.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Shape {
    /// Votes.
    pub voters: usize,
    /// Standbys.
    pub standbys: usize,
}

/// The chain.
#[derive(Debug, Clone, Deserialize)]
pub struct Chain {
    /// Number of blocks.
    pub height: u64,
    /// Hexadecimal.
    pub head: String,
    /// Sealed blocks.
    pub sealed: u64,
}

/// One member.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberRow {
    /// Hexadecimal.
    pub id: String,
    /// Name.
    pub name: String,
    /// Whether it is the one that answers.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// `voter`, `standby`, `worker` or `witness`.
    pub role: String,
    /// `alive`, `suspect`, `dead`, `left` or `expelled`.
    pub state: String,
    /// URL.
    pub api: String,
    /// Whether it answers.
    pub api_ready: bool,
    /// Last applied entry.
    pub applied_index: u64,
}

impl MemberRow {
    /// Whether it is in the cluster and heard of.
    pub fn is_alive(&self) -> bool {
        self.state == "alive"
    }

    /// Whether it votes.
    pub fn votes(&self) -> bool {
        matches!(self.role.as_str(), "voter" | "witness")
    }

    /// Whether it is still in the cluster.
    pub fn is_admitted(&self) -> bool {
        !matches!(self.state.as_str(), "left" | "expelled")
    }
}

impl StatusReport {
    /// The member of that name.
    pub fn member(&self, name: &str) -> Option<&MemberRow> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Name of the leader.
    pub fn leader_name(&self) -> Option<&str> {
        let leader = self.leader.as_deref()?;
        self.members
            .iter()
            .find(|member| member.id == leader)
            .map(|member| member.name.as_str())
    }

    /// Names of those with a role, ascending.
    pub fn names_of(&self, role: &str) -> Vec<&str> {
        let mut names: Vec<_> = self
            .members
            .iter()
            .filter(|of| of.role == role)
            .map(|of| of.name.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    /// Live members that vote.
    pub fn live_votes(&self) -> usize {
        self.members
            .iter()
            .filter(|member| member.votes() && member.is_alive())
            .count()
    }

    /// The furthest applied index.
    pub fn applied(&self) -> u64 {
        self.members
            .iter()
            .map(|member| member.applied_index)
            .max()
            .unwrap_or(0)
    }

    /// Why the cluster is not in its wanted shape with everyone alive and answering; `None` when it is.
    pub fn unsettled(&self) -> Option<String> {
        if !self.quorum || self.leader.is_none() {
            return Some("there is no leader with a quorum".into());
        }
        if !self.transitions.is_empty() {
            return Some(format!("a role change is in flight: {:?}", self.transitions));
        }
        for member in self.members.iter().filter(|member| member.is_admitted()) {
            // A witness serves no API.
            if !member.is_alive() || !(member.api_ready || member.role == "witness") {
                return Some(format!(
                    "{} is {} and apiReady is {}",
                    member.name, member.state, member.api_ready
                ));
            }
        }
        let standbys = self.names_of("standby").len();
        let votes = self.live_votes();
        let shape = self.formation;
        ((votes, standbys) != (shape.voters, shape.standbys)).then(|| {
            format!(
                "{votes} voters and {standbys} standbys, want {} and {}",
                shape.voters, shape.standbys
            )
        })
    }
}

//! What befalls a cluster: crashes, partitions, slow learners, bad disks, and operators.

use std::fmt;

use revoada_core::MemberId;
use revoada_core::chain::Standing;
use revoada_core::command::{Hold, MeshCommand};
use revoada_core::formation::Formation;
use revoada_core::model::Model;
use revoada_core::role::Role;
use revoada_core::state::MeshState;

use sim_plan::Rng;

/// One thing that happens to the cluster from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A member's process dies.
    Kill,
    /// The leader's process dies.
    KillLeader,
    /// The leader will die right after its next step of a transition.
    KillLeaderMidway,
    /// Half of the members die at once.
    KillMany,
    /// A dead member's process starts.
    Start,
    /// Some members are cut off from the others.
    Partition,
    /// The network heals.
    Heal,
    /// A member receives the log slowly or not at all.
    Slow,
    /// A member's disk fails, or is repaired.
    Disk,
    /// An operator drains, promotes, demotes or frees a member.
    Hold,
    /// An operator sets the formation.
    Formation,
    /// A machine joins.
    Join,
    /// A worker leaves or is expelled.
    Depart,
    /// The load on the log changes.
    Load,
    /// An operator recovers from a lost majority.
    Recover,
}

/// All faults with their weight.
const WEIGHTS: [(Fault, u64); 15] = [
    (Fault::Kill, 14),
    (Fault::KillLeader, 8),
    (Fault::KillLeaderMidway, 10),
    (Fault::KillMany, 2),
    (Fault::Start, 24),
    (Fault::Partition, 6),
    (Fault::Heal, 10),
    (Fault::Slow, 5),
    (Fault::Disk, 5),
    (Fault::Hold, 8),
    (Fault::Formation, 4),
    (Fault::Join, 5),
    (Fault::Depart, 3),
    (Fault::Load, 3),
    (Fault::Recover, 5),
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Fault {
    /// A random one, by weight.
    pub fn any(rng: &mut Rng) -> Self {
        let mut at = rng.below(WEIGHTS.iter().map(|(_, weight)| weight).sum());
        for (fault, weight) in WEIGHTS {
            if at < weight {
                return fault;
            }
            at -= weight;
        }
        Fault::Start
    }
}

/// Bounds of what may befall a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most machines.
    pub members_max: usize,
    /// Failure domains.
    pub zones: u64,
}

/// Does it; gives a line that tells what was done, or `None` if it makes no sense now.
pub fn inflict(fault: Fault, model: &mut Model, rng: &mut Rng, bounds: Bounds) -> Option<String> {
    let here: Vec<MemberId> = admitted(model);
    let name = |model: &Model, id: &MemberId| model.nodes.get(id).map_or_else(String::new, |node| node.name.clone());
    let up = |model: &Model, up: bool| -> Vec<MemberId> {
        here.iter()
            .filter(|id| model.nodes.get(id).is_some_and(|node| node.up == up))
            .copied()
            .collect()
    };
    match fault {
        Fault::Kill => {
            let id = victim(model, rng, &up(model, true))?;
            model.set_up(&id, false);
            Some(format!("kill {}", name(model, &id)))
        }
        Fault::KillLeader => {
            let id = model.raft.leader?;
            model.set_up(&id, false);
            Some(format!("kill the leader {}", name(model, &id)))
        }
        // Done by the history, at the right moment.
        Fault::KillLeaderMidway => Some("the leader will die midway".to_owned()),
        Fault::KillMany => {
            let mut names = Vec::new();
            for id in up(model, true) {
                if rng.chance(50) {
                    model.set_up(&id, false);
                    names.push(name(model, &id));
                }
            }
            (!names.is_empty()).then(|| format!("kill {}", names.join(" ")))
        }
        Fault::Start => {
            let id = *rng.pick(&up(model, false))?;
            model.set_up(&id, true);
            Some(format!("start {}", name(model, &id)))
        }
        Fault::Partition => {
            let mut names = Vec::new();
            for id in &here {
                if rng.chance(35) {
                    model.set_side(id, 1);
                    names.push(name(model, id));
                }
            }
            (!names.is_empty()).then(|| format!("cut off {}", names.join(" ")))
        }
        Fault::Heal => {
            let cut: Vec<_> = model
                .nodes
                .iter()
                .filter(|(_, node)| node.side != 0)
                .map(|(id, _)| *id)
                .collect();
            for id in &cut {
                model.set_side(id, 0);
            }
            (!cut.is_empty()).then(|| "heal".to_owned())
        }
        Fault::Slow => {
            let id = victim(model, rng, &here)?;
            let entries = if rng.chance(50) { 0 } else { rng.between(1, 50) };
            model.nodes.get_mut(&id)?.catch_up = entries;
            Some(format!("{} receives {entries} entries a tick", name(model, &id)))
        }
        Fault::Disk => {
            let id = victim(model, rng, &here)?;
            let node = model.nodes.get_mut(&id)?;
            node.storage_ok = !node.storage_ok;
            let what = if node.storage_ok { "is repaired" } else { "fails" };
            Some(format!("the disk of {} {what}", node.name))
        }
        Fault::Hold => {
            let member = victim(model, rng, &here)?;
            let witness = model.state()?.member(&member)?.witness;
            let voter = if witness { Role::Witness } else { Role::Voter };
            let standby = if witness { Role::Worker } else { Role::Standby };
            let holds = [
                Some(Hold::Drained),
                Some(Hold::Pinned(voter)),
                Some(Hold::Pinned(standby)),
                None,
                None,
                None,
            ];
            let hold = *rng.pick(&holds)?;
            model.propose(MeshCommand::Hold { member, hold })?;
            Some(format!("hold {} {hold:?}", name(model, &member)))
        }
        Fault::Formation => {
            let formation = any_formation(rng);
            model.propose(MeshCommand::SetFormation { formation })?;
            Some(format!("formation {formation:?}"))
        }
        Fault::Join => {
            if here.len() >= bounds.members_max {
                return None;
            }
            let new = format!("m{}", model.nodes.len());
            let zone = format!("z{}", rng.below(bounds.zones));
            model.join(&new, &zone, rng.chance(10))?;
            Some(format!("join {new} in {zone}"))
        }
        Fault::Depart => {
            let state = model.state()?;
            let workers: Vec<_> = state
                .members()
                .filter(|(_, member)| member.role == Role::Worker)
                .map(|(id, _)| id)
                .collect();
            if here.len() <= 3 {
                return None;
            }
            let member = *rng.pick(&workers)?;
            if rng.chance(50) {
                model.propose(MeshCommand::Leave { member })?;
                return Some(format!("{} leaves", name(model, &member)));
            }
            model.propose(MeshCommand::Expel {
                member,
                reason: "by an operator".to_owned(),
            })?;
            Some(format!("{} is expelled", name(model, &member)))
        }
        Fault::Load => {
            model.load = rng.below(10);
            Some(format!("load {}", model.load))
        }
        Fault::Recover => {
            if model.raft.leader.is_some() {
                return None;
            }
            let alive: Vec<_> = up(model, true);
            // Whoever could elect a leader by itself has lost nothing.
            if alive.iter().any(|id| model.raft.has_quorum(&model.reach(id))) {
                return None;
            }
            let survivors: Vec<_> = alive
                .iter()
                .filter(|id| {
                    let serves =
                        |state: &MeshState| matches!(state.standing(id), Standing::Admitted(member) if !member.witness);
                    model
                        .nodes
                        .get(id)
                        .and_then(|node| node.replica.as_ref())
                        .is_some_and(serves)
                })
                .copied()
                .collect();
            let survivor = *rng.pick(&survivors)?;
            let known = model.nodes.get(&survivor)?.replica.as_ref()?;
            let keep: Vec<_> = known
                .members()
                .map(|(id, _)| id)
                .filter(|id| alive.contains(id) || rng.chance(50))
                .collect();
            model.recover(&survivor, &keep)?;
            Some(format!(
                "recover on {}, keeping {} members",
                name(model, &survivor),
                keep.len()
            ))
        }
    }
}

/// All faults end: everyone runs, hears everyone, and can write.
pub fn end_all(model: &mut Model) {
    let all: Vec<_> = model.nodes.keys().copied().collect();
    for id in all {
        model.set_up(&id, true);
        model.set_side(&id, 0);
        if let Some(node) = model.nodes.get_mut(&id) {
            node.storage_ok = true;
            node.catch_up = revoada_core::model::CATCH_UP;
        }
    }
}

/// A random formation, explicit or by the number of members.
pub fn any_formation(rng: &mut Rng) -> Formation {
    let voters = [None, None, Some(1), Some(3), Some(3), Some(5)];
    let standbys = [None, None, Some(0), Some(1), Some(2)];
    Formation {
        voters: rng.pick(&voters).copied().flatten(),
        standbys: rng.pick(&standbys).copied().flatten(),
        ..Formation::default()
    }
}

/// One of several; among many mostly one with a replica, as what befalls the others concerns nobody.
fn victim(model: &Model, rng: &mut Rng, of: &[MemberId]) -> Option<MemberId> {
    if of.len() > 12 && rng.chance(60) {
        let replicas: Vec<_> = of.iter().filter(|id| model.raft.config.contains(id)).collect();
        if let Some(id) = rng.pick(&replicas) {
            return Some(**id);
        }
    }
    rng.pick(of).copied()
}

fn admitted(model: &Model) -> Vec<MemberId> {
    model
        .state()
        .into_iter()
        .flat_map(MeshState::members)
        .map(|(id, _)| id)
        .collect()
}

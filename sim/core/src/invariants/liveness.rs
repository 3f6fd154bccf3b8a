//! Left in peace, the cluster reaches its formation within a bounded time and then rests: no flapping.

use revoada_core::model::Model;
use revoada_core::role::Role;

use super::{Broken, Watch};

const SHAPE: &str = "the formation is reached after the last fault";
const QUIET: &str = "no flapping";

/// The roles are what the formation asks for with the members there are.
pub fn shape_is_reached(model: &Model) -> Result<(), Broken> {
    let Some(leader) = model.raft.leader else {
        return Err(Broken::new(SHAPE, "there is no leader"));
    };
    let Some(view) = model.view(leader) else {
        return Err(Broken::new(SHAPE, "the leader has no state"));
    };
    let target = view.formation.resolve(view.eligible());
    if target.votes() == 0 {
        // Operators hold everyone back: whoever votes has to go on.
        return Ok(());
    }
    let count = |role: Role| view.members.values().filter(|member| member.role == role).count();
    let got = (count(Role::Voter), count(Role::Witness), count(Role::Standby));
    let want = (target.voters, target.witnesses, target.standbys);
    if got != want {
        let what = format!(
            "voters, witnesses, standbys are {got:?}, want {want:?}: {:?}",
            model.roles()
        );
        return Err(Broken::new(SHAPE, what));
    }
    if let Some((id, member)) = view.members.iter().find(|(_, member)| !member.may_be(member.role)) {
        let what = format!("{id} is a {} in spite of {:?}", member.role, member.hold);
        return Err(Broken::new(SHAPE, model.with_names(&what)));
    }
    if view
        .members
        .get(&leader)
        .is_none_or(|member| !member.may_be(Role::Voter))
    {
        return Err(Broken::new(SHAPE, "a member leads that is held back, or a witness"));
    }
    let raft = &view.raft;
    let agree = view.members.iter().all(|(id, member)| {
        member.role.votes() == raft.voters.contains(id) && member.role.is_replica() == raft.contains(id)
    });
    if raft.is_joint() || !agree || view.in_flight.is_some() {
        return Err(Broken::new(SHAPE, "Raft's configuration and the recorded roles differ"));
    }
    Ok(())
}

/// Nothing happened since the cluster was expected to rest.
pub fn is_quiet(watch: &Watch) -> Result<(), Broken> {
    match watch.after_settling.first() {
        None => Ok(()),
        Some(first) => Err(Broken::new(
            QUIET,
            format!("{} things happened, first: {first}", watch.after_settling.len()),
        )),
    }
}

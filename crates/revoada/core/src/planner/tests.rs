use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::command::MeshCommand;
use crate::formation::Formation;
use crate::model::{Happening, Model};
use crate::transition::Transition;
use crate::view::{Liveness, RaftView};

const NOW_MS: u64 = 1_000_000;

fn id(n: u8) -> MemberId {
    MemberId([n; 32])
}

fn member(role: Role) -> MemberView {
    MemberView {
        role,
        witness: role == Role::Witness,
        hold: None,
        cooling_until_ms: 0,
        liveness: Liveness::Alive { since_ms: 0 },
        zone: String::new(),
        lag: role.is_replica().then_some(0),
        replica_ready: role.is_replica(),
        storage_ok: true,
        version: String::new(),
    }
}

/// Members 1, 2, ... with these roles; member 1 leads.
fn view(roles: &[Role]) -> View {
    let members: BTreeMap<_, _> = (1u8..).map(id).zip(roles.iter().map(|role| member(*role))).collect();
    let with = |wanted: fn(Role) -> bool| {
        members
            .iter()
            .filter(move |(_, member)| wanted(member.role))
            .map(|(id, _)| *id)
            .collect()
    };
    let raft = RaftView {
        voters: with(Role::votes),
        outgoing: None,
        learners: with(|role| role == Role::Standby),
    };
    View {
        now_ms: NOW_MS,
        leader: id(1),
        members,
        raft,
        in_flight: None,
        formation: Formation::default(),
    }
}

fn dead(view: &mut View, n: u8) {
    let member = view.members.get_mut(&id(n)).unwrap();
    (member.liveness, member.lag) = (Liveness::Dead { since_ms: 0 }, None);
}

fn begun(view: &View) -> Option<(MemberId, Role, Role, Option<MemberId>)> {
    match plan(view, &Policy::default()).as_slice() {
        [] => None,
        [Decision::Begin(spec)] => Some((spec.member, spec.from, spec.to, spec.replaces)),
        other => panic!("want a transition: {other:?}"),
    }
}

use Role::{Standby, Voter, Witness, Worker};

#[test]
fn the_wanted_shape_is_left_alone() {
    for roles in [
        &[Voter][..],
        &[Voter, Standby],
        &[Voter, Voter, Voter],
        &[Voter, Voter, Voter, Standby],
        &[Voter, Voter, Voter, Voter, Voter, Standby, Standby, Worker],
        &[Voter, Voter, Witness],
        &[Voter, Voter, Voter, Voter, Witness],
    ] {
        assert_eq!(plan(&view(roles), &Policy::default()), [], "{roles:?}");
    }
}

#[test]
fn a_spare_that_is_not_fit_is_passed_over() {
    let shape = [Voter, Voter, Voter, Standby, Standby, Worker];
    let fixed = Formation {
        voters: Some(3),
        ..Formation::default()
    };
    let base = || {
        let mut view = view(&shape);
        view.formation = fixed;
        dead(&mut view, 3);
        view
    };
    assert_eq!(begun(&base()), Some((id(4), Standby, Voter, Some(id(3)))));
    let unfit: [fn(&mut MemberView); 6] = [
        |member| member.liveness = Liveness::Suspect { since_ms: 0 },
        |member| {
            member.liveness = Liveness::Alive {
                since_ms: NOW_MS - 1_999,
            }
        },
        |member| member.liveness = Liveness::Unknown,
        |member| member.storage_ok = false,
        |member| member.hold = Some(Hold::Drained),
        |member| member.hold = Some(Hold::Pinned(Standby)),
    ];
    for spoil in unfit {
        let mut view = base();
        spoil(view.members.get_mut(&id(4)).unwrap());
        assert_eq!(begun(&view), Some((id(5), Standby, Voter, Some(id(3)))));
    }
    // A cool-down only ranks: the dead voter is replaced all the same.
    let mut view = base();
    for n in 4..=6 {
        view.members.get_mut(&id(n)).unwrap().cooling_until_ms = NOW_MS + 1;
    }
    assert_eq!(begun(&view), Some((id(4), Standby, Voter, Some(id(3)))));
}

#[test]
fn a_death_is_waited_out_before_it_counts() {
    let mut view = view(&[Voter, Voter, Voter, Standby]);
    view.members.get_mut(&id(3)).unwrap().liveness = Liveness::Dead {
        since_ms: NOW_MS - 2_499,
    };
    assert_eq!(begun(&view), None);
    view.members.get_mut(&id(3)).unwrap().liveness = Liveness::Dead {
        since_ms: NOW_MS - 2_500,
    };
    assert_eq!(begun(&view), Some((id(4), Standby, Voter, Some(id(3)))));
}

#[test]
fn without_a_spare_a_dead_voter_keeps_its_seat() {
    let mut view = view(&[Voter, Voter, Voter]);
    dead(&mut view, 3);
    assert_eq!(begun(&view), None);
}

#[test]
fn an_even_set_gives_up_its_dead_seat() {
    let mut view = view(&[Voter, Voter, Voter, Voter, Worker]);
    dead(&mut view, 4);
    dead(&mut view, 5);
    assert_eq!(begun(&view), Some((id(4), Voter, Worker, None)));
}

#[test]
fn nothing_is_changed_without_a_live_majority() {
    let mut view = view(&[Voter, Voter, Voter, Standby, Worker]);
    dead(&mut view, 2);
    dead(&mut view, 3);
    assert_eq!(begun(&view), None);
}

#[test]
fn one_more_voter_only_if_the_next_one_is_at_hand() {
    let mut view = view(&[Voter, Standby, Worker]);
    view.members.get_mut(&id(3)).unwrap().liveness = Liveness::Unknown;
    assert_eq!(begun(&view), None);
    view.members.get_mut(&id(3)).unwrap().liveness = Liveness::Alive { since_ms: 0 };
    assert_eq!(begun(&view), Some((id(2), Standby, Voter, None)));
}

#[test]
fn a_witness_hands_leadership_on() {
    let mut view = view(&[Witness, Voter, Voter]);
    assert_eq!(
        plan(&view, &Policy::default()),
        [Decision::TransferLeadership {
            to: id(2),
            reason: "a witness does not lead".into()
        }]
    );
    // Not to one that lags or is gone.
    view.members.get_mut(&id(2)).unwrap().lag = Some(101);
    assert!(matches!(&plan(&view, &Policy::default())[..], [Decision::TransferLeadership { to, .. }] if *to == id(3)));
    dead(&mut view, 3);
    assert_eq!(plan(&view, &Policy::default()), []);
}

#[test]
fn what_raft_says_is_recorded_first() {
    let mut view = view(&[Voter, Voter, Worker, Standby]);
    view.raft.voters = [1, 3].map(id).into();
    view.raft.learners = [2].map(id).into();
    assert_eq!(begun(&view), Some((id(3), Worker, Voter, None)), "a gained vote first");
    view.members.get_mut(&id(3)).unwrap().role = Voter;
    assert_eq!(begun(&view), Some((id(2), Voter, Standby, None)));
    view.members.get_mut(&id(2)).unwrap().role = Standby;
    assert_eq!(begun(&view), Some((id(4), Standby, Worker, None)));
}

#[test]
fn strays_and_joint_remains_are_cleared() {
    let mut stray = view(&[Voter, Voter, Voter]);
    stray.raft.learners.insert(id(9));
    assert!(matches!(&plan(&stray, &Policy::default())[..], [Decision::Forget { member, .. }] if *member == id(9)));
    let mut joint = view(&[Voter, Voter, Voter]);
    joint.raft.outgoing = Some([1, 2].map(id).into());
    let voters = joint.raft.voters.clone();
    assert_eq!(plan(&joint, &Policy::default()), [Decision::FinishJoint { voters }]);
}

#[test]
fn a_replacement_prefers_an_empty_zone() {
    let mut view = view(&[Voter, Voter, Voter, Standby, Standby]);
    view.formation = Formation {
        voters: Some(3),
        ..Formation::default()
    };
    for (n, zone) in [(1, "x"), (2, "y"), (3, "z"), (4, "x"), (5, "z")] {
        view.members.get_mut(&id(n)).unwrap().zone = zone.into();
    }
    dead(&mut view, 3);
    assert_eq!(begun(&view), Some((id(5), Standby, Voter, Some(id(3)))));
    view.formation.spread = Spread::None;
    assert_eq!(begun(&view), Some((id(4), Standby, Voter, Some(id(3)))));
}

// ---- Properties ----

fn any_liveness() -> impl Strategy<Value = Liveness> {
    let since = 0..=NOW_MS;
    prop_oneof![
        5 => since.clone().prop_map(|since_ms| Liveness::Alive { since_ms }),
        1 => since.clone().prop_map(|since_ms| Liveness::Suspect { since_ms }),
        2 => since.prop_map(|since_ms| Liveness::Dead { since_ms }),
        1 => Just(Liveness::Unknown),
    ]
}

fn any_hold() -> impl Strategy<Value = Option<Hold>> {
    prop_oneof![
        6 => Just(None),
        1 => Just(Some(Hold::Drained)),
        1 => Just(Some(Hold::Pinned(Voter))),
        1 => Just(Some(Hold::Pinned(Standby))),
        1 => Just(Some(Hold::Pinned(Worker))),
    ]
}

prop_compose! {
    fn any_member()(
        role in prop_oneof![3 => Just(Voter), 1 => Just(Standby), 2 => Just(Worker), 1 => Just(Witness)],
        hold in any_hold(),
        cooling_until_ms in prop_oneof![3 => Just(0), 1 => NOW_MS..NOW_MS + 20_000],
        liveness in any_liveness(),
        zone in prop_oneof![Just(""), Just("x"), Just("y")],
        lag in proptest::option::of(0u64..300),
        replica_ready: bool,
        storage_ok in proptest::bool::weighted(0.9),
        recorded in proptest::bool::weighted(0.95),
    ) -> (Role, MemberView) {
        let mut view = member(role);
        if !recorded && role != Witness {
            view.role = Worker;
        }
        (role, MemberView { hold, cooling_until_ms, liveness, zone: zone.into(), lag, replica_ready, storage_ok, ..view })
    }
}

fn any_formation() -> impl Strategy<Value = Formation> {
    let voters = prop_oneof![Just(None), Just(Some(1)), Just(Some(3)), Just(Some(5)), Just(Some(7))];
    (voters, proptest::option::of(0u8..4)).prop_map(|(voters, standbys)| Formation {
        voters,
        standbys,
        spread: Spread::Zone,
    })
}

prop_compose! {
    fn any_view()(members in proptest::collection::vec(any_member(), 1..10), formation in any_formation()) -> View {
        let mut view = view(&vec![Worker; members.len()]);
        view.formation = formation;
        for (n, (role, member)) in (1u8..).zip(members) {
            if role.votes() {
                view.raft.voters.insert(id(n));
            } else if role == Standby {
                view.raft.learners.insert(id(n));
            }
            view.members.insert(id(n), member);
        }
        if let Some(first) = view.raft.voters.first() {
            view.leader = *first;
        }
        view
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The rules of safety, written a second time and independently.
    #[test]
    fn nothing_unsafe_is_decided(view in any_view()) {
        let policy = Policy::default();
        let decisions = plan(&view, &policy);
        prop_assert_eq!(&decisions, &plan(&view, &policy), "not deterministic");
        prop_assert!(decisions.len() <= 1);
        let alive = |id: &MemberId| *id == view.leader || view.members[id].liveness.is_alive();
        let before = &view.raft.voters;
        match decisions.first() {
            Some(Decision::TransferLeadership { to, .. }) => {
                let member = &view.members[to];
                prop_assert!(before.contains(to) && *to != view.leader && alive(to) && !member.witness);
                prop_assert!(member.storage_ok && member.lag.unwrap_or(u64::MAX) <= policy.lag_entries_max);
                prop_assert!(member.hold != Some(Hold::Drained));
            }
            Some(Decision::Begin(spec)) => {
                prop_assert!(spec.validate().is_ok(), "{:?}", spec);
                prop_assert_eq!(view.members[&spec.member].role, spec.from);
                let after = spec.target_voters(before);
                if after == *before {
                    return Ok(());
                }
                let live_before = before.iter().filter(|id| alive(id)).count();
                let live_after = after.iter().filter(|id| alive(id)).count();
                prop_assert!(2 * live_before > before.len(), "the old set cannot commit: {:?}", spec);
                prop_assert!(2 * live_after > after.len(), "the new set cannot go on: {:?}", spec);
                prop_assert!(after.len().abs_diff(before.len()) <= 1);
                for joining in after.difference(before) {
                    let member = &view.members[joining];
                    prop_assert!(alive(joining) && member.storage_ok, "{:?}", spec);
                    prop_assert!(!matches!(member.hold, Some(Hold::Drained | Hold::Pinned(Worker | Standby))));
                    prop_assert_eq!(spec.to == Witness, member.witness);
                }
                // Who loses a vote: surplus, held, failed, or given a better successor.
                if after.len() < before.len() {
                    let target = view.formation.resolve(view.eligible());
                    let held = matches!(
                        view.members[&spec.member].hold,
                        Some(Hold::Drained | Hold::Pinned(Worker | Standby))
                    );
                    let even_and_dead = before.len().is_multiple_of(2) && !alive(&spec.member);
                    prop_assert!(before.len() > target.votes() || held || even_and_dead, "{:?}", spec);
                }
            }
            Some(Decision::Forget { .. } | Decision::FinishJoint { .. }) => prop_assert!(false, "nothing to clear"),
            None => {}
        }
    }

    /// While a transition is in flight none is begun.
    #[test]
    fn one_at_a_time(mut view in any_view()) {
        let spec = TransitionSpec { member: id(1), from: Worker, to: Standby, replaces: None, reason: "".into() };
        let phase = Phase::Learning;
        view.in_flight = Some(Transition { id: 1, spec, phase, since_ms: 0, phase_since_ms: 0, block: None });
        for decision in plan(&view, &Policy::default()) {
            let allowed = matches!(decision, Decision::TransferLeadership { .. });
            prop_assert!(allowed);
        }
    }
}

fn any_command() -> impl Strategy<Value = (u8, u8)> {
    (0u8..8, 0u8..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever operators ask for: once everyone is alive and nobody asks for more, the wanted shape is reached
    /// and then nothing happens any more.
    #[test]
    fn the_shape_is_reached_and_stays(
        zones in proptest::collection::vec(0u8..3, 1..7),
        witness: bool,
        commands in proptest::collection::vec(any_command(), 0..8),
        formation in any_formation(),
    ) {
        let mut model = Model::found("m0", "z0");
        for (n, zone) in zones.iter().enumerate() {
            model.join(&format!("m{}", n + 1), &format!("z{zone}"), false);
        }
        if witness {
            model.join("w", "z9", true);
        }
        for (what, whom) in commands {
            let members: Vec<_> = model.nodes.keys().copied().collect();
            let member = members[usize::from(whom) % members.len()];
            let hold = match what {
                0 => Some(Hold::Drained),
                1 => Some(Hold::Pinned(Voter)),
                2 => Some(Hold::Pinned(Standby)),
                3 => Some(Hold::Pinned(Worker)),
                _ => None,
            };
            if what < 6 {
                model.propose(MeshCommand::Hold { member, hold });
            } else {
                model.propose(MeshCommand::SetFormation { formation });
            }
            model.run(1_500);
        }
        model.run(120_000);
        model.happenings.clear();
        model.run(60_000);
        let told: Vec<_> = model.happenings.iter().map(|(_, what)| model.describe(what)).collect();
        prop_assert!(told.is_empty(), "it does not come to rest: {:?}", told);

        let leader = model.raft.leader.unwrap();
        let view = model.view(leader).unwrap();
        let target = view.formation.resolve(view.eligible());
        let count = |role: Role| view.members.values().filter(|member| member.role == role).count();
        let got = (count(Voter), count(Witness), count(Standby));
        prop_assert_eq!(got, (target.voters, target.witnesses, target.standbys), "{:?}", model.roles());
        let held = view.members.values().all(|member| member.may_be(member.role));
        prop_assert!(held, "{:?}", model.roles());
    }
}

/// The executor of the model reports a refusal by the state as a happening: none may come from the planner.
#[test]
fn the_state_takes_what_the_planner_decides() {
    let mut model = Model::found("a", "");
    for name in ["b", "c", "d", "e", "f", "g"] {
        model.join(name, "", false);
    }
    model.run(30_000);
    let refused = model
        .happenings
        .iter()
        .any(|(_, what)| matches!(what, Happening::Refused(..)));
    assert!(!refused);
}

#[test]
fn a_slow_learner_makes_way_for_a_dead_voter() {
    let mut view = view(&[Voter, Voter, Voter, Standby, Worker]);
    view.formation = Formation {
        voters: Some(3),
        ..Formation::default()
    };
    let spec = TransitionSpec {
        member: id(5),
        from: Worker,
        to: Standby,
        replaces: None,
        reason: "".into(),
    };
    let phase = Phase::Learning;
    view.in_flight = Some(Transition {
        id: 1,
        spec,
        phase,
        since_ms: 0,
        phase_since_ms: 0,
        block: None,
    });
    view.raft.learners.insert(id(5));
    let policy = Policy::default();
    assert_eq!(preempt(&view, &policy), None);
    dead(&mut view, 3);
    let Some(Step::Abort { undo, .. }) = preempt(&view, &policy) else {
        panic!("not given up")
    };
    assert_eq!(undo, Some(id(5)));
    // What already replaces it is left alone, unless it can't and another could.
    let spec = &mut view.in_flight.as_mut().unwrap().spec;
    (spec.member, spec.from, spec.to, spec.replaces) = (id(4), Standby, Voter, Some(id(3)));
    assert_eq!(preempt(&view, &policy), None);
    dead(&mut view, 4);
    assert!(matches!(preempt(&view, &policy), Some(Step::Abort { undo: None, .. })));
    // Nor is anything that Raft has begun.
    view.raft.outgoing = Some(view.raft.voters.clone());
    assert_eq!(preempt(&view, &policy), None);
}

#[test]
fn a_demotion_that_became_unsafe_makes_way_for_a_dead_voter() {
    let mut view = view(&[Voter, Voter, Voter, Worker]);
    view.formation = Formation {
        voters: Some(3),
        ..Formation::default()
    };
    let spec = TransitionSpec {
        member: id(2),
        from: Voter,
        to: Worker,
        replaces: None,
        reason: "".into(),
    };
    let phase = Phase::Proposed;
    view.in_flight = Some(Transition {
        id: 1,
        spec,
        phase,
        since_ms: 0,
        phase_since_ms: 0,
        block: None,
    });
    let policy = Policy::default();
    assert_eq!(preempt(&view, &policy), None);
    dead(&mut view, 3);
    assert!(matches!(preempt(&view, &policy), Some(Step::Abort { undo: None, .. })));
    // Not without anyone to take the seat, and not once Raft has begun.
    let mut alone = view.clone();
    dead(&mut alone, 4);
    assert_eq!(preempt(&alone, &policy), None);
    view.raft.outgoing = Some(view.raft.voters.clone());
    assert_eq!(preempt(&view, &policy), None);
}

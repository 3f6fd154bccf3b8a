use super::*;

fn id(n: u8) -> MemberId {
    MemberId([n; 32])
}

fn set(ids: &[u8]) -> BTreeSet<MemberId> {
    ids.iter().copied().map(id).collect()
}

fn raft(voters: &[u8], learners: &[u8]) -> RaftView {
    RaftView {
        voters: set(voters),
        outgoing: None,
        learners: set(learners),
    }
}

fn transition(phase: Phase, member: u8, from: Role, to: Role, replaces: Option<u8>) -> Transition {
    let spec = TransitionSpec {
        member: id(member),
        from,
        to,
        replaces: replaces.map(id),
        reason: "test".into(),
    };
    Transition {
        id: 1,
        spec,
        phase,
        since_ms: 0,
        phase_since_ms: 0,
        block: None,
    }
}

fn step(t: &Transition, raft: &RaftView, live: &[u8], lag: Option<u64>, in_phase_ms: u64) -> Step {
    let clock = PhaseClock {
        in_phase_ms,
        since_progress_ms: in_phase_ms,
    };
    next_step(
        t,
        raft,
        &ProgressView { live: set(live), lag },
        clock,
        &Policy::default(),
    )
}

#[test]
fn a_dead_voter_is_replaced_by_a_standby_in_one_joint_change() {
    let t = |phase| transition(phase, 4, Role::Standby, Role::Voter, Some(3));
    let before = raft(&[1, 2, 3], &[4]);
    assert_eq!(
        step(&t(Phase::Proposed), &before, &[1, 2, 4], Some(0), 0),
        Step::Advance(Phase::Joint)
    );
    let change = Step::ChangeVoters {
        voters: set(&[1, 2, 4]),
        keep_as_learner: set(&[]),
    };
    assert_eq!(step(&t(Phase::Joint), &before, &[1, 2, 4], Some(0), 0), change);
    let joint = RaftView {
        voters: set(&[1, 2, 4]),
        outgoing: Some(set(&[1, 2, 3])),
        learners: set(&[]),
    };
    // Whatever the phase says, the same step finishes the joint configuration.
    for phase in [Phase::Proposed, Phase::CaughtUp, Phase::Joint] {
        assert_eq!(step(&t(phase), &joint, &[1, 2, 4], Some(0), 99_000), change);
        assert_eq!(
            step(&t(phase), &raft(&[1, 2, 4], &[]), &[1, 2, 4], None, 0),
            Step::Advance(Phase::Committed)
        );
    }
    assert_eq!(
        step(&t(Phase::Committed), &raft(&[1, 2, 4], &[]), &[1, 2, 4], None, 0),
        Step::Wait
    );
}

#[test]
fn a_live_replaced_voter_stays_a_learner_until_it_is_through() {
    let t = transition(Phase::Joint, 4, Role::Standby, Role::Voter, Some(3));
    let change = Step::ChangeVoters {
        voters: set(&[1, 2, 4]),
        keep_as_learner: set(&[3]),
    };
    assert_eq!(step(&t, &raft(&[1, 2, 3], &[4]), &[1, 2, 3, 4], Some(0), 0), change);
    assert_eq!(
        step(&t, &raft(&[1, 2, 4], &[3]), &[1, 2, 3, 4], None, 0),
        Step::RemoveLearner(id(3))
    );
}

#[test]
fn a_worker_learns_first() {
    let t = |phase| transition(phase, 4, Role::Worker, Role::Voter, None);
    let empty = raft(&[1], &[]);
    let learning = raft(&[1], &[4]);
    assert_eq!(
        step(&t(Phase::Proposed), &empty, &[1, 4], None, 0),
        Step::Advance(Phase::Learning)
    );
    assert_eq!(
        step(&t(Phase::Learning), &empty, &[1, 4], None, 0),
        Step::AddLearner(id(4))
    );
    assert_eq!(step(&t(Phase::Learning), &learning, &[1, 4], Some(5000), 0), Step::Wait);
    assert_eq!(
        step(&t(Phase::Learning), &learning, &[1, 4], Some(100), 0),
        Step::Advance(Phase::CaughtUp)
    );
    assert_eq!(
        step(&t(Phase::CaughtUp), &learning, &[1, 4], Some(100), 0),
        Step::Advance(Phase::Joint)
    );
    // It fell behind again: nothing is begun.
    assert_eq!(step(&t(Phase::CaughtUp), &learning, &[1, 4], Some(101), 0), Step::Wait);
}

#[test]
fn a_learner_is_given_up_when_it_stalls_dies_or_takes_for_ever() {
    let t = transition(Phase::Learning, 4, Role::Worker, Role::Standby, None);
    let learning = raft(&[1], &[4]);
    let undone = |step: Step| matches!(step, Step::Abort { undo: Some(member), .. } if member == id(4));
    assert_eq!(step(&t, &learning, &[1, 4], Some(5000), 29_999), Step::Wait);
    assert!(undone(step(&t, &learning, &[1, 4], Some(5000), 30_000)));
    assert_eq!(step(&t, &learning, &[1], Some(5000), 4_999), Step::Wait);
    assert!(undone(step(&t, &learning, &[1], Some(5000), 5_000)));
    let moving = |in_phase_ms| {
        let clock = PhaseClock {
            in_phase_ms,
            since_progress_ms: 10,
        };
        let progress = ProgressView {
            live: set(&[1, 4]),
            lag: Some(5000),
        };
        next_step(&t, &learning, &progress, clock, &Policy::default())
    };
    assert_eq!(moving(599_999), Step::Wait);
    assert!(undone(moving(600_000)));
}

#[test]
fn a_joint_change_that_cannot_commit_is_not_begun() {
    let t = |phase| transition(phase, 4, Role::Standby, Role::Voter, Some(3));
    let before = raft(&[1, 2, 3], &[4]);
    // Neither without the member itself nor without a majority of the old or the new set.
    for live in [&[1, 2][..], &[1, 4], &[1]] {
        for phase in [Phase::Proposed, Phase::CaughtUp, Phase::Joint] {
            assert_eq!(
                step(&t(phase), &before, live, Some(0), 9_999),
                Step::Wait,
                "{live:?} {phase}"
            );
            let Step::Abort { undo, .. } = step(&t(phase), &before, live, Some(0), 10_000) else {
                panic!("{live:?} {phase}: not given up");
            };
            assert_eq!(undo, None, "a standby stays one");
        }
    }
}

#[test]
fn demotions() {
    let to_worker = |phase| transition(phase, 3, Role::Voter, Role::Worker, None);
    let three = raft(&[1, 2, 3], &[]);
    assert_eq!(
        step(&to_worker(Phase::Proposed), &three, &[1, 2, 3], None, 0),
        Step::Advance(Phase::Joint)
    );
    let dropped = Step::ChangeVoters {
        voters: set(&[1, 2]),
        keep_as_learner: set(&[]),
    };
    let kept = Step::ChangeVoters {
        voters: set(&[1, 2]),
        keep_as_learner: set(&[3]),
    };
    assert_eq!(step(&to_worker(Phase::Joint), &three, &[1, 2, 3], None, 0), kept);
    assert_eq!(step(&to_worker(Phase::Joint), &three, &[1, 2], None, 0), dropped);
    assert_eq!(
        step(&to_worker(Phase::Joint), &raft(&[1, 2], &[3]), &[1, 2], None, 0),
        Step::RemoveLearner(id(3))
    );
    assert_eq!(
        step(&to_worker(Phase::Joint), &raft(&[1, 2], &[]), &[1, 2], None, 0),
        Step::Advance(Phase::Committed)
    );
    assert_eq!(step(&to_worker(Phase::Proposed), &three, &[1], None, 0), Step::Wait);

    let to_standby = |phase| transition(phase, 3, Role::Voter, Role::Standby, None);
    assert_eq!(step(&to_standby(Phase::Joint), &three, &[1, 2, 3], None, 0), kept);
    let done = raft(&[1, 2], &[3]);
    assert_eq!(
        step(&to_standby(Phase::Joint), &done, &[1, 2, 3], None, 0),
        Step::Advance(Phase::Committed)
    );
    assert_eq!(
        step(&to_standby(Phase::Joint), &raft(&[1, 2], &[]), &[1, 2, 3], None, 0),
        Step::AddLearner(id(3))
    );

    let standby = |phase| transition(phase, 3, Role::Standby, Role::Worker, None);
    assert_eq!(
        step(&standby(Phase::Proposed), &done, &[1, 2], None, 0),
        Step::RemoveLearner(id(3))
    );
    assert_eq!(
        step(&standby(Phase::Proposed), &raft(&[1, 2], &[]), &[1], None, 0),
        Step::Advance(Phase::Committed)
    );
}

#[test]
fn senseless_requests_are_refused() {
    let check = |from, to, replaces| transition(Phase::Proposed, 3, from, to, replaces).spec.validate();
    assert!(check(Role::Voter, Role::Voter, None).is_err());
    assert!(check(Role::Voter, Role::Witness, None).is_err());
    assert!(check(Role::Worker, Role::Standby, Some(2)).is_err());
    assert!(check(Role::Worker, Role::Voter, Some(3)).is_err());
    assert!(check(Role::Worker, Role::Voter, Some(2)).is_ok());
}

use proptest::prelude::*;

use super::*;
use crate::chain::{sign_recover, sign_seal};
use crate::key::SecretKey;
use crate::transition::TransitionSpec;

const NOW_MS: u64 = 1_800_000_000_000;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

fn id(n: u8) -> MemberId {
    key(n).member_id()
}

struct Cluster {
    state: MeshState,
    index: u64,
    now_ms: u64,
}

impl Cluster {
    /// Founded by member 1, with a ticket of secret hash 9 for many.
    fn new() -> Self {
        let mut cluster = Self {
            state: MeshState::default(),
            index: 0,
            now_ms: NOW_MS,
        };
        let genesis = Genesis {
            founder: id(1),
            founder_name: "n1".into(),
            created_ms: 0,
            salt: Hash32([0; 32]),
        };
        cluster.ok(MeshCommand::Found { genesis });
        cluster.ok(ticket(9, NOW_MS + 1_000_000, 100));
        cluster
    }

    fn apply(&mut self, command: MeshCommand) -> MeshOutcome {
        self.index += 1;
        self.state.apply(
            LogPosition {
                index: self.index,
                term: 1,
            },
            self.now_ms,
            id(1),
            &command,
        )
    }

    fn ok(&mut self, command: MeshCommand) -> MeshOutcome {
        self.apply(command).into_result().expect("not refused")
    }

    fn refused(&mut self, command: MeshCommand) -> MeshRefusal {
        let before = self.state.encode().unwrap();
        let refusal = self.apply(command).into_result().expect_err("refused");
        // Nothing but the position changed.
        let mut after = self.state.clone();
        after.applied_index -= 1;
        assert_eq!(after.encode().unwrap(), before);
        refusal
    }

    fn join(&mut self, n: u8) {
        self.ok(admit(n, &format!("n{n}"), 9));
    }

    fn change(&mut self, n: u8, from: Role, to: Role, replaces: Option<u8>) {
        let MeshOutcome::TransitionStarted { id } = self.ok(begin(n, from, to, replaces)) else {
            panic!("not begun")
        };
        self.ok(MeshCommand::AdvanceTransition {
            id,
            phase: Phase::Committed,
        });
    }
}

fn ticket(secret: u8, expires_ms: u64, uses: u32) -> MeshCommand {
    MeshCommand::IssueTicket {
        secret_hash: Hash32([secret; 32]),
        expires_ms,
        uses,
        witness: false,
    }
}

fn admit(n: u8, name: &str, secret: u8) -> MeshCommand {
    MeshCommand::Admit {
        member: id(n),
        name: name.into(),
        witness: false,
        secret_hash: Hash32([secret; 32]),
    }
}

fn begin(n: u8, from: Role, to: Role, replaces: Option<u8>) -> MeshCommand {
    let replaces = replaces.map(id);
    MeshCommand::BeginTransition {
        spec: TransitionSpec {
            member: id(n),
            from,
            to,
            replaces,
            reason: "test".into(),
        },
    }
}

#[test]
fn tickets_admit_as_often_and_as_long_as_they_say() {
    let mut cluster = Cluster::new();
    cluster.ok(ticket(1, NOW_MS + 500, 1));
    assert_eq!(cluster.refused(admit(2, "n2", 8)), MeshRefusal::TicketUnknown);
    cluster.ok(admit(2, "n2", 1));
    assert_eq!(
        cluster.refused(admit(3, "n3", 1)),
        MeshRefusal::TicketUsedUp { uses: 1 }
    );
    // The same member again spends nothing and needs no valid ticket.
    let again = cluster.ok(admit(2, "n2", 1));
    assert!(matches!(again, MeshOutcome::Admitted { again: true, .. }));
    assert_eq!(
        cluster.refused(admit(2, "other", 9)),
        MeshRefusal::AdmittedAs { name: "n2".into() }
    );
    assert_eq!(
        cluster.refused(admit(3, "n2", 9)),
        MeshRefusal::NameTaken {
            name: "n2".into(),
            member: id(2)
        }
    );
    assert!(matches!(
        cluster.refused(admit(3, "No_Label", 9)),
        MeshRefusal::Chain { .. }
    ));
    cluster.ok(ticket(2, NOW_MS + 500, 5));
    cluster.now_ms += 61_000;
    let expired = cluster.refused(admit(3, "n3", 2));
    assert_eq!(
        expired.to_string(),
        "the ticket expired 60 s ago: make a new one with `engenho ticket`"
    );
    cluster.ok(admit(3, "n3", 9));
    assert_eq!(cluster.refused(ticket(3, NOW_MS, 1)), MeshRefusal::TicketUseless);
    assert_eq!(
        cluster.ok(MeshCommand::RevokeTickets),
        MeshOutcome::TicketsRevoked { count: 1 }
    );
    assert_eq!(cluster.refused(admit(4, "n4", 9)), MeshRefusal::TicketUnknown);
}

#[test]
fn a_replica_cannot_go_and_an_expelled_key_cannot_return() {
    let mut cluster = Cluster::new();
    cluster.join(2);
    cluster.join(3);
    cluster.change(2, Role::Worker, Role::Standby, None);
    let leave = |n| MeshCommand::Leave { member: id(n) };
    let expel = |n| MeshCommand::Expel {
        member: id(n),
        reason: "lost".into(),
    };
    assert_eq!(
        cluster.refused(leave(1)),
        MeshRefusal::StillReplica {
            member: id(1),
            role: Role::Voter
        }
    );
    assert_eq!(
        cluster.refused(expel(2)),
        MeshRefusal::StillReplica {
            member: id(2),
            role: Role::Standby
        }
    );
    assert_eq!(cluster.refused(leave(7)), MeshRefusal::NotAdmitted { member: id(7) });
    cluster.change(2, Role::Standby, Role::Worker, None);

    let MeshOutcome::TransitionStarted { id: transition } = cluster.ok(begin(2, Role::Worker, Role::Voter, None))
    else {
        panic!("not begun")
    };
    assert_eq!(
        cluster.refused(expel(2)),
        MeshRefusal::InTransition {
            member: id(2),
            id: transition
        }
    );
    cluster.ok(MeshCommand::AbortTransition {
        id: transition,
        reason: "test".into(),
    });

    cluster.ok(expel(2));
    cluster.ok(expel(2));
    assert_eq!(
        cluster.refused(admit(2, "n2", 9)),
        MeshRefusal::KeyExpelled { member: id(2) }
    );
    // Who left may return, and its name is free again at once.
    cluster.ok(leave(3));
    cluster.ok(admit(4, "n3", 9));
    assert!(matches!(
        cluster.refused(admit(3, "n3", 9)),
        MeshRefusal::NameTaken { .. }
    ));
    cluster.ok(admit(3, "n5", 9));
}

#[test]
fn transitions_go_forward_one_at_a_time() {
    let mut cluster = Cluster::new();
    cluster.join(2);
    cluster.join(3);
    assert!(matches!(
        cluster.refused(begin(2, Role::Standby, Role::Voter, None)),
        MeshRefusal::Chain { .. }
    ));
    assert!(matches!(
        cluster.refused(begin(2, Role::Worker, Role::Worker, None)),
        MeshRefusal::BadTransition { .. }
    ));
    assert_eq!(
        cluster.ok(begin(2, Role::Worker, Role::Voter, None)),
        MeshOutcome::TransitionStarted { id: 1 }
    );
    assert_eq!(
        cluster.refused(begin(3, Role::Worker, Role::Voter, None)),
        MeshRefusal::TransitionInFlight { id: 1 }
    );
    let to = |id, phase| MeshCommand::AdvanceTransition { id, phase };
    cluster.ok(to(1, Phase::CaughtUp));
    cluster.ok(to(1, Phase::CaughtUp));
    assert!(matches!(
        cluster.refused(to(1, Phase::Learning)),
        MeshRefusal::PhaseOrder { .. }
    ));
    assert!(matches!(
        cluster.refused(to(1, Phase::Sealed)),
        MeshRefusal::PhaseOrder { .. }
    ));
    assert_eq!(
        cluster.refused(to(2, Phase::Joint)),
        MeshRefusal::StaleTransition { id: 2 }
    );
    let done = MeshOutcome::TransitionAt {
        id: 1,
        phase: Phase::Committed,
    };
    assert_eq!(cluster.ok(to(1, Phase::Committed)), done);
    assert_eq!(cluster.ok(to(1, Phase::Committed)), done);
    assert_eq!(cluster.ok(to(1, Phase::Joint)), done);
    assert_eq!(cluster.state.role(&id(2)), Some(Role::Voter));
    assert_eq!(cluster.state.in_flight(), None);

    // A replacement, and its seal.
    cluster.change(3, Role::Worker, Role::Voter, Some(1));
    assert_eq!(cluster.state.role(&id(1)), Some(Role::Worker));
    let chain = cluster.state.chain().unwrap();
    let (height, head, name) = (chain.height(), chain.head(), chain.cluster());
    let parts = [1, 2, 3].map(|n| sign_seal(&key(n), name, height, head));
    let seal = Seal::assemble(height, head, parts.clone());
    let forged = Seal::assemble(height, head, parts.into_iter().take(1));
    assert!(matches!(
        cluster.refused(MeshCommand::Seal { seal: forged }),
        MeshRefusal::Chain { .. }
    ));
    assert_eq!(
        cluster.ok(MeshCommand::Seal { seal: seal.clone() }),
        MeshOutcome::Sealed { index: height }
    );
    cluster.ok(MeshCommand::Seal { seal });
    assert!(
        cluster
            .state
            .ended()
            .all(|transition| transition.phase == Phase::Sealed)
    );
    assert_eq!(cluster.state.seals().len(), 1);
}

#[test]
fn a_demoted_member_cools_down_longer_each_time() {
    let mut cluster = Cluster::new();
    cluster.join(2);
    let cooling_s = |cluster: &Cluster| cluster.state.cooling_until_ms(&id(2)).saturating_sub(cluster.now_ms) / 1000;
    let mut seen = Vec::new();
    for _ in 0..8 {
        cluster.change(2, Role::Worker, Role::Standby, None);
        cluster.change(2, Role::Standby, Role::Worker, None);
        seen.push(cooling_s(&cluster));
        cluster.now_ms += 1_000;
    }
    assert_eq!(seen, [10, 20, 40, 80, 160, 320, 600, 600]);
    // An operator's word starts anew, and so does a long quiet time.
    cluster.ok(MeshCommand::Hold {
        member: id(2),
        hold: None,
    });
    assert_eq!(cooling_s(&cluster), 0);
    cluster.change(2, Role::Worker, Role::Standby, None);
    cluster.change(2, Role::Standby, Role::Worker, None);
    assert_eq!(cooling_s(&cluster), 10);
    cluster.now_ms += FLAP_WINDOW_MS;
    cluster.change(2, Role::Worker, Role::Standby, None);
    cluster.change(2, Role::Standby, Role::Worker, None);
    assert_eq!(cooling_s(&cluster), 10);
}

#[test]
fn holds_must_leave_somebody() {
    let mut cluster = Cluster::new();
    let hold = |n, hold| MeshCommand::Hold { member: id(n), hold };
    assert_eq!(
        cluster.refused(hold(1, Some(Hold::Drained))),
        MeshRefusal::NobodyLeft { member: id(1) }
    );
    cluster.join(2);
    cluster.ok(hold(1, Some(Hold::Drained)));
    assert_eq!(
        cluster.refused(hold(2, Some(Hold::Pinned(Role::Standby)))),
        MeshRefusal::NobodyLeft { member: id(2) }
    );
    assert!(matches!(
        cluster.refused(hold(2, Some(Hold::Pinned(Role::Witness)))),
        MeshRefusal::BadHold { .. }
    ));
    assert_eq!(cluster.state.hold(&id(1)), Some(Hold::Drained));
    cluster.ok(hold(1, None));
    assert_eq!(cluster.state.hold(&id(1)), None);
}

#[test]
fn recovery_fences_the_rest() {
    let mut cluster = Cluster::new();
    for n in 2..=4 {
        cluster.join(n);
    }
    cluster.change(2, Role::Worker, Role::Voter, None);
    cluster.change(3, Role::Worker, Role::Voter, None);
    cluster.ok(begin(4, Role::Worker, Role::Standby, None));
    cluster.ok(MeshCommand::Hold {
        member: id(3),
        hold: Some(Hold::Drained),
    });
    let Event::Recover {
        epoch,
        survivor,
        keep,
        signature,
    } = sign_recover(&key(3), cluster.state.chain().unwrap(), [id(4)])
    else {
        panic!("not a recovery")
    };
    let recover = |signature| MeshCommand::Recover {
        epoch,
        survivor,
        keep: keep.clone(),
        signature,
    };
    assert!(matches!(cluster.refused(recover([0; 64])), MeshRefusal::Chain { .. }));
    assert_eq!(cluster.ok(recover(signature)), MeshOutcome::Recovered { epoch: 2 });
    assert_eq!(cluster.ok(recover(signature)), MeshOutcome::Recovered { epoch: 2 });
    assert_eq!(cluster.state.role(&id(3)), Some(Role::Voter));
    assert_eq!(cluster.state.role(&id(4)), Some(Role::Worker));
    assert_eq!(cluster.state.hold(&id(3)), None);
    assert_eq!(cluster.state.in_flight(), None);
    assert_eq!(
        cluster.refused(admit(1, "n1", 9)),
        MeshRefusal::KeyFenced {
            member: id(1),
            epoch: 2
        }
    );
}

#[test]
fn nothing_but_found_comes_first() {
    let mut state = MeshState::default();
    let at = LogPosition { index: 1, term: 1 };
    let outcome = state.apply(at, NOW_MS, id(1), &MeshCommand::RevokeTickets);
    assert_eq!(outcome, MeshOutcome::Refused(MeshRefusal::NotFounded));
    let mut cluster = Cluster::new();
    let genesis = |name: &str| MeshCommand::Found {
        genesis: Genesis {
            founder: id(1),
            founder_name: name.into(),
            created_ms: 0,
            salt: Hash32([0; 32]),
        },
    };
    cluster.ok(genesis("n1"));
    assert!(matches!(
        cluster.refused(genesis("n7")),
        MeshRefusal::AlreadyFounded { .. }
    ));
}

#[test]
fn a_snapshot_that_was_tampered_with_is_refused() {
    let mut cluster = Cluster::new();
    cluster.join(2);
    cluster.join(3);
    let bytes = cluster.state.encode().unwrap();
    assert_eq!(MeshState::decode(&bytes).as_ref(), Ok(&cluster.state));
    let mut shorter = cluster.state.clone();
    shorter.blocks.pop();
    assert!(matches!(
        MeshState::decode(&shorter.encode().unwrap()),
        Err(CodecError::Damaged { .. })
    ));
    for cut in [0, 1, 2, bytes.len() / 2, bytes.len() - 1] {
        assert!(MeshState::decode(&bytes[..cut]).is_err());
    }
}

fn any_command() -> impl Strategy<Value = MeshCommand> {
    let member = || (1u8..6).prop_map(id);
    let role = || {
        prop_oneof![
            Just(Role::Worker),
            Just(Role::Standby),
            Just(Role::Voter),
            Just(Role::Witness)
        ]
    };
    let phase = prop_oneof![
        Just(Phase::Learning),
        Just(Phase::Joint),
        Just(Phase::Committed),
        Just(Phase::Sealed)
    ];
    prop_oneof![
        4 => (1u8..6, 1u8..4, 0u8..3, any::<bool>()).prop_map(|(n, name, secret, witness)| MeshCommand::Admit {
            member: id(n), name: format!("n{name}"), witness, secret_hash: Hash32([secret; 32]),
        }),
        2 => member().prop_map(|member| MeshCommand::Leave { member }),
        1 => member().prop_map(|member| MeshCommand::Expel { member, reason: "bad".into() }),
        2 => (0u8..3, 0u64..100_000, 0u32..3).prop_map(|(secret, after, uses)| ticket(secret, NOW_MS + after, uses)),
        1 => Just(MeshCommand::RevokeTickets),
        1 => proptest::option::of(0u8..9).prop_map(|voters| MeshCommand::SetFormation {
            formation: Formation { voters, ..Formation::default() },
        }),
        2 => (member(), proptest::option::of(role())).prop_map(|(member, role)| MeshCommand::Hold {
            member, hold: role.map(Hold::Pinned),
        }),
        6 => (member(), role(), role(), proptest::option::of(member())).prop_map(|(member, from, to, replaces)| {
            let replaces = replaces.filter(|_| to.votes());
            MeshCommand::BeginTransition { spec: TransitionSpec { member, from, to, replaces, reason: "x".into() } }
        }),
        6 => (0u64..20, phase).prop_map(|(id, phase)| MeshCommand::AdvanceTransition { id, phase }),
        2 => (0u64..20).prop_map(|id| MeshCommand::AbortTransition { id, reason: "x".into() }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any sequence of commands: replicas agree, snapshots are faithful, names are unique, somebody votes.
    #[test]
    fn replicas_agree(commands in proptest::collection::vec((any_command(), 0u64..20_000), 1..60), cut in 0usize..60) {
        let mut cluster = Cluster::new();
        let mut copy = cluster.state.clone();
        for (at, (command, later_ms)) in commands.into_iter().enumerate() {
            if at == cut {
                copy = MeshState::decode(&copy.encode().unwrap()).unwrap();
            }
            cluster.now_ms += later_ms;
            // Ids of transitions are guessed by the strategy; most often the one in flight is meant.
            let command = match (command, cluster.state.in_flight()) {
                (MeshCommand::AdvanceTransition { id, phase }, Some(t)) if id % 3 > 0 => {
                    MeshCommand::AdvanceTransition { id: t.id, phase }
                }
                (command, _) => command,
            };
            let outcome = cluster.apply(command.clone());
            let position = LogPosition { index: cluster.index, term: 1 };
            prop_assert_eq!(&copy.apply(position, cluster.now_ms, id(1), &command), &outcome);
            prop_assert_eq!(MeshOutcome::decode(&outcome.encode().unwrap()), Ok(outcome));
        }
        prop_assert_eq!(&copy, &cluster.state);
        let names: Vec<_> = cluster.state.members().map(|(_, member)| &member.name).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        prop_assert_eq!(names.len(), distinct.len());
        prop_assert!(cluster.state.members().any(|(_, member)| member.role.votes()));
    }
}

use proptest::prelude::*;

use super::*;
use crate::record::Record;

fn at(order: u64) -> Stamp {
    Stamp { order, at_ms: order }
}

fn op(client: u32, times: (u64, u64), call: Call, outcome: Outcome) -> Op {
    let is_known = outcome != Outcome::Unknown;
    Op {
        client,
        machine: 0,
        key: "/k".into(),
        call,
        invoked: at(times.0),
        returned: is_known.then(|| at(times.1)),
        outcome,
    }
}

fn create(value: &str) -> Call {
    Call::Create { value: value.into() }
}

fn update(value: &str, expected: Option<u64>) -> Call {
    Call::Update {
        value: value.into(),
        expected,
    }
}

fn found(value: &str, revision: u64) -> Outcome {
    Outcome::Found {
        value: value.into(),
        revision,
    }
}

const fn written(revision: u64) -> Outcome {
    Outcome::Written { revision }
}

fn verdict(ops: Vec<Op>) -> Option<String> {
    let record = Record {
        ops,
        ..Record::default()
    };
    check(&Facts::new(&record)).err().map(|broken| broken.what)
}

#[test]
fn reads_may_see_either_side_of_a_write_under_way() {
    for outcome in [found("a", 2), found("b", 3)] {
        let ops = vec![
            op(1, (1, 2), create("a"), written(2)),
            op(1, (3, 10), update("b", None), written(3)),
            op(2, (4, 5), Call::Get, outcome),
        ];
        assert_eq!(verdict(ops), None);
    }
}

#[test]
fn a_stale_read_is_explained() {
    let ops = vec![
        op(1, (1, 2), create("a"), written(2)),
        op(1, (3, 4), update("b", Some(2)), written(3)),
        op(2, (5, 6), Call::Get, found("a", 2)),
        op(2, (7, 8), Call::Get, found("b", 3)),
    ];
    let what = verdict(ops).unwrap();
    assert!(
        what.contains("client 2 at machine 0, 0.005 s .. 0.006 s: get /k -> a, revision 2"),
        "{what}"
    );
    assert!(what.contains("tried: the key is at revision 3, after"), "{what}");
}

#[test]
fn reads_never_go_back() {
    let ops = vec![
        op(1, (1, 2), create("a"), written(2)),
        op(1, (3, 20), update("b", None), Outcome::Unknown),
        op(2, (4, 5), Call::Get, found("b", 3)),
        op(3, (6, 7), Call::Get, found("a", 2)),
    ];
    assert!(verdict(ops).is_some());
}

#[test]
fn unknown_writes_may_happen_late_or_never() {
    let base = || {
        vec![
            op(1, (1, 2), create("a"), written(2)),
            op(1, (3, 0), update("b", None), Outcome::Unknown),
            op(2, (4, 5), Call::Get, found("a", 2)),
        ]
    };
    assert_eq!(verdict(base()), None);
    let mut late = base();
    late.push(op(2, (6, 7), Call::Get, found("b", 3)));
    assert_eq!(verdict(late), None);
    // A delete that nobody was answered.
    let mut gone = base();
    gone.push(op(3, (6, 0), Call::Delete { expected: Some(2) }, Outcome::Unknown));
    gone.push(op(2, (7, 8), Call::Get, Outcome::Absent));
    assert_eq!(verdict(gone), None);
    // Nobody deleted it.
    let mut wrong = base();
    wrong.push(op(2, (7, 8), Call::Get, Outcome::Absent));
    assert!(verdict(wrong).is_some());
    // Not before it was asked for.
    let early = vec![
        op(2, (1, 2), Call::Get, found("b", 3)),
        op(1, (3, 0), create("b"), Outcome::Unknown),
    ];
    assert!(verdict(early).is_some());
}

#[test]
fn a_write_that_nobody_found_can_explain_a_conflict() {
    let ops = |unknown: Call| {
        vec![
            op(1, (1, 2), create("a"), written(2)),
            op(1, (3, 0), unknown, Outcome::Unknown),
            op(2, (4, 5), update("c", Some(2)), Outcome::Conflict),
            op(2, (6, 7), update("d", Some(4)), written(5)),
            op(2, (8, 9), Call::Get, found("d", 5)),
        ]
    };
    assert_eq!(verdict(ops(update("b", None))), None);
    assert_eq!(verdict(ops(update("b", Some(2)))), None);
    assert!(verdict(ops(update("b", Some(1)))).is_some());
    assert!(verdict(ops(create("b"))).is_some());
}

#[test]
fn conditions_are_held_against_the_state() {
    let wrongs = [
        (create("b"), written(3)),
        (update("b", Some(1)), written(3)),
        (update("b", Some(2)), Outcome::Conflict),
        (update("b", None), Outcome::Absent),
        (Call::Delete { expected: Some(1) }, written(3)),
        (Call::Delete { expected: None }, Outcome::Absent),
        (Call::Get, Outcome::Absent),
        (Call::Get, found("a", 9)),
        (Call::Get, found("x", 2)),
        (create("b"), written(2)),
    ];
    for (call, outcome) in wrongs {
        let ops = vec![op(1, (1, 2), create("a"), written(2)), op(1, (3, 4), call, outcome)];
        assert!(verdict(ops.clone()).is_some(), "{}", ops[1]);
    }
    let rights = [
        (create("b"), Outcome::Exists),
        (update("b", Some(1)), Outcome::Conflict),
        (update("b", Some(2)), written(3)),
        (update("b", None), written(0)),
        (Call::Delete { expected: Some(2) }, written(0)),
        (Call::Get, Outcome::Refused { code: 503 }),
    ];
    for (call, outcome) in rights {
        let ops = vec![op(1, (1, 2), create("a"), written(2)), op(1, (3, 4), call, outcome)];
        assert_eq!(verdict(ops.clone()), None, "{}", ops[1]);
    }
}

#[test]
fn revisions_order_writes() {
    let ops = vec![
        op(1, (1, 2), create("a"), written(5)),
        op(1, (3, 4), update("b", None), written(4)),
    ];
    assert!(verdict(ops).is_some());
}

/// What is too hard is said to be, and counts as broken.
#[test]
fn giving_up_is_a_failure() {
    let ops: Vec<Op> = (0..64)
        .map(|n| op(n, (1, 100), update(&format!("v{n}"), None), written(0)))
        .chain([
            op(90, (0, 101), create("a"), written(1)),
            op(91, (102, 103), Call::Get, Outcome::Absent),
        ])
        .collect();
    let ops: Vec<&Op> = ops.iter().collect();
    let steps = steps(&ops).unwrap();
    let verdict = search::search(&steps, 1000);
    assert!(matches!(verdict, Verdict::GaveUp { tried: 1001 }), "{verdict:?}");
}

/// A call of a history to be made up: what is asked, how long around its moment it lasts, what becomes of its answer.
#[derive(Debug, Clone)]
struct Asked {
    kind: u8,
    before: u8,
    after: u8,
    stale: bool,
    told: u8,
}

fn asked() -> impl Strategy<Value = Asked> {
    (0..10u8, 0..6u8, 0..6u8, any::<bool>(), 0..12u8).prop_map(|(kind, before, after, stale, told)| Asked {
        kind,
        before,
        after,
        stale,
        told,
    })
}

/// Carries the calls out one after another; their times overlap, and some answers get lost.
fn history(asked: &[Asked]) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut now: Option<(String, u64)> = None;
    let mut revision = 1;
    for (n, asked) in asked.iter().enumerate() {
        let moment = 100 * (n as u64 + 10);
        let value = format!("v{n}");
        let expected = match (&now, asked.stale) {
            (Some((_, at)), false) => Some(*at),
            (Some((_, at)), true) => Some(*at - 1),
            (None, _) => Some(revision),
        };
        let call = match asked.kind {
            0 | 1 => create(&value),
            2 | 3 => update(&value, expected),
            4 => update(&value, None),
            5 => Call::Delete { expected },
            6 => Call::Delete { expected: None },
            _ => Call::Get,
        };
        let mut write = |now: &mut Option<(String, u64)>, next: Option<String>| {
            revision += 1;
            *now = next.map(|value| (value, revision));
            written(revision)
        };
        let there = now.as_ref().map(|(_, at)| *at);
        let fits = |expected: &Option<u64>| expected.is_none_or(|expected| there == Some(expected));
        let mut outcome = match (&call, there) {
            (Call::Create { .. }, Some(_)) => Outcome::Exists,
            (Call::Create { value }, None) => write(&mut now, Some(value.clone())),
            (Call::Get, None) => Outcome::Absent,
            (Call::Get, Some(at)) => found(&now.as_ref().unwrap().0, at),
            (_, None) => Outcome::Absent,
            (Call::Update { expected, .. } | Call::Delete { expected }, Some(_)) if !fits(expected) => {
                Outcome::Conflict
            }
            (Call::Update { value, .. }, Some(_)) => write(&mut now, Some(value.clone())),
            (Call::Delete { .. }, Some(_)) => write(&mut now, None),
        };
        match asked.told {
            0 | 1 => outcome = Outcome::Unknown,
            // Answers to deletes need not say their revision.
            2 if matches!((&call, &outcome), (Call::Delete { .. }, Outcome::Written { .. })) => outcome = written(0),
            _ => {}
        }
        let times = (
            moment - 97 * u64::from(asked.before),
            moment + 89 * u64::from(asked.after),
        );
        let mut op = op(n as u32, times, call, outcome);
        // Orders are unique.
        op.invoked.order = op.invoked.order * 4096 + 2 * n as u64;
        if let Some(returned) = &mut op.returned {
            returned.order = returned.order * 4096 + 2 * n as u64 + 1;
        }
        ops.push(op);
    }
    ops
}

proptest! {
    #[test]
    fn what_was_carried_out_in_some_order_passes(asked in proptest::collection::vec(asked(), 1..60)) {
        let what = verdict(history(&asked));
        prop_assert_eq!(what, None);
    }

    #[test]
    fn a_read_of_another_value_fails(asked in proptest::collection::vec(asked(), 1..60), which in any::<prop::sample::Index>()) {
        let mut ops = history(&asked);
        let reads: Vec<usize> = (0..ops.len()).filter(|n| matches!(ops[*n].outcome, Outcome::Found { .. })).collect();
        if !reads.is_empty() {
            let n = *which.get(&reads);
            ops[n].outcome = found("never written", 3);
            prop_assert!(verdict(ops).is_some());
        }
    }

    /// What was overwritten before a read began is not found by it.
    #[test]
    fn a_stale_read_fails(asked in proptest::collection::vec(asked(), 1..60)) {
        let mut ops = history(&asked);
        let last = ops.iter().filter_map(|op| op.returned).max().unwrap_or_default().order;
        let named: Vec<(String, u64, u64)> = ops
            .iter()
            .filter_map(|op| match (&op.call, &op.outcome) {
                (Call::Create { value } | Call::Update { value, .. }, Outcome::Written { revision }) => {
                    Some((value.clone(), *revision, op.returned?.order))
                }
                _ => None,
            })
            .collect();
        let (Some(first), true) = (named.first(), named.len() > 1) else { return Ok(()) };
        let mut read = op(9999, (0, 0), Call::Get, found(&first.0, first.1));
        read.invoked.order = last + 1;
        read.returned = Some(Stamp { order: last + 2, at_ms: last + 2 });
        ops.push(read);
        prop_assert!(verdict(ops).is_some());
    }
}

/// A hard day: ten keys, three hundred calls each, a tenth of them of unknown outcome.
#[test]
fn it_is_fast_enough() {
    let mut seed = 1_u64;
    let mut next = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut ops = Vec::new();
    for key in 0..10 {
        let asked: Vec<Asked> = (0..300)
            .map(|_| Asked {
                kind: next(10) as u8,
                before: next(9) as u8,
                after: next(9) as u8,
                stale: next(4) == 0,
                told: next(12) as u8,
            })
            .collect();
        ops.extend(history(&asked).into_iter().map(|op| Op {
            key: format!("/k{key}"),
            ..op
        }));
    }
    let mut tried = 0;
    for key in 0..10 {
        let key = format!("/k{key}");
        let of_key: Vec<&Op> = ops.iter().filter(|op| op.key == key).collect();
        match search::search(&steps(&of_key).unwrap(), BUDGET) {
            Verdict::Linearizable { tried: of_key } => tried += of_key,
            verdict => panic!("{key}: {verdict:?}"),
        }
    }
    // Nearly one configuration a call.
    assert!(tried < 30_000, "{tried}");
}

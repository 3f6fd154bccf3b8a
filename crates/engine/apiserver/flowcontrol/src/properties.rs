//! What holds for all histories: nobody starves, seats suffice, every request is answered once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use crate::{ADJUSTMENT_PERIOD_NS, Digest, FlowSchema, Levels, PriorityLevel, Started, WorkEstimate};

const MS: u64 = 1_000_000;

fn world(total: u64, queues: u32, hand: u32, length: u32) -> Levels {
    let mut levels = Levels::new(0, total);
    let level = PriorityLevel::parse(&json!({
        "metadata": {"name": "l"},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 95,
            "limitResponse": {"type": "Queue", "queuing": {
                "queues": queues, "handSize": hand, "queueLengthLimit": length,
            }},
        }},
    }))
    .expect("a level");
    let schema = FlowSchema::parse(&json!({
        "metadata": {"name": "s"},
        "spec": {
            "priorityLevelConfiguration": {"name": "l"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "*"}}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }],
        },
    }))
    .expect("a schema");
    levels.configure(0, vec![level], vec![schema]);
    levels
}

fn digest(user: &str) -> Digest<'_> {
    Digest {
        user,
        verb: "get",
        path: "/x",
        ..Digest::default()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Arrive {
        user: u8,
        seats: u64,
        after: u64,
        latency_ms: u64,
    },
    Finish(usize),
    Cancel(usize),
    Pass(u64),
    Reshape {
        queues: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0_u8..6, 1_u64..6, 0_u64..4, 0_u64..30).prop_map(|(user, seats, after, latency_ms)| Step::Arrive {
            user, seats, after, latency_ms
        }),
        4 => any::<usize>().prop_map(Step::Finish),
        1 => any::<usize>().prop_map(Step::Cancel),
        2 => (0_u64..40).prop_map(|ms| Step::Pass(ms * MS)),
        1 => Just(Step::Pass(ADJUSTMENT_PERIOD_NS)),
        1 => (1_u32..12).prop_map(|queues| Step::Reshape { queues }),
    ];
    proptest::collection::vec(step, 1..200)
}

/// A server that is driven by steps, with everything that it was told.
struct Driven {
    levels: Levels,
    now: u64,
    waiting: BTreeSet<u64>,
    executing: BTreeSet<u64>,
    answered: BTreeMap<u64, u32>,
}

impl Driven {
    fn settle(&mut self) {
        for id in self.levels.take_ready() {
            assert!(self.waiting.remove(&id), "told to go on without waiting");
            assert!(self.executing.insert(id));
        }
        let level = self
            .levels
            .iter()
            .find(|(name, _)| *name == "l")
            .map(|(_, level)| level)
            .expect("the level");
        let gauges: Vec<_> = level.schemas().collect();
        let sum = |of: fn(&crate::SchemaGauges) -> u64| gauges.iter().map(|(_, g)| of(g)).sum::<u64>();
        assert_eq!(sum(|g| g.executing), self.executing.len() as u64);
        assert_eq!(sum(|g| g.waiting), self.waiting.len() as u64);
        assert_eq!(level.queues.seats_in_use, sum(|g| g.seats_in_use));
        assert_eq!(level.queues.seats_waiting, sum(|g| g.seats_waiting));
        // Seats that are free are free because the next request needs more of them.
        if self.executing.is_empty() && level.queues.next_release_ns().is_none() {
            assert!(
                self.waiting.is_empty() || level.current == 0,
                "seats are free and requests wait"
            );
        }
    }

    fn answer(&mut self, id: u64) {
        *self.answered.entry(id).or_default() += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_request_is_answered_once_and_seats_suffice(total in 2_u64..20, queues in 1_u32..12, steps in steps()) {
        let mut driven = Driven {
            levels: world(total, queues, 1, 4),
            now: 0,
            waiting: BTreeSet::new(),
            executing: BTreeSet::new(),
            answered: BTreeMap::new(),
        };
        let mut started = 0;
        for step in steps {
            let limit = driven.levels.iter().find(|(n, _)| *n == "l").map_or(0, |(_, l)| l.current);
            let before = driven.levels.iter().find(|(n, _)| *n == "l").map_or(0, |(_, l)| l.queues.seats_in_use);
            match step {
                Step::Arrive { user, seats, after, latency_ms } => {
                    let user = format!("u{user}");
                    let estimate = WorkEstimate {
                        initial_seats: seats,
                        final_seats: after,
                        additional_latency_ns: latency_ms * MS,
                    };
                    let found = driven.levels.classify(&digest(&user));
                    match driven.levels.start(driven.now, &found, &digest(&user), estimate) {
                        Started::Executing(id) => {
                            started += 1;
                            driven.executing.insert(id);
                        }
                        Started::Waiting(id, length) => {
                            prop_assert!(length >= 1);
                            started += 1;
                            driven.waiting.insert(id);
                        }
                        Started::Rejected(_) => {}
                    }
                    let level = driven.levels.iter().find(|(n, _)| *n == "l").map(|(_, l)| l).expect("the level");
                    let now = level.queues.seats_in_use;
                    prop_assert!(now <= before || now <= limit || level.queues.executing <= 1, "{now} of {limit}");
                }
                Step::Finish(at) => {
                    if let Some(id) = pick(&driven.executing, at) {
                        prop_assert!(driven.levels.finish(driven.now, "l", id).is_some());
                        prop_assert_eq!(driven.levels.finish(driven.now, "l", id), None);
                        driven.executing.remove(&id);
                        driven.answer(id);
                    }
                }
                Step::Cancel(at) => {
                    if let Some(id) = pick(&driven.waiting, at) {
                        prop_assert!(driven.levels.cancel(driven.now, "l", id));
                        prop_assert!(!driven.levels.cancel(driven.now, "l", id));
                        driven.waiting.remove(&id);
                        driven.answer(id);
                    }
                }
                Step::Pass(ns) => {
                    driven.now += ns;
                    driven.levels.advance(driven.now);
                }
                Step::Reshape { queues } => {
                    let (mut levels, schemas) = parts(queues);
                    driven.levels.configure(driven.now, std::mem::take(&mut levels), schemas);
                }
            }
            driven.settle();
        }
        // Everything that waits gets its turn.
        let mut rounds = 0;
        while !(driven.executing.is_empty() && driven.waiting.is_empty()) {
            rounds += 1;
            prop_assert!(rounds < 5_000, "requests starve");
            driven.now += MS;
            if let Some(id) = driven.executing.first().copied() {
                driven.levels.finish(driven.now, "l", id);
                driven.executing.remove(&id);
                driven.answer(id);
            } else {
                driven.now += 100 * MS;
            }
            driven.levels.advance(driven.now);
            driven.settle();
        }
        prop_assert_eq!(driven.answered.len(), started);
        prop_assert!(driven.answered.values().all(|count| *count == 1));
        driven.levels.advance(driven.now + ADJUSTMENT_PERIOD_NS);
        let level = driven.levels.iter().find(|(n, _)| *n == "l").map(|(_, l)| l).expect("the level");
        prop_assert_eq!((level.queues.seats_in_use, level.queues.seats_waiting), (0, 0));
        prop_assert!(level.queues.queues.is_empty());
    }

    /// A flow that sends one request at a time is served about as often as one that sends all it can.
    #[test]
    fn a_modest_flow_is_not_starved_by_a_greedy_one(seats in 1_u64..5, greedy in 20_usize..80) {
        let mut levels = world(seats * 100 / 95 + 1, 64, 2, 200);
        let greedy_found = levels.classify(&digest("greedy"));
        let modest_found = levels.classify(&digest("modest"));
        let mut running = Vec::new();
        let mut start = |levels: &mut Levels, now, user: &'static str, found| {
            match levels.start(now, found, &digest(user), WorkEstimate::ONE) {
                Started::Executing(id) => running.push(id),
                Started::Waiting(..) => {}
                Started::Rejected(why) => panic!("{why:?}"),
            }
        };
        for _ in 0..greedy {
            start(&mut levels, 0, "greedy", &greedy_found);
        }
        let Started::Waiting(mine, _) = levels.start(MS, &modest_found, &digest("modest"), WorkEstimate::ONE) else {
            return Err(TestCaseError::fail("all seats are taken"));
        };
        let (mut now, mut turns) = (MS, 0);
        while !running.contains(&mine) {
            turns += 1;
            prop_assert!(turns <= 3 * seats as usize + 6, "the modest flow waits for the greedy one: {turns}");
            now += 3 * MS;
            let id = running.remove(0);
            levels.finish(now, "l", id);
            running.extend(levels.take_ready());
        }
    }
}

fn parts(queues: u32) -> (Vec<PriorityLevel>, Vec<FlowSchema>) {
    let level = PriorityLevel::parse(&json!({
        "metadata": {"name": "l"},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 95,
            "limitResponse": {"type": "Queue", "queuing": {"queues": queues, "handSize": 1, "queueLengthLimit": 4}},
        }},
    }));
    let schema = FlowSchema::parse(&json!({
        "metadata": {"name": "s"},
        "spec": {
            "priorityLevelConfiguration": {"name": "l"},
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "*"}}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }],
        },
    }));
    (level.into_iter().collect(), schema.into_iter().collect())
}

fn pick(from: &BTreeSet<u64>, at: usize) -> Option<u64> {
    (!from.is_empty())
        .then(|| from.iter().nth(at % from.len()).copied())
        .flatten()
}

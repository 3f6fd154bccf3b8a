//! All mutations, by name.

use crate::Mutation;

/// All mutations, by name.
pub const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "accept-old-fence",
        what: "a write that is fenced with another term is applied",
        caught_by: &["fences"],
        cases: &[
            ("minority-leader-keeps-writing", 0),
            ("minority-leader-keeps-writing", 1),
        ],
    },
    Mutation {
        name: "apply-twice",
        what: "the table of requests that were applied always says that a request is new",
        caught_by: &["acknowledged", "linearizability"],
        cases: &[("", 6), ("minority-leader-keeps-writing", 0)],
    },
    Mutation {
        name: "count-learners",
        what: "a replica that starts counts the learners of its log as voters",
        caught_by: &["leader completeness", "state machine safety", "acknowledged"],
        cases: &[("standbys-do-not-vote", 0), ("standbys-do-not-vote", 1)],
    },
    Mutation {
        name: "drop-watch-event",
        what: "now and then a change does not reach the watchers",
        caught_by: &["watch"],
        cases: &[("fair-weather", 0)],
    },
    Mutation {
        name: "forget-vote",
        what: "the vote is not read back after a restart",
        caught_by: &["election safety", "monotonic"],
        cases: &[("power-cut-everywhere", 0), ("servers-go-down-in-turn", 0)],
    },
    Mutation {
        name: "ignore-epoch",
        what: "connections outlive their epoch, and a replica takes messages of another epoch's history for its own",
        caught_by: &["log matching", "state machine safety"],
        cases: &[("recover-after-lost-majority", 4), ("recover-after-lost-majority", 5)],
    },
    Mutation {
        name: "keep-surplus",
        what: "voters over the number that is wanted keep their seats",
        caught_by: &["liveness"],
        cases: &[("nobody-has-a-majority", 0)],
    },
    Mutation {
        name: "local-apply",
        what: "a transaction reads what local watchers have seen so far, not the replicated state",
        caught_by: &["state machine safety"],
        cases: &[("minority-leader-keeps-writing", 0)],
    },
    Mutation {
        name: "no-damper",
        what: "who lost its role cools down for no time at all",
        caught_by: &["the damper"],
        cases: &[("flapping-voter", 0), ("flapping-voter", 1)],
    },
    Mutation {
        name: "no-deadline",
        what: "no phase of a transition has a deadline, so none is given up",
        caught_by: &["one transition"],
        cases: &[
            ("newcomer-dies-while-it-learns", 0),
            ("newcomer-dies-while-it-learns", 1),
        ],
    },
    Mutation {
        name: "no-fence",
        what: "a member that a recovery left behind goes on when it hears of it",
        caught_by: &["no split brain", "expelled"],
        cases: &[("recover-after-lost-majority", 0), ("recover-after-lost-majority", 1)],
    },
    Mutation {
        name: "promote-two",
        what: "a second transition begins while one is in flight, and takes its place",
        caught_by: &["one transition"],
        cases: &[("stuck-learner", 0), ("promotion-that-hangs", 0)],
    },
    Mutation {
        name: "read-without-index",
        what: "a linearizable read is answered from what the replica happens to have applied",
        caught_by: &["linearizability", "lists"],
        cases: &[("minority-leader-keeps-writing", 0)],
    },
    Mutation {
        name: "seal-unverified",
        what: "a seal with too few signatures is proposed, and taken without a look at it",
        caught_by: &["the chain"],
        cases: &[("fair-weather", 0)],
    },
    Mutation {
        name: "serve-expelled",
        what: "expelled keys are let in like admitted ones",
        caught_by: &["expelled"],
        cases: &[("expelled-returns", 0)],
    },
    Mutation {
        name: "short-lease",
        what: "leases end after half of their time",
        caught_by: &["leases"],
        cases: &[("fair-weather", 0)],
    },
    Mutation {
        name: "skip-fsync",
        what: "the log reports entries as durable without a sync",
        caught_by: &["acknowledged", "leader completeness"],
        cases: &[("power-cut-everywhere", 0), ("torn-logs", 0)],
    },
    Mutation {
        name: "snapshot-forgets",
        what: "a snapshot lacks one key",
        caught_by: &["state machine safety"],
        cases: &[("learner-and-snapshot", 0)],
    },
    Mutation {
        name: "stale-list",
        what: "a list is answered from what the replica happens to have applied",
        caught_by: &["lists"],
        cases: &[("minority-leader-keeps-writing", 0)],
    },
    Mutation {
        name: "unsafe-removal",
        what: "live voters are removed first, without a look at whether the rest has a live majority",
        caught_by: &["voters"],
        cases: &[("smaller-formation-with-dead-voters", 0)],
    },
];

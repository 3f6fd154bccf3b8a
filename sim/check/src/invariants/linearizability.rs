//! Every call on a key seems to take effect at one moment between its invocation and its answer.
//!
//! Linearizability: Herlihy and Wing 1990. It is local (their theorem 1), so keys are looked at one by one. The search
//! is Wing and Gong's (1993) with Lowe's improvements (2017). What a single call does is what the etcd API guarantees
//! (strict serializability of KV operations) and the Kubernetes API concepts (resourceVersion, optimistic concurrency)
//! say. Only what clients saw is used; what replicas applied is not looked at, but to tell which answers come from a
//! history that a recovery gave up.

mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Broken;
use crate::facts::Facts;
use crate::record::{Call, Op, Outcome, Stamp};
use search::{Needs, State, Step, Verdict, What};

/// Name of the invariant.
pub const NAME: &str = "linearizability: every call takes effect between its invocation and its answer";

/// How many configurations are tried for one key before the search gives up, which is a failure of its own.
const BUDGET: usize = 300_000;

/// How many operations an explanation shows.
const SHOWN_MAX: usize = 8;

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    let mut keys: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in &facts.record.ops {
        let of_key = keys.entry(op.key.as_str()).or_default();
        if !is_given_up(facts, op) {
            of_key.push(op);
        }
    }
    keys.into_iter().try_for_each(|(key, ops)| check_key(key, &ops))
}

/// Whether an operation belongs to a history that a recovery gave up.
fn is_given_up(facts: &Facts<'_>, op: &Op) -> bool {
    let abandoned = |value: &str| {
        let is_there = |lineage: &crate::facts::Lineage<'_>| lineage.of_value(value).next().is_some();
        !is_there(facts.lineage()) && facts.lineages.values().any(is_there)
    };
    if facts.forked_since().is_none() {
        return false;
    }
    if let Outcome::Found { value, .. } = &op.outcome
        && abandoned(value)
    {
        return true;
    }
    match &op.call {
        Call::Create { value } | Call::Update { value, .. } if abandoned(value) => return true,
        Call::Create { value } | Call::Update { value, .. } => {
            if facts.lineage().of_value(value).next().is_some() {
                return false;
            }
        }
        Call::Delete { .. } | Call::Get => {}
    }
    op.returned
        .is_some_and(|returned| facts.is_from_abandoned(op.machine, returned))
}

fn check_key(key: &str, ops: &[&Op]) -> Result<(), Broken> {
    let steps = steps(ops)?;
    let tried = match search::search(&steps, BUDGET) {
        Verdict::Linearizable { .. } => return Ok(()),
        Verdict::NotLinearizable { .. } => return Err(explain(key, ops)),
        Verdict::GaveUp { tried } => tried,
    };
    let unknown = ops.iter().filter(|op| op.outcome == Outcome::Unknown).count();
    let what = format!(
        "undecided: gave up on {key} after {tried} configurations ({} calls, {unknown} of them of unknown outcome)",
        ops.len()
    );
    let last = ops.iter().map(|op| op.invoked).max().unwrap_or_default();
    Err(Broken::new(NAME, last, what))
}

/// The operations as steps of the search. Reads name the revisions of the values they found.
fn steps(ops: &[&Op]) -> Result<Vec<Step>, Broken> {
    let names = name_writes(ops)?;
    let step = |(n, op): (usize, &&Op)| {
        let (what, optional) = what(op, names.get(&n).copied())?;
        Some(Step {
            op: n,
            invoked: op.invoked.order,
            returned: op.returned.map_or(u64::MAX, |at| at.order),
            optional,
            what,
        })
    };
    Ok(ops.iter().enumerate().filter_map(step).collect())
}

/// The revision of every write that some client was told: by its own answer, or by a read of its value.
fn name_writes(ops: &[&Op]) -> Result<BTreeMap<usize, u64>, Broken> {
    let mut writers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names: BTreeMap<usize, u64> = BTreeMap::new();
    let mut whose: BTreeMap<u64, usize> = BTreeMap::new();
    for (n, op) in ops.iter().enumerate() {
        if let Call::Create { value } | Call::Update { value, .. } = &op.call {
            writers.insert(value, n);
        }
        if let Outcome::Written {
            revision: revision @ 1..,
        } = op.outcome
        {
            names.insert(n, revision);
            if let Some(other) = whose.insert(revision, n) {
                let what = format!("two writes of one revision:\n  {}\n  {op}", ops[other]);
                return Err(Broken::new(NAME, op.invoked, what));
            }
        }
    }
    for op in ops {
        let Outcome::Found { value, revision } = &op.outcome else {
            continue;
        };
        let Some(writer) = writers.get(value.as_str()).copied() else {
            return Err(Broken::new(
                NAME,
                op.invoked,
                format!("a value that nobody wrote:\n  {op}"),
            ));
        };
        let refused = !matches!(ops[writer].outcome, Outcome::Written { .. } | Outcome::Unknown);
        let differs = *names.entry(writer).or_insert(*revision) != *revision;
        let taken = *whose.entry(*revision).or_insert(writer) != writer;
        let wrong = if refused {
            "a value whose write was refused"
        } else if differs {
            "a value at two revisions"
        } else if taken {
            "two values at one revision"
        } else {
            continue;
        };
        let what = format!("{wrong}:\n  {}\n  {op}", ops[writer]);
        return Err(Broken::new(NAME, op.invoked, what));
    }
    Ok(names)
}

/// What a call did, and whether it may not have happened at all. `None` if its answer says nothing about the key.
fn what(op: &Op, revision: Option<u64>) -> Option<(What, bool)> {
    let (needs, leaves) = match &op.call {
        Call::Create { .. } => (Needs::Absent, true),
        Call::Update { expected, .. } => (expected.map_or(Needs::Present, Needs::At), true),
        Call::Delete { expected } => (expected.map_or(Needs::Present, Needs::At), false),
        Call::Get => {
            return match &op.outcome {
                Outcome::Found { revision, .. } => Some((What::Found(*revision), false)),
                Outcome::Absent => Some((What::Absent, false)),
                _ => None,
            };
        }
    };
    let write = What::Write {
        needs,
        leaves,
        revision,
    };
    match (&op.outcome, needs) {
        (Outcome::Written { .. }, _) => Some((write, false)),
        // That somebody found its value proves that it happened.
        (Outcome::Unknown, _) => Some((write, revision.is_none())),
        (Outcome::Exists, Needs::Absent) => Some((What::Exists, false)),
        (Outcome::Absent, Needs::Present | Needs::At(_)) => Some((What::Absent, false)),
        (Outcome::Conflict, Needs::At(expected)) => Some((What::NotAt(expected), false)),
        _ => None,
    }
}

/// What was known by a time: later answers are not there yet.
fn until<'a>(ops: &[&'a Op], last: Stamp) -> Vec<std::borrow::Cow<'a, Op>> {
    use std::borrow::Cow;
    let known = ops.iter().filter(|op| op.invoked <= last);
    known
        .map(|op| match op.returned {
            Some(returned) if returned > last => Cow::Owned(Op {
                returned: None,
                outcome: Outcome::Unknown,
                ..(*op).clone()
            }),
            _ => Cow::Borrowed(*op),
        })
        .collect()
}

fn holds_until(ops: &[&Op], last: Stamp) -> Verdict {
    let known = until(ops, last);
    let known: Vec<&Op> = known.iter().map(AsRef::as_ref).collect();
    match steps(&known) {
        Ok(steps) => search::search(&steps, BUDGET),
        Err(_) => Verdict::NotLinearizable { stuck: Vec::new() },
    }
}

/// Finds the first answer that cannot be: every history that goes on from an impossible one is impossible too.
fn explain(key: &str, ops: &[&Op]) -> Broken {
    let mut answered: Vec<(Stamp, &Op)> = ops.iter().filter_map(|op| Some((op.returned?, *op))).collect();
    answered.sort_by_key(|(at, _)| *at);
    let first = answered.partition_point(|(at, _)| matches!(holds_until(ops, *at), Verdict::Linearizable { .. }));
    let Some((at, culprit)) = answered.get(first).copied() else {
        // Impossible without an answer that is: say so rather than nothing.
        return Broken {
            invariant: NAME,
            what: format!("no order of the calls on {key} explains their answers"),
            at: None,
        };
    };
    let known = until(ops, at);
    let known: Vec<&Op> = known.iter().map(AsRef::as_ref).collect();
    let mut what = format!("{key}: this answer has no explanation:\n  {culprit}\n");
    if let Verdict::NotLinearizable { stuck } = holds_until(ops, at) {
        for (state, tail) in stuck {
            let state = match state {
                State::Absent => "absent".to_owned(),
                State::At(revision) => format!("at revision {revision}"),
                State::Unnamed => "there, at a revision that no client was told".to_owned(),
            };
            let _ = writeln!(what, "tried: the key is {state}, after");
            for op in tail {
                let _ = writeln!(what, "  {}", known[op]);
            }
        }
    }
    let mut around: Vec<&&Op> = known
        .iter()
        .filter(|op| op.invoked != culprit.invoked && op.returned.is_none_or(|r| r > culprit.invoked))
        .collect();
    around.sort_by_key(|op| std::cmp::Reverse(op.invoked));
    let more = around.len().saturating_sub(SHOWN_MAX);
    around.truncate(SHOWN_MAX);
    if !around.is_empty() {
        let _ = writeln!(what, "at the same time, or of unknown outcome:");
    }
    for op in around.iter().rev() {
        let _ = writeln!(what, "  {op}");
    }
    if more > 0 {
        let _ = writeln!(what, "  and {more} older ones");
    }
    Broken::new(NAME, at, what.trim_end())
}

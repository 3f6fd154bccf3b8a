//! At most one leader is elected in a term.
//!
//! Raft (Ongaro and Ousterhout 2014), figure 3, Election Safety; proved in Ongaro's dissertation, appendix B. A
//! recovery begins a new epoch, and terms are compared within one.

use std::collections::BTreeMap;

use super::Broken;
use crate::facts::Facts;

/// Name of the invariant.
pub const NAME: &str = "election safety: one leader a term";

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    let record = facts.record;
    let led = record.leading.iter().map(|l| (l.at, l.machine, l.epoch, l.term));
    let held = record.raft.iter().filter(|note| note.leads);
    let mut all: Vec<_> = led
        .chain(held.map(|note| (note.at, note.machine, note.epoch, note.term)))
        .collect();
    all.sort();
    let mut leaders: BTreeMap<(u64, u64), u16> = BTreeMap::new();
    for (at, machine, epoch, term) in all {
        let branch = facts.branch(machine, epoch, at);
        let first = *leaders.entry((branch, term)).or_insert(machine);
        if first != machine {
            let what = format!("machines {first} and {machine} both lead term {term} of epoch {branch}");
            return Err(Broken::new(NAME, at, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_only, good};

    #[test]
    fn two_leaders_of_one_term() {
        let mut record = good();
        let mut note = record.raft.iter().rfind(|note| note.leads).unwrap().clone();
        note.machine = 2;
        record.raft.push(note.clone());
        note.leads = false;
        record.raft.push(note);
        assert_only(&record, NAME);
    }

    #[test]
    fn two_that_began_to_lead() {
        let mut record = good();
        let mut leading = record.leading[0].clone();
        leading.machine = 2;
        record.leading.push(leading);
        assert_only(&record, NAME);
    }
}

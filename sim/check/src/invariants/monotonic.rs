//! Terms and revisions never fall.
//!
//! Raft (Ongaro and Ousterhout 2014), section 5.1: a server's current term increases monotonically. etcd's API
//! guarantees (revision): the store's revision is a logical clock that every change moves forward. Within one opening
//! of a replica entries are applied in order, each once.

use std::collections::{BTreeMap, BTreeSet};

use super::Broken;
use crate::facts::Facts;
use crate::record::Stamp;

/// Name of the invariant.
pub const NAME: &str = "monotonic: terms and revisions never fall";

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    terms(facts)?;
    replicas(facts)?;
    for lineage in facts.lineages.values() {
        let (mut term, mut revision) = (0, 0);
        for (index, entry) in &lineage.entries {
            if entry.term < term {
                let what = format!("entry {index} has term {}, one before it {term}", entry.term);
                return Err(Broken::new(NAME, entry.at, what));
            }
            if entry.revision < revision {
                let what = format!("revision {revision} fell to {} at entry {index}", entry.revision);
                return Err(Broken::new(NAME, entry.at, what));
            }
            let mut last = revision + 1;
            for change in &entry.changes {
                if !(last..=entry.revision).contains(&change.revision) {
                    let what = format!(
                        "entry {index} goes from revision {revision} to {}, and changes {} at {}",
                        entry.revision, change.key, change.revision
                    );
                    return Err(Broken::new(NAME, entry.at, what));
                }
                last = change.revision;
            }
            (term, revision) = (entry.term, entry.revision);
        }
    }
    Ok(())
}

fn terms(facts: &Facts<'_>) -> Result<(), Broken> {
    let mut terms = BTreeMap::new();
    for note in &facts.record.raft {
        let term = terms
            .entry((note.machine, note.epoch, note.incarnation))
            .or_insert(note.term);
        if note.term < *term {
            let what = format!("machine {} went from term {term} back to {}", note.machine, note.term);
            return Err(Broken::new(NAME, note.at, what));
        }
        *term = note.term;
    }
    // Who led a term had voted in it, and a vote survives (Raft, figure 2, persistent state). A replica that has just
    // opened shows term 0 until it has read it.
    let mut led: BTreeMap<(u16, u64), u64> = BTreeMap::new();
    let mut opened = BTreeSet::new();
    for note in facts.record.raft.iter().filter(|note| note.term > 0) {
        let replica = (note.machine, note.epoch);
        if opened.insert((replica, note.incarnation))
            && let Some(term) = led.get(&replica).filter(|term| note.term < **term)
        {
            let what = format!(
                "machine {} had led term {term}, and opened its replica again in term {}",
                note.machine, note.term
            );
            return Err(Broken::new(NAME, note.at, what));
        }
        if note.leads {
            led.insert(replica, note.term);
        }
    }
    Ok(())
}

/// Index and revision of each opening of a replica.
fn replicas(facts: &Facts<'_>) -> Result<(), Broken> {
    type Seen = (Stamp, u16, u64, u32, u64, u64, bool);
    let record = facts.record;
    let applied = record
        .applied
        .iter()
        .map(|a| (a.at, a.machine, a.epoch, a.incarnation, a.index, a.revision, true));
    let restored = record
        .restored
        .iter()
        .map(|r| (r.at, r.machine, r.epoch, r.incarnation, r.index, r.revision, false));
    let mut all: Vec<Seen> = applied.chain(restored).collect();
    all.sort();
    let mut at_index = BTreeMap::new();
    for (at, machine, epoch, incarnation, index, revision, is_entry) in all {
        let key = (machine, epoch, incarnation);
        if let Some((last, before)) = at_index.insert(key, (index, revision)) {
            if index < last || (is_entry && index == last) {
                let what = format!("machine {machine} applied {index} after {last}");
                return Err(Broken::new(NAME, at, what));
            }
            if revision < before {
                let what = format!("machine {machine} went from revision {before} back to {revision} at entry {index}");
                return Err(Broken::new(NAME, at, what));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RaftNote;
    use crate::testing::{assert_only, good};

    #[test]
    fn a_term_that_falls() {
        let mut record = good();
        let mut note = record
            .raft
            .iter()
            .rfind(|note| !note.leads && note.term > 1)
            .unwrap()
            .clone();
        note.at = record.next();
        note.term -= 1;
        record.raft.push(note.clone());
        assert_only(&record, NAME);
        // The member may come back as another: who never led need not have written its term down.
        record.raft.last_mut().unwrap().machine = 9;
        assert!(crate::check_all(&record).is_empty());
    }

    #[test]
    fn a_vote_that_was_forgotten() {
        let mut record = good();
        let leader = record.raft.iter().rfind(|note| note.leads).unwrap().clone();
        for (term, leads) in [(0, false), (leader.term - 1, false), (leader.term, true)] {
            let at = record.next();
            record.raft.push(RaftNote {
                at,
                incarnation: leader.incarnation + 1,
                term,
                leads,
                ..leader
            });
        }
        assert_only(&record, NAME);
    }

    #[test]
    fn an_entry_applied_twice() {
        let mut record = good();
        let mut again = record.applied.last().unwrap().clone();
        again.at = record.next();
        record.applied.push(again);
        assert_only(&record, NAME);
    }

    #[test]
    fn a_revision_that_is_none() {
        let mut record = good();
        // A change at a revision that the entry did not come to, on all replicas alike, which no client saw.
        let index = record.applied.iter().rfind(|a| a.changes.is_empty()).unwrap().index;
        for applied in record.applied.iter_mut().filter(|a| a.index == index) {
            applied.changes.push(crate::record::Change {
                key: "/unseen".into(),
                value: None,
                revision: 1,
            });
        }
        assert_only(&record, NAME);
    }
}

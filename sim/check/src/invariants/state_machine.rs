//! Replicas that applied the same index applied the same entry, with the same result.
//!
//! Raft (Ongaro and Ousterhout 2014), figure 3, State Machine Safety; and, because applying is deterministic (Schneider
//! 1990, state machine replication), the same answer, the same changes and the same revision. At the end, replicas
//! at the same revision hold the same store, byte for byte.

use std::collections::BTreeMap;

use super::Broken;
use crate::facts::Facts;
use crate::record::Applied;

/// Name of the invariant.
pub const NAME: &str = "state machine safety: replicas that applied the same index are equal";

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    for entries in facts.entries.values() {
        for all in entries.values() {
            let Some((first, others)) = all.split_first() else {
                continue;
            };
            for other in others {
                equal(first, other)?;
            }
        }
    }
    // What a branch shares with the one before was applied in both.
    for (epoch, fork) in &facts.forks {
        let (Some(old), Some(new)) = (facts.entries.get(&(epoch - 1)), facts.entries.get(epoch)) else {
            continue;
        };
        for (index, all) in new.range(..=fork.after) {
            if let (Some(new), Some(old)) = (all.first(), old.get(index).and_then(|all| all.first())) {
                equal(old, new)?;
            }
        }
    }
    restored(facts)?;
    finals(facts)
}

fn equal(first: &Applied, other: &Applied) -> Result<(), Broken> {
    let differs = if first.term != other.term {
        format!("terms {} and {}", first.term, other.term)
    } else if first.payload != other.payload {
        "different entries".to_owned()
    } else if first.revision != other.revision {
        format!("and came to revisions {} and {}", first.revision, other.revision)
    } else if first.changes != other.changes {
        format!("with the changes {:?} and {:?}", first.changes, other.changes)
    } else if first
        .fence
        .zip(other.fence)
        .is_some_and(|(first, other)| first != other)
    {
        format!("with the fences {:?} and {:?}", first.fence, other.fence)
    } else if first.response != other.response {
        "with different answers".to_owned()
    } else {
        return Ok(());
    };
    let what = format!(
        "machines {} and {} applied entry {}: {differs}",
        first.machine, other.machine, first.index
    );
    Err(Broken::new(NAME, other.at, what))
}

/// A snapshot stands for the entries that it replaces.
fn restored(facts: &Facts<'_>) -> Result<(), Broken> {
    for restored in &facts.record.restored {
        let branch = facts.branch(restored.machine, restored.epoch, restored.at);
        let entry = facts.lineages.get(&branch).and_then(|l| l.entries.get(&restored.index));
        if let Some(entry) = entry.filter(|entry| entry.revision != restored.revision) {
            let what = format!(
                "machine {} restored a snapshot of entry {} with revision {}; machine {} came to {} there",
                restored.machine, restored.index, restored.revision, entry.machine, entry.revision
            );
            return Err(Broken::new(NAME, restored.at, what));
        }
    }
    Ok(())
}

fn finals(facts: &Facts<'_>) -> Result<(), Broken> {
    let mut stores = BTreeMap::new();
    for last in &facts.record.finals {
        let Some(store) = last.store else { continue };
        let branch = facts.branch(last.machine, last.epoch, facts.record.ended);
        let (first, machine) = *stores.entry((branch, store.1)).or_insert((store, last.machine));
        if first != store {
            let what = format!(
                "machines {machine} and {} have both applied entry {} and hold different stores",
                last.machine, store.1
            );
            return Err(Broken::new(NAME, facts.record.ended, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Restored;
    use crate::testing::{assert_only, good};

    #[test]
    fn each_difference_is_seen() {
        let wrongs: [fn(&mut Applied); 2] = [
            |applied| applied.response = [0xee; 32],
            |applied| {
                for change in &mut applied.changes {
                    change.key.push('x');
                }
            },
        ];
        for wrong in wrongs {
            let mut record = good();
            let with_changes = |a: &&mut Applied| a.machine == 2 && !a.changes.is_empty();
            wrong(record.applied.iter_mut().find(with_changes).unwrap());
            assert_only(&record, NAME);
        }
    }

    #[test]
    fn another_payload() {
        let mut record = good();
        record.logs.clear();
        let applied = record.applied.iter_mut().find(|a| a.machine == 2).unwrap();
        applied.payload = [0xee; 32];
        assert_only(&record, NAME);
    }

    #[test]
    fn a_snapshot_of_something_else() {
        let mut record = good();
        let last = record.applied.iter().rfind(|a| a.machine == 1).unwrap().clone();
        let at = record.next();
        record.restored.push(Restored {
            at,
            machine: 1,
            incarnation: last.incarnation + 1,
            epoch: 1,
            index: last.index,
            revision: last.revision + 1,
        });
        assert_only(&record, NAME);
    }

    #[test]
    fn other_stores_at_the_end() {
        let mut record = good();
        record.finals[1].store.as_mut().unwrap().0 = [0xee; 32];
        assert_only(&record, NAME);
    }
}

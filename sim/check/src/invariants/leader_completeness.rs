//! A leader has every entry that was committed in an earlier term.
//!
//! Raft (Ongaro and Ousterhout 2014), figure 3 and section 5.4, Leader Completeness. A member counts as leading once it
//! has applied everything before its own term, so whatever anybody applied before that, of an older term and in the
//! same epoch, it must have applied too.

use super::Broken;
use crate::facts::Facts;

/// Name of the invariant.
pub const NAME: &str = "leader completeness: a leader has everything that was committed before";

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    for leading in &facts.record.leading {
        let branch = facts.branch(leading.machine, leading.epoch, leading.at);
        let Some(entries) = facts.entries.get(&branch) else {
            continue;
        };
        let missing = entries
            .range(leading.applied + 1..)
            .flat_map(|(_, all)| all)
            .find(|applied| applied.term < leading.term && applied.at < leading.at);
        if let Some(missing) = missing {
            let what = format!(
                "machine {} leads term {} with {} entries applied; machine {} had applied entry {} of term {} before",
                leading.machine, leading.term, leading.applied, missing.machine, missing.index, missing.term
            );
            return Err(Broken::new(NAME, leading.at, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_only, good};

    #[test]
    fn a_leader_that_lacks_an_entry() {
        let mut record = good();
        let second = record.leading.last_mut().unwrap();
        assert!(second.term > 1);
        second.applied -= 1;
        assert_only(&record, NAME);
    }
}

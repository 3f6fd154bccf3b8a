//! Logs that agree at an index and term agree in everything before.
//!
//! Raft (Ongaro and Ousterhout 2014), figure 3 and section 5.3, Log Matching. By induction it is enough that the same
//! index and term always hold the same entry and have the same entry before them.

use std::collections::BTreeMap;

use super::Broken;
use crate::facts::Facts;
use crate::record::Digest;

/// Name of the invariant.
pub const NAME: &str = "log matching: same index and term, same log";

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    let mut seen: BTreeMap<(u64, u64, u64), (Digest, u16)> = BTreeMap::new();
    let mut before: BTreeMap<(u64, u64, u64), (u64, u16)> = BTreeMap::new();
    for image in &facts.record.logs {
        let branch = facts.branch(image.machine, image.epoch, image.at);
        let mut last: Option<(u64, u64)> = None;
        for (index, (term, digest)) in &image.entries {
            let key = (branch, *index, *term);
            let (known, whose) = *seen.entry(key).or_insert((*digest, image.machine));
            if known != *digest {
                let what = format!(
                    "machines {whose} and {} have different entries {index} of term {term}",
                    image.machine
                );
                return Err(Broken::new(NAME, image.at, what));
            }
            let previous = last.replace((*index, *term)).filter(|(at, _)| at + 1 == *index);
            let Some((_, previous)) = previous else { continue };
            if previous > *term {
                let what = format!("machine {}: terms fall at entry {index}", image.machine);
                return Err(Broken::new(NAME, image.at, what));
            }
            let (known, whose) = *before.entry(key).or_insert((previous, image.machine));
            if known != previous {
                let what = format!(
                    "machines {whose} and {} have the same entry {index} of term {term}, and before it entries of \
                     terms {known} and {previous}",
                    image.machine
                );
                return Err(Broken::new(NAME, image.at, what));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_only, good};

    #[test]
    fn another_entry_in_the_same_place() {
        let mut record = good();
        let image = &mut record.logs[1];
        let last = image.entries.values_mut().next_back().unwrap();
        last.1 = [0xee; 32];
        assert_only(&record, NAME);
    }

    #[test]
    fn another_term_before_the_same_entry() {
        let mut record = good();
        let image = &mut record.logs[1];
        let n = image.entries.len();
        // Terms still never fall.
        let before = image.entries.values_mut().nth(n - 2).unwrap();
        assert!(before.0 > 0);
        before.0 -= 1;
        let earlier: Vec<_> = image.entries.keys().take(n - 2).copied().collect();
        for index in earlier {
            image.entries.remove(&index);
        }
        assert_only(&record, NAME);
    }
}

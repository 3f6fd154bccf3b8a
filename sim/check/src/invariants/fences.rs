//! A fenced write takes effect only in the term that its writer believed in.
//!
//! Fencing tokens as in Chubby's sequencers (Burrows 2006, section 2.4), with the Raft term for a token; architecture,
//! section 7: what must run once runs on the leader, and the state machine refuses an older fence.

use super::Broken;
use crate::facts::Facts;

/// Name of the invariant.
pub const NAME: &str = "fences: a fenced write is never applied in another term";

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    for applied in &facts.record.applied {
        if let Some(fence) = applied.fence.filter(|fence| *fence != applied.term) {
            let what = format!(
                "machine {} applied entry {} of term {}, written for term {fence}",
                applied.machine, applied.index, applied.term
            );
            return Err(Broken::new(NAME, applied.at, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_only, good};

    #[test]
    fn an_old_fence() {
        let mut record = good();
        let index = record.applied.iter().rfind(|a| a.fence.is_some()).unwrap().index;
        for applied in record.applied.iter_mut().filter(|a| a.index == index) {
            applied.fence = applied.fence.map(|fence| fence - 1);
        }
        assert_only(&record, NAME);
    }
}

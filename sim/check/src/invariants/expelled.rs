//! Who is expelled or fenced is refused by everyone who knows it.
//!
//! Architecture, sections 4 and 13: "expelled member returns: refused by key, everywhere"; section 7: members of the old
//! epoch are fenced for good.

use std::collections::BTreeMap;

use revoada_core::MemberId;
use revoada_core::chain::Standing;

use super::Broken;
use crate::facts::Facts;
use crate::record::Stamp;

/// Name of the invariant.
pub const NAME: &str = "expelled: an expelled member is never served";

/// How long it may take from knowing it to shutting the door, milliseconds.
const SHUT_MS: u64 = 100;

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    let record = facts.record;
    if let Some(refusal) = record.refusals.iter().find(|refusal| !refusal.refused) {
        let what = format!("machine {} was let in: {}", refusal.machine, refusal.told);
        return Err(Broken::new(NAME, refusal.at, what));
    }
    let mut since: BTreeMap<(u16, MemberId), Stamp> = BTreeMap::new();
    for picture in &record.pictures {
        let Some(chain) = picture.state.chain() else { continue };
        for id in chain.expelled().keys().chain(chain.fenced().keys()) {
            since.entry((picture.machine, *id)).or_insert(picture.at);
        }
    }
    for served in &record.served {
        let Some(known) = since.get(&(served.machine, served.peer)) else {
            continue;
        };
        if served.at > *known && served.at.at_ms > known.at_ms + SHUT_MS {
            let standing = record.pictures.iter().rev().find_map(|picture| {
                let standing = picture.state.standing(&served.peer);
                matches!(standing, Standing::Expelled | Standing::Fenced { .. }).then_some(standing)
            });
            let standing = standing.map_or_else(|| "expelled".to_owned(), |standing| standing.to_string());
            let what = format!(
                "machine {} served {}, known to it as {standing} since {known}",
                served.machine,
                served.peer.short()
            );
            return Err(Broken::new(NAME, served.at, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Refusal, Served};
    use crate::testing::{assert_only, good, id};

    #[test]
    fn an_expelled_member_that_is_served() {
        let mut record = good();
        // Machine 3 is expelled in the middle of the good record, and was served before.
        let at = record.next();
        record.served.push(Served {
            at,
            machine: 0,
            peer: id(3),
        });
        assert_only(&record, NAME);
    }

    #[test]
    fn an_expelled_member_that_is_let_in() {
        let mut record = good();
        let at = record.next();
        record.refusals.push(Refusal {
            at,
            machine: 3,
            refused: false,
            told: "welcome".into(),
        });
        assert_only(&record, NAME);
    }
}

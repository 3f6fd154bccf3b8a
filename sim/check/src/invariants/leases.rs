//! A lease lives as long as it is kept, and not much longer.
//!
//! etcd API guarantees and "Lease" API: a lease expires if the cluster receives no keep-alive within its time to live.
//! It may live longer by the time that no leader counts: a new leader gives every lease its full time again.
//! (Architecture, section 9.)

use super::Broken;
use crate::facts::Facts;
use crate::record::LeaseRecord;

/// Name of the invariant.
pub const NAME: &str = "leases: a lease ends when its time is over, not before and not much later";

/// How much longer than its time to live a lease may last while a leader counts, milliseconds.
const SLACK_MS: u64 = 6_000;

/// How long after it was asked for a keep-alive without an answer may still take effect, milliseconds.
const PENDING_MS: u64 = 30_000;

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    let record = facts.record;
    for lease in &record.leases {
        let since = lease.granted.1.unwrap_or(lease.granted.0);
        if facts.surviving > 1 && facts.abandoned_since().is_some_and(|abandoned| abandoned <= since) {
            continue;
        }
        not_cut_short(lease)?;
        not_left_alive(facts, lease)?;
    }
    Ok(())
}

fn not_cut_short(lease: &LeaseRecord) -> Result<(), Broken> {
    let Some(ended) = lease.ended else { return Ok(()) };
    if lease.revoked.is_some_and(|revoked| revoked <= ended) {
        return Ok(());
    }
    let grant = lease.granted.1.map(|_| lease.granted.0);
    let kept = lease
        .kept
        .iter()
        .filter(|(asked, answered)| answered.is_some() && *asked < ended);
    let last = kept.map(|(asked, _)| *asked).chain(grant).max();
    let Some(last) = last.filter(|last| ended.at_ms < last.at_ms + lease.ttl_ms) else {
        return Ok(());
    };
    let what = format!(
        "lease {} of {} ms ended at {ended}, {} ms after it was granted or kept last",
        lease.id,
        lease.ttl_ms,
        ended.at_ms.saturating_sub(last.at_ms)
    );
    Err(Broken::new(NAME, ended, what))
}

fn not_left_alive(facts: &Facts<'_>, lease: &LeaseRecord) -> Result<(), Broken> {
    let record = facts.record;
    if lease.granted.1.is_none() && lease.ended.is_none() {
        return Ok(());
    }
    let latest = |(asked, answered): &(crate::record::Stamp, Option<crate::record::Stamp>)| match answered {
        Some(answered) => answered.at_ms,
        None => asked.at_ms + PENDING_MS,
    };
    let renewed = lease.kept.iter().chain([&lease.granted]).map(latest).max().unwrap_or(0);
    let bound_ms = lease.ttl_ms + SLACK_MS;
    let mut from_ms = renewed;
    // Faults may keep leaders from counting until they are over.
    if record.faults.iter().any(|fault| fault.at.at_ms <= from_ms + bound_ms) {
        from_ms = from_ms.max(record.calm.at_ms);
    }
    for leading in &record.leading {
        if leading.at.at_ms > from_ms && leading.at.at_ms <= from_ms + bound_ms {
            from_ms = leading.at.at_ms;
        }
    }
    let due_ms = from_ms + bound_ms;
    let late = match lease.ended {
        Some(ended) => ended.at_ms > due_ms,
        None => record.ended.at_ms > due_ms,
    };
    if !late {
        return Ok(());
    }
    let end = lease
        .ended
        .map_or_else(|| "has not ended".to_owned(), |ended| format!("ended at {ended}"));
    let what = format!(
        "lease {} of {} ms {end}; it was kept for the last time by {renewed} ms, and a leader has counted since \
         {from_ms} ms",
        lease.id, lease.ttl_ms
    );
    Err(Broken::new(NAME, lease.ended.unwrap_or(record.ended), what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stamp;
    use crate::testing::{assert_only, good};

    fn at(at_ms: u64) -> Stamp {
        Stamp { order: at_ms, at_ms }
    }

    #[test]
    fn a_lease_cut_short() {
        let mut record = good();
        let lease = &mut record.leases[0];
        let last = lease.kept.iter().rfind(|(_, answered)| answered.is_some()).unwrap().0;
        lease.ended = Some(at(last.at_ms + lease.ttl_ms - 1));
        assert_only(&record, NAME);
        // Its owner may end it when it likes.
        record.leases[0].revoked = Some(at(last.at_ms + 1));
        assert!(crate::check_all(&record).is_empty());
    }

    #[test]
    fn a_lease_left_alive() {
        let mut record = good();
        record.leases[0].ended = None;
        assert_only(&record, NAME);
    }

    #[test]
    fn a_lease_that_ended_late() {
        let mut record = good();
        let ended = record.ended;
        record.leases[0].ended = Some(ended);
        assert_only(&record, NAME);
    }
}

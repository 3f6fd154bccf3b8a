//! When leases end: local bookkeeping of the leader, over a monotonic clock that its caller reads.

use std::collections::BTreeMap;
use std::time::Duration;

/// A lease as the state knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseInfo {
    /// Its id.
    pub id: i64,
    /// Time to live in seconds, from the grant or the last keep-alive.
    pub ttl_s: i64,
    /// Grows with each keep-alive. No two leases have the same id and number, nor has one lease at two times.
    pub renewals: u64,
    /// Number of attached keys.
    pub keys: usize,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    renewals: u64,
    ends: Duration,
}

/// Tells which leases have outlived their time. A fresh clock, as of a new leader, gives every lease its full
/// time again: a lease may live too long by that, and never too short.
#[derive(Debug, Default)]
pub struct LeaseClock {
    running: BTreeMap<i64, Running>,
}

impl LeaseClock {
    /// Takes note of `leases` and gives those whose time is over at `now`, a monotonic time since any origin.
    /// A lease is counted from the first call that sees it, so call this about every second.
    pub fn expired(&mut self, now: Duration, leases: &[LeaseInfo]) -> Vec<LeaseInfo> {
        let mut running = BTreeMap::new();
        let mut expired = Vec::new();
        for lease in leases {
            let known = self
                .running
                .get(&lease.id)
                .filter(|known| known.renewals == lease.renewals);
            #[cfg(feature = "mutations")]
            let lease = &LeaseInfo {
                ttl_s: if sim_mutation::is("short-lease") {
                    lease.ttl_s / 2
                } else {
                    lease.ttl_s
                },
                ..*lease
            };
            let begun = known.copied().unwrap_or_else(|| Running {
                renewals: lease.renewals,
                ends: now.saturating_add(Duration::from_secs(lease.ttl_s.max(0).unsigned_abs())),
            });
            if begun.ends <= now {
                expired.push(*lease);
            }
            running.insert(lease.id, begun);
        }
        self.running = running;
        expired
    }

    /// What is left of a lease's time, if the clock knows it.
    pub fn remaining(&self, now: Duration, id: i64) -> Option<Duration> {
        self.running.get(&id).map(|running| running.ends.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(renewals: u64) -> LeaseInfo {
        LeaseInfo {
            id: 7,
            ttl_s: 10,
            renewals,
            keys: 0,
        }
    }

    #[test]
    fn a_lease_ends_after_its_time_and_begins_anew_when_kept() {
        let at = Duration::from_secs;
        let mut clock = LeaseClock::default();
        assert!(clock.expired(at(100), &[lease(1)]).is_empty());
        assert!(clock.expired(at(109), &[lease(1)]).is_empty());
        assert!(clock.expired(at(110), &[lease(2)]).is_empty());
        assert_eq!(clock.remaining(at(115), 7), Some(at(5)));
        assert_eq!(clock.expired(at(120), &[lease(2)]), [lease(2)]);
        assert!(clock.expired(at(121), &[]).is_empty());
        assert_eq!(clock.remaining(at(121), 7), None);
    }
}

//! What is kept of one peer: its connection, the one dial under way, and the back-off.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use revoada_core::MemberId;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::link::{Link, LinkFacts};
use crate::error::MeshError;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// The mesh by itself dials a peer that stays away at most this often.
const QUIET_BACKOFF_MAX: Duration = Duration::from_secs(15);

/// What a new connection does to the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TieBreak {
    /// The new one is used, the present one drains.
    Replace,
    /// The present one is used, the new one drains.
    Keep,
}

/// Which of two connections of one pair is used. Both sides come to the same answer in whichever order they see
/// the two: of two dialled at once, the one of the smaller id.
pub(crate) fn tie_break(present: LinkFacts, new: LinkFacts, smaller: MemberId) -> TieBreak {
    if present.peer_boot != new.peer_boot || present.dialled_by == new.dialled_by || new.dialled_by == smaller {
        TieBreak::Replace
    } else {
        TieBreak::Keep
    }
}

/// How long after the `failures`-th failure in a row nobody dials; `jitter` is any number.
pub(crate) fn backoff(failures: u32, longest: Duration, jitter: u64) -> Duration {
    let full = BACKOFF_MIN
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(longest);
    // Three quarters to all of it, so that members don't dial in step.
    full.mul_f64(0.75 + (jitter % 256) as f64 / 1024.0)
}

/// What [`Peer::reach`] found.
pub(crate) enum Reach {
    /// Connected.
    Link(Arc<Link>),
    /// The caller is to dial now, and to call [`Peer::dialled`] with the result.
    Dial,
    /// Another dials.
    Wait,
    /// Not before the back-off ends.
    Backoff { retry_in: Duration, last: Arc<MeshError> },
}

#[derive(Default)]
struct State {
    present: Option<Arc<Link>>,
    draining: Vec<Arc<Link>>,
    dialling: bool,
    failures: u32,
    failed_dials: u64,
    not_before: Option<Instant>,
    quiet_until: Option<Instant>,
    last_error: Option<Arc<MeshError>>,
    last_address: Option<SocketAddr>,
    last_seen_ms: Option<u64>,
}

/// One peer.
pub(crate) struct Peer {
    pub(crate) id: MemberId,
    state: Mutex<State>,
    changed: Notify,
    new_address: Notify,
}

/// A copy of a peer's state.
pub(crate) struct PeerSnapshot {
    pub(crate) link: Option<Arc<Link>>,
    pub(crate) last_error: Option<Arc<MeshError>>,
    pub(crate) last_address: Option<SocketAddr>,
    pub(crate) last_seen_ms: Option<u64>,
}

impl Peer {
    pub(crate) fn new(id: MemberId) -> Arc<Self> {
        Arc::new(Self {
            id,
            state: Mutex::default(),
            changed: Notify::new(),
            new_address: Notify::new(),
        })
    }

    /// Resolves at the next change of state.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Lets the peer be dialled at once, and a dial under way look at the address book again.
    pub(crate) fn has_new_address(&self) {
        self.reset_backoff();
        self.new_address.notify_one();
    }

    /// Resolves when the peer has a new address; at once if it got one since the last call.
    pub(crate) async fn new_address(&self) {
        self.new_address.notified().await;
    }

    /// The connection in use.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.state.lock().present.clone().filter(|link| link.is_open())
    }

    /// What a caller that wants the peer has to do. With `quiet`, honours the longer back-off.
    pub(crate) fn reach(&self, quiet: bool) -> Reach {
        let mut state = self.state.lock();
        if let Some(link) = state.present.as_ref().filter(|link| link.is_open()) {
            return Reach::Link(link.clone());
        }
        if state.dialling {
            return Reach::Wait;
        }
        let until = if quiet { state.quiet_until } else { state.not_before };
        let now = Instant::now();
        if let (Some(until), Some(last)) = (until, &state.last_error)
            && until > now
        {
            return Reach::Backoff {
                retry_in: until - now,
                last: last.clone(),
            };
        }
        state.dialling = true;
        Reach::Dial
    }

    /// How many dials have failed, and the last failure.
    pub(crate) fn failed_dials(&self) -> (u64, Option<Arc<MeshError>>) {
        let state = self.state.lock();
        (state.failed_dials, state.last_error.clone())
    }

    /// Ends the dial that [`Peer::reach`] asked for.
    pub(crate) fn dialled(&self, result: Result<(), MeshError>, jitter: u64) {
        let mut state = self.state.lock();
        state.dialling = false;
        if let Err(error) = result {
            state.failures = state.failures.saturating_add(1);
            state.failed_dials += 1;
            let now = Instant::now();
            state.not_before = Some(now + backoff(state.failures, BACKOFF_MAX, jitter));
            state.quiet_until = Some(now + backoff(state.failures, QUIET_BACKOFF_MAX, jitter));
            state.last_error = Some(Arc::new(error));
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes an established connection; gives the one that has to drain, if any.
    pub(crate) fn install(&self, link: Arc<Link>, me: MemberId, now_ms: u64) -> Option<Arc<Link>> {
        let mut state = self.state.lock();
        state.failures = 0;
        state.not_before = None;
        state.quiet_until = None;
        state.last_error = None;
        state.last_seen_ms = Some(now_ms);
        let smaller = me.min(self.id);
        let (used, loser) = match state.present.take().filter(|present| present.is_open()) {
            Some(present) if tie_break(present.facts, link.facts, smaller) == TieBreak::Keep => (present, Some(link)),
            present => (link, present),
        };
        state.present = Some(used);
        state.last_address = state.present.as_ref().map(|link| link.connection.remote_address());
        state.draining.retain(|link| link.is_open());
        state.draining.extend(loser.clone());
        drop(state);
        self.changed.notify_waiters();
        loser
    }

    /// Notes that a connection ended. Says whether the peer is unconnected now.
    pub(crate) fn lost(&self, link: &Arc<Link>, error: MeshError, now_ms: u64) -> bool {
        let mut state = self.state.lock();
        state
            .draining
            .retain(|other| !Arc::ptr_eq(other, link) && other.is_open());
        if !state.present.as_ref().is_some_and(|present| Arc::ptr_eq(present, link)) {
            return false;
        }
        // The peer may hold the other connection for the one in use.
        state.present = state.draining.pop();
        state.last_seen_ms = Some(now_ms);
        let unconnected = state.present.is_none();
        if unconnected {
            state.last_error = Some(Arc::new(error));
        }
        drop(state);
        self.changed.notify_waiters();
        unconnected
    }

    /// Notes why a connection that the peer dialled was not taken.
    pub(crate) fn refused(&self, error: MeshError) {
        let mut state = self.state.lock();
        if state.present.is_none() {
            state.last_error = Some(Arc::new(error));
        }
    }

    pub(crate) fn reset_backoff(&self) {
        let mut state = self.state.lock();
        state.failures = 0;
        state.not_before = None;
        state.quiet_until = None;
    }

    /// All open connections, the one in use and those that drain.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        let state = self.state.lock();
        state.present.iter().chain(&state.draining).cloned().collect()
    }

    pub(crate) fn snapshot(&self) -> PeerSnapshot {
        let state = self.state.lock();
        PeerSnapshot {
            link: state.present.clone().filter(|link| link.is_open()),
            last_error: state.last_error.clone(),
            last_address: state.last_address,
            last_seen_ms: state.last_seen_ms,
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({})", self.id.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Two members dial each other at once; each sees the two connections in some order.
        #[test]
        fn both_sides_keep_the_same_connection(a: [u8; 32], b: [u8; 32], order_a: bool, order_b: bool) {
            prop_assume!(a != b);
            let (a, b) = (MemberId(a), MemberId(b));
            let smaller = a.min(b);
            let kept = |peer_boot, a_first: bool| {
                let by_a = LinkFacts { dialled_by: a, peer_boot };
                let by_b = LinkFacts { dialled_by: b, peer_boot };
                let (first, second) = if a_first { (by_a, by_b) } else { (by_b, by_a) };
                match tie_break(first, second, smaller) {
                    TieBreak::Keep => first.dialled_by,
                    TieBreak::Replace => second.dialled_by,
                }
            };
            prop_assert_eq!(kept(1, order_a), smaller);
            prop_assert_eq!(kept(2, order_b), smaller);
        }

        #[test]
        fn backoff_is_bounded_and_grows(failures in 1u32..1000, jitter: u64) {
            let wait = backoff(failures, BACKOFF_MAX, jitter);
            prop_assert!(wait <= BACKOFF_MAX && wait >= BACKOFF_MIN.mul_f64(0.75));
            prop_assert!(backoff(failures + 1, BACKOFF_MAX, jitter) >= wait);
        }
    }

    #[test]
    fn a_restarted_peer_always_replaces() {
        let (small, large) = (MemberId([1; 32]), MemberId([2; 32]));
        let stale = LinkFacts {
            dialled_by: small,
            peer_boot: 1,
        };
        let fresh = LinkFacts {
            dialled_by: large,
            peer_boot: 2,
        };
        assert_eq!(tie_break(stale, fresh, small), TieBreak::Replace);
    }
}

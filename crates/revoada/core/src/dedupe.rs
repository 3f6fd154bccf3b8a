//! Exactly once: what was answered to each request, so that a retried one is not applied again.
//!
//! A proposer that gets no answer proposes again under the same [`RequestId`]; the state machine then finds the
//! first answer here. Part of the replicated state: same entries, same table, on every replica.
//!
//! The table holds the [`WINDOW_MAX`] highest numbers of an origin that were *applied*, so numbers that are skipped or
//! never used cost nothing, and it does not matter which member proposed them or in which order. An id is forgotten
//! only when that many higher ones of the same origin were applied; from then on it is [`Lookup::TooOld`], whether it
//! was applied or not: in doubt nothing is applied twice. An origin therefore keeps fewer than that under way at once.
//!
//! What an origin proposed may still be on its way when it leaves, and be proposed again by somebody it asked: the
//! answers of the [`DEPARTED_MAX`] members that departed last are remembered like the others.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::{CodecError, RequestId, decode, encode};
use crate::id::MemberId;

/// Answers remembered for each origin.
pub const WINDOW_MAX: usize = 512;

/// Bytes of answers remembered for each origin. The latest answer is remembered whatever its size.
pub const WINDOW_BYTES_MAX: usize = 256 * 1024;

/// Departed origins that are remembered.
pub const DEPARTED_MAX: usize = 16;

const VERSION: u8 = 2;
const SNAPSHOT_BYTES_MAX: usize = 1 << 31;

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Not applied yet: apply it and [`Dedupe::record`] the answer.
    New,
    /// Applied before, with this answer.
    Duplicate(Bytes),
    /// Older than what is remembered: it may or may not have been applied, and must not be now.
    TooOld,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    boot: u64,
    /// Highest request number that was dropped from `answers`, or skipped past.
    floor: u64,
    bytes: usize,
    answers: BTreeMap<u64, Bytes>,
}

/// The table of answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dedupe {
    origins: BTreeMap<MemberId, Window>,
    /// Origins that are no members any more, the last one last.
    departed: VecDeque<MemberId>,
}

impl Dedupe {
    /// What is known of a request.
    pub fn lookup(&self, request: &RequestId) -> Lookup {
        match self.origins.get(&request.origin) {
            Some(window) if request.boot < window.boot => Lookup::TooOld,
            Some(window) if request.boot == window.boot => match window.answers.get(&request.seq) {
                Some(answer) => Lookup::Duplicate(answer.clone()),
                None if request.seq <= window.floor => Lookup::TooOld,
                None => Lookup::New,
            },
            _ => Lookup::New,
        }
    }

    /// Remembers the answer to a request that was [`Lookup::New`]. A new boot of an origin replaces the old one.
    pub fn record(&mut self, request: &RequestId, answer: Bytes) {
        let window = self.origins.entry(request.origin).or_default();
        if request.boot < window.boot {
            return;
        }
        if request.boot > window.boot {
            *window = Window {
                boot: request.boot,
                ..Window::default()
            };
        }
        if request.seq <= window.floor {
            return;
        }
        window.bytes += answer.len();
        if let Some(old) = window.answers.insert(request.seq, answer) {
            window.bytes -= old.len();
        }
        while window.answers.len() > WINDOW_MAX || (window.bytes > WINDOW_BYTES_MAX && window.answers.len() > 1) {
            let Some((seq, answer)) = window.answers.pop_first() else {
                break;
            };
            window.floor = seq;
            window.bytes -= answer.len();
        }
    }

    /// Whether anything is remembered of an origin. Of one that is no member, nothing may be applied any more if not.
    pub fn remembers(&self, origin: &MemberId) -> bool {
        self.origins.contains_key(origin)
    }

    /// After every change of the members: forgets those who departed long ago.
    pub fn members_changed(&mut self, mut is_member: impl FnMut(&MemberId) -> bool) {
        self.departed.retain(|origin| !is_member(origin));
        for origin in self.origins.keys() {
            if !is_member(origin) && !self.departed.contains(origin) {
                self.departed.push_back(*origin);
            }
        }
        while self.departed.len() > DEPARTED_MAX {
            if let Some(origin) = self.departed.pop_front() {
                self.origins.remove(&origin);
            }
        }
    }

    /// Bytes of remembered answers, for metrics.
    pub fn bytes(&self) -> usize {
        self.origins.values().map(|window| window.bytes).sum()
    }

    /// The table as bytes: the same for equal tables.
    pub fn encode(&self) -> Result<Bytes, CodecError> {
        encode("deduplication table", VERSION, SNAPSHOT_BYTES_MAX, self)
    }

    /// Reads what [`Dedupe::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode("deduplication table", VERSION, SNAPSHOT_BYTES_MAX, bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(boot: u64, seq: u64) -> RequestId {
        RequestId {
            origin: MemberId([1; 32]),
            boot,
            seq,
        }
    }

    #[test]
    fn answers_are_remembered_for_a_window() {
        let mut table = Dedupe::default();
        for seq in 1..=600 {
            assert_eq!(table.lookup(&request(1, seq)), Lookup::New);
            table.record(&request(1, seq), Bytes::from(seq.to_string()));
        }
        assert_eq!(table.lookup(&request(1, 600)), Lookup::Duplicate("600".into()));
        assert_eq!(table.lookup(&request(1, 89)), Lookup::Duplicate("89".into()));
        assert_eq!(table.lookup(&request(1, 88)), Lookup::TooOld);
        assert_eq!(table.lookup(&request(1, 601)), Lookup::New);
        assert_eq!(Dedupe::decode(&table.encode().unwrap()), Ok(table));
    }

    #[test]
    fn numbers_that_are_never_used_cost_nothing() {
        let mut table = Dedupe::default();
        let blocks = WINDOW_MAX as u64;
        for block in 0..blocks {
            assert_eq!(table.lookup(&request(1, block * 64 + 1)), Lookup::New);
            table.record(&request(1, block * 64 + 1), "first".into());
        }
        // The first block is whole, and in all of them the other numbers may still be used.
        assert_eq!(table.lookup(&request(1, 1)), Lookup::Duplicate("first".into()));
        for block in 0..blocks {
            assert_eq!(table.lookup(&request(1, block * 64 + 2)), Lookup::New);
        }
        table.record(&request(1, 2), "second".into());
        assert_eq!(table.lookup(&request(1, 1)), Lookup::TooOld);
        assert_eq!(table.lookup(&request(1, 2)), Lookup::Duplicate("second".into()));
    }

    #[test]
    fn a_new_boot_replaces_and_the_old_one_is_refused() {
        let mut table = Dedupe::default();
        table.record(&request(5, 7), "a".into());
        assert_eq!(table.lookup(&request(6, 7)), Lookup::New);
        table.record(&request(6, 1), "b".into());
        assert_eq!(table.lookup(&request(5, 7)), Lookup::TooOld);
        assert_eq!(table.lookup(&request(5, 8)), Lookup::TooOld);
        table.record(&request(5, 8), "late".into());
        assert_eq!(table.lookup(&request(6, 1)), Lookup::Duplicate("b".into()));
    }

    #[test]
    fn the_last_departed_are_remembered() {
        let mut table = Dedupe::default();
        let member = |n: u8| MemberId([n; 32]);
        let of = |n: u8| RequestId {
            origin: member(n),
            boot: 1,
            seq: 1,
        };
        let members_max = u8::try_from(DEPARTED_MAX).unwrap() + 2;
        for n in 0..members_max {
            table.record(&of(n), "a".into());
        }
        // One after the other goes; the first comes back in time, the second is the oldest of those who are gone.
        for gone in 1..members_max - 1 {
            table.members_changed(|id| id.0[0] >= gone);
        }
        assert!(table.remembers(&member(0)));
        table.members_changed(|id| id.0[0] == 0);
        assert!(table.remembers(&member(0)) && !table.remembers(&member(1)));
        for n in 2..members_max {
            assert_eq!(table.lookup(&of(n)), Lookup::Duplicate("a".into()));
        }
        table.members_changed(|_| false);
        assert!(table.remembers(&member(0)) && !table.remembers(&member(2)));
    }

    #[test]
    fn bytes_are_bounded_and_the_latest_answer_is_kept() {
        let mut table = Dedupe::default();
        let half = Bytes::from(vec![0; WINDOW_BYTES_MAX / 2]);
        for seq in 1..=3 {
            table.record(&request(1, seq), half.clone());
        }
        assert_eq!(table.bytes(), WINDOW_BYTES_MAX);
        assert_eq!(table.lookup(&request(1, 1)), Lookup::TooOld);
        let huge = Bytes::from(vec![0; 2 * WINDOW_BYTES_MAX]);
        table.record(&request(1, 4), huge.clone());
        assert_eq!(table.lookup(&request(1, 4)), Lookup::Duplicate(huge));
        assert_eq!(table.lookup(&request(1, 3)), Lookup::TooOld);
    }

    proptest! {
        /// However requests are retried and reordered, none is applied twice.
        #[test]
        fn applied_at_most_once(entries in proptest::collection::vec((1u64..3, 1u64..700), 1..1500)) {
            let mut table = Dedupe::default();
            let mut applied = std::collections::BTreeSet::new();
            for (boot, seq) in entries {
                let request = request(boot, seq);
                match table.lookup(&request) {
                    Lookup::New => {
                        prop_assert!(applied.insert((boot, seq)), "applied {boot}/{seq} twice");
                        table.record(&request, Bytes::from(format!("{boot}/{seq}")));
                    }
                    Lookup::Duplicate(answer) => prop_assert_eq!(answer, Bytes::from(format!("{boot}/{seq}"))),
                    Lookup::TooOld => {}
                }
            }
        }
    }
}

//! When to compact: a pure function that the leader's loop calls.

use std::collections::VecDeque;
use std::time::Duration;

/// How long old revisions stay readable, as with kube-apiserver.
pub const COMPACTION_WINDOW: Duration = Duration::from_secs(300);
/// Most samples that are kept: one for each five seconds of the window, and some to spare.
const SAMPLES_MAX: usize = 128;

/// The store's revision at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevisionSample {
    /// Monotonic time since any origin.
    pub at: Duration,
    /// The store's revision then.
    pub revision: u64,
}

/// Gives the revision to compact at, if any: the newest one that was current at least `window` before `now`
/// and lies after `compacted`. `samples` are in the order of time. An idle store gives `None`.
pub fn plan_compaction(now: Duration, window: Duration, compacted: u64, samples: &[RevisionSample]) -> Option<u64> {
    let horizon = now.checked_sub(window)?;
    let old = samples.iter().rev().find(|sample| sample.at <= horizon)?;
    (old.revision > compacted.max(1)).then_some(old.revision)
}

/// The samples of the last window, taken by the leader's loop.
#[derive(Debug, Default)]
pub struct RevisionSamples {
    samples: VecDeque<RevisionSample>,
}

impl RevisionSamples {
    /// Notes the store's revision and says where to compact. Between two compactions lies half a window at
    /// least, so that a busy store compacts now and then and an idle one never.
    pub fn observe(&mut self, now: Duration, revision: u64, compacted: u64) -> Option<u64> {
        self.observe_within(now, COMPACTION_WINDOW, revision, compacted)
    }

    /// The same with another window.
    pub fn observe_within(&mut self, now: Duration, window: Duration, revision: u64, compacted: u64) -> Option<u64> {
        let spacing = window / (SAMPLES_MAX as u32 / 2);
        if self
            .samples
            .back()
            .is_none_or(|last| now.saturating_sub(last.at) >= spacing)
        {
            self.samples.push_back(RevisionSample { at: now, revision });
            if self.samples.len() > SAMPLES_MAX {
                self.samples.pop_front();
            }
        }
        let due = plan_compaction(now, window, compacted, self.samples.make_contiguous())?;
        // What was compacted last was current when its sample was taken; wait for half a window of writes more.
        let since = self.samples.iter().find(|sample| sample.revision > compacted)?.at;
        (now.saturating_sub(since) >= window + window / 2).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    fn sample(at: u64, revision: u64) -> RevisionSample {
        RevisionSample {
            at: Duration::from_secs(at),
            revision,
        }
    }

    #[test]
    fn compacts_what_was_current_a_window_ago() {
        let samples = [sample(0, 5), sample(100, 9), sample(200, 20)];
        let plan = |now, compacted| plan_compaction(Duration::from_secs(now), WINDOW, compacted, &samples);
        assert_eq!(plan(299, 0), None);
        assert_eq!(plan(300, 0), Some(5));
        assert_eq!(plan(450, 0), Some(9));
        assert_eq!(plan(450, 9), None);
        assert_eq!(plan(600, 9), Some(20));
        assert_eq!(plan(9000, 20), None);
    }

    #[test]
    fn an_idle_store_is_compacted_once_and_never_again() {
        let mut samples = RevisionSamples::default();
        let (mut compacted, mut proposals) = (0, 0);
        for second in 0..5000 {
            let revision = 1 + second.min(40);
            if let Some(revision) = samples.observe(Duration::from_secs(second), revision, compacted) {
                compacted = revision;
                proposals += 1;
            }
        }
        assert_eq!((compacted, proposals <= 2), (41, true));
    }

    #[test]
    fn a_busy_store_keeps_a_window() {
        let mut samples = RevisionSamples::default();
        let (mut compacted, mut proposals) = (0, 0);
        for second in 0..3600u64 {
            if let Some(revision) = samples.observe(Duration::from_secs(second), 1 + second, compacted) {
                assert!(revision <= 1 + second - 300, "{revision} at {second}");
                compacted = revision;
                proposals += 1;
            }
        }
        assert!((10..=26).contains(&proposals), "{proposals}");
        assert!(compacted > 3600 - 600);
    }
}

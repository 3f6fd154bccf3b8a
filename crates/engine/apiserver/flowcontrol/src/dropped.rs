//! How long clients of a level that refuses requests are told to stay away.

use std::collections::{BTreeMap, VecDeque};

/// Longest advice, seconds.
const RETRY_AFTER_MAX_S: u64 = 32;

/// What each level has refused lately.
#[derive(Debug, Default)]
pub struct Dropped {
    levels: BTreeMap<String, Stats>,
}

#[derive(Debug)]
struct Stats {
    /// Seconds with refusals before the current one, and how many.
    history: VecDeque<(u64, u64)>,
    current: (u64, u64),
    retry_after_s: u64,
    raised_at_s: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            history: VecDeque::new(),
            current: (0, 0),
            retry_after_s: 1,
            raised_at_s: 0,
        }
    }
}

impl Dropped {
    /// Notes a refusal of `level` at a Unix time, and gives the seconds after which its sender may try again.
    pub fn note(&mut self, level: &str, unix_s: u64) -> u64 {
        let stats = self.levels.entry(level.to_owned()).or_default();
        stats.note(unix_s);
        stats.retry_after_s
    }

    /// Forgets the levels that are no more.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.levels.retain(|name, _| keep(name));
    }
}

impl Stats {
    fn note(&mut self, unix_s: u64) {
        if self.current.0 == unix_s {
            self.current.1 += 1;
            return;
        }
        self.history.push_back(self.current);
        self.current = (unix_s, 1);
        let keep_s = (2 * self.retry_after_s).min(RETRY_AFTER_MAX_S);
        while self
            .history
            .front()
            .is_some_and(|(at, _)| unix_s.saturating_sub(*at) > keep_s)
        {
            self.history.pop_front();
        }
        self.adapt(unix_s);
    }

    /// Twice as long under a storm, a second less without one: as TCP does.
    fn adapt(&mut self, unix_s: u64) {
        let wait = self.retry_after_s;
        let recent = self
            .history
            .iter()
            .filter(|(at, _)| *at < unix_s && unix_s - at <= wait);
        let dropped: u64 = recent.map(|(_, count)| count).sum();
        if unix_s.saturating_sub(self.raised_at_s) >= wait && dropped >= 3 * wait {
            self.retry_after_s = (wait * 2).min(RETRY_AFTER_MAX_S);
            self.raised_at_s = unix_s;
        } else if dropped < wait && wait > 1 {
            self.retry_after_s = wait - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_grows_under_a_storm_and_shrinks_after_it() {
        let mut dropped = Dropped::default();
        let mut longest = 0;
        for second in 1000..1200 {
            for _ in 0..100 {
                longest = longest.max(dropped.note("a", second));
            }
        }
        assert_eq!(longest, RETRY_AFTER_MAX_S);
        assert_eq!(dropped.note("b", 1200), 1);
        for second in 0..64 {
            dropped.note("a", 2000 + 40 * second);
        }
        assert_eq!(dropped.note("a", 9000), 1);
    }
}

//! Answers that are kept for a while: bounded in number, the one that was used longest ago goes first.

use std::collections::BTreeMap;

/// By a key of 32 bytes.
pub(crate) struct Expiring<V> {
    max: usize,
    kept: BTreeMap<[u8; 32], Kept<V>>,
    /// By their last use.
    order: BTreeMap<u64, [u8; 32]>,
    uses: u64,
}

struct Kept<V> {
    value: V,
    until_ms: u64,
    used: u64,
}

impl<V: Clone> Expiring<V> {
    /// Keeps at most `max`.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            kept: BTreeMap::new(),
            order: BTreeMap::new(),
            uses: 0,
        }
    }

    /// What is kept, unless its time is over.
    pub fn get(&mut self, key: &[u8; 32], now_ms: u64) -> Option<V> {
        let kept = self.kept.get_mut(key)?;
        self.order.remove(&kept.used);
        if now_ms >= kept.until_ms {
            self.kept.remove(key);
            return None;
        }
        self.uses += 1;
        kept.used = self.uses;
        self.order.insert(self.uses, *key);
        Some(kept.value.clone())
    }

    /// Keeps a value until a point in time.
    pub fn put(&mut self, key: [u8; 32], value: V, until_ms: u64) {
        self.uses += 1;
        let used = self.uses;
        if let Some(old) = self.kept.insert(key, Kept { value, until_ms, used }) {
            self.order.remove(&old.used);
        }
        self.order.insert(used, key);
        while self.kept.len() > self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.kept.remove(&oldest);
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(of: u8) -> [u8; 32] {
        [of; 32]
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut kept = Expiring::new(2);
        kept.put(key(1), 'a', 100);
        kept.put(key(2), 'b', 100);
        assert_eq!(kept.get(&key(1), 0), Some('a'));
        kept.put(key(3), 'c', 100);
        assert_eq!(kept.get(&key(2), 0), None);
        assert_eq!((kept.get(&key(1), 0), kept.get(&key(3), 0)), (Some('a'), Some('c')));
        kept.put(key(1), 'd', 50);
        assert_eq!(kept.get(&key(1), 49), Some('d'));
        assert_eq!(kept.get(&key(1), 50), None, "its time is over");
        assert_eq!((kept.len(), kept.order.len()), (1, 1));
    }
}

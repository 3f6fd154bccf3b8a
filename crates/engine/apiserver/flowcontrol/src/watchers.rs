//! How many watches a change reaches.

use std::collections::BTreeMap;

use crate::classify::Digest;

/// What a watch is about. Watches that differ only in their selectors count as alike: each of them looks at a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchKey {
    group: String,
    resource: String,
    namespace: String,
    name: String,
}

impl WatchKey {
    /// The key of a watch; `None` for one that an index serves, so that only few changes reach it. `node_name` is the
    /// exact `spec.nodeName` it asks for.
    pub fn of(digest: &Digest<'_>, node_name: Option<&str>) -> Option<Self> {
        if digest.resource == "pods" && node_name.is_some_and(|name| !name.is_empty()) {
            return None;
        }
        Some(Self {
            group: digest.group.into(),
            resource: digest.resource.into(),
            namespace: digest.namespace.into(),
            name: digest.name.into(),
        })
    }
}

/// The watches that are open.
#[derive(Debug, Default)]
pub struct Watchers {
    open: BTreeMap<WatchKey, u64>,
}

impl Watchers {
    /// Counts a watch.
    pub fn register(&mut self, key: WatchKey) {
        *self.open.entry(key).or_default() += 1;
    }

    /// Counts it no longer.
    pub fn forget(&mut self, key: &WatchKey) {
        if let Some(count) = self.open.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(key);
            }
        }
    }

    /// Watches that a change by this request would reach.
    pub fn interested(&self, digest: &Digest<'_>) -> u64 {
        let mut key = WatchKey {
            group: digest.group.into(),
            resource: digest.resource.into(),
            namespace: String::new(),
            name: String::new(),
        };
        let count = |key: &WatchKey| self.open.get(key).copied().unwrap_or(0);
        let mut all = count(&key);
        if !digest.namespace.is_empty() {
            key.namespace = digest.namespace.into();
            all += count(&key);
        }
        if !digest.name.is_empty() {
            key.name = digest.name.into();
            all += count(&key);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_of_all_scopes_count() {
        let digest = |namespace, name| Digest {
            resource: "pods",
            namespace,
            name,
            ..Digest::default()
        };
        let mut watchers = Watchers::default();
        let keys: Vec<_> = [("", ""), ("a", ""), ("a", "x"), ("b", "")]
            .into_iter()
            .filter_map(|(namespace, name)| WatchKey::of(&digest(namespace, name), None))
            .collect();
        for key in &keys {
            watchers.register(key.clone());
        }
        assert_eq!(watchers.interested(&digest("a", "x")), 3);
        assert_eq!(watchers.interested(&digest("a", "")), 2);
        assert_eq!(WatchKey::of(&digest("", ""), Some("n1")), None);
        for key in &keys {
            watchers.forget(key);
        }
        assert!(watchers.open.is_empty());
    }
}

//! Sets of fields, kept as a tree of path elements.

use super::element::PathElement;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A set of field paths. That a field is in the set says nothing of the fields above or below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) members: BTreeSet<PathElement>,
    /// Subtrees; never empty ones.
    pub(super) children: BTreeMap<PathElement, FieldSet>,
}

/// A path, as the sequence of its elements; displays as `.spec.containers[name="a"].image`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<PathElement>);

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| element.fmt(formatter))
    }
}

impl FieldSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A set of plain field paths, such as the fields an endpoint resets: `&[&["status"]]`.
    #[must_use]
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::new();
        for path in paths {
            let path: Vec<PathElement> = path.iter().map(|name| PathElement::field(*name)).collect();
            set.insert(&path);
        }
        set
    }

    /// Adds a path. The empty path, the object itself, is nobody's.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((last, parents)) = path.split_last() else {
            return;
        };
        let mut set = self;
        for element in parents {
            set = set.children.entry(element.clone()).or_default();
        }
        set.members.insert(last.clone());
    }

    /// Whether the very path is in the set.
    #[must_use]
    pub fn has(&self, path: &[PathElement]) -> bool {
        let Some((last, parents)) = path.split_last() else {
            return false;
        };
        let mut set = self;
        for element in parents {
            match set.children.get(element) {
                Some(child) => set = child,
                None => return false,
            }
        }
        set.members.contains(last)
    }

    /// Whether no path is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    /// How many paths are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len() + self.children.values().map(Self::len).sum::<usize>()
    }

    /// Paths in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.extend(other);
        union
    }

    /// Adds the paths of another set.
    pub fn extend(&mut self, other: &Self) {
        self.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            self.children.entry(element.clone()).or_default().extend(child);
        }
    }

    /// Paths in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let members = self.members.intersection(&other.members).cloned().collect();
        Self::with(
            members,
            self.children.iter().filter_map(|(element, child)| {
                Some((element.clone(), child.intersection(other.children.get(element)?)))
            }),
        )
    }

    /// Paths in this set that aren't in the other; a parent or child of theirs doesn't count.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        Self::with(
            members,
            self.children
                .iter()
                .map(|(element, child)| match other.children.get(element) {
                    Some(taken) => (element.clone(), child.difference(taken)),
                    None => (element.clone(), child.clone()),
                }),
        )
    }

    /// Paths in this set that are neither in the other nor below one that is.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        let kept = self
            .children
            .iter()
            .filter(|(element, _)| !other.members.contains(*element));
        Self::with(
            members,
            kept.map(|(element, child)| match other.children.get(element) {
                Some(taken) => (element.clone(), child.recursive_difference(taken)),
                None => (element.clone(), child.clone()),
            }),
        )
    }

    /// Paths that no other path of the set lies below.
    #[must_use]
    pub fn leaves(&self) -> Self {
        let members = self
            .members
            .iter()
            .filter(|element| !self.children.contains_key(*element))
            .cloned()
            .collect();
        Self::with(
            members,
            self.children
                .iter()
                .map(|(element, child)| (element.clone(), child.leaves())),
        )
    }

    fn with(members: BTreeSet<PathElement>, children: impl Iterator<Item = (PathElement, Self)>) -> Self {
        Self {
            members,
            children: children.filter(|(_, child)| !child.is_empty()).collect(),
        }
    }

    /// Paths below `element`, without it.
    #[must_use]
    pub fn below(&self, element: &PathElement) -> Option<&Self> {
        self.children.get(element)
    }

    /// The paths, parents' members before their children's.
    #[must_use]
    pub fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        self.collect_paths(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &mut Vec<PathElement>, paths: &mut Vec<Path>) {
        for element in &self.members {
            let mut path = prefix.clone();
            path.push(element.clone());
            paths.push(Path(path));
        }
        for (element, child) in &self.children {
            prefix.push(element.clone());
            child.collect_paths(prefix, paths);
            prefix.pop();
        }
    }
}

impl fmt::Display for FieldSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.paths().iter().try_for_each(|path| writeln!(formatter, "{path}"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn element() -> impl Strategy<Value = PathElement> {
        prop_oneof![
            "[a-c]".prop_map(PathElement::field),
            "[a-b]".prop_map(|name| PathElement::key(vec![("name".to_owned(), json!(name))])),
            (0..3).prop_map(|port| PathElement::key(vec![
                ("port".to_owned(), json!(port)),
                ("p".to_owned(), json!("T"))
            ])),
            "[a-b]".prop_map(|value| PathElement::Value(json!(value))),
            (0..3i64).prop_map(PathElement::Index),
        ]
    }

    pub fn field_set() -> impl Strategy<Value = FieldSet> {
        prop::collection::vec(prop::collection::vec(element(), 1..4), 0..8).prop_map(|paths| {
            let mut set = FieldSet::new();
            paths.iter().for_each(|path| set.insert(path));
            set
        })
    }

    #[test]
    fn parents_and_children_are_apart() {
        let set = FieldSet::of_fields(&[&["a"], &["a", "b"], &["c", "d"]]);
        assert!(set.has(&[PathElement::field("a")]));
        assert!(!set.has(&[PathElement::field("c")]));
        assert_eq!(
            set.difference(&FieldSet::of_fields(&[&["a"]])),
            FieldSet::of_fields(&[&["a", "b"], &["c", "d"]])
        );
        assert_eq!(
            set.recursive_difference(&FieldSet::of_fields(&[&["a"]])),
            FieldSet::of_fields(&[&["c", "d"]])
        );
        assert_eq!(set.leaves(), FieldSet::of_fields(&[&["a", "b"], &["c", "d"]]));
        assert_eq!(set.to_string(), ".a\n.a.b\n.c.d\n");
    }

    proptest! {
        #[test]
        fn set_algebra(a in field_set(), b in field_set()) {
            prop_assert_eq!(a.union(&b), b.union(&a));
            prop_assert_eq!(a.intersection(&b), b.intersection(&a));
            prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
            prop_assert!(a.difference(&b).intersection(&b).is_empty());
            prop_assert!(a.recursive_difference(&a).is_empty());
            prop_assert_eq!(a.union(&b).len(), a.len() + b.difference(&a).len());
            prop_assert_eq!(a.paths().len(), a.len());
        }
    }
}

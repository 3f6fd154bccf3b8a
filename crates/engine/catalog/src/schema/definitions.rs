//! The built-in definitions: an index of the embedded table, with each definition parsed when first used.

use std::sync::OnceLock;

use super::handle::Schema;
use super::node::Node;
use super::text;
use super::zeros;

static TABLE: &str = include_str!("../../data/schemas.txt");

/// One entry of the table.
struct Entry {
    name: &'static str,
    text: &'static str,
    /// What is written of its fields' zero values.
    zeros: &'static str,
    node: OnceLock<Box<Node>>,
}

/// All definitions, sorted by name.
pub struct Definitions {
    entries: Vec<Entry>,
    /// Group, version and kind of the definitions that state them, sorted.
    kinds: Vec<(&'static str, &'static str, &'static str, u16)>,
}

/// The definitions of Kubernetes 1.34.
pub fn builtin() -> &'static Definitions {
    static BUILTIN: OnceLock<Definitions> = OnceLock::new();
    BUILTIN.get_or_init(|| Definitions::index(TABLE))
}

impl Definitions {
    fn index(table: &'static str) -> Definitions {
        let mut entries: Vec<Entry> = Vec::with_capacity(600);
        let mut kinds = Vec::with_capacity(400);
        let mut facts = zeros::lines().peekable();
        for (name, text) in text::definitions(table) {
            let at = u16::try_from(entries.len()).unwrap_or(u16::MAX);
            kinds.extend(text::kinds_of(text).map(|(group, version, kind)| (group, version, kind, at)));
            while facts.next_if(|(about, _)| *about < name).is_some() {}
            let zeros = facts
                .next_if(|(about, _)| *about == name)
                .map_or("", |(_, facts)| facts);
            entries.push(Entry {
                name,
                text,
                zeros,
                node: OnceLock::new(),
            });
        }
        kinds.sort_unstable();
        Definitions { entries, kinds }
    }

    /// Number of definitions.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names of all definitions, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.entries.iter().map(|entry| entry.name)
    }

    /// Name of the definition at a place.
    pub fn name(&self, index: u16) -> Option<&'static str> {
        self.entries.get(usize::from(index)).map(|entry| entry.name)
    }

    /// Place of the definition of that name.
    pub fn find(&self, name: &str) -> Option<u16> {
        let at = self.entries.binary_search_by(|entry| entry.name.cmp(name)).ok()?;
        u16::try_from(at).ok()
    }

    /// Place of the definition of a kind. Options kinds state many groups; any of them finds the one definition.
    pub fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<u16> {
        let at = self
            .kinds
            .partition_point(|have| (have.0, have.1, have.2) < (group, version, kind));
        let found = self.kinds.get(at)?;
        ((found.0, found.1, found.2) == (group, version, kind)).then_some(found.3)
    }

    /// The definition at a place.
    pub fn node(&self, index: u16) -> Option<&Node> {
        let entry = self.entries.get(usize::from(index))?;
        Some(entry.node.get_or_init(|| {
            // The table is part of the program: a test parses all of it, so a failure here can't be met in the field.
            let mut node = text::parse_definition(entry.text, &|name| self.find(name)).unwrap_or_default();
            zeros::apply(entry.zeros, &mut node);
            Box::new(node)
        }))
    }

    /// A handle on the definition at a place.
    pub fn at(&self, index: u16) -> Option<Schema<'_>> {
        self.node(index).map(Schema::new)
    }

    /// A handle on the definition of that full name.
    pub fn get(&self, name: &str) -> Option<Schema<'_>> {
        self.at(self.find(name)?)
    }

    /// A handle on the definition of a kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Schema<'_>> {
        self.at(self.find_kind(group, version, kind)?)
    }

    /// How many definitions were parsed so far.
    pub fn parsed(&self) -> usize {
        self.entries.iter().filter(|entry| entry.node.get().is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_parses_and_every_reference_resolves() {
        let all = Definitions::index(TABLE);
        assert!(all.len() > 500, "only {} definitions", all.len());
        for entry in &all.entries {
            text::parse_definition(entry.text, &|name| all.find(name))
                .unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        }
        assert!(all.names().is_sorted());
    }
}

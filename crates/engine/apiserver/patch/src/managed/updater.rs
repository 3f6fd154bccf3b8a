//! Who owns what after a write, and what an apply adds to and takes from an object.

use super::compare::{Comparison, compare};
use super::element::equal_values;
use super::entries::{Entry, ManagerId, Managers};
use super::error::{ApplyError, Conflict};
use super::merge::merge;
use super::node::Node;
use super::reconcile::reconcile;
use super::set::{FieldSet, Path};
use super::typed::{Emptied, TypedErrors, to_set, with_named_fields, without};
use crate::schema::SchemaNode;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Converts objects between the versions of one kind.
pub trait Conversion<S> {
    /// `object`, which is in version `from`, in version `to` with the schema of that version; `None` if the kind has
    /// no such version (any more).
    fn convert(&self, object: &Value, from: &str, to: &str) -> Option<(Value, S)>;
}

/// The rules of one endpoint.
pub(super) struct Updater<'a, S> {
    pub schema: &'a S,
    pub api_version: &'a str,
    pub reset_fields: Option<&'a FieldSet>,
    pub conversion: Option<&'a dyn Conversion<S>>,
}

impl<S: SchemaNode> Updater<'_, S> {
    fn convert(&self, object: &Value, to: &str) -> Option<(Value, S)> {
        if to == self.api_version {
            return Some((object.clone(), self.schema.clone()));
        }
        self.conversion
            .and_then(|conversion| conversion.convert(object, self.api_version, to))
    }

    fn filtered(&self, set: FieldSet) -> FieldSet {
        match self.reset_fields {
            Some(fields) => set.recursive_difference(fields),
            None => set,
        }
    }

    fn difference(&self, schema: &S, old: &Value, new: &Value) -> Result<Comparison, TypedErrors> {
        let comparison = compare(&Node::root(schema), old, new)?;
        Ok(match self.reset_fields {
            Some(fields) => comparison.excluding(fields),
            None => comparison,
        })
    }

    /// The entries in line with today's schema; those of versions that are gone are left out.
    fn reconciled(&self, live: &Value, managers: &Managers) -> Managers {
        let mut result = Managers {
            entries: BTreeMap::new(),
            times: managers.times.clone(),
        };
        for (id, entry) in &managers.entries {
            let schema = if entry.api_version == self.api_version {
                Some(self.schema.clone())
            } else {
                self.convert(live, &entry.api_version).map(|(_, schema)| schema)
            };
            let Some(schema) = schema else { continue };
            let set = reconcile(&entry.set, &Node::root(&schema));
            result.entries.insert(
                id.clone(),
                Entry {
                    set,
                    api_version: entry.api_version.clone(),
                },
            );
        }
        result
    }

    /// Takes from every other manager the fields that differ between `old` and `new`, unless that is a conflict.
    fn take_over(
        &self,
        old: &Value,
        new: &Value,
        managers: &mut Managers,
        own: Option<&ManagerId>,
        force: bool,
    ) -> Result<Comparison, ApplyError> {
        let comparison = self.difference(self.schema, old, new).map_err(ApplyError::Compare)?;
        let mut versions: BTreeMap<String, Option<Comparison>> = BTreeMap::new();
        versions.insert(self.api_version.to_owned(), Some(comparison.clone()));
        let mut conflicts = Vec::new();
        let mut lost: Vec<(ManagerId, FieldSet)> = Vec::new();
        let mut obsolete = Vec::new();
        for (id, entry) in &managers.entries {
            if own == Some(id) {
                continue;
            }
            if !versions.contains_key(&entry.api_version) {
                let converted = self
                    .convert(old, &entry.api_version)
                    .zip(self.convert(new, &entry.api_version));
                let difference = match converted {
                    Some(((old, schema), (new, _))) => {
                        Some(self.difference(&schema, &old, &new).map_err(ApplyError::Compare)?)
                    }
                    None => None,
                };
                versions.insert(entry.api_version.clone(), difference);
            }
            let Some(Some(difference)) = versions.get(&entry.api_version) else {
                obsolete.push(id.clone());
                continue;
            };
            let changed = entry.set.intersection(&difference.modified.union(&difference.added));
            for path in changed.paths() {
                conflicts.push(Conflict {
                    manager: id.clone(),
                    path,
                });
            }
            lost.push((id.clone(), changed.union(&difference.removed)));
        }
        if !force && !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
        for id in obsolete {
            managers.entries.remove(&id);
        }
        for (id, fields) in lost {
            if let Some(entry) = managers.entries.get_mut(&id) {
                entry.set = entry.set.difference(&fields);
            }
        }
        managers.entries.retain(|_, entry| !entry.set.is_empty());
        Ok(comparison)
    }

    /// Books a write that isn't an apply: the fields it changed, and that nobody keeps.
    pub fn update(&self, live: &Value, new: &Value, managers: &Managers) -> Result<(Managers, FieldSet), ApplyError> {
        let mut managers = self.reconciled(live, managers);
        let comparison = self.take_over(live, new, &mut managers, None, true)?;
        let written = self.filtered(comparison.modified.union(&comparison.added));
        Ok((managers, written))
    }

    /// Applies a configuration. The object is `None` if it doesn't change.
    pub fn apply(
        &self,
        live: &Value,
        config: &Value,
        managers: &Managers,
        own: &ManagerId,
        force: bool,
    ) -> Result<(Option<Value>, Managers), ApplyError> {
        let node = Node::root(self.schema);
        let mut managers = self.reconciled(live, managers);
        let merged = merge(&node, live, config).map_err(ApplyError::Merge)?;
        let set = self.filtered(to_set(&node, config));
        let entry = Entry {
            set,
            api_version: self.api_version.to_owned(),
        };
        let last = managers.entries.insert(own.clone(), entry);
        let (compared, object) = self.pruned(merged, last.as_ref(), &managers);
        self.take_over(live, &compared, &mut managers, Some(own), force)?;
        let changed = !equal_values(live, &object) && !equal_values(live, &compared);
        Ok((changed.then_some(object), managers))
    }

    /// Removes what the manager applied last time, doesn't apply now, and nobody else owns. Gives the object with nulls
    /// where structures were emptied, for comparing, and without, for storing.
    fn pruned(&self, merged: Value, last: Option<&Entry>, managers: &Managers) -> (Value, Value) {
        let Some(last) = last.filter(|last| !last.set.is_empty()) else {
            return (merged.clone(), merged);
        };
        let Some((mut current, schema)) = self.convert(&merged, &last.api_version) else {
            return (merged.clone(), merged);
        };
        let node = Node::root(&schema);
        let named = |node: &Node<S>, set: &FieldSet| with_named_fields(set, Some(node));
        let remove = |node: &Node<S>, value: &Value, taken: &FieldSet, emptied: Emptied| {
            without(node, value, taken, emptied).unwrap_or_else(|| Value::Object(Map::new()))
        };
        let last_named = named(&node, &last.set);
        let mut pruned = remove(&node, &current, &last_named, Emptied::Null);

        // Give back what others own, version by version; the version of the last apply comes first.
        let mut owned: BTreeMap<&str, FieldSet> = BTreeMap::new();
        for entry in managers.entries.values() {
            owned.entry(&entry.api_version).or_default().extend(&entry.set);
        }
        let mut versions: Vec<(&str, FieldSet)> = owned.into_iter().collect();
        versions.sort_by_key(|(version, _)| *version != last.api_version);
        let mut at_version = last.api_version.clone();
        for (version, owned) in versions {
            let (node, before, after) = if version == at_version {
                (
                    Node::root(&self.schema_of(version, &schema)),
                    current.clone(),
                    pruned.clone(),
                )
            } else {
                let convert = |value: &Value| self.convert_between(value, &at_version, version);
                let Some(((before, schema), (after, _))) = convert(&current).zip(convert(&pruned)) else {
                    continue;
                };
                (Node::root(&schema), before, after)
            };
            let had = named(&node, &to_set(&node, &before));
            let kept = named(&node, &to_set(&node, &after)).union(&named(&node, &owned));
            pruned = remove(&node, &before, &had.difference(&kept), Emptied::Null);
            current = before;
            at_version = version.to_owned();
        }

        // And what was never the manager's: unowned fields beside its own.
        let back = if at_version == last.api_version {
            Some(((current, schema.clone()), (pruned, schema)))
        } else {
            let convert = |value: &Value| self.convert_between(value, &at_version, &last.api_version);
            convert(&current).zip(convert(&pruned))
        };
        let Some(((current, schema), (pruned, _))) = back else {
            return (merged.clone(), merged);
        };
        let node = Node::root(&schema);
        let had = named(&node, &to_set(&node, &current));
        let kept = named(&node, &to_set(&node, &pruned));
        let taken = had.difference(&kept).intersection(&last_named);
        let result = |emptied| {
            let value = remove(&node, &current, &taken, emptied);
            self.convert_between(&value, &last.api_version, self.api_version)
                .map(|(value, _)| value)
        };
        match (result(Emptied::Null), result(Emptied::Dropped)) {
            (Some(compared), Some(object)) => (compared, object),
            _ => (merged.clone(), merged),
        }
    }

    fn schema_of(&self, version: &str, other: &S) -> S {
        if version == self.api_version {
            self.schema.clone()
        } else {
            other.clone()
        }
    }

    fn convert_between(&self, object: &Value, from: &str, to: &str) -> Option<(Value, S)> {
        if from == to && to == self.api_version {
            return Some((object.clone(), self.schema.clone()));
        }
        self.conversion
            .and_then(|conversion| conversion.convert(object, from, to))
    }
}

/// Conflicts with fields outside of `allowed`.
pub(super) fn conflicts_outside(conflicts: Vec<Conflict>, allowed: &FieldSet) -> Vec<Conflict> {
    conflicts
        .into_iter()
        .filter(|Conflict { path: Path(path), .. }| !allowed.has(path))
        .collect()
}

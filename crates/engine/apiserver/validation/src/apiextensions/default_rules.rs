//! Rules of a schema applied to a default within it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use engenho_cel::Budget;
use serde_json::Value;

use super::walk::DEPTH_MAX;
use crate::Path;
use crate::get::{entries, flag, items, text};
use crate::rules::{Call, Found, Rules};
use crate::shared::Errors;

/// The nodes of a schema that have rules, and those on the way to them.
struct Tree<'s> {
    schema: &'s Value,
    rules: Option<Rules>,
    items: Option<Box<Tree<'s>>>,
    values: Option<Box<Tree<'s>>>,
    properties: BTreeMap<&'s str, Tree<'s>>,
}

impl<'s> Tree<'s> {
    fn of(schema: &'s Value, root: bool, depth: usize) -> Option<Self> {
        if !schema.is_object() || depth > DEPTH_MAX {
            return None;
        }
        let within = |inner: &'s Value| Self::of(inner, flag(&inner["x-kubernetes-embedded-resource"]), depth + 1);
        let own = items(&schema["x-kubernetes-validations"]);
        let tree = Self {
            schema,
            rules: (!own.is_empty()).then(|| Rules::compile(own, schema, root)),
            items: within(&schema["items"]).map(Box::new),
            values: within(&schema["additionalProperties"]).map(Box::new),
            properties: entries(&schema["properties"])
                .into_iter()
                .filter_map(|(name, inner)| Some((name, within(inner)?)))
                .collect(),
        };
        let some = tree.rules.is_some() || tree.items.is_some() || tree.values.is_some();
        (some || !tree.properties.is_empty()).then_some(tree)
    }

    fn check(
        &self,
        value: &Value,
        updates: bool,
        path: &Path<'_>,
        budget: &mut Budget,
        found: &mut Found,
    ) -> ControlFlow<()> {
        if value.is_null() {
            return ControlFlow::Continue(());
        }
        if let Some(rules) = &self.rules {
            let call = Call {
                path,
                schema: self.schema,
                value,
                old: updates.then_some(value),
                unchanged: false,
            };
            rules.check(&call, budget, found)?;
        }
        match value {
            Value::Array(list) => {
                if let Some(tree) = &self.items {
                    // Only items with keys are told from each other.
                    let updates = updates && text(&self.schema["x-kubernetes-list-type"]) == "map";
                    for (i, item) in list.iter().enumerate() {
                        tree.check(item, updates, &path.index(i), budget, found)?;
                    }
                }
            }
            Value::Object(fields) => {
                if let Some(tree) = &self.values {
                    for (name, field) in fields {
                        tree.check(field, updates, &path.key(name), budget, found)?;
                    }
                }
                for (name, field) in fields {
                    if let Some(tree) = self.properties.get(name.as_str()) {
                        tree.check(field, updates, &path.child(name), budget, found)?;
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// What is wrong with a default by the rules of its schema: as an update of itself, and as what it is from nothing.
/// Breaks when too much was spent.
pub(super) fn validate(
    default: &Value,
    schema: &Value,
    root: bool,
    path: &Path<'_>,
    budget: &mut Budget,
    errors: &mut Errors,
) -> ControlFlow<()> {
    let Some(tree) = Tree::of(schema, root, 0) else {
        return ControlFlow::Continue(());
    };
    let start = *budget;
    let mut found = Found::default();
    let mut flow = tree.check(default, true, path, budget, &mut found);
    if found.errors.is_empty() {
        let mut again = start;
        flow = tree.check(default, false, path, &mut again, &mut found);
        budget.remaining = budget.remaining.min(again.remaining);
    }
    errors.append(&mut found.errors);
    flow
}

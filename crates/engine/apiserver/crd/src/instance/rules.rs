//! Rules of a definition (`x-kubernetes-validations`): where they apply.

use std::ops::ControlFlow;

use engenho_validation::Path;
use engenho_validation::rules::{Budget, Call, Found};
use serde_json::Value;

use super::correlate::{KeyedList, Pair};
use crate::schema::{Additional, RuleSet, Schema};

/// Whoever is told of each value that has rules. Breaks when no further rules may be run.
pub(super) type Visitor<'v> = dyn FnMut(&RuleSet, &Call<'_>) -> ControlFlow<()> + 'v;

/// How a value belongs to an old one.
#[derive(Clone, Copy)]
struct Standing<'a> {
    current: Option<Pair<'a>>,
    /// The nearest pair above.
    above: Option<Pair<'a>>,
}

impl<'a> Standing<'a> {
    fn unchanged(&self) -> bool {
        self.current.or(self.above).is_some_and(|pair| pair.unchanged())
    }

    fn below(&self, of: impl FnOnce(Pair<'a>) -> Option<Pair<'a>>) -> Self {
        match self.current {
            None => *self,
            Some(pair) => Standing {
                current: of(pair),
                above: Some(pair),
            },
        }
    }

    fn key(&self, name: &str) -> Self {
        if self.above.is_none() && matches!(name, "apiVersion" | "kind") {
            return Standing {
                current: None,
                above: None,
            };
        }
        self.below(|pair| pair.key(name))
    }
}

/// Applies the rules of a schema to an object.
pub(super) fn run(schema: &Schema, new: &Value, old: Option<&Value>, found: &mut Found) {
    let mut budget = Budget::per_call();
    walk(schema, new, old, &mut |set, call| {
        set.compiled().check(call, &mut budget, found)
    });
}

/// Visits each value of an object that has rules.
pub(super) fn walk(schema: &Schema, new: &Value, old: Option<&Value>, visitor: &mut Visitor<'_>) {
    let standing = Standing {
        current: old.map(|old| Pair { new, old, schema }),
        above: None,
    };
    // Whether it broke off is of no interest here.
    let _ = visit(schema, schema, new, old, &Path::Root, standing, visitor);
}

/// `rules_of` has the rules, `site` says what the value is; they differ within `allOf`.
fn visit(
    rules_of: &Schema,
    site: &Schema,
    value: &Value,
    old: Option<&Value>,
    path: &Path<'_>,
    standing: Standing<'_>,
    visitor: &mut Visitor<'_>,
) -> ControlFlow<()> {
    if value.is_null() || !rules_of.has_rules {
        return ControlFlow::Continue(());
    }
    if let Some(set) = &rules_of.rules {
        let call = Call {
            path,
            schema: set.schema(),
            value,
            old: old.filter(|old| !old.is_null()),
            unchanged: standing.unchanged(),
        };
        visitor(set, &call)?;
    }
    for one in &rules_of.all_of {
        let standing = Standing {
            current: None,
            above: standing.above,
        };
        visit(one, site, value, old, path, standing, visitor)?;
    }
    match value {
        Value::Array(items) => {
            let (Some(inner), Some(site_items)) = (rules_of.items.as_deref(), site.items.as_deref()) else {
                return ControlFlow::Continue(());
            };
            let keyed = KeyedList::of(site, old);
            let pairs = standing.current.map(|pair| pair.items()).unwrap_or_default();
            for (index, item) in items.iter().enumerate() {
                let standing = standing.below(|_| pairs.get(index).copied().flatten());
                let before = keyed.get(item);
                visit(inner, site_items, item, before, &path.index(index), standing, visitor)?;
            }
        }
        Value::Object(map) => {
            let before = |name: &str| old.and_then(|old| old.get(name));
            if let (Additional::Schema(inner), Additional::Schema(values)) = (&rules_of.additional, &site.additional) {
                for (name, value) in map {
                    let standing = standing.key(name);
                    visit(inner, values, value, before(name), &path.key(name), standing, visitor)?;
                }
            }
            for (name, value) in map {
                if let (Some(inner), Some(property)) = (rules_of.properties.get(name), site.properties.get(name)) {
                    let standing = standing.key(name);
                    visit(
                        inner,
                        property,
                        value,
                        before(name),
                        &path.child(name),
                        standing,
                        visitor,
                    )?;
                }
            }
        }
        _ => {}
    }
    ControlFlow::Continue(())
}

//! Rules of a definition (`x-kubernetes-validations`): where they apply. Evaluating them is up to [`Rules`].

use std::ops::ControlFlow;

use engenho_validation::{FieldError, Path};
use serde_json::Value;

use super::correlate::{KeyedList, Pair};
use crate::schema::{Additional, RuleSet, Schema};

/// The rules of one schema node, applied to one value.
#[derive(Debug)]
pub struct Call<'a> {
    /// Where the value stands; a rule's `fieldPath` is a path below. The root prints as an empty text, which errors show
    /// as `<nil>`.
    pub path: &'a Path<'a>,
    /// The rules. [`Schema::rule_nodes`] gives all sets of a schema beforehand, to be compiled by id.
    pub set: &'a RuleSet,
    /// The schema node that says what the value is.
    pub schema: &'a Schema,
    /// `self`, never null.
    pub value: &'a Value,
    /// `oldSelf`: the value it replaces, if there is one that it can be told to replace.
    pub old: Option<&'a Value>,
    /// The value, or what it is part of, has not changed: faults of rules without `oldSelf` become warnings.
    pub unchanged: bool,
}

impl Call<'_> {
    /// Type of the value as errors print it in place of the value itself.
    pub fn shown_value(&self) -> &str {
        match self.schema.types.as_slice() {
            [only] => only,
            _ => "",
        }
    }
}

/// Evaluates rules. One value of it serves one request, and counts its cost.
pub trait Rules {
    /// Evaluates the rules of one node and adds what they find. Breaks when no further rules may be run.
    fn check(&mut self, call: &Call<'_>, errors: &mut Vec<FieldError>) -> ControlFlow<()>;
}

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
pub(super) fn run(
    schema: &Schema,
    new: &Value,
    old: Option<&Value>,
    rules: &mut dyn Rules,
    errors: &mut Vec<FieldError>,
) {
    let standing = Standing {
        current: old.map(|old| Pair { new, old, schema }),
        above: None,
    };
    // Whether it broke off is of no interest here.
    let _ = visit(schema, schema, new, old, &Path::Root, standing, rules, errors);
}

/// `rules_of` has the rules, `site` says what the value is; they differ within `allOf`.
#[allow(clippy::too_many_arguments)]
fn visit(
    rules_of: &Schema,
    site: &Schema,
    value: &Value,
    old: Option<&Value>,
    path: &Path<'_>,
    standing: Standing<'_>,
    rules: &mut dyn Rules,
    errors: &mut Vec<FieldError>,
) -> ControlFlow<()> {
    if value.is_null() || !rules_of.has_rules {
        return ControlFlow::Continue(());
    }
    if let Some(set) = &rules_of.rules {
        let call = Call {
            path,
            set,
            schema: site,
            value,
            old: old.filter(|old| !old.is_null()),
            unchanged: standing.unchanged(),
        };
        rules.check(&call, errors)?;
    }
    for one in &rules_of.all_of {
        let standing = Standing {
            current: None,
            above: standing.above,
        };
        visit(one, site, value, old, path, standing, rules, errors)?;
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
                visit(
                    inner,
                    site_items,
                    item,
                    before,
                    &path.index(index),
                    standing,
                    rules,
                    errors,
                )?;
            }
        }
        Value::Object(map) => {
            let before = |name: &str| old.and_then(|old| old.get(name));
            if let (Additional::Schema(inner), Additional::Schema(values)) = (&rules_of.additional, &site.additional) {
                for (name, value) in map {
                    let standing = standing.key(name);
                    visit(
                        inner,
                        values,
                        value,
                        before(name),
                        &path.key(name),
                        standing,
                        rules,
                        errors,
                    )?;
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
                        rules,
                        errors,
                    )?;
                }
            }
        }
        _ => {}
    }
    ControlFlow::Continue(())
}

//! Rules of a definition's schema (`x-kubernetes-validations`): whether they compile, and what they may cost.

use engenho_cel::{Type, escape, max_cardinality, type_of_schema};
use serde_json::Value;

use super::internal::RULE;
use crate::get::{flag, given, items, text};
use crate::rules::{Compiled, Scope};
use crate::shared::Errors;
use crate::{FieldError, Path, gojson};

/// What one expression may cost at most, by estimate.
const COST_MAX: u64 = 10_000_000;
/// What all expressions of a schema may cost together.
const TOTAL_COST_MAX: u64 = 100_000_000;
/// How many of the most expensive rules are named.
const NAMED_MAX: usize = 4;
const HINT: &str = "try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared";

/// What the rules of a whole schema cost, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    errors: Errors,
    total: u64,
    /// The most expensive ones, those first.
    expensive: Vec<(String, u64)>,
    /// The schema is that of before: what its rules cost was found good enough.
    unchanged: bool,
}

/// What expressions see of the place of a schema.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The type of values, if there are rules here or above.
    of: Option<Type>,
    /// How many values there can be in one object; none if nothing bounds it.
    cardinality: Option<u64>,
    /// Whether the schema is of a whole object.
    root: bool,
}

impl Seen {
    /// The root of a schema.
    pub fn root(schema: &Value) -> Self {
        Self {
            of: None,
            cardinality: Some(1),
            root: true,
        }
        .with_rules(schema)
    }

    fn with_rules(mut self, schema: &Value) -> Self {
        if self.of.is_none() && !items(&schema["x-kubernetes-validations"]).is_empty() {
            self.of = type_of_schema(schema, self.root, "self");
        }
        self
    }

    fn below(&self, above: &Value, inner: &Value, of: impl FnOnce(&Type) -> Option<Type>) -> Self {
        let of = self.of.as_ref().and_then(of);
        let factor = elements_max(above);
        Self {
            of,
            cardinality: self.cardinality.zip(factor).map(|(a, b)| a.saturating_mul(b)),
            root: flag(&inner["x-kubernetes-embedded-resource"]),
        }
        .with_rules(inner)
    }

    /// A named field of the values.
    pub fn property(&self, above: &Value, inner: &Value, name: &str) -> Self {
        self.below(above, inner, |of| match of {
            Type::Struct(of) => of.fields.get(&escape(name)?).cloned(),
            _ => None,
        })
    }

    /// The items of the lists, or what the values of the maps are.
    pub fn element(&self, above: &Value, inner: &Value) -> Self {
        self.below(above, inner, |of| match of {
            Type::List(of) | Type::Map(_, of) => Some((**of).clone()),
            _ => None,
        })
    }
}

/// How many values a schema allows for each of its own; none if it does not say.
fn elements_max(schema: &Value) -> Option<u64> {
    let limit = |key: &str| Some(schema[key].as_i64()?.max(0).unsigned_abs());
    match text(&schema["type"]) {
        "object" if given(&schema["additionalProperties"]) => limit("maxProperties"),
        "array" => limit("maxItems"),
        _ => Some(1),
    }
}

impl Expressions {
    /// Of a schema that is that of the old definition, or not.
    pub fn new(unchanged: bool) -> Self {
        Self {
            unchanged,
            ..Self::default()
        }
    }

    /// Looks at the rules of a node. `uncorrelatable` is the place from which on old values cannot be told from each
    /// other.
    pub fn check(&mut self, schema: &Value, seen: &Seen, uncorrelatable: Option<&str>, path: &Path<'_>) {
        let rules = items(&schema["x-kubernetes-validations"]);
        if rules.is_empty() {
            return;
        }
        let at = path.child("x-kubernetes-validations");
        let Some(of) = &seen.of else {
            let detail = "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations";
            self.errors.push(FieldError::internal(at, detail));
            return;
        };
        let scope = Scope::of(of.clone());
        for (i, rule) in rules.iter().enumerate() {
            let here = at.index(i);
            let field = here.child("rule");
            let compiled = Compiled::of(rule, &scope);
            let cost = compiled.program.as_ref().map_or(0, |program| {
                let often = seen.cardinality.unwrap_or_else(|| max_cardinality(schema));
                program.max_cost(schema).saturating_mul(often)
            });
            self.spend(cost, "estimated rule cost", &field);
            if let Some(error) = &compiled.error {
                self.errors.push(gojson::invalid(field, &RULE, rule, error));
            }
            let field = here.child("messageExpression");
            if let Some(error) = &compiled.message_error {
                self.errors.push(gojson::invalid(field, &RULE, rule, error));
            } else if let Some(message) = &compiled.message {
                self.spend(message.max_cost(schema), "estimated messageExpression cost", &field);
            }
            let optional = &rule["optionalOldSelf"];
            match (compiled.uses_old, uncorrelatable) {
                (true, Some(above)) => {
                    let detail =
                        format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {above}");
                    let condition = rule["rule"].clone();
                    self.errors
                        .push(FieldError::invalid(here.child("rule"), condition, &detail));
                }
                (false, _) if given(optional) => {
                    let detail = "may not be set if oldSelf is not used in rule";
                    let field = here.child("optionalOldSelf");
                    self.errors.push(FieldError::invalid(field, optional.clone(), detail));
                }
                _ => {}
            }
        }
    }

    fn spend(&mut self, cost: u64, what: &str, path: &Path<'_>) {
        if cost > COST_MAX && !self.unchanged {
            self.errors
                .push(FieldError::forbidden(path, &beyond(what, cost, COST_MAX)));
        }
        self.total = self.total.saturating_add(cost);
        if cost < TOTAL_COST_MAX / 100 {
            return;
        }
        let at = self.expensive.partition_point(|(_, other)| *other >= cost);
        self.expensive.insert(at, (path.to_string(), cost));
        self.expensive.truncate(NAMED_MAX);
    }

    /// What was found, of the schema at `path`.
    pub fn into_errors(self, path: &Path<'_>) -> Errors {
        let mut errors = self.errors;
        if self.total > TOTAL_COST_MAX {
            let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.extend(
                self.expensive
                    .iter()
                    .map(|(field, _)| FieldError::forbidden(field, detail)),
            );
            let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
            errors.push(FieldError::forbidden(path, &beyond(what, self.total, TOTAL_COST_MAX)));
        }
        errors
    }
}

fn beyond(what: &str, cost: u64, max: u64) -> String {
    let factor = cost as f64 / max as f64;
    let factor = match factor {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!("{what} exceeds budget by factor of {factor} ({HINT})")
}

//! What an expression may cost at most, from what the schema says of the sizes of values. Rules of custom resources
//! that may cost too much are refused before there is any object.

use serde_json::Value as Json;

use crate::expr::{Call, Expr, Fold, Kind};
use crate::program::Program;
use crate::schema::unescape;
use crate::types::Type;
use crate::value::Value;

/// The largest request there is, in bytes.
const REQUEST_BYTES_MAX: u64 = 3 * 1024 * 1024;
/// Objects have `metadata.name` and its like without a schema for them.
const IDENTITY_BYTES_MAX: u64 = REQUEST_BYTES_MAX - 2;
const LIST_COST: u64 = 10;
const MAP_COST: u64 = 30;

/// The smallest number of bytes a value of a schema takes in a request.
pub fn min_serialized_bytes(schema: &Json) -> u64 {
    if schema["x-kubernetes-int-or-string"] == true {
        return 1;
    }
    match schema["type"].as_str() {
        Some("boolean") => 4,
        Some("string") => match schema["format"].as_str() {
            Some("duration") => 3,
            Some("date") => 12,
            Some("date-time") => 21,
            _ => 2,
        },
        Some("array") => 2,
        Some("object") => {
            let required = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str);
            let field = |name: &str| {
                let of = schema.get("properties")?.get(name)?;
                let defaulted = of.get("default").is_some();
                (!defaulted).then(|| name.len() as u64 + min_serialized_bytes(of) + 4)
            };
            2 + required.filter_map(field).sum::<u64>()
        }
        _ => 1,
    }
}

/// The most elements, entries, or bytes of text that a value of a schema can have in a request.
pub fn max_elements(schema: &Json) -> u64 {
    let longest = schema["maxLength"].as_u64();
    if schema["x-kubernetes-int-or-string"] == true {
        return longest.map_or(REQUEST_BYTES_MAX - 2, |longest| longest.saturating_mul(4));
    }
    match schema["type"].as_str() {
        Some("array") => schema["maxItems"].as_u64().unwrap_or_else(|| {
            let item = schema.get("items").map_or(1, min_serialized_bytes);
            (REQUEST_BYTES_MAX - 2) / (item + 1)
        }),
        Some("object") => match schema.get("additionalProperties").filter(|of| of.is_object()) {
            Some(values) => {
                let most = schema["maxProperties"].as_u64();
                most.unwrap_or_else(|| (REQUEST_BYTES_MAX - 2) / (min_serialized_bytes(values) + 6))
            }
            None => 0,
        },
        Some("string") => match (schema["format"].as_str(), longest) {
            (Some("duration" | "date-time"), _) => 32,
            (Some("date"), _) => 12,
            (Some("byte"), Some(longest)) => longest,
            (_, Some(longest)) => longest.saturating_mul(4),
            (Some("byte"), None) => REQUEST_BYTES_MAX - 2,
            _ => match schema["enum"].as_array().filter(|values| !values.is_empty()) {
                Some(values) => values.iter().filter_map(Json::as_str).map(str::len).max().unwrap_or(0) as u64,
                None => REQUEST_BYTES_MAX - 2,
            },
        },
        _ => 0,
    }
}

/// How often a value of a schema can be in a request where nothing bounds how many there are.
pub fn max_cardinality(schema: &Json) -> u64 {
    REQUEST_BYTES_MAX / (min_serialized_bytes(schema) + 1)
}

impl Program {
    /// What the expression may cost at most for values of the schema that its `self` and `oldSelf` have. Everything of
    /// which no size is known counts as without bound.
    pub fn max_cost(&self, schema: &Json) -> u64 {
        let mut estimator = Estimator {
            schema,
            locals: Vec::new(),
        };
        estimator.expr(self.expr()).cost
    }
}

/// How large a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    min: u64,
    max: u64,
}

const UNKNOWN: Size = Size { min: 0, max: u64::MAX };

impl Size {
    fn exactly(size: u64) -> Self {
        Self { min: size, max: size }
    }

    fn up_to(max: u64) -> Self {
        Self { min: 0, max }
    }

    fn or(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy)]
enum Place<'s> {
    /// A part of the object with this schema.
    Schema(&'s Json),
    /// The key of a map of the object.
    Key,
    /// A name every object has.
    Identity,
    /// Anywhere else.
    Elsewhere,
}

/// What is known of an expression.
#[derive(Debug, Clone, Copy)]
struct Estimate<'s> {
    cost: u64,
    size: Option<Size>,
    /// The size of what it has as elements or values.
    inner: Option<Size>,
    place: Place<'s>,
}

struct Estimator<'s> {
    schema: &'s Json,
    locals: Vec<(std::sync::Arc<str>, Estimate<'s>)>,
}

/// A tenth, rounded up: what it costs to go over text.
fn tenth(size: u64) -> u64 {
    size.div_ceil(10)
}

fn is_scalar(of: &Type) -> bool {
    match of {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(of) => is_scalar(of),
        _ => false,
    }
}

fn is_text(of: &Type) -> bool {
    matches!(of, Type::String | Type::Bytes | Type::Dyn)
}

impl<'s> Estimator<'s> {
    fn expr(&mut self, expr: &Expr) -> Estimate<'s> {
        let mut known = match &expr.kind {
            Kind::Literal(value) => Estimate {
                cost: 0,
                size: Some(Size::exactly(value.size())),
                inner: None,
                place: Place::Elsewhere,
            },
            Kind::Ident(name) => self.ident(name),
            Kind::Select(select) => {
                let operand = self.expr(&select.operand);
                let dynamic = matches!(select.operand.of, Type::Dyn | Type::Optional(_));
                let own = u64::from(!select.test && (!dynamic || select.optional));
                Estimate {
                    cost: operand.cost.saturating_add(own),
                    size: None,
                    inner: None,
                    place: if select.test {
                        Place::Elsewhere
                    } else {
                        field(operand.place, &select.field)
                    },
                }
            }
            Kind::Call(call) => self.call(call),
            Kind::List(elements) => {
                let parts: Vec<_> = elements.iter().map(|element| self.expr(&element.value)).collect();
                let sizes = parts.iter().map(|part| part.size.unwrap_or(UNKNOWN));
                made(&parts, LIST_COST, elements.len(), sizes.reduce(Size::or))
            }
            Kind::Map(entries) => {
                let keys: Vec<_> = entries.iter().map(|entry| self.expr(&entry.key)).collect();
                let values: Vec<_> = entries.iter().map(|entry| self.expr(&entry.value)).collect();
                let sizes = values.iter().map(|part| part.size.unwrap_or(UNKNOWN));
                let inner = sizes.reduce(Size::or);
                made(&[keys, values].concat(), MAP_COST, entries.len(), inner)
            }
            Kind::Fold(fold) => self.fold(fold),
            Kind::TypeName(_) | Kind::Missing | Kind::Struct(_) => plain(1),
        };
        if known.size.is_none() {
            known.size = match known.place {
                Place::Schema(schema) => Some(Size::up_to(max_elements(schema))),
                Place::Key => Some(Size::up_to(0)),
                Place::Identity => Some(Size::up_to(IDENTITY_BYTES_MAX)),
                Place::Elsewhere => is_scalar(&expr.of).then(|| Size::exactly(1)),
            };
        }
        known
    }

    fn ident(&self, name: &str) -> Estimate<'s> {
        if let Some((_, known)) = self.locals.iter().rev().find(|(local, _)| **local == *name) {
            return Estimate { cost: 1, ..*known };
        }
        let of_object = matches!(name, "self" | "oldSelf");
        Estimate {
            place: if of_object {
                Place::Schema(self.schema)
            } else {
                Place::Elsewhere
            },
            ..plain(1)
        }
    }

    fn fold(&mut self, fold: &Fold) -> Estimate<'s> {
        let range = self.expr(&fold.range);
        let start = self.expr(&fold.start);
        let before = range.cost.saturating_add(start.cost);
        let outside = self.locals.len();
        let is_binding = matches!(&fold.range.kind, Kind::List(elements) if elements.is_empty())
            && matches!(fold.condition.kind, Kind::Literal(Value::Bool(false)));
        // What is gathered is no part of an object, wherever it starts; what is bound is what it is bound to.
        let gathered = if is_binding {
            start
        } else {
            Estimate {
                place: Place::Elsewhere,
                ..start
            }
        };
        self.locals.push((fold.gathered.clone(), gathered));
        if is_binding {
            let result = self.expr(&fold.result);
            self.locals.truncate(outside);
            let cost = before.saturating_add(result.cost);
            return Estimate { cost, ..result };
        }
        let is_list = matches!(fold.range.of, Type::List(_));
        let value = Estimate {
            place: inner_place(range.place),
            size: range.inner,
            ..plain(0)
        };
        let key = Estimate {
            place: match range.place {
                Place::Schema(_) if !is_list => Place::Key,
                _ => Place::Elsewhere,
            },
            size: is_list.then(|| Size::exactly(1)),
            ..plain(0)
        };
        let first = if is_list && fold.second.is_none() { value } else { key };
        self.locals.push((fold.variable.clone(), first));
        if let Some(second) = &fold.second {
            self.locals.push((second.clone(), value));
        }
        let condition = self.expr(&fold.condition);
        let step = self.expr(&fold.step);
        self.locals.truncate(outside + 1);
        let result = self.expr(&fold.result);
        self.locals.truncate(outside);
        let turns = range.size.unwrap_or(UNKNOWN);
        let walk = turns.max.saturating_mul(condition.cost.saturating_add(step.cost));
        let gathers = matches!(fold.start.kind, Kind::List(_) | Kind::Map(_));
        Estimate {
            cost: before.saturating_add(walk).saturating_add(result.cost),
            size: if gathers { Some(turns) } else { start.size },
            inner: if gathers { step.inner } else { None },
            place: Place::Elsewhere,
        }
    }

    fn call(&mut self, call: &Call) -> Estimate<'s> {
        let target = call.target.as_ref().map(|target| self.expr(target));
        let parts: Vec<Estimate<'s>> = call.arguments.iter().map(|argument| self.expr(argument)).collect();
        let mut own = Own {
            cost: 1,
            size: None,
            inner: None,
            place: Place::Elsewhere,
        };
        let mut all: Vec<&Estimate<'s>> = parts.iter().collect();
        match (&*call.function, parts.as_slice()) {
            ("_&&_" | "_||_", _) => own.cost = 0,
            ("dyn", [of]) => {
                own.size = of.size;
                own.inner = of.inner;
            }
            ("_?_:_", [condition, yes, no]) => {
                own.cost = yes.cost.max(no.cost);
                own.size = Some(yes.size.unwrap_or(UNKNOWN).or(no.size.unwrap_or(UNKNOWN)));
                own.inner = yes.inner.zip(no.inner).map(|(yes, no)| yes.or(no));
                all = vec![condition];
            }
            ("_[_]", [of, _]) => {
                own.place = inner_place(of.place);
                own.size = of.inner;
            }
            (function, _) => {
                let sizes = Sizes {
                    target,
                    target_type: call.target.as_ref().map(|target| &target.of),
                    parts: &parts,
                    of: call.arguments.iter().map(|argument| &argument.of).collect(),
                };
                sizes.call(function, &mut own);
            }
        }
        let given = all.iter().map(|part| part.cost).chain(target.map(|target| target.cost));
        Estimate {
            cost: given.fold(own.cost, u64::saturating_add),
            size: own.size,
            inner: own.inner,
            place: own.place,
        }
    }
}

/// What a call adds to what its parts cost.
struct Own<'s> {
    cost: u64,
    size: Option<Size>,
    inner: Option<Size>,
    place: Place<'s>,
}

/// What a function is called on and with.
struct Sizes<'c, 's> {
    target: Option<Estimate<'s>>,
    target_type: Option<&'c Type>,
    parts: &'c [Estimate<'s>],
    of: Vec<&'c Type>,
}

impl Sizes<'_, '_> {
    fn size(&self, index: usize) -> Size {
        self.parts.get(index).and_then(|part| part.size).unwrap_or(UNKNOWN)
    }

    fn target(&self) -> Size {
        self.target.and_then(|target| target.size).unwrap_or(UNKNOWN)
    }

    /// Whether an argument may be of one of the types, as far as is known.
    fn may_be(&self, index: usize, fits: fn(&Type) -> bool) -> bool {
        self.of.get(index).is_none_or(|of| fits(of))
    }

    fn call(&self, function: &str, own: &mut Own<'_>) {
        let target = self.target();
        let regex = || tenth(target.max.saturating_add(1)).saturating_mul(self.size(0).max.div_ceil(4));
        match function {
            "check" => own.cost = 350_000,
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => own.cost = self.traversal(),
            "url" => own.cost = tenth(self.size(0).max),
            "lowerAscii" | "upperAscii" | "substring" | "trim" => {
                own.cost = tenth(target.max);
                own.size = Some(target);
            }
            "replace" => {
                own.cost = target.max.saturating_mul(2).div_ceil(10);
                own.size = Some(Size::up_to(replaced(target.max, self.size(0), self.size(1))));
            }
            "split" => {
                own.cost = target.max.saturating_mul(2).div_ceil(10);
                own.size = Some(Size::up_to(target.max));
            }
            "join" => {
                let element = self.element().unwrap_or(UNKNOWN);
                let between = target.max.saturating_sub(1);
                let separators = if self.parts.is_empty() {
                    0
                } else {
                    self.size(0).max.saturating_mul(between)
                };
                let length = target.max.saturating_mul(element.max).saturating_add(separators);
                own.cost = tenth(length);
                own.size = Some(Size::up_to(length));
            }
            "find" | "findAll" => {
                own.cost = regex();
                own.size = Some(Size::up_to(target.max));
            }
            "matches" if self.target.is_some() => own.cost = regex(),
            "contains" => own.cost = tenth(target.max).saturating_mul(tenth(self.size(0).max)),
            "startsWith" | "endsWith" => own.cost = tenth(self.size(0).max),
            "containsIP" => {
                let read = if self.may_be(0, is_text) {
                    tenth(self.size(0).max)
                } else {
                    0
                };
                own.cost = read.saturating_add(4);
            }
            "containsCIDR" => {
                let read = if self.may_be(0, is_text) {
                    tenth(self.size(0).max)
                } else {
                    0
                };
                own.cost = read.saturating_add(7);
            }
            "format" => own.cost = tenth(target.max),
            "strings.quote" => {
                let of = self.size(0);
                own.cost = tenth(of.max);
                own.size = Some(Size::up_to(of.max.saturating_mul(2).saturating_add(2)));
            }
            "bytes" if self.may_be(0, |of| matches!(of, Type::String | Type::Dyn)) => {
                own.cost = tenth(self.size(0).max);
                own.size = Some(Size::up_to(self.size(0).max.saturating_mul(4)));
            }
            "string" if self.may_be(0, |of| matches!(of, Type::Bytes | Type::Dyn)) => {
                own.cost = tenth(self.size(0).max);
                own.size = Some(Size::up_to(self.size(0).max));
            }
            "@in" if self.may_be(1, |of| !matches!(of, Type::Map(..))) => own.cost = self.size(1).max,
            "_==_" | "_!=_" => own.cost = tenth(self.size(0).max.min(self.size(1).max)),
            "_<_" | "_<=_" | "_>_" | "_>=_" if self.may_be(0, is_text) && self.may_be(1, is_text) => {
                own.cost = tenth(self.size(0).max.min(self.size(1).max)).max(1);
            }
            "_+_" if self.may_be(0, |of| is_text(of) || matches!(of, Type::List(_))) => {
                let sum = self.size(0).plus(self.size(1));
                let is_list = self.of.first().is_some_and(|of| matches!(of, Type::List(_)));
                own.cost = if is_list { 1 } else { tenth(sum.max) };
                own.size = Some(sum);
                let inner = |index: usize| self.parts.get(index).and_then(|part| part.inner);
                own.inner = inner(0).zip(inner(1)).map(|(a, b)| a.or(b));
            }
            "sets.contains" | "sets.intersects" => {
                own.cost = self.size(0).max.saturating_mul(self.size(1).max).saturating_add(1);
            }
            "sets.equivalent" => {
                let pairs = self.size(0).max.saturating_mul(self.size(1).max);
                own.cost = pairs.saturating_mul(2).saturating_add(1);
            }
            "validate" => own.cost = tenth(self.size(0).max).saturating_mul(15),
            _ => {}
        }
    }

    /// The size of an element of the list a function is called on.
    fn element(&self) -> Option<Size> {
        let target = self.target?;
        match inner_place(target.place) {
            Place::Schema(items) => Some(Size::up_to(max_elements(items))),
            _ => None,
        }
    }

    fn traversal(&self) -> u64 {
        match self.target_type {
            Some(Type::List(of)) => {
                let element = if matches!(**of, Type::String | Type::Bytes) {
                    tenth(self.element().unwrap_or(UNKNOWN).max)
                } else {
                    0
                };
                self.target().max.saturating_mul(element.saturating_add(1))
            }
            _ => tenth(self.target().max),
        }
    }
}

/// How long text gets at most when parts of it are replaced.
fn replaced(length: u64, old: Size, new: Size) -> u64 {
    if old.min == 0 {
        return length.saturating_add(1).saturating_mul(new.max).saturating_add(length);
    }
    if new.max <= old.min {
        return length;
    }
    length.div_ceil(old.min).saturating_mul(new.max)
}

fn plain<'s>(cost: u64) -> Estimate<'s> {
    Estimate {
        cost,
        size: None,
        inner: None,
        place: Place::Elsewhere,
    }
}

fn made<'s>(parts: &[Estimate<'s>], cost: u64, length: usize, inner: Option<Size>) -> Estimate<'s> {
    Estimate {
        cost: parts.iter().map(|part| part.cost).fold(cost, u64::saturating_add),
        size: Some(Size::exactly(length as u64)),
        inner: Some(inner.unwrap_or(Size::up_to(0))),
        place: Place::Elsewhere,
    }
}

/// The field of a part of an object.
fn field<'s>(place: Place<'s>, name: &str) -> Place<'s> {
    let Place::Schema(schema) = place else {
        return match (place, name) {
            (Place::Identity, _) => Place::Identity,
            _ => Place::Elsewhere,
        };
    };
    let property = schema.get("properties").and_then(|all| all.get(unescape(name)));
    match property {
        Some(property) => Place::Schema(property),
        None if matches!(name, "apiVersion" | "kind" | "metadata" | "name" | "generateName") => Place::Identity,
        None => Place::Elsewhere,
    }
}

/// The elements of a list or the values of a map that are a part of an object.
fn inner_place(place: Place<'_>) -> Place<'_> {
    let Place::Schema(schema) = place else {
        return Place::Elsewhere;
    };
    let inner = schema.get("items").or_else(|| schema.get("additionalProperties"));
    inner
        .filter(|of| of.is_object())
        .map_or(Place::Elsewhere, Place::Schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, compile};
    use serde_json::json;

    fn cost(schema: &Json, rule: &str) -> u64 {
        let environment = Environment::validation_rule(schema, false, false).unwrap();
        compile(rule, &environment).unwrap().max_cost(schema)
    }

    #[test]
    fn bounds_make_rules_cheap() {
        let bounded = json!({"type": "object", "properties": {
            "n": {"type": "integer"},
            "names": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 10}},
            "all": {"type": "array", "items": {"type": "string"}},
            "text": {"type": "string", "maxLength": 10},
            "m": {"type": "object", "maxProperties": 3, "additionalProperties": {"type": "string", "maxLength": 5}},
        }});
        assert_eq!(cost(&bounded, "self.n == 1"), 2);
        assert_eq!(cost(&bounded, "self.text.startsWith('abc')"), 3);
        assert_eq!(cost(&bounded, "self.text == self.names[0]"), 2 + 3 + 4);
        // Five turns of two for the condition, and of the gathered, the element and the comparison.
        assert_eq!(
            cost(&bounded, "self.names.all(x, x == 'a')"),
            2 + 5 * (2 + 1 + 1 + 1) + 1
        );
        assert!(cost(&bounded, "self.names.all(x, self.names.all(y, x != y))") < 1_000);
        assert!(cost(&bounded, "self.m.all(k, self.m[k].size() < 3)") < 100);
        assert!(cost(&bounded, "self.all.all(x, self.all.all(y, x != y))") > 10_000_000);
        assert!(cost(&bounded, "self.all.map(x, x + 'a').join(',') == 'x'") > 10_000_000);
    }

    #[test]
    fn sizes_of_schemas() {
        let required = json!({"type": "object", "required": ["ab"], "properties": {"ab": {"type": "boolean"}}});
        assert_eq!(min_serialized_bytes(&required), 2 + 2 + 4 + 4);
        assert_eq!(max_elements(&json!({"type": "string", "maxLength": 3})), 12);
        assert_eq!(max_elements(&json!({"type": "string", "enum": ["a", "abc"]})), 3);
        assert_eq!(
            max_elements(&json!({"type": "array", "items": {"type": "integer"}})),
            1_572_863
        );
        assert_eq!(max_cardinality(&json!({"type": "integer"})), 1_572_864);
    }
}

//! Evaluates expressions.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bindings::{Bindings, Composed};
use crate::error::EvalError;
use crate::expr::{Call, Element, Entry, Expr, Fold, Kind, Select};
use crate::meter::{Budget, Meter, call_cost, result_cost};
use crate::operators;
use crate::value::{Key, List, Map, Text, Value};

/// What a list and a map cost to make.
const LIST_COST: u64 = 10;
const MAP_COST: u64 = 30;

/// A result of an expression.
type Result<T> = std::result::Result<T, EvalError>;

/// The evaluation of one expression.
pub(crate) struct Evaluator<'a, 'b> {
    bindings: &'b Bindings<'a>,
    budget: &'b mut Budget,
    meter: Meter,
    /// Variables of comprehensions, innermost last. What is gathered may be an error that a later element makes up for.
    locals: Vec<(Arc<str>, Result<Value<'a>>)>,
}

impl<'a, 'b> Evaluator<'a, 'b> {
    pub(crate) fn new(bindings: &'b Bindings<'a>, budget: &'b mut Budget) -> Self {
        Self {
            meter: Meter::new(budget),
            bindings,
            budget,
            locals: Vec::new(),
        }
    }

    /// Takes the costs off the budget.
    pub(crate) fn finish(self) {
        self.budget.remaining = self.budget.remaining.saturating_sub(self.meter.cost);
    }

    pub(crate) fn eval(&mut self, expr: &Expr) -> Result<Value<'a>> {
        self.meter.step(1)?;
        match &expr.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::TypeName(name) => Ok(Value::Type(Arc::clone(name))),
            Kind::Ident(name) => {
                self.meter.charge(1)?;
                self.variable(name)
            }
            Kind::Select(select) => self.select(select),
            Kind::Call(call) => self.call(call),
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::Fold(fold) => self.fold(fold),
            Kind::Missing | Kind::Struct(_) => Err(EvalError::no_overload()),
        }
    }

    fn variable(&self, name: &str) -> Result<Value<'a>> {
        if let Some((_, value)) = self.locals.iter().rev().find(|(known, _)| **known == *name) {
            return value.clone();
        }
        let missing = || EvalError::failed(format!("no such attribute(s): {name}"));
        self.bindings.value(name).ok_or_else(missing)
    }

    fn is_composed(&self, operand: &Expr) -> bool {
        matches!(&operand.kind, Kind::Ident(name) if **name == *"variables")
            && self.bindings.has_composed()
            && !self.locals.iter().any(|(known, _)| **known == *"variables")
    }

    /// The value of a variable of a policy, evaluated at its first use.
    fn composed(&mut self, name: &str) -> Result<Value<'a>> {
        let missing = || EvalError::failed(format!("no such key: {name}"));
        let cell = self.bindings.composed(name).ok_or_else(missing)?;
        let state = cell.replace(Composed::Running);
        let result = match state {
            Composed::Done(result) => result,
            Composed::Running => return Err(missing()),
            Composed::Waiting(program) => {
                let mut inner = Evaluator::new(self.bindings, self.budget);
                let result = inner.eval(program.expr());
                inner.finish();
                result.map_err(|why| match why {
                    EvalError::BudgetExhausted => why,
                    why => EvalError::failed(format!(
                        "composited variable {} fails to evaluate: {why}",
                        crate::text::quote_go(name)
                    )),
                })
            }
        };
        cell.replace(Composed::Done(result.clone()));
        result
    }

    fn select(&mut self, select: &Select) -> Result<Value<'a>> {
        if self.is_composed(&select.operand) {
            self.meter.charge(if select.test { 1 } else { 2 })?;
            if select.test {
                return Ok(Value::Bool(self.bindings.composed(&select.field).is_some()));
            }
            let value = self.composed(&select.field)?;
            return Ok(if select.optional { value.some() } else { value });
        }
        let operand = self.eval(&select.operand)?;
        if !select.test {
            self.meter.charge(1)?;
        }
        let (of, was_optional) = match &operand {
            Value::Optional(None) => (None, true),
            Value::Optional(Some(of)) => (Some(&**of), true),
            other => (Some(other), false),
        };
        // What has no fields has none of this name either, but a list is asked for elements by number only.
        let found = match of {
            Some(Value::Map(map)) => map.field(&select.field),
            Some(Value::List(_)) => return Err(EvalError::failed("unsupported index type 'string' in list")),
            _ => None,
        };
        if select.test {
            return Ok(Value::Bool(found.is_some()));
        }
        if select.optional || was_optional {
            return Ok(found.map_or(Value::Optional(None), Value::some));
        }
        found.ok_or_else(|| operators::no_such_key(&Value::text(&*select.field)))
    }

    fn call(&mut self, call: &Call) -> Result<Value<'a>> {
        match (&*call.function, call.arguments.as_slice()) {
            ("_&&_", [a, b]) => return self.logical(a, b, false),
            ("_||_", [a, b]) => return self.logical(a, b, true),
            ("_?_:_", [condition, yes, no]) => {
                return match self.eval(condition)? {
                    Value::Bool(true) => self.branch(yes),
                    Value::Bool(false) => self.branch(no),
                    _ => Err(EvalError::no_overload()),
                };
            }
            ("_[_]" | "_[?_]", [of, at]) if matches!(at.kind, Kind::Ident(_)) => {
                let of = self.eval(of)?;
                let at = self.branch(at)?;
                return self.apply(call, &[of, at]);
            }
            ("@not_strictly_false", [of]) => {
                self.meter.charge(1)?;
                return match self.eval(of) {
                    Ok(value) => Ok(Value::Bool(value.as_bool().unwrap_or(true))),
                    Err(why) if why.can_be_absorbed() => Ok(Value::Bool(true)),
                    Err(why) => Err(why),
                };
            }
            ("or" | "orValue", [other]) => {
                if let Some(target) = &call.target {
                    return self.or(target, other, &call.function);
                }
            }
            _ => {}
        }
        let mut arguments = Vec::with_capacity(call.arguments.len() + 1);
        for part in call.target.iter().chain(&call.arguments) {
            arguments.push(self.eval(part)?);
        }
        self.apply(call, &arguments)
    }

    fn apply(&mut self, call: &Call, arguments: &[Value<'a>]) -> Result<Value<'a>> {
        let function = &*call.function;
        if !call.is_folded() {
            let cost = call_cost(function, arguments, &mut self.meter)?;
            self.meter.charge(cost)?;
        }
        let known = match (function, arguments) {
            ("!_", [Value::Bool(value)]) => Some(Ok(Value::Bool(!value))),
            ("-_", [value]) => Some(operators::negate(value)),
            ("_[_]", [Value::Optional(of), at]) => Some(optional_index(of.as_deref(), at)),
            ("_[_]", [of, at]) => Some(operators::index(of, at)),
            ("_[?_]", [Value::Optional(of), at]) => Some(optional_index(of.as_deref(), at)),
            ("_[?_]", [of, at]) => Some(optional_index(Some(of), at)),
            (_, [a, b]) if !function.starts_with(|letter: char| letter.is_ascii_alphabetic()) => {
                operators::binary(function, a, b, &mut self.meter)
            }
            _ => None,
        };
        let known = known
            .or_else(|| crate::functions::call(function, arguments, call.pattern.as_ref(), &mut self.meter))
            .or_else(|| crate::authorizer::call(self.bindings.authorizer, function, arguments));
        let Some(result) = known else {
            return Err(no_overload(function, arguments));
        };
        let result = result?;
        self.meter.charge(result_cost(function, &result))?;
        Ok(result)
    }

    /// A variable as a branch or an index, which as such costs nothing.
    fn branch(&mut self, expr: &Expr) -> Result<Value<'a>> {
        match &expr.kind {
            Kind::Ident(name) => {
                self.meter.step(1)?;
                self.variable(name)
            }
            _ => self.eval(expr),
        }
    }

    /// `&&` and `||`: `decisive` is the operand that decides whatever the other is, an error included.
    fn logical(&mut self, a: &Expr, b: &Expr, decisive: bool) -> Result<Value<'a>> {
        let first = self.eval(a);
        match &first {
            Ok(Value::Bool(value)) if *value == decisive => return first,
            Err(why) if !why.can_be_absorbed() => return first,
            _ => {}
        }
        let second = self.eval(b);
        match &second {
            Ok(Value::Bool(value)) if *value == decisive => return second,
            Err(why) if !why.can_be_absorbed() => return second,
            _ => {}
        }
        for value in [first?, second?] {
            if value.as_bool().is_none() {
                return Err(EvalError::no_overload());
            }
        }
        Ok(Value::Bool(!decisive))
    }

    fn or(&mut self, target: &Expr, other: &Expr, function: &str) -> Result<Value<'a>> {
        match self.eval(target)? {
            Value::Optional(None) => match (function, self.eval(other)?) {
                ("or", value @ Value::Optional(_)) => Ok(value),
                ("or", _) => Err(EvalError::no_overload()),
                (_, value) => Ok(value),
            },
            some @ Value::Optional(_) if function == "or" => Ok(some),
            Value::Optional(Some(of)) => Ok((*of).clone()),
            _ => Err(EvalError::no_overload()),
        }
    }

    fn list(&mut self, elements: &[Element]) -> Result<Value<'a>> {
        // Lists of literals are there before the expression is evaluated.
        if !elements
            .iter()
            .all(|element| matches!(element.value.kind, Kind::Literal(_)))
        {
            self.meter.charge(LIST_COST)?;
        }
        self.meter.make_elements(elements.len())?;
        self.elements(elements).map(Value::list)
    }

    fn elements(&mut self, elements: &[Element]) -> Result<Vec<Value<'a>>> {
        let mut made = Vec::with_capacity(elements.len());
        for element in elements {
            let value = self.eval(&element.value)?;
            match value {
                Value::Optional(of) if element.optional => made.extend(of.map(|of| (*of).clone())),
                other if element.optional => {
                    return Err(EvalError::failed(format!(
                        "cannot initialize optional list element from non-optional value {}",
                        shown(&other)
                    )));
                }
                value => made.push(value),
            }
        }
        Ok(made)
    }

    fn map(&mut self, entries: &[Entry]) -> Result<Value<'a>> {
        if !entries
            .iter()
            .all(|entry| entry.key.is_constant() && entry.value.is_constant())
        {
            self.meter.charge(MAP_COST)?;
        }
        self.meter.make_elements(entries.len())?;
        let mut made = BTreeMap::new();
        for entry in entries {
            let key = self.eval(&entry.key)?;
            let value = self.eval(&entry.value)?;
            let unusable = || EvalError::failed(format!("unsupported key type: {}", key.type_name()));
            let own = Key::of(&key).ok_or_else(unusable)?;
            let value = match value {
                Value::Optional(None) if entry.optional => continue,
                Value::Optional(Some(of)) if entry.optional => (*of).clone(),
                other if entry.optional => {
                    return Err(EvalError::failed(format!(
                        "cannot initialize optional entry '{}' from non-optional value {}",
                        shown(&key),
                        shown(&other)
                    )));
                }
                value => value,
            };
            if made.insert(own, value).is_some() {
                return Err(EvalError::failed(format!("Failed with repeated key: {}", shown(&key))));
            }
        }
        Ok(Value::Map(Map::Made(Arc::new(made))))
    }

    fn fold(&mut self, fold: &Fold) -> Result<Value<'a>> {
        let range = self.eval(&fold.range)?;
        let start = self.eval(&fold.start);
        if let Err(why) = &start
            && !why.can_be_absorbed()
        {
            return start;
        }
        let outside = self.locals.len();
        self.locals.push((Arc::clone(&fold.gathered), start));
        let walked = self.walk(fold, &range, outside);
        self.locals.truncate(outside + 1);
        let result = walked.and_then(|()| self.eval(&fold.result));
        self.locals.truncate(outside);
        result
    }

    fn walk(&mut self, fold: &Fold, range: &Value<'a>, gathered: usize) -> Result<()> {
        match range {
            Value::List(list) => {
                for index in 0..list.len() {
                    let Some(item) = list.get(index) else { break };
                    let index = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    let (first, second) = if fold.second.is_some() {
                        (index, item)
                    } else {
                        (item, Value::Null)
                    };
                    if !self.turn(fold, gathered, first, second)? {
                        break;
                    }
                }
                Ok(())
            }
            Value::Map(map) => {
                for (key, value) in map.iter() {
                    let key = self.written_key(map, key);
                    if !self.turn(fold, gathered, key, value)? {
                        break;
                    }
                }
                Ok(())
            }
            _ => Err(EvalError::no_overload()),
        }
    }

    /// Fields of objects with a schema go by other names than properties; maps do not.
    fn written_key(&self, map: &Map<'a>, key: Value<'a>) -> Value<'a> {
        match (map, &key) {
            (Map::Json(_, Some(schema)), Value::String(name)) if schema.get("properties").is_some() => {
                crate::schema::escape(name).map_or(key, Value::text)
            }
            _ => key,
        }
    }

    /// One turn of a comprehension; whether there is to be another.
    fn turn(&mut self, fold: &Fold, gathered: usize, first: Value<'a>, second: Value<'a>) -> Result<bool> {
        self.locals.truncate(gathered + 1);
        self.locals.push((Arc::clone(&fold.variable), Ok(first)));
        if let Some(name) = &fold.second {
            self.locals.push((Arc::clone(name), Ok(second)));
        }
        match self.eval(&fold.condition)? {
            Value::Bool(true) => {}
            _ => return Ok(false),
        }
        if self.gather(fold, gathered, &fold.step)? {
            return Ok(true);
        }
        let step = self.eval(&fold.step);
        let goes_on = match &step {
            Ok(_) => true,
            Err(why) if !why.can_be_absorbed() => return Err(why.clone()),
            // Only comprehensions that look at what is gathered can make up for an error.
            Err(_) => !matches!(fold.condition.kind, Kind::Literal(_)),
        };
        if let Some(slot) = self.locals.get_mut(gathered) {
            slot.1 = step;
        }
        Ok(goes_on)
    }

    /// Adds to the list that is gathered in its place, where that is all the step does: copying it for each element
    /// would take the square of its length. Whether that was so.
    fn gather(&mut self, fold: &Fold, gathered: usize, step: &Expr) -> Result<bool> {
        let Kind::Call(call) = &step.kind else { return Ok(false) };
        let is_gathered = |part: &Expr| matches!(&part.kind, Kind::Ident(name) if *name == fold.gathered);
        match (&*call.function, call.arguments.as_slice()) {
            ("_?_:_", [condition, yes, no]) if is_gathered(no) => {
                if !matches!(&yes.kind, Kind::Call(call) if *call.function == *"_+_" || *call.function == *crate::macros::MAP_INSERT)
                {
                    return Ok(false);
                }
                match self.eval(condition)? {
                    Value::Bool(true) => {
                        if !self.gather(fold, gathered, yes)? {
                            let value = self.eval(yes)?;
                            self.put(gathered, value);
                        }
                        Ok(true)
                    }
                    Value::Bool(false) => Ok(true),
                    _ => Err(EvalError::no_overload()),
                }
            }
            ("_+_", [own, new]) if is_gathered(own) => {
                let Kind::List(elements) = &new.kind else {
                    return Ok(false);
                };
                if !matches!(self.locals.get(gathered), Some((_, Ok(Value::List(List::Made(_)))))) {
                    return Ok(false);
                }
                self.meter.charge(2 + LIST_COST)?;
                self.meter.make_elements(elements.len())?;
                let values = self.elements(elements)?;
                if let Some((_, Ok(Value::List(List::Made(list))))) = self.locals.get_mut(gathered) {
                    Arc::make_mut(list).extend(values);
                }
                Ok(true)
            }
            (crate::macros::MAP_INSERT, [own, rest @ ..]) if is_gathered(own) => {
                self.meter.charge(2)?;
                let mut values = Vec::with_capacity(rest.len());
                for part in rest {
                    values.push(self.eval(part)?);
                }
                let Some((_, taken @ Ok(Value::Map(_)))) = self.locals.get_mut(gathered) else {
                    return Ok(false);
                };
                let Ok(Value::Map(map)) = std::mem::replace(taken, Ok(Value::Null)) else {
                    return Ok(false);
                };
                let made = match values.as_slice() {
                    [key, value] => {
                        let entry = std::iter::once((key.clone(), value.clone()));
                        operators::insert(map, entry, &mut self.meter)?
                    }
                    [Value::Map(entries)] => operators::insert(map, entries.iter(), &mut self.meter)?,
                    _ => return Err(EvalError::no_overload()),
                };
                self.put(gathered, made);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn put(&mut self, gathered: usize, value: Value<'a>) {
        if let Some(slot) = self.locals.get_mut(gathered) {
            slot.1 = Ok(value);
        }
    }
}

/// An element that may be missing, of something that may be.
fn optional_index<'a>(of: Option<&Value<'a>>, at: &Value<'a>) -> Result<Value<'a>> {
    match of {
        None => Ok(Value::Optional(None)),
        Some(of) => Ok(operators::index(of, at).map_or(Value::Optional(None), Value::some)),
    }
}

fn no_overload(function: &str, arguments: &[Value<'_>]) -> EvalError {
    let is_operator = !function.starts_with(|letter: char| letter.is_ascii_alphabetic());
    if is_operator || matches!(function, "contains" | "startsWith" | "endsWith") {
        return EvalError::no_overload();
    }
    if matches!(function, "size" | "matches") {
        return EvalError::failed(format!("no such overload: {function}"));
    }
    let names: Vec<&str> = arguments.iter().map(Value::type_name).collect();
    EvalError::failed(format!("no such overload: {function}({})", names.join(", ")))
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => match text {
            Text::Borrowed(text) => (*text).to_owned(),
            Text::Shared(text) => text.to_string(),
        },
        other => crate::convert::to_text(other).unwrap_or_else(|| other.type_name().to_owned()),
    }
}

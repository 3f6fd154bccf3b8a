//! Finds out the types of an expression and its parts, what its names refer to, and whether all of it fits.

use std::sync::Arc;

use crate::declarations::{FUNCTIONS, Overload, type_named};
use crate::environment::Environment;
use crate::error::Issue;
use crate::expr::{Call, Expr, Fold, Kind, Select};
use crate::types::{Substitutions, Type, instantiate, more_general};
use crate::value::Value;

/// Deepest tree that is evaluated. Evaluating uses the stack for each level.
const DEPTH_MAX: usize = 700;

/// Checks an expression; names in it become the full names of what they refer to.
pub(crate) fn check(expr: &mut Expr, environment: &Environment, source: &str) -> Result<Type, Vec<Issue>> {
    let mut checker = Checker {
        environment,
        lines: Lines::of(source),
        found: Substitutions::default(),
        locals: Vec::new(),
        next: Type::FIRST_VARIABLE,
        issues: Vec::new(),
        depth: 0,
    };
    let of = checker.check(expr);
    let of = checker.found.apply(&of, true);
    if checker.issues.is_empty() {
        checker.settle(expr);
    }
    if checker.issues.is_empty() {
        Ok(of)
    } else {
        Err(checker.issues)
    }
}

/// Where the lines of a source start.
struct Lines<'e> {
    source: &'e str,
    starts: Vec<usize>,
}

impl<'e> Lines<'e> {
    fn of(source: &'e str) -> Self {
        let after = source.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(after).collect();
        Self { source, starts }
    }

    /// The line from one and the column in characters from zero of a byte.
    fn place(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let before = self.source.get(start..at).unwrap_or_default();
        (line, before.chars().count())
    }
}

struct Checker<'e> {
    environment: &'e Environment,
    lines: Lines<'e>,
    found: Substitutions,
    /// The variables of comprehensions, innermost last.
    locals: Vec<(Arc<str>, Type)>,
    next: u32,
    issues: Vec<Issue>,
    depth: usize,
}

impl Checker<'_> {
    fn report(&mut self, at: usize, message: String) -> Type {
        let (line, column) = self.lines.place(at);
        self.issues.push(Issue { line, column, message });
        Type::Error
    }

    fn variable(&mut self) -> Type {
        self.next += 1;
        Type::Param(self.next - 1)
    }

    fn local(&self, name: &str) -> Option<&Type> {
        self.locals
            .iter()
            .rev()
            .find(|(known, _)| **known == *name)
            .map(|(_, of)| of)
    }

    /// What a full name refers to outside of comprehensions, and whether that is a type.
    fn global(&self, name: &str) -> Option<(Type, bool)> {
        if let Some(of) = self.environment.variables.get(name) {
            return Some((of.clone(), false));
        }
        type_named(name).map(|of| (Type::Type(Some(Arc::new(of))), true))
    }

    fn check(&mut self, expr: &mut Expr) -> Type {
        if self.depth >= DEPTH_MAX {
            if self.issues.is_empty() {
                self.issues.push(Issue {
                    line: 0,
                    column: 0,
                    message: format!("expression recursion limit exceeded: {DEPTH_MAX}"),
                });
            }
            return Type::Error;
        }
        self.depth += 1;
        let of = self.check_kind(expr);
        expr.of = of.clone();
        self.depth -= 1;
        of
    }

    fn check_kind(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        match &mut expr.kind {
            Kind::Missing => Type::Error,
            Kind::Literal(value) => type_of_literal(value),
            Kind::TypeName(name) => type_named(name).map_or(Type::Error, |of| Type::Type(Some(Arc::new(of)))),
            Kind::Ident(name) => {
                let name = name.strip_prefix('.').map_or_else(|| Arc::clone(name), Arc::from);
                if let Some(of) = self.local(&name) {
                    return of.clone();
                }
                match self.global(&name) {
                    Some((of, is_type)) => {
                        expr.kind = if is_type {
                            Kind::TypeName(name)
                        } else {
                            Kind::Ident(name)
                        };
                        of
                    }
                    None => self.report(at, format!("undeclared reference to '{name}' (in container '')")),
                }
            }
            Kind::Struct(name) => {
                let message = if type_named(name).is_some() {
                    format!("'{name}' is not a message type")
                } else {
                    format!("undeclared reference to '{name}' (in container '')")
                };
                self.report(at, message)
            }
            Kind::Select(_) => self.check_select(expr),
            Kind::Call(call) => self.check_call(at, call),
            Kind::List(elements) => {
                let mut of = None;
                for element in elements {
                    let place = element.value.at;
                    let found = self.check(&mut element.value);
                    let found = self.element(place, found, element.optional);
                    of = Some(self.join(place, of, found));
                }
                Type::list(of.unwrap_or_else(|| self.variable()))
            }
            Kind::Map(entries) => {
                let (mut keys, mut values) = (None, None);
                for entry in entries {
                    let key = self.check(&mut entry.key);
                    keys = Some(self.join(entry.key.at, keys, key));
                    let place = entry.value.at;
                    let value = self.check(&mut entry.value);
                    let value = self.element(place, value, entry.optional);
                    values = Some(self.join(place, values, value));
                }
                let key = keys.unwrap_or_else(|| self.variable());
                let value = values.unwrap_or_else(|| self.variable());
                Type::map(key, value)
            }
            Kind::Fold(fold) => self.check_fold(fold),
        }
    }

    /// The type of an element, which is what it is an optional of if it was marked so.
    fn element(&mut self, at: usize, found: Type, optional: bool) -> Type {
        if !optional {
            return found;
        }
        let (of, was_optional) = self.found.apply(&found, false).unwrap_optional();
        if !was_optional && !of.is_dyn() {
            let wanted = Type::optional(of.clone());
            self.mismatch(at, &wanted, &of);
        }
        of
    }

    fn mismatch(&mut self, at: usize, wanted: &Type, found: &Type) -> Type {
        let (wanted, found) = (self.found.apply(wanted, false), self.found.apply(found, false));
        self.report(at, format!("expected type '{wanted}' but found '{found}'"))
    }

    /// All elements of a list or map are of one type.
    fn join(&mut self, at: usize, before: Option<Type>, found: Type) -> Type {
        let Some(before) = before else { return found };
        if self.found.assign(&before, &found) {
            return more_general(&before, &found);
        }
        self.mismatch(at, &before, &found)
    }

    fn check_select(&mut self, expr: &mut Expr) -> Type {
        if let Some(name) = expr.dotted_name() {
            let root = name.split('.').next().unwrap_or_default();
            if self.local(root).is_none()
                && let Some((of, is_type)) = self.global(name.trim_start_matches('.'))
            {
                let name = Arc::from(name.trim_start_matches('.'));
                expr.kind = if is_type {
                    Kind::TypeName(name)
                } else {
                    Kind::Ident(name)
                };
                return of;
            }
        }
        let at = expr.at;
        let Kind::Select(select) = &mut expr.kind else {
            return Type::Error;
        };
        let operand = self.check(&mut select.operand);
        let (operand, was_optional) = self.found.apply(&operand, false).unwrap_optional();
        let of = self.field(at, &operand, select);
        if select.test {
            Type::Bool
        } else if was_optional || select.optional {
            Type::optional(of)
        } else {
            of
        }
    }

    fn field(&mut self, at: usize, operand: &Type, select: &Select) -> Type {
        match operand {
            Type::Map(_, value) => (**value).clone(),
            Type::Struct(of) => match of.fields.get(&*select.field) {
                Some(field) => field.clone(),
                None => self.report(at, format!("undefined field '{}'", select.field)),
            },
            Type::Param(_) => {
                self.found.assign(&Type::Dyn, operand);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                self.report(at, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        }
    }

    fn check_call(&mut self, at: usize, call: &mut Call) -> Type {
        let mut arguments = Vec::with_capacity(call.arguments.len() + 1);
        for argument in &mut call.arguments {
            arguments.push(self.check(argument));
        }
        let Some(target) = &mut call.target else {
            return self.check_function(at, call, arguments);
        };
        if let Some(prefix) = target.dotted_name() {
            let full = format!("{prefix}.{}", call.function);
            let full = full.trim_start_matches('.');
            let shadowed = self.local(prefix.split('.').next().unwrap_or_default()).is_some();
            if !shadowed && FUNCTIONS.contains_key(full) {
                call.function = Arc::from(full);
                call.target = None;
                return self.check_function(at, call, arguments);
            }
        }
        let on = self.check(target);
        arguments.insert(0, on);
        self.check_function(at, call, arguments)
    }

    fn check_function(&mut self, at: usize, call: &mut Call, arguments: Vec<Type>) -> Type {
        let Some((name, overloads)) = FUNCTIONS.get_key_value(call.function.trim_start_matches('.')) else {
            return self.report(
                at,
                format!("undeclared reference to '{}' (in container '')", call.function),
            );
        };
        if call.function.starts_with('.') {
            call.function = Arc::from(name.as_str());
        }
        if matches!(name.as_str(), "_&&_" | "_||_") {
            let mut of = Type::Bool;
            for (argument, found) in call.arguments.iter().zip(&arguments) {
                if !self.found.assign(found, &Type::Bool) {
                    of = self.mismatch(argument.at, &Type::Bool, found);
                }
            }
            return of;
        }
        let member = call.target.is_some();
        let mut result = None;
        for overload in overloads.iter().filter(|overload| overload.member == member) {
            let Some(of) = self.fit(overload, &arguments) else {
                continue;
            };
            result = Some(match result {
                None => of,
                Some(Type::Dyn) => Type::Dyn,
                Some(before) if before == of => before,
                Some(_) => Type::Dyn,
            });
        }
        result.unwrap_or_else(|| self.no_overload(at, name, member, &arguments))
    }

    fn fit(&mut self, overload: &Overload, arguments: &[Type]) -> Option<Type> {
        let first = self.next;
        self.next = self.next.saturating_add(overload.parameters);
        let wanted: Vec<Type> = overload.arguments.iter().map(|of| instantiate(of, first)).collect();
        if !self.found.assign_all(arguments, &wanted) {
            return None;
        }
        Some(self.found.apply(&instantiate(&overload.result, first), false))
    }

    fn no_overload(&mut self, at: usize, name: &str, member: bool, arguments: &[Type]) -> Type {
        let names: Vec<String> = arguments
            .iter()
            .map(|of| self.found.apply(of, true).to_string())
            .collect();
        let applied = match names.split_first() {
            Some((on, rest)) if member => format!("{on}.({})", rest.join(", ")),
            _ => format!("({})", names.join(", ")),
        };
        self.report(
            at,
            format!("found no matching overload for '{name}' applied to '{applied}'"),
        )
    }

    fn check_fold(&mut self, fold: &mut Fold) -> Type {
        let range_at = fold.range.at;
        let range = self.check(&mut fold.range);
        let start = self.check(&mut fold.start);
        let range = self.found.apply(&range, false);
        let second = fold.second.clone();
        let (first, other) = match &range {
            Type::List(of) if second.is_some() => (Type::Int, (**of).clone()),
            Type::List(of) => ((**of).clone(), Type::Error),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.found.assign(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                (self.report(range_at, message), Type::Error)
            }
        };
        let outside = self.locals.len();
        self.locals.push((Arc::clone(&fold.gathered), start.clone()));
        let gathering = self.locals.len();
        self.locals.push((Arc::clone(&fold.variable), first));
        if let Some(second) = second {
            self.locals.push((second, other));
        }
        let condition = self.check(&mut fold.condition);
        self.wanted(fold.condition.at, &Type::Bool, &condition);
        let step = self.check(&mut fold.step);
        self.wanted(fold.step.at, &start, &step);
        self.locals.truncate(gathering);
        let result = self.check(&mut fold.result);
        self.locals.truncate(outside);
        self.found.apply(&result, false)
    }

    fn wanted(&mut self, at: usize, wanted: &Type, found: &Type) {
        if !self.found.assign(wanted, found) {
            self.mismatch(at, wanted, found);
        }
    }

    /// What is left to do when all types are known: literals that functions read as something are read now, so that
    /// what they cannot read is found before the expression is used.
    fn settle(&mut self, expr: &mut Expr) {
        expr.of = self.found.apply(&expr.of, true);
        if let Kind::Call(call) = &mut expr.kind {
            let literal = call
                .arguments
                .first()
                .map(|first| (first.at, first.literal_text().map(str::to_owned)));
            if let Some((at, Some(text))) = literal {
                let readable = match &*call.function {
                    "duration" => crate::time::Duration::parse(&text).is_some(),
                    "timestamp" => crate::time::Timestamp::parse(&text).is_some(),
                    "matches" if call.target.is_some() => crate::patterns::compile(&text).is_ok(),
                    _ => true,
                };
                if !readable {
                    self.report(at, format!("invalid {} argument", call.function));
                }
            }
            // The pattern is the last argument on a target, and the one after the text otherwise; it is compiled once.
            let position = match (&*call.function, call.target.is_some()) {
                ("matches" | "find" | "findAll", true) => 0,
                ("matches", false) => 1,
                _ => usize::MAX,
            };
            let pattern = call.arguments.get(position).and_then(Expr::literal_text);
            call.pattern = pattern.and_then(|pattern| crate::patterns::compile(pattern).ok());
        }
        let mut each = |part: &mut Expr| self.settle(part);
        match &mut expr.kind {
            Kind::Select(select) => each(&mut select.operand),
            Kind::Call(call) => call.target.iter_mut().chain(&mut call.arguments).for_each(each),
            Kind::List(elements) => elements.iter_mut().for_each(|element| each(&mut element.value)),
            Kind::Map(entries) => entries.iter_mut().for_each(|entry| {
                each(&mut entry.key);
                each(&mut entry.value);
            }),
            Kind::Fold(fold) => {
                let Fold {
                    range,
                    start,
                    condition,
                    step,
                    result,
                    ..
                } = &mut **fold;
                [range, start, condition, step, result].into_iter().for_each(each);
            }
            Kind::Missing | Kind::Literal(_) | Kind::Ident(_) | Kind::TypeName(_) | Kind::Struct(_) => {}
        }
    }
}

fn type_of_literal(value: &Value<'_>) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Uint(_) => Type::Uint,
        Value::Double(_) => Type::Double,
        Value::String(_) => Type::String,
        Value::Bytes(_) => Type::Bytes,
        _ => Type::Dyn,
    }
}

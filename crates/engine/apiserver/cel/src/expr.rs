//! Expressions as they are checked and evaluated.

use std::sync::Arc;

use regex::Regex;

use crate::types::Type;
use crate::value::Value;

/// An expression and at which byte of the source it is.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) at: usize,
    pub(crate) kind: Kind,
    /// The type of its value, once checked.
    pub(crate) of: Type,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// What the parser could not read; never evaluated.
    Missing,
    Literal(Value<'static>),
    /// A variable, by its full name once checked.
    Ident(Arc<str>),
    /// A type by its name; made when checked.
    TypeName(Arc<str>),
    Select(Box<Select>),
    Call(Box<Call>),
    List(Vec<Element>),
    Map(Vec<Entry>),
    Struct(Arc<str>),
    Fold(Box<Fold>),
}

/// A field of an object or a key of a map.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    pub(crate) operand: Expr,
    pub(crate) field: Arc<str>,
    /// Only whether it is there (`has`).
    pub(crate) test: bool,
    /// An optional of it (`a.?b`).
    pub(crate) optional: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) function: Arc<str>,
    pub(crate) target: Option<Expr>,
    pub(crate) arguments: Vec<Expr>,
    /// The pattern among the arguments, if it is a literal.
    pub(crate) pattern: Option<Regex>,
}

#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A walk over the elements of a list or map that gathers something.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    pub(crate) range: Expr,
    pub(crate) variable: Arc<str>,
    pub(crate) second: Option<Arc<str>>,
    pub(crate) gathered: Arc<str>,
    pub(crate) start: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

impl Expr {
    /// The dotted name this is, if it is nothing more.
    pub(crate) fn dotted_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select(select) if !select.test && !select.optional => {
                Some(format!("{}.{}", select.operand.dotted_name()?, select.field))
            }
            _ => None,
        }
    }

    /// The text this is, if it is one.
    pub(crate) fn literal_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Literal(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether it is a literal, or a list or map of literals, which are made before anything is evaluated.
    pub(crate) fn is_constant(&self) -> bool {
        match &self.kind {
            Kind::Literal(_) => true,
            Kind::List(elements) => elements.iter().all(|element| element.value.is_constant()),
            Kind::Map(entries) => entries
                .iter()
                .all(|entry| entry.key.is_constant() && entry.value.is_constant()),
            _ => false,
        }
    }
}

impl Expr {
    /// Whether it or a part of it is the variable of a name.
    pub(crate) fn refers_to(&self, name: &str) -> bool {
        let within = |part: &Expr| part.refers_to(name);
        match &self.kind {
            Kind::Ident(own) => **own == *name,
            Kind::Missing | Kind::Literal(_) | Kind::TypeName(_) | Kind::Struct(_) => false,
            Kind::Select(select) => within(&select.operand),
            Kind::Call(call) => call.target.iter().chain(&call.arguments).any(within),
            Kind::List(elements) => elements.iter().any(|element| within(&element.value)),
            Kind::Map(entries) => entries.iter().any(|entry| within(&entry.key) || within(&entry.value)),
            Kind::Fold(fold) => {
                let parts = [&fold.range, &fold.start, &fold.condition, &fold.step, &fold.result];
                parts.into_iter().any(within)
            }
        }
    }
}

impl Call {
    /// Whether it costs nothing: conversions of literals, and looking for something among literals.
    pub(crate) fn is_folded(&self) -> bool {
        match (&*self.function, self.arguments.as_slice()) {
            ("bool" | "bytes" | "double" | "duration" | "int" | "string" | "timestamp" | "uint", [of]) => {
                matches!(of.kind, Kind::Literal(_))
            }
            ("@in", [_, within]) => matches!(within.kind, Kind::List(_)) && within.is_constant(),
            _ => false,
        }
    }
}

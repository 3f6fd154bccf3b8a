//! Types of expressions: how they are written in messages, and which may stand for which.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The type of an expression, known before it is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// `true` and `false`.
    Bool,
    /// Whole numbers of 64 bits.
    Int,
    /// Whole numbers of 64 bits without a sign.
    Uint,
    /// Floating point numbers of 64 bits.
    Double,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// `null`.
    Null,
    /// Known only when the expression is evaluated.
    Dyn,
    /// An expression with an error that was reported already: fits everywhere, so that it is reported once.
    Error,
    /// A span of time.
    Duration,
    /// A point in time.
    Timestamp,
    /// A list of elements of one type.
    List(Arc<Type>),
    /// A map of keys of one type to values of one type.
    Map(Arc<Type>, Arc<Type>),
    /// A type as a value.
    Type(Option<Arc<Type>>),
    /// A value that may be missing (`optional_type`).
    Optional(Arc<Type>),
    /// A type that is to be found out; numbers below [`Type::FIRST_VARIABLE`] are the parameters of a declaration.
    Param(u32),
    /// An object with fields, or one of the types of the libraries, which have none.
    Struct(Arc<StructType>),
}

/// An object whose fields are known.
#[derive(Debug, Clone, PartialEq)]
pub struct StructType {
    /// The name it has in messages.
    pub name: String,
    /// The types of its fields by name, names written as an expression must write them.
    pub fields: BTreeMap<String, Type>,
}

impl Type {
    /// The first number of types to be found out in an expression.
    pub(crate) const FIRST_VARIABLE: u32 = 64;

    /// A list of elements of a type.
    pub fn list(element: Type) -> Self {
        Self::List(Arc::new(element))
    }

    /// A map from keys of a type to values of a type.
    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    /// A value of a type that may be missing.
    pub fn optional(of: Type) -> Self {
        Self::Optional(Arc::new(of))
    }

    /// An object with fields.
    pub fn object(name: &str, fields: impl IntoIterator<Item = (String, Type)>) -> Self {
        Self::Struct(Arc::new(StructType {
            name: name.to_owned(),
            fields: fields.into_iter().collect(),
        }))
    }

    /// A type of a library, of which only functions know anything.
    pub fn opaque(name: &str) -> Self {
        Self::object(name, [])
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn)
    }

    fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// What an optional is of, and whether it is one.
    pub(crate) fn unwrap_optional(&self) -> (Type, bool) {
        match self {
            Self::Optional(of) => ((**of).clone(), true),
            other => (other.clone(), false),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Null => f.write_str("null"),
            Self::Dyn => f.write_str("dyn"),
            Self::Error => f.write_str("!error!"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Type(None) => f.write_str("type"),
            Self::Type(Some(of)) => write!(f, "type({of})"),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Param(number) => write!(f, "_var{}", number.saturating_sub(Self::FIRST_VARIABLE)),
            Self::Struct(of) => f.write_str(&of.name),
        }
    }
}

impl Type {
    /// The type by the names that declarations have, which differ from those in the messages of the checker.
    pub(crate) fn declared(&self) -> String {
        match self {
            Self::Null => "null_type".to_owned(),
            Self::Duration => "google.protobuf.Duration".to_owned(),
            Self::Timestamp => "google.protobuf.Timestamp".to_owned(),
            Self::List(element) => format!("list({})", element.declared()),
            Self::Map(key, value) => format!("map({}, {})", key.declared(), value.declared()),
            Self::Type(Some(of)) => format!("type({})", of.declared()),
            Self::Optional(of) => format!("optional_type({})", of.declared()),
            other => other.to_string(),
        }
    }
}

/// What the types to be found out were found to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Substitutions {
    found: BTreeMap<u32, Type>,
}

impl Substitutions {
    /// Whether `from` may stand where `to` is wanted; what this says of types to be found out is kept if so.
    pub(crate) fn assign(&mut self, from: &Type, to: &Type) -> bool {
        self.assign_all(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    /// The same of several at once: all or none.
    pub(crate) fn assign_all(&mut self, from: &[Type], to: &[Type]) -> bool {
        let mut tried = self.clone();
        if !tried.fit_all(from, to) {
            return false;
        }
        *self = tried;
        true
    }

    fn fit_all(&mut self, from: &[Type], to: &[Type]) -> bool {
        from.len() == to.len() && from.iter().zip(to).all(|(a, b)| self.fit(a, b))
    }

    fn fit(&mut self, from: &Type, to: &Type) -> bool {
        if let Type::Param(number) = to {
            match self.stand_for(from, *number) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if let Type::Param(number) = from {
            return self.stand_for(to, *number).0;
        }
        if from.is_dyn_or_error() || to.is_dyn_or_error() {
            return true;
        }
        match (from, to) {
            (Type::Null, Type::Null) => true,
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Optional(_) | Type::Struct(_) | Type::Duration | Type::Timestamp
            ),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.fit(a, b),
            (Type::Map(a, b), Type::Map(c, d)) => self.fit(a, c) && self.fit(b, d),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::Struct(a), Type::Struct(b)) => a.name == b.name,
            (a, b) => a == b,
        }
    }

    /// Whether a type may be what `number` stands for, and whether that was known already.
    fn stand_for(&mut self, of: &Type, number: u32) -> (bool, bool) {
        if matches!(of, Type::Param(other) if *other == number) {
            return (true, true);
        }
        if let Some(known) = self.found.get(&number).cloned() {
            if *of == known {
                return (true, true);
            }
            if !self.fit(of, &known) {
                return (false, true);
            }
            let general = more_general(of, &known);
            if !self.mentions(&general, number) {
                self.found.insert(number, general);
            }
            return (true, true);
        }
        if self.mentions(of, number) {
            return (false, false);
        }
        self.found.insert(number, of.clone());
        (true, false)
    }

    fn mentions(&self, within: &Type, number: u32) -> bool {
        match within {
            Type::Param(other) if *other == number => true,
            Type::Param(other) => self.found.get(other).is_some_and(|of| self.mentions(of, number)),
            Type::List(of) | Type::Optional(of) | Type::Type(Some(of)) => self.mentions(of, number),
            Type::Map(key, value) => self.mentions(key, number) || self.mentions(value, number),
            _ => false,
        }
    }

    /// The type with all that was found out in it; what was not is `dyn` if `to_dyn`.
    pub(crate) fn apply(&self, of: &Type, to_dyn: bool) -> Type {
        match of {
            Type::Param(number) => match self.found.get(number) {
                Some(found) => self.apply(found, to_dyn),
                None if to_dyn => Type::Dyn,
                None => of.clone(),
            },
            Type::List(of) => Type::list(self.apply(of, to_dyn)),
            Type::Optional(of) => Type::optional(self.apply(of, to_dyn)),
            Type::Type(Some(of)) => Type::Type(Some(Arc::new(self.apply(of, to_dyn)))),
            Type::Map(key, value) => Type::map(self.apply(key, to_dyn), self.apply(value, to_dyn)),
            other => other.clone(),
        }
    }
}

/// The one of two types that fit each other which says less.
pub(crate) fn more_general(a: &Type, b: &Type) -> Type {
    if says_no_more(a, b) { a.clone() } else { b.clone() }
}

fn says_no_more(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => says_no_more(a, b),
        (Type::Map(a, b), Type::Map(c, d)) => says_no_more(a, c) && says_no_more(b, d),
        (Type::Type(_), Type::Type(_)) => true,
        (a, b) => a == b,
    }
}

/// The type with its parameters as variables that start at `first`.
pub(crate) fn instantiate(of: &Type, first: u32) -> Type {
    match of {
        Type::Param(number) if *number < Type::FIRST_VARIABLE => Type::Param(first.saturating_add(*number)),
        Type::List(of) => Type::list(instantiate(of, first)),
        Type::Optional(of) => Type::optional(instantiate(of, first)),
        Type::Type(Some(of)) => Type::Type(Some(Arc::new(instantiate(of, first)))),
        Type::Map(key, value) => Type::map(instantiate(key, first), instantiate(value, first)),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits() {
        let mut subs = Substitutions::default();
        let a = Type::Param(70);
        assert!(subs.assign(&Type::Int, &a));
        assert!(subs.assign(&Type::list(a.clone()), &Type::list(Type::Int)));
        assert!(!subs.assign(&Type::String, &a));
        assert_eq!(subs.apply(&a, false), Type::Int);
        assert!(subs.assign(&Type::Null, &Type::Timestamp));
        assert!(!subs.assign(&Type::Null, &Type::Int));
        assert!(subs.assign(&Type::Dyn, &a));
        assert_eq!(subs.apply(&a, false), Type::Dyn);
        assert!(!subs.assign(&Type::list(Type::Param(71)), &Type::Param(71)));
    }

    #[test]
    fn names() {
        let of = Type::map(Type::String, Type::list(Type::optional(Type::Duration)));
        assert_eq!(of.to_string(), "map(string, list(optional_type(duration)))");
        assert_eq!(Type::Type(Some(Arc::new(Type::Int))).to_string(), "type(int)");
    }
}

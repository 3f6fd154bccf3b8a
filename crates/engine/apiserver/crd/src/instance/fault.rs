//! What the OpenAPI validator finds, and how it becomes an error of a field.

use std::collections::BTreeSet;

use engenho_validation::FieldError;
use serde_json::Value;

use super::NOWHERE;
use crate::go;

/// What kind of fault it is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A value is missing.
    Required,
    /// A value outside a set.
    Enum { value: Value, allowed: Vec<Value> },
    /// A text beyond this many characters.
    TooLong(i64),
    /// More items or properties than allowed.
    TooMany { actual: usize, max: i64 },
    /// A value of a wrong type, which is named instead.
    Type(Value),
    /// Another fault of a value.
    Invalid(Value),
    /// A fault of no field: no combination of schemas fits.
    Combined,
}

/// A fault, at a place named relative to what is validated.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// Path, empty for the value as a whole.
    pub name: String,
    /// Text; two faults of one text are one.
    pub text: String,
    /// Kind.
    pub kind: Kind,
}

/// What validating a value gives.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// How much was right, by which the closest of several alternatives is told.
    pub matches: usize,
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn is_valid(&self) -> bool {
        self.faults.is_empty()
    }

    /// One more fault.
    pub fn add(&mut self, name: &str, text: String, kind: Kind) {
        let name = name.to_owned();
        self.faults.push(Fault { name, text, kind });
    }

    /// What another validation gave as well.
    pub fn merge(&mut self, other: Outcome) {
        self.faults.extend(other.faults);
        self.matches += other.matches;
    }

    /// The errors, below `prefix`, each once.
    pub fn into_errors(self, prefix: &str) -> Vec<FieldError> {
        let mut seen = BTreeSet::new();
        let faults = self.faults.into_iter().filter(|fault| seen.insert(fault.text.clone()));
        faults
            .collect::<Vec<_>>()
            .iter()
            .map(|fault| error(fault, prefix))
            .collect()
    }
}

fn place(prefix: &str, name: &str) -> String {
    let name = name.strip_prefix('.').unwrap_or(name);
    match (prefix, name) {
        ("", "") => NOWHERE.to_owned(),
        (prefix, "") => prefix.to_owned(),
        ("", name) => name.to_owned(),
        (prefix, name) => format!("{prefix}.{name}"),
    }
}

fn size(max: i64) -> usize {
    usize::try_from(max).unwrap_or_default()
}

fn error(fault: &Fault, prefix: &str) -> FieldError {
    let field = place(prefix, &fault.name);
    match &fault.kind {
        Kind::Required => FieldError::required(field, ""),
        Kind::Enum { value, allowed } => {
            let allowed: Vec<String> = allowed
                .iter()
                .map(|value| value.as_str().map_or_else(|| go::json(value), str::to_owned))
                .collect();
            let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
            match value {
                Value::Number(number) if number.is_f64() => {
                    FieldError::not_supported_printed(field, &go::number(number), &allowed)
                }
                value => FieldError::not_supported(field, value.clone(), &allowed),
            }
        }
        Kind::TooLong(max) => FieldError::too_long(field, size(*max)),
        Kind::TooMany { actual, max } => FieldError::too_many(field, *actual, size(*max)),
        Kind::Type(value) => FieldError::type_invalid(field, value.clone(), &fault.text),
        Kind::Invalid(value) => go::invalid(&field, value, &fault.text),
        Kind::Combined => FieldError::invalid(place(prefix, ""), "", &fault.text),
    }
}

//! Collects what is wrong, in the order in which it is found.

use serde_json::Value;

use crate::scalars::timing;
use crate::{FieldError, Path};

/// What was found to be wrong so far.
#[derive(Debug, Default)]
pub struct Errors(Vec<FieldError>);

impl Errors {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a rule finds.
    pub fn of(rule: impl FnOnce(&mut Self)) -> Vec<FieldError> {
        let mut errors = Self::new();
        rule(&mut errors);
        errors.0
    }

    /// How much is wrong.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more.
    pub fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// Several more.
    pub fn extend(&mut self, errors: impl IntoIterator<Item = FieldError>) {
        self.0.extend(errors);
    }

    /// A malformed value.
    pub fn invalid(&mut self, field: impl Into<String>, value: impl Into<Value>, detail: &str) {
        self.push(FieldError::invalid(field, value, detail));
    }

    /// A missing value.
    pub fn required(&mut self, field: impl Into<String>, detail: &str) {
        self.push(FieldError::required(field, detail));
    }

    /// A value that may not be given.
    pub fn forbidden(&mut self, field: impl Into<String>, detail: &str) {
        self.push(FieldError::forbidden(field, detail));
    }

    /// A value outside a fixed set.
    pub fn not_supported(&mut self, field: impl Into<String>, value: impl Into<Value>, supported: &[&str]) {
        self.push(FieldError::not_supported(field, value, supported));
    }

    /// A value that names nothing.
    pub fn not_found(&mut self, field: impl Into<String>, value: impl Into<Value>) {
        self.push(FieldError::not_found(field, value));
    }

    /// A value that is there already.
    pub fn duplicate(&mut self, field: impl Into<String>, value: impl Into<Value>) {
        self.push(FieldError::duplicate(field, value));
    }

    /// All that a check of a text finds.
    pub fn check(&mut self, check: fn(&str) -> Vec<String>, value: &str, field: &Path) {
        self.all(check(value), value, field);
    }

    /// Several complaints about one value.
    pub fn all(&mut self, complaints: Vec<String>, value: impl Into<Value> + Clone, field: &Path) {
        for complaint in complaints {
            self.invalid(field, value.clone(), &complaint);
        }
    }

    /// A number that must not be negative.
    pub fn non_negative(&mut self, value: &Value, field: &Path) {
        self.extend(timing::non_negative(value, field));
    }

    /// The numbers of a structure, none of which may be negative.
    pub fn none_negative(&mut self, structure: &Value, fields: &[&str], path: &Path) {
        for field in fields {
            self.non_negative(&structure[*field], &path.child(field));
        }
    }

    /// A text that must be given and be one of a set.
    pub fn required_one_of(&mut self, value: &str, supported: &[&str], field: &Path) {
        if value.is_empty() {
            self.required(field, "");
        } else {
            self.one_of(value, supported, field);
        }
    }

    /// A text that must be one of a set.
    pub fn one_of(&mut self, value: &str, supported: &[&str], field: &Path) {
        if !supported.contains(&value) {
            self.not_supported(field, value, supported);
        }
    }

    /// A value that may not change.
    pub fn immutable(&mut self, new: &Value, old: &Value, field: &Path) {
        if !crate::get::same(new, old) {
            self.invalid(field, new.clone(), "field is immutable");
        }
    }
}

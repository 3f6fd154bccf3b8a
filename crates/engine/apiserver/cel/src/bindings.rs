//! What the variables of an expression are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::authorizer::{Authorizer, Identity, ResourceCheck};
use crate::error::EvalError;
use crate::program::Program;
use crate::value::Value;

/// What the variables of expressions are in one request. The variables of a policy are evaluated when they are first
/// used, and kept for all expressions evaluated with the same bindings.
#[derive(Default)]
pub struct Bindings<'a> {
    values: BTreeMap<String, Value<'a>>,
    composed: BTreeMap<String, RefCell<Composed<'a>>>,
    pub(crate) authorizer: Option<&'a dyn Authorizer>,
}

/// A variable of a policy.
#[derive(Debug, Clone)]
pub(crate) enum Composed<'a> {
    /// Not used yet.
    Waiting(&'a Program),
    /// Being evaluated.
    Running,
    /// Evaluated, or found not to compile.
    Done(Result<Value<'a>, EvalError>),
}

impl fmt::Debug for Bindings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bindings")
            .field("values", &self.values)
            .finish_non_exhaustive()
    }
}

impl<'a> Bindings<'a> {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A variable that is an object, or a part of one. Objects that are not there are [`Json::Null`].
    #[must_use]
    pub fn with(self, name: &str, object: &'a Json) -> Self {
        self.with_value(name, crate::json::value(object, None))
    }

    /// A variable that is a part of an object with a schema, as the rules of the schema see it.
    #[must_use]
    pub fn with_schema(self, name: &str, object: &'a Json, schema: &'a Json) -> Self {
        self.with_value(name, crate::json::value(object, Some(schema)))
    }

    /// A variable that may be missing, for rules with `optionalOldSelf`.
    #[must_use]
    pub fn with_optional(self, name: &str, object: Option<&'a Json>, schema: &'a Json) -> Self {
        let value = object.map(|object| Arc::new(crate::json::value(object, Some(schema))));
        self.with_value(name, Value::Optional(value))
    }

    /// A variable of any value.
    #[must_use]
    pub fn with_value(mut self, name: &str, value: Value<'a>) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    /// Who answers questions about permissions, and what the request itself is about (`authorizer.requestResource`).
    #[must_use]
    pub fn with_authorizer(mut self, authorizer: &'a dyn Authorizer, request: ResourceCheck) -> Self {
        self.authorizer = Some(authorizer);
        self.with_value("authorizer", Value::Authorizer(Identity::Requester))
            .with_value("authorizer.requestResource", Value::ResourceCheck(Arc::new(request)))
    }

    /// A variable of a policy, `variables.name`.
    #[must_use]
    pub fn with_variable(mut self, name: &str, program: &'a Program) -> Self {
        self.composed
            .insert(name.to_owned(), RefCell::new(Composed::Waiting(program)));
        self
    }

    /// A variable of a policy whose expression does not compile, and why.
    #[must_use]
    pub fn with_failed_variable(mut self, name: &str, why: &str) -> Self {
        let why = format!(
            "composited variable {} fails to compile: {why}",
            crate::text::quote_go(name)
        );
        let failed = Composed::Done(Err(EvalError::failed(why)));
        self.composed.insert(name.to_owned(), RefCell::new(failed));
        self
    }

    pub(crate) fn value(&self, name: &str) -> Option<Value<'a>> {
        self.values.get(name).cloned()
    }

    pub(crate) fn has_composed(&self) -> bool {
        !self.composed.is_empty()
    }

    pub(crate) fn composed(&self, name: &str) -> Option<&RefCell<Composed<'a>>> {
        self.composed.get(name)
    }
}

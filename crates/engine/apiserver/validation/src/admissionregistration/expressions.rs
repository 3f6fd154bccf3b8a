//! Whether expressions of policies and webhooks compile, and give what is wanted of them.

use engenho_cel::{CompileError, Environment, Type, compile};

use crate::{FieldError, Path};

/// What an expression is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Says yes or no: a match condition, a validation.
    Condition,
    /// The message of a validation.
    Message,
    /// The value of an annotation of the audit log.
    Annotation,
}

impl Kind {
    fn wanted(self) -> &'static [Type] {
        match self {
            Self::Condition => &[Type::Bool],
            Self::Message => &[Type::String],
            Self::Annotation => &[Type::String, Type::Null],
        }
    }
}

/// What is wrong with an expression.
pub(super) fn wrong(expression: &str, environment: &Environment, kind: Kind, path: &Path<'_>) -> Option<FieldError> {
    wrong_as(expression, expression, environment, kind, path)
}

/// The same of an expression that is shown as it was written.
pub(super) fn wrong_as(
    expression: &str,
    written: &str,
    environment: &Environment,
    kind: Kind,
    path: &Path<'_>,
) -> Option<FieldError> {
    let program = compile(expression, environment).and_then(|program| program.expecting(kind.wanted()));
    program.err().map(|error| invalid(written, &error, path))
}

fn invalid(expression: &str, error: &CompileError, path: &Path<'_>) -> FieldError {
    FieldError::invalid(path, expression, &error.to_string())
}

/// What the expressions of a policy may refer to.
#[derive(Debug)]
pub(super) struct Scope {
    /// With the authorizer.
    pub all: Environment,
    /// Without: that of messages.
    pub messages: Environment,
}

impl Scope {
    /// Of a policy that has a kind of parameters or not, and variables or not.
    pub fn new(params: bool, variables: bool) -> Self {
        let environment = match variables {
            true => Environment::admission_policy,
            false => Environment::admission,
        };
        Self {
            all: environment(params, true),
            messages: environment(params, false),
        }
    }

    /// Adds a variable, and says what is wrong with it.
    pub fn add(&mut self, name: &str, expression: &str, path: &Path<'_>) -> Option<FieldError> {
        let (of, error) = match compile(expression, &self.all) {
            Ok(program) => (program.result_type().clone(), None),
            Err(error) => (Type::Dyn, Some(invalid(expression, &error, path))),
        };
        let add = |environment: &mut Environment| {
            *environment = std::mem::take(environment).with_variable(name, of.clone());
        };
        add(&mut self.all);
        add(&mut self.messages);
        error
    }
}

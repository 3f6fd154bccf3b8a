//! Expressions that are ready to be evaluated.

use crate::bindings::Bindings;
use crate::environment::Environment;
use crate::error::{CompileError, EvalError};
use crate::eval::Evaluator;
use crate::expr::Expr;
use crate::meter::Budget;
use crate::types::Type;
use crate::value::Value;

/// An expression that was read and checked.
#[derive(Debug, Clone)]
pub struct Program {
    expr: Expr,
    result: Type,
}

/// Reads and checks an expression.
///
/// # Errors
/// It is not of the language, refers to what the environment does not have, or its types do not fit.
pub fn compile(expression: &str, environment: &Environment) -> Result<Program, CompileError> {
    let invalid = |issues| CompileError::of_issues(issues, expression);
    let mut expr = crate::parse::parse(expression).map_err(invalid)?;
    let result = crate::check::check(&mut expr, environment, expression).map_err(invalid)?;
    Ok(Program { expr, result })
}

impl Program {
    /// The type of its result; `dyn` if only evaluating tells.
    pub fn result_type(&self) -> &Type {
        &self.result
    }

    /// The program, if its result is of one of the types wanted; `dyn` is of none of them.
    ///
    /// # Errors
    /// The result is of another type.
    pub fn expecting(self, wanted: &[Type]) -> Result<Self, CompileError> {
        if wanted.contains(&self.result) {
            return Ok(self);
        }
        Err(CompileError::ResultType {
            wanted: wanted.to_vec(),
            found: self.result,
        })
    }

    /// Whether the expression uses a variable. Rules that use `oldSelf` are for updates only.
    pub fn refers_to(&self, variable: &str) -> bool {
        self.expr.refers_to(variable)
    }

    /// Evaluates the expression, and takes what it cost off the budget.
    ///
    /// # Errors
    /// It has no value for what its variables are, or costs too much.
    pub fn evaluate<'a>(&self, bindings: &Bindings<'a>, budget: &mut Budget) -> Result<Value<'a>, EvalError> {
        let mut evaluator = Evaluator::new(bindings, budget);
        let result = evaluator.eval(&self.expr);
        evaluator.finish();
        result
    }

    pub(crate) fn expr(&self) -> &Expr {
        &self.expr
    }
}

/// Reads, checks and evaluates whatever bytes an expression and an object may be, for fuzzing: neither may ever panic
/// or run long.
pub fn fuzz(data: &[u8]) {
    let (expression, object) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &data[..0]),
    };
    let Ok(expression) = std::str::from_utf8(expression) else {
        return;
    };
    let object = serde_json::from_slice(object).unwrap_or_default();
    let environment = Environment::admission_policy(true, true);
    if let Ok(program) = compile(expression, &environment) {
        let bindings = Bindings::new()
            .with("object", &object)
            .with("oldObject", &object)
            .with("params", &object)
            .with("request", &object)
            .with("namespaceObject", &object);
        let _ = program.evaluate(&bindings, &mut Budget::per_call());
    }
}

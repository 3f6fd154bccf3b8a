//! Rules of schemas in CEL (`x-kubernetes-validations`): compiled, and what is wrong with a value by them.

use std::ops::ControlFlow;

pub use engenho_cel::Budget;
use engenho_cel::{Bindings, CompileError, Environment, EvalError, Program, Type, Value as Result, compile};
use serde_json::Value;

use crate::apiextensions::field_path;
use crate::get::{flag, text};
use crate::{FieldError, Path, go_quoted};

/// The longest message that an expression may give.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
const EXHAUSTED: &str = "validation failed due to running out of cost budget, no further validation rules will be run";
/// How the path of a value as a whole is printed.
const NOWHERE: &str = "<nil>";

/// What the rules of a schema may refer to.
#[derive(Debug)]
pub(crate) struct Scope {
    plain: Environment,
    optional: Environment,
}

impl Scope {
    /// Of values of a type.
    pub(crate) fn of(of: Type) -> Self {
        let with = |old: Type| Environment::new().with("self", of.clone()).with("oldSelf", old);
        Self {
            plain: with(of.clone()),
            optional: with(Type::optional(of.clone())),
        }
    }
}

/// A rule, compiled; without a program if there is nothing to compile.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub program: Option<Program>,
    pub error: Option<String>,
    pub message: Option<Program>,
    pub message_error: Option<String>,
    /// Whether the rule is about what has changed.
    pub uses_old: bool,
}

impl Compiled {
    pub(crate) fn of(rule: &Value, scope: &Scope) -> Self {
        let mut compiled = Self::default();
        let condition = text(&rule["rule"]);
        if condition.trim().is_empty() {
            return compiled;
        }
        let environment = match flag(&rule["optionalOldSelf"]) {
            true => &scope.optional,
            false => &scope.plain,
        };
        match compile(condition, environment).and_then(|program| program.expecting(&[Type::Bool])) {
            Ok(program) => {
                compiled.uses_old = program.refers_to("oldSelf");
                compiled.program = Some(program);
            }
            Err(CompileError::Invalid { text, .. }) => {
                compiled.error = Some(format!("compilation failed: {text}"));
                return compiled;
            }
            Err(CompileError::ResultType { .. }) => {
                compiled.error = Some("cel expression must evaluate to a bool".to_owned());
                return compiled;
            }
        }
        let message = text(&rule["messageExpression"]);
        if message.is_empty() {
            return compiled;
        }
        match compile(message, environment).and_then(|program| program.expecting(&[Type::String])) {
            Ok(program) => compiled.message = Some(program),
            Err(CompileError::Invalid { text, .. }) => {
                compiled.message_error = Some(format!("messageExpression compilation failed: {text}"));
            }
            Err(CompileError::ResultType { .. }) => {
                compiled.message_error = Some("messageExpression must evaluate to a string".to_owned());
            }
        }
        compiled
    }
}

/// The rules of one node of a schema, ready to be evaluated.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Type of the values, which errors show in place of them.
    kind: String,
    rules: Vec<Rule>,
    /// Whether any of the rules is about what has changed.
    uses_old: bool,
    /// Expressions cannot see the values at all.
    unseen: bool,
}

#[derive(Debug, Clone)]
struct Rule {
    /// What the rule is called: its message, or else itself.
    name: String,
    /// What is said if a value breaks it, unless an expression says it.
    message: String,
    reason: String,
    /// Where below the value an error stands.
    below: Option<String>,
    optional_old: bool,
    uses_old: bool,
    program: Option<Program>,
    error: Option<String>,
    speaks: Option<Program>,
    /// The source of the above.
    speech: String,
}

impl Rule {
    fn new(rule: &Value, schema: &Value, scope: &Scope) -> Self {
        let compiled = Compiled::of(rule, scope);
        let (condition, message) = (text(&rule["rule"]).trim(), text(&rule["message"]));
        let target = text(&rule["fieldPath"]);
        let below = (!target.is_empty()).then(|| field_path::find(target, schema, true));
        Self {
            name: if message.is_empty() { condition } else { message.trim() }.to_owned(),
            message: match message {
                "" => format!("failed rule: {condition}"),
                message => message.trim().to_owned(),
            },
            reason: text(&rule["reason"]).to_owned(),
            below: below
                .and_then(|found| Some(found.ok()?.path))
                .filter(|below| !below.is_empty()),
            optional_old: flag(&rule["optionalOldSelf"]),
            uses_old: compiled.uses_old,
            program: compiled.program,
            error: compiled.error,
            speaks: compiled.message,
            speech: text(&rule["messageExpression"]).to_owned(),
        }
    }

    fn error(&self, field: String, kind: &str, detail: &str) -> FieldError {
        match self.reason.as_str() {
            "FieldValueForbidden" => FieldError::forbidden(field, detail),
            "FieldValueRequired" => FieldError::required(field, detail),
            "FieldValueDuplicate" => FieldError::duplicate(field, kind),
            _ => FieldError::invalid(field, kind, detail),
        }
    }
}

/// A value that rules are applied to.
#[derive(Debug)]
pub struct Call<'a> {
    /// Where it stands.
    pub path: &'a Path<'a>,
    /// The schema that the rules were compiled for.
    pub schema: &'a Value,
    /// `self`, never null.
    pub value: &'a Value,
    /// `oldSelf`: the value it replaces, if there is one that it can be told to replace.
    pub old: Option<&'a Value>,
    /// The value, or what it is part of, has not changed: faults of rules without `oldSelf` become warnings.
    pub unchanged: bool,
}

/// What rules find.
#[derive(Debug, Default)]
pub struct Found {
    /// What is wrong.
    pub errors: Vec<FieldError>,
    /// What was wrong before as well.
    pub warnings: Vec<String>,
}

/// What the expression for a message gives.
enum Said {
    Text(String),
    /// Nothing of use: what the rule says itself is told.
    Nothing,
    /// Too much was spent: an error, and the end of all rules.
    Spent(String),
}

impl Rules {
    /// Compiles the rules of a node. `root` if it is the schema of a whole object.
    pub fn compile(rules: &[Value], schema: &Value, root: bool) -> Self {
        let of = engenho_cel::type_of_schema(schema, root, "self");
        let scope = of.clone().map(Scope::of);
        let compiled = scope
            .iter()
            .flat_map(|scope| rules.iter().map(move |rule| Rule::new(rule, schema, scope)));
        let rules: Vec<Rule> = compiled.collect();
        Self {
            kind: text(&schema["type"]).to_owned(),
            uses_old: rules.iter().any(|rule| rule.uses_old),
            unseen: of.is_none(),
            rules,
        }
    }

    /// Applies the rules to a value. Breaks when no further rules may be run in this request.
    pub fn check(&self, call: &Call<'_>, budget: &mut Budget, found: &mut Found) -> ControlFlow<()> {
        let here = || match call.path {
            Path::Root => NOWHERE.to_owned(),
            path => path.to_string(),
        };
        let invalid = |detail: &str| FieldError::invalid(here(), self.kind.as_str(), detail);
        if self.unseen {
            let why = "rule compiler initialization error: failed to convert to declType for CEL validation rules";
            found.errors.push(invalid(why));
            return ControlFlow::Continue(());
        }
        if self.rules.is_empty() {
            return ControlFlow::Continue(());
        }
        if budget.remaining == 0 {
            found.errors.push(invalid(EXHAUSTED));
            return ControlFlow::Break(());
        }
        let old = call.old.filter(|old| !old.is_null());
        let plain = match old.filter(|_| self.uses_old) {
            Some(old) => bindings(call).with_schema("oldSelf", old, call.schema),
            None => bindings(call),
        };
        for rule in &self.rules {
            if let Some(error) = &rule.error {
                found.errors.push(invalid(&format!("rule compile error: {error}")));
                continue;
            }
            let Some(program) = &rule.program else { continue };
            if rule.uses_old && old.is_none() && !rule.optional_old {
                continue;
            }
            let optional =
                (rule.optional_old && self.uses_old).then(|| bindings(call).with_optional("oldSelf", old, call.schema));
            let name = &rule.name;
            let holds = match program.evaluate(optional.as_ref().unwrap_or(&plain), budget) {
                Ok(result) => matches!(result, Result::Bool(true)),
                Err(EvalError::BudgetExhausted) => {
                    found.errors.push(invalid(EXHAUSTED));
                    return ControlFlow::Break(());
                }
                Err(error @ EvalError::CostLimit) => {
                    found.errors.push(invalid(&format!(
                        "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {name}"
                    )));
                    return ControlFlow::Break(());
                }
                Err(EvalError::Failed(error)) if error.starts_with("no such overload") => {
                    found.errors.push(invalid(&format!(
                        "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {name}"
                    )));
                    continue;
                }
                Err(EvalError::Failed(error)) => {
                    found.errors.push(invalid(&format!("{error} evaluating rule: {name}")));
                    continue;
                }
            };
            if holds {
                continue;
            }
            let field = match (&rule.below, call.path) {
                (None, _) => here(),
                (Some(below), Path::Root) => below.clone(),
                (Some(below), path) => format!("{path}.{below}"),
            };
            let said = rule
                .speaks
                .as_ref()
                .map_or(Said::Nothing, |program| say(program, &rule.speech, &plain, budget));
            let (error, ends) = match said {
                Said::Text(text) => (rule.error(field, &self.kind, &text), false),
                Said::Nothing => (rule.error(field, &self.kind, &rule.message), false),
                Said::Spent(why) => (FieldError::invalid(field, self.kind.as_str(), &why), true),
            };
            if !rule.uses_old && call.unchanged {
                found.warnings.push(format!("{}: {}", error.field, error.message));
            } else {
                found.errors.push(error);
            }
            if ends {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

fn bindings<'a>(call: &Call<'a>) -> Bindings<'a> {
    Bindings::new().with_schema("self", call.value, call.schema)
}

fn say(program: &Program, source: &str, bindings: &Bindings<'_>, budget: &mut Budget) -> Said {
    let text = match program.evaluate(bindings, budget) {
        Ok(Result::String(text)) => text,
        Ok(_) | Err(EvalError::Failed(_)) => return Said::Nothing,
        Err(EvalError::BudgetExhausted) => {
            let why = "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run";
            return Said::Spent(why.to_owned());
        }
        Err(EvalError::CostLimit) => {
            let source = go_quoted(source);
            return Said::Spent(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {source}"
            ));
        }
    };
    match text.trim() {
        said if said.is_empty() || said.len() > MESSAGE_BYTES_MAX || said.contains('\n') => Said::Nothing,
        said => Said::Text(said.to_owned()),
    }
}

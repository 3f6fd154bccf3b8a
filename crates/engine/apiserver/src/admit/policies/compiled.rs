//! Policies as they are evaluated: their expressions compiled once for all requests.

use engenho_cel::{CompileError, Environment, Program, Type, compile};
use engenho_validation::get::{items, text};
use serde_json::Value;

/// An expression, as it was written and ready to run; or why it cannot run.
#[derive(Debug)]
pub(in crate::admit) struct Expression {
    /// As it was written.
    pub source: String,
    /// What runs.
    pub program: Result<Program, String>,
}

impl Expression {
    /// Compiles it. What does not compile fails when it is used.
    pub fn new(source: &str, environment: &Environment, wanted: &[Type]) -> Self {
        let program = compile(source, environment).and_then(|program| program.expecting(wanted));
        Self {
            source: source.to_owned(),
            program: program.map_err(|error| error.to_string()),
        }
    }
}

/// What a request must fulfil.
#[derive(Debug)]
pub(super) struct Validation {
    /// What must be true.
    pub expression: Expression,
    /// What is said if it is not.
    pub message: String,
    /// The same as an expression, which is preferred.
    pub message_expression: Option<Expression>,
    /// The reason of the refusal.
    pub reason: String,
}

/// The kind of the objects that a policy takes its parameters from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParamKind {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

/// A ValidatingAdmissionPolicy.
#[derive(Debug)]
pub(super) struct Policy {
    /// Its name.
    pub name: String,
    /// Which requests it is about (`spec.matchConstraints`).
    pub constraints: Value,
    /// Whether what cannot be decided is refused.
    pub fails: bool,
    /// Where its parameters come from.
    pub param_kind: Option<ParamKind>,
    /// Variables, in the order in which they refer to each other.
    pub variables: Vec<(String, Result<Program, String>)>,
    /// Under which it applies at all.
    pub conditions: Vec<Expression>,
    /// What it demands.
    pub validations: Vec<Validation>,
    /// What it adds to the audit log, by key.
    pub annotations: Vec<(String, Expression)>,
}

impl Policy {
    /// Compiles a stored policy. What does not compile fails when it is used.
    pub fn new(object: &Value) -> Self {
        let spec = &object["spec"];
        let param_kind = spec["paramKind"].is_object().then(|| {
            let api_version = text(&spec["paramKind"]["apiVersion"]);
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            ParamKind {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: text(&spec["paramKind"]["kind"]).to_owned(),
            }
        });
        let params = param_kind.is_some();
        let mut all = Environment::admission_policy(params, true);
        let mut messages = Environment::admission_policy(params, false);
        let mut variables = Vec::new();
        for variable in items(&spec["variables"]) {
            let name = text(&variable["name"]);
            let program = compile(text(&variable["expression"]), &all).map_err(|error: CompileError| error.to_string());
            let of = program
                .as_ref()
                .map_or(Type::Dyn, |program| program.result_type().clone());
            all = all.with_variable(name, of.clone());
            messages = messages.with_variable(name, of);
            variables.push((name.to_owned(), program));
        }
        let condition = |value: &Value| Expression::new(text(value), &all, &[Type::Bool]);
        let validation = |one: &Value| {
            let written = text(&one["messageExpression"]);
            Validation {
                expression: condition(&one["expression"]),
                message: text(&one["message"]).trim().to_owned(),
                message_expression: (!written.is_empty()).then(|| Expression::new(written, &messages, &[Type::String])),
                reason: match text(&one["reason"]) {
                    "" => "Invalid".to_owned(),
                    reason => reason.to_owned(),
                },
            }
        };
        let annotation = |one: &Value| {
            let value = Expression::new(text(&one["valueExpression"]), &all, &[Type::String, Type::Null]);
            (text(&one["key"]).to_owned(), value)
        };
        let conditions = items(&spec["matchConditions"]).iter();
        Self {
            name: text(&object["metadata"]["name"]).to_owned(),
            constraints: spec["matchConstraints"].clone(),
            fails: text(&spec["failurePolicy"]) != "Ignore",
            conditions: conditions.map(|one| condition(&one["expression"])).collect(),
            validations: items(&spec["validations"]).iter().map(validation).collect(),
            annotations: items(&spec["auditAnnotations"]).iter().map(annotation).collect(),
            param_kind,
            variables,
        }
    }
}

/// A ValidatingAdmissionPolicyBinding.
#[derive(Debug)]
pub(super) struct Binding {
    /// Its name.
    pub name: String,
    /// The policy that it puts to work.
    pub policy: String,
    /// Which requests it is about, if not all that the policy is about.
    pub resources: Option<Value>,
    /// Which parameters the policy gets.
    pub param_ref: Option<Value>,
    /// What is done with a request that the policy does not like.
    pub actions: Vec<String>,
}

impl Binding {
    /// Reads a stored binding.
    pub fn new(object: &Value) -> Self {
        let spec = &object["spec"];
        let given = |key: &str| Some(&spec[key]).filter(|value| value.is_object()).cloned();
        Self {
            name: text(&object["metadata"]["name"]).to_owned(),
            policy: text(&spec["policyName"]).to_owned(),
            resources: given("matchResources"),
            param_ref: given("paramRef"),
            actions: items(&spec["validationActions"])
                .iter()
                .map(|action| text(action).to_owned())
                .collect(),
        }
    }
}

//! What the expressions of a policy say of a request.

use std::sync::LazyLock;

use engenho_cel::{Authorizer, Bindings, Budget, EvalError, ResourceCheck, Value as Given};
use serde_json::{Value, json};

use super::compiled::{Expression, Policy};

/// Longest message that an expression may give.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// The points in time of a Namespace, which are not mere texts to expressions.
static NAMESPACE_TIMES: LazyLock<Value> = LazyLock::new(|| {
    let time = json!({"type": "string", "format": "date-time"});
    json!({"properties": {
        "metadata": {"properties": {"creationTimestamp": time, "deletionTimestamp": time}},
        "status": {"properties": {"conditions": {"items": {"properties": {"lastTransitionTime": time}}}}},
    }})
});

/// What a policy is evaluated with.
pub(super) struct Inputs<'a> {
    /// The object as it is to be, in the version that the policy names.
    pub object: &'a Value,
    /// The object as it was.
    pub old: &'a Value,
    /// What is asked.
    pub request: &'a Value,
    /// The Namespace of the object, null if it is in none.
    pub namespace: &'a Value,
    /// The parameters, null for none.
    pub params: &'a Value,
    /// Who answers questions about permissions.
    pub authorizer: &'a dyn Authorizer,
    /// What the request itself is about, for such questions.
    pub check: ResourceCheck,
}

impl<'a> Inputs<'a> {
    /// Variables are evaluated anew for each kind of expression, as their costs count for each.
    fn bindings(&self, policy: &'a Policy, authorizer: bool) -> Bindings<'a> {
        let mut bindings = Bindings::new()
            .with("object", self.object)
            .with("oldObject", self.old)
            .with("request", self.request)
            .with("params", self.params)
            .with_schema("namespaceObject", self.namespace, &NAMESPACE_TIMES);
        if authorizer {
            bindings = bindings.with_authorizer(self.authorizer, self.check.clone());
        }
        for (name, program) in &policy.variables {
            bindings = match program {
                Ok(program) => bindings.with_variable(name, program),
                Err(why) => bindings.with_failed_variable(name, why),
            };
        }
        bindings
    }
}

/// What one validation comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing is wrong.
    Admit,
    /// Something is.
    Deny {
        /// What.
        message: String,
        /// The reason in the Status.
        reason: String,
    },
}

/// What an annotation of the audit log comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Annotation {
    /// It is added.
    Publish {
        /// Its key, without the name of the policy.
        key: String,
        /// What it says.
        value: String,
    },
    /// It cannot be told, which refuses the request.
    Failed(String),
}

/// What a policy says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Of each of its validations; or one decision, if not even these could be evaluated.
    pub decisions: Vec<Decision>,
    /// For the audit log.
    pub annotations: Vec<Annotation>,
}

/// The result of one expression. `Err` is that the budget of all is used up.
type Evaluated<'a> = Result<Result<Given<'a>, String>, EvalError>;

fn run<'a>(expression: &Expression, bindings: &Bindings<'a>, budget: &mut Budget) -> Evaluated<'a> {
    let program = match &expression.program {
        Ok(program) => program,
        Err(why) => return Ok(Err(format!("compilation error: {why}"))),
    };
    match program.evaluate(bindings, budget) {
        Ok(value) => Ok(Ok(value)),
        Err(EvalError::BudgetExhausted) => Err(EvalError::BudgetExhausted),
        Err(error) => Ok(Err(format!(
            "expression '{}' resulted in error: {error}",
            expression.source
        ))),
    }
}

/// What cannot be decided.
fn undecided(policy: &Policy, message: String) -> Decision {
    if !policy.fails {
        return Decision::Admit;
    }
    Decision::Deny {
        message,
        reason: "Invalid".to_owned(),
    }
}

/// Evaluates a policy.
pub(super) fn evaluate(policy: &Policy, inputs: &Inputs<'_>) -> Outcome {
    let only = |decision: Decision| Outcome {
        decisions: vec![decision],
        annotations: Vec::new(),
    };
    match applies(policy, inputs) {
        Ok(true) => {}
        Ok(false) => return Outcome::default(),
        Err(message) => return only(undecided(policy, message)),
    }
    let mut budget = Budget::per_call();
    let decisions = match validate(policy, inputs, &mut budget) {
        Ok(decisions) => decisions,
        Err(error) => return only(undecided(policy, error.to_string())),
    };
    match annotate(policy, inputs) {
        Ok(annotations) => Outcome { decisions, annotations },
        Err(error) => only(undecided(policy, error.to_string())),
    }
}

/// Whether the match conditions of a policy hold.
fn applies(policy: &Policy, inputs: &Inputs<'_>) -> Result<bool, String> {
    if policy.conditions.is_empty() {
        return Ok(true);
    }
    conditions_hold(&policy.conditions, policy.fails, &inputs.bindings(policy, true))
}

/// Whether all match conditions hold. One that does not outweighs others that cannot be told.
///
/// # Errors
/// Why that cannot be told; never unless `fails`.
pub(in crate::admit) fn conditions_hold(
    conditions: &[Expression],
    fails: bool,
    bindings: &Bindings<'_>,
) -> Result<bool, String> {
    let mut budget = Budget::match_conditions();
    let mut held = Vec::new();
    for condition in conditions {
        match run(condition, bindings, &mut budget) {
            Ok(result) => held.push(result),
            Err(_) if !fails => return Ok(false),
            Err(error) => return Err(error.to_string()),
        }
    }
    let mut errors: Vec<String> = Vec::new();
    for result in held {
        match result {
            Ok(value) if value.as_bool() == Some(false) => return Ok(false),
            Ok(_) => {}
            Err(error) if !errors.contains(&error) => errors.push(error),
            Err(_) => {}
        }
    }
    match errors.as_slice() {
        [] => Ok(true),
        _ if !fails => Ok(false),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

fn validate(policy: &Policy, inputs: &Inputs<'_>, budget: &mut Budget) -> Result<Vec<Decision>, EvalError> {
    let bindings = inputs.bindings(policy, true);
    let validations = policy.validations.iter();
    let results = validations.map(|validation| run(&validation.expression, &bindings, budget));
    let results: Vec<_> = results.collect::<Result<_, _>>()?;
    let messages = messages(policy, inputs, budget);
    let decided = results.into_iter().zip(&policy.validations).enumerate();
    Ok(decided
        .map(|(i, (result, validation))| {
            let (value, messages) = match (result, &messages) {
                (Err(message), _) => return undecided(policy, message),
                (Ok(_), Err(error)) => return undecided(policy, format!("failed messageExpression: {error}")),
                (Ok(value), Ok(messages)) => (value, messages),
            };
            if value.as_bool() == Some(true) {
                return Decision::Admit;
            }
            let given = messages.get(i).cloned().flatten();
            let fixed = Some(validation.message.clone()).filter(|message| !message.is_empty());
            let source = || format!("failed expression: {}", validation.expression.source.trim());
            Decision::Deny {
                message: given.or(fixed).unwrap_or_else(source),
                reason: validation.reason.clone(),
            }
        })
        .collect())
}

/// The messages that expressions give, of each validation, out of what is left of the budget.
fn messages(policy: &Policy, inputs: &Inputs<'_>, budget: &mut Budget) -> Result<Vec<Option<String>>, EvalError> {
    if policy.validations.iter().all(|one| one.message_expression.is_none()) {
        return Ok(Vec::new());
    }
    let bindings = inputs.bindings(policy, false);
    let message = |expression: &Option<Expression>| {
        let Some(expression) = expression else { return Ok(None) };
        let value = run(expression, &bindings, budget)?.ok();
        let text = value.as_ref().and_then(Given::as_str).map(str::trim);
        let fits = |text: &&str| !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n');
        Ok(text.filter(fits).map(str::to_owned))
    };
    let expressions = policy.validations.iter().map(|one| &one.message_expression);
    expressions.map(message).collect()
}

fn annotate(policy: &Policy, inputs: &Inputs<'_>) -> Result<Vec<Annotation>, EvalError> {
    if policy.annotations.is_empty() {
        return Ok(Vec::new());
    }
    let bindings = inputs.bindings(policy, false);
    let mut budget = Budget::per_call();
    let mut annotations = Vec::new();
    for (key, expression) in &policy.annotations {
        match run(expression, &bindings, &mut budget)? {
            Err(message) if policy.fails => annotations.push(Annotation::Failed(message)),
            Err(_) | Ok(Given::Null) => {}
            Ok(value) => match value.as_str().map(str::trim) {
                Some("") => {}
                Some(text) => annotations.push(Annotation::Publish {
                    key: key.clone(),
                    value: text.to_owned(),
                }),
                None => annotations.push(Annotation::Failed(format!(
                    "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                    expression.source,
                    value.type_name()
                ))),
            },
        }
    }
    Ok(annotations)
}

#[cfg(test)]
mod tests {
    use engenho_cel::{Decision as Answer, Question};

    use super::*;

    struct Nobody;

    impl Authorizer for Nobody {
        fn authorize(&self, _: &Question<'_>) -> Answer {
            Answer::default()
        }
    }

    fn outcome(spec: &Value) -> Outcome {
        let policy = Policy::new(&json!({"metadata": {"name": "p"}, "spec": spec}));
        let object = json!({"metadata": {"name": "c"}, "list": (0..2000).collect::<Vec<u32>>()});
        let inputs = Inputs {
            object: &object,
            old: &Value::Null,
            request: &Value::Null,
            namespace: &Value::Null,
            params: &Value::Null,
            authorizer: &Nobody,
            check: ResourceCheck::new("", "configmaps"),
        };
        evaluate(&policy, &inputs)
    }

    fn deny(message: &str) -> Decision {
        Decision::Deny {
            message: message.to_owned(),
            reason: "Invalid".to_owned(),
        }
    }

    /// Costs more than half a million.
    const DEAR: &str = "object.list.all(a, object.list.exists(b, b == 40 || b == a + 5000))";
    const USED_UP: &str =
        "validation failed due to running out of cost budget, no further validation rules will be run";

    #[test]
    fn expressions_share_what_they_may_cost() {
        let validations = |n: usize| vec![json!({"expression": DEAR}); n];
        let few = outcome(&json!({"validations": validations(2)}));
        assert_eq!(few.decisions, [Decision::Admit, Decision::Admit]);
        let many = outcome(&json!({"validations": validations(60)}));
        assert_eq!(many.decisions, [deny(USED_UP)]);
        let lenient = outcome(&json!({"validations": validations(60), "failurePolicy": "Ignore"}));
        assert_eq!(lenient.decisions, [Decision::Admit]);
        let conditions: Vec<Value> = (0..12)
            .map(|i| json!({"name": i.to_string(), "expression": DEAR}))
            .collect();
        let conditions = json!({"matchConditions": conditions, "validations": [{"expression": "true"}]});
        assert_eq!(outcome(&conditions).decisions, [deny(USED_UP)]);
    }

    #[test]
    fn what_does_not_compile_fails_when_it_is_used() {
        let spec = json!({
            "variables": [{"name": "v", "expression": "nothing"}],
            "validations": [{"expression": "true"}, {"expression": "1"}, {"expression": "variables.v == 1"}],
            "auditAnnotations": [
                {"key": "a", "valueExpression": "' b '"},
                {"key": "none", "valueExpression": "null"},
                {"key": "asks", "valueExpression": "string(authorizer.path('/').check('get').allowed())"},
            ],
        });
        let outcome = outcome(&spec);
        let second = deny("compilation error: must evaluate to bool but got int");
        assert_eq!(outcome.decisions[..2], [Decision::Admit, second]);
        let Decision::Deny { message, .. } = &outcome.decisions[2] else {
            panic!("{outcome:?}")
        };
        assert!(
            message.starts_with(
                "expression 'variables.v == 1' resulted in error: composited variable \"v\" fails to compile: "
            ),
            "{message}"
        );
        let [Annotation::Publish { key, value }, Annotation::Failed(why)] = outcome.annotations.as_slice() else {
            panic!("{outcome:?}")
        };
        assert_eq!((key.as_str(), value.as_str()), ("a", "b"));
        assert!(why.ends_with("no such attribute(s): authorizer"), "{why}");
    }

    #[test]
    fn messages_are_paid_from_what_is_left() {
        let spec = json!({"validations": vec![json!({
            "expression": DEAR, "messageExpression": format!("{DEAR} ? 'a' : 'b'"),
        }); 12]});
        let broke = deny(&format!("failed messageExpression: {USED_UP}"));
        assert_eq!(outcome(&spec).decisions, vec![broke; 12]);
    }
}

//! The match conditions of a webhook: expressions about the review that it would be sent.

use engenho_cel::{Bindings, Budget, Environment, Program, Type, compile};
use serde_json::{Value, json};

use crate::union::aggregate_errors;

/// What one expression may cost.
const BUDGET: Budget = Budget {
    remaining: u64::MAX,
    per_expression: 1_000_000,
};

/// Which requests a webhook is asked about: those for which all expressions are true.
#[derive(Debug, Default)]
pub struct MatchConditions(Vec<(String, Program)>);

fn text_fields(names: &[&str]) -> Vec<(String, Type)> {
    names.iter().map(|name| ((*name).to_owned(), Type::String)).collect()
}

/// What `request` is: the spec of a SubjectAccessReview.
fn request_type() -> Type {
    let texts = || Type::list(Type::String);
    let mut requirement = text_fields(&["key", "operator"]);
    requirement.push(("values".to_owned(), texts()));
    let requirement = Type::object("kubernetes.SelectorRequirement", requirement);
    let selector = |name: &str| {
        let mut fields = text_fields(&["rawSelector"]);
        fields.push(("requirements".to_owned(), Type::list(requirement.clone())));
        Type::object(name, fields)
    };
    let mut resource = text_fields(&[
        "namespace",
        "verb",
        "group",
        "version",
        "resource",
        "subresource",
        "name",
    ]);
    resource.push((
        "fieldSelector".to_owned(),
        selector("kubernetes.FieldSelectorAttributes"),
    ));
    resource.push((
        "labelSelector".to_owned(),
        selector("kubernetes.LabelSelectorAttributes"),
    ));
    let path = text_fields(&["path", "verb"]);
    let mut request = text_fields(&["user", "uid"]);
    request.extend([
        (
            "resourceAttributes".to_owned(),
            Type::object("kubernetes.ResourceAttributes", resource),
        ),
        (
            "nonResourceAttributes".to_owned(),
            Type::object("kubernetes.NonResourceAttributes", path),
        ),
        ("groups".to_owned(), texts()),
        ("extra".to_owned(), Type::map(Type::String, texts())),
    ]);
    Type::object("kubernetes.SubjectAccessReviewSpec", request)
}

/// Compiles match conditions.
pub(super) struct Compiler(Environment);

impl Compiler {
    pub fn new() -> Self {
        Self(Environment::new().with("request", request_type()))
    }

    /// One more condition.
    ///
    /// # Errors
    /// Why it is none, in upstream's words.
    pub fn add(&self, conditions: &mut MatchConditions, expression: &str) -> Result<(), String> {
        let program = compile(expression, &self.0).and_then(|program| program.expecting(&[Type::Bool]));
        let program = program.map_err(|error| error.to_string())?;
        conditions.0.push((expression.to_owned(), program));
        Ok(())
    }
}

/// The spec of a review as expressions see it: texts are there even if they are empty.
fn seen(spec: &Value) -> Value {
    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let mut request = json!({
        "user": text(spec, "user"),
        "uid": text(spec, "uid"),
        "groups": spec["groups"].as_array().cloned().unwrap_or_default(),
        "extra": spec["extra"].as_object().cloned().unwrap_or_default(),
    });
    let resource = &spec["resourceAttributes"];
    if resource.is_object() {
        let mut attributes = json!({});
        for key in [
            "namespace",
            "verb",
            "group",
            "version",
            "resource",
            "subresource",
            "name",
        ] {
            attributes[key] = text(resource, key).into();
        }
        for key in ["fieldSelector", "labelSelector"] {
            if let Some(requirements) = resource[key].get("requirements") {
                attributes[key] = json!({ "requirements": requirements });
            }
        }
        request["resourceAttributes"] = attributes;
    }
    let path = &spec["nonResourceAttributes"];
    if path.is_object() {
        request["nonResourceAttributes"] = json!({"path": text(path, "path"), "verb": text(path, "verb")});
    }
    request
}

impl MatchConditions {
    /// Whether there are none, so that all requests match.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the webhook is asked about a request. `spec` is that of the SubjectAccessReview of version v1.
    ///
    /// # Errors
    /// No condition is false, and some have no value.
    pub fn hold(&self, spec: &Value) -> Result<bool, String> {
        if self.0.is_empty() {
            return Ok(true);
        }
        let request = seen(spec);
        let bindings = Bindings::new().with("request", &request);
        let mut errors = Vec::new();
        for (expression, program) in &self.0 {
            let mut budget = BUDGET;
            match program.evaluate(&bindings, &mut budget) {
                Ok(value) if value.as_bool() == Some(false) => return Ok(false),
                Ok(_) => {}
                Err(error) => errors.push(format!(
                    "cel evaluation error: expression '{expression}' resulted in error: {error}"
                )),
            }
        }
        match aggregate_errors(&errors) {
            Some(errors) => Err(errors),
            None => Ok(true),
        }
    }
}

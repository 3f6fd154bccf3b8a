//! Expressions and what comes of them.

mod compiling;
mod costs;
mod evaluating;
mod limits;

use serde_json::{Value as Json, json};

use crate::{Bindings, Budget, Environment, compile};

/// The object of most tests.
fn pod() -> Json {
    json!({
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web", "a/b": "c"}},
        "spec": {
            "replicas": 3,
            "ratio": 0.5,
            "paused": false,
            "gone": null,
            "containers": [
                {"name": "a", "image": "registry.example.com/a:1", "ports": [80, 443]},
                {"name": "b", "image": "b:2"},
            ],
        },
    })
}

/// What an admission policy's expression gives for [`pod`], as an expression would write it.
fn gives(expression: &str) -> String {
    let object = pod();
    let program = match compile(expression, &Environment::admission_policy(true, true)) {
        Ok(program) => program,
        Err(why) => return why.to_string(),
    };
    let bindings = Bindings::new()
        .with("object", &object)
        .with("oldObject", &Json::Null)
        .with("params", &Json::Null);
    match program.evaluate(&bindings, &mut Budget::per_call()) {
        Ok(value) => match value.to_json() {
            Some(json) => json.to_string(),
            None => format!("{value:?}"),
        },
        Err(why) => format!("error: {why}"),
    }
}

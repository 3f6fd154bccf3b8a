//! Pod Security Standards: what a namespace's labels demand of its pods.

use std::time::{Duration, Instant};

use engenho_admission::{Lookup, Operation};
use engenho_podsecurity::{
    Config, NAMESPACE_POD_CHECK_TIMEOUT_MS, Outcome, PODS_NOT_LISTED, Request, Target, check_pods, create_namespace,
    evaluate_pod, evaluate_template, update_namespace,
};
use serde_json::Value;

use super::lookup::Stored;
use crate::context::Context;
use crate::object;
use crate::status::Status;

/// Judges a creation or update, and passes warnings on.
pub(super) fn check(
    context: &Context,
    operation: Operation,
    subresource: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let resource = &context.resource;
    if operation == Operation::Delete {
        return Ok(());
    }
    let Some(target) = Target::of(&resource.group, &resource.plural, subresource) else {
        return Ok(());
    };
    // No exemptions and no other defaults can be configured so far.
    let config = Config::default();
    if matches!(target, Target::Namespace) {
        return namespace(context, &config, object, old);
    }
    let Some(namespace) = Stored(context).get("", "namespaces", "", &context.info.namespace)? else {
        return Ok(());
    };
    let request = Request {
        namespace: &context.info.namespace,
        labels: &namespace["metadata"]["labels"],
        username: &context.identity.user,
    };
    let outcome = match target {
        Target::Template(path) => evaluate_template(&config, &request, object.pointer(path).unwrap_or(&Value::Null)),
        _ => evaluate_pod(&config, &request, object, old),
    };
    let Outcome {
        denied,
        warnings,
        audit,
    } = outcome;
    for (key, value) in audit {
        context.annotate(key.to_owned(), value);
    }
    if let Some(message) = denied {
        return Err(Status::forbidden(context.gr(), object::name(object), &message));
    }
    for warning in warnings {
        context.warn(warning);
    }
    Ok(())
}

/// Labels of a namespace must be readable; when they demand more than before, pods that are there already are told of.
fn namespace(context: &Context, config: &Config, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    let (name, labels) = (object::name(new), &new["metadata"]["labels"]);
    let Some(old) = old else {
        let warnings = create_namespace(config, name, labels).map_err(|errors| context.invalid(name, &errors))?;
        warnings.into_iter().for_each(|warning| context.warn(warning));
        return Ok(());
    };
    let update = update_namespace(config, name, labels, &old["metadata"]["labels"])
        .map_err(|errors| context.invalid(name, &errors))?;
    update.warnings.into_iter().for_each(|warning| context.warn(warning));
    let Some(enforce) = update.check else { return Ok(()) };
    let Ok(pods) = Stored(context).list("", "pods", name) else {
        context.warn(PODS_NOT_LISTED);
        return Ok(());
    };
    let begun = Instant::now();
    let in_time = || begun.elapsed() < Duration::from_millis(NAMESPACE_POD_CHECK_TIMEOUT_MS);
    for warning in check_pods(config, name, enforce, &pods, in_time) {
        context.warn(warning);
    }
    Ok(())
}

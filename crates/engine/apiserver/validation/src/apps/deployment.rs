//! Deployments.

use serde_json::Value;

use super::replica_set::selector_kept;
use super::{at_most_all, collisions, selected_template, surge_and_unavailable};
use crate::core::pod::template_options;
use crate::core::replication::not_more_than;
use crate::errors::Errors;
use crate::get::{given, int, optional_int, text};
use crate::{FieldError, Path, shapes};

fn spec(deployment: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, path) = (&deployment["spec"], Path::Root.child("spec"));
    errors.non_negative(&spec["replicas"], &path.child("replicas"));
    let options = template_options(old.map(|old| &old["spec"]["template"]));
    selected_template(spec, options, &path, errors);
    strategy(&spec["strategy"], &path.child("strategy"), errors);
    errors.none_negative(spec, &["minReadySeconds", "revisionHistoryLimit"], &path);
    if let Some(seconds) = optional_int(&spec["progressDeadlineSeconds"]) {
        let field = path.child("progressDeadlineSeconds");
        errors.non_negative(&spec["progressDeadlineSeconds"], &field);
        if seconds <= int(&spec["minReadySeconds"]) {
            errors.invalid(field, seconds, "must be greater than minReadySeconds");
        }
    }
}

fn strategy(strategy: &Value, path: &Path, errors: &mut Errors) {
    let (rolling, field) = (&strategy["rollingUpdate"], path.child("rollingUpdate"));
    match text(&strategy["type"]) {
        "Recreate" => {
            if given(rolling) {
                errors.forbidden(field, "may not be specified when strategy `type` is 'Recreate'");
            }
        }
        "RollingUpdate" if !given(rolling) => {
            errors.required(field, "this should be defaulted and never be nil");
        }
        "RollingUpdate" => {
            let (unavailable, surge) = surge_and_unavailable(rolling, &field, errors);
            if !unavailable && !surge {
                let value = rolling["maxUnavailable"].clone();
                let detail = "may not be 0 when `maxSurge` is 0";
                errors.invalid(field.child("maxUnavailable"), value, detail);
            }
            at_most_all(rolling, "maxUnavailable", &field, errors);
        }
        _ => {
            let printed = shapes::compact("DeploymentStrategy", strategy);
            errors.push(FieldError::not_supported_printed(
                path,
                &printed,
                &["Recreate", "RollingUpdate"],
            ));
        }
    }
}

/// A new deployment.
pub(crate) fn create(deployment: &Value) -> Vec<FieldError> {
    Errors::of(|errors| spec(deployment, None, errors))
}

/// A deployment that replaces another one: what it selects may not change.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        spec(new, Some(old), errors);
        selector_kept(new, old, errors);
    })
}

/// The status of a deployment.
pub(crate) fn update_status(new: &Value, old: &Value) -> Vec<FieldError> {
    const COUNTS: [&str; 7] = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "collisionCount",
    ];
    let (status, path) = (&new["status"], Path::Root.child("status"));
    Errors::of(|errors| {
        errors.none_negative(status, &COUNTS, &path);
        let counts = ["updatedReplicas", "readyReplicas", "availableReplicas"];
        not_more_than(status, &counts, "replicas", "status.replicas", &path, errors);
        not_more_than(
            status,
            &["availableReplicas"],
            "readyReplicas",
            "readyReplicas",
            &path,
            errors,
        );
        collisions(new, old, &path, errors);
    })
}

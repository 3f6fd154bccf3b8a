//! Sets of daemons.

use serde_json::Value;

use super::replica_set::selector_kept;
use super::{at_most_all, collisions, is_usable, labels_selected, not_empty, surge_and_unavailable};
use crate::core::pod::options::Options;
use crate::core::pod::{restarting_always, template, template_options};
use crate::errors::Errors;
use crate::get::{given, text};
use crate::{FieldError, Path, labels, shapes};

fn spec(set: &Value, options: Options, errors: &mut Errors) {
    let (spec, path) = (&set["spec"], Path::Root.child("spec"));
    let (selector, pods) = (&spec["selector"], &spec["template"]);
    let (field, path_template) = (path.child("selector"), path.child("template"));
    errors.extend(labels::selector(selector, options.lenient_selectors, &field));
    if is_usable(selector) {
        labels_selected(selector, pods, &path_template, errors);
    }
    not_empty(selector, "daemonset", &field, errors);
    template(pods, options, &path_template, errors);
    restarting_always(pods, "DaemonSet", &path_template, errors);
    errors.none_negative(spec, &["minReadySeconds", "templateGeneration"], &path);
    strategy(&spec["updateStrategy"], &path.child("updateStrategy"), errors);
    errors.non_negative(&spec["revisionHistoryLimit"], &path.child("revisionHistoryLimit"));
}

fn strategy(strategy: &Value, path: &Path, errors: &mut Errors) {
    let (rolling, field) = (&strategy["rollingUpdate"], path.child("rollingUpdate"));
    match text(&strategy["type"]) {
        "OnDelete" => {}
        "RollingUpdate" if !given(rolling) => errors.required(field, ""),
        "RollingUpdate" => {
            let (unavailable, surge) = surge_and_unavailable(rolling, &field, errors);
            at_most_all(rolling, "maxUnavailable", &field, errors);
            at_most_all(rolling, "maxSurge", &field, errors);
            if unavailable && surge {
                let value = rolling["maxSurge"].clone();
                let detail = "may not be set when maxUnavailable is non-zero";
                errors.invalid(field.child("maxSurge"), value, detail);
            } else if !unavailable && !surge {
                errors.required(field.child("maxUnavailable"), "cannot be 0 when maxSurge is 0");
            }
        }
        _ => {
            let printed = shapes::compact("DaemonSetUpdateStrategy", strategy);
            errors.push(FieldError::not_supported_printed(
                path,
                &printed,
                &["RollingUpdate", "OnDelete"],
            ));
        }
    }
}

/// A new set.
pub(crate) fn create(set: &Value) -> Vec<FieldError> {
    Errors::of(|errors| spec(set, Options::new(false), errors))
}

/// A set that replaces another one: what it selects may not change. It is checked as a new one and as a changed one, and
/// both is reported.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let options = template_options(Some(&old["spec"]["template"]));
    Errors::of(|errors| {
        spec(new, options, errors);
        spec(new, options, errors);
        selector_kept(new, old, errors);
    })
}

/// The status of a set.
pub(crate) fn update_status(new: &Value, old: &Value) -> Vec<FieldError> {
    const COUNTS: [&str; 9] = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    let path = Path::Root.child("status");
    Errors::of(|errors| {
        errors.none_negative(&new["status"], &COUNTS, &path);
        collisions(new, old, &path, errors);
    })
}

//! The status of jobs.

use serde_json::Value;

use super::indexes;
use crate::errors::Errors;
use crate::get::{flag, given, int, items, optional_int, optional_text, same, text};
use crate::{FieldError, Path, shapes};

fn is_true(job: &Value, condition: &str) -> bool {
    items(&job["status"]["conditions"])
        .iter()
        .any(|c| text(&c["type"]) == condition && text(&c["status"]) == "True")
}

/// What a new status is compared with.
struct Change<'a> {
    job: &'a Value,
    old: &'a Value,
}

impl Change<'_> {
    fn is(&self, condition: &str) -> bool {
        is_true(self.job, condition)
    }

    fn finished(&self) -> bool {
        self.is("Complete") || self.is("Failed")
    }

    fn has_changed(&self, field: &str) -> bool {
        !same(&self.job["status"][field], &self.old["status"][field])
    }

    /// Whether a condition has just become true: rules that came later spare jobs that broke them before.
    fn newly(&self, condition: &str) -> bool {
        self.is(condition) && !is_true(self.old, condition)
    }

    fn newly_finished(&self) -> bool {
        self.finished() && !(is_true(self.old, "Complete") || is_true(self.old, "Failed"))
    }
}

/// A status that replaces another one.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let path = Path::Root.child("status");
    let change = Change { job: new, old };
    Errors::of(|errors| {
        counts(&new["status"], &path, errors);
        finished(&change, &path, errors);
        index_lists(&change, &path, errors);
        running(&change, &path, errors);
        criteria(&change, &path, errors);
        against_old(&change, &path, errors);
    })
}

fn counts(status: &Value, path: &Path, errors: &mut Errors) {
    errors.none_negative(status, &["active", "succeeded", "failed", "ready", "terminating"], path);
    let mut seen = std::collections::HashSet::new();
    let pods = path.child("uncountedTerminatedPods");
    for list in ["succeeded", "failed"] {
        let path = pods.child(list);
        for (i, uid) in items(&status["uncountedTerminatedPods"][list]).iter().enumerate() {
            match text(uid) {
                "" => errors.invalid(path.index(i), "", "must not be empty"),
                uid if !seen.insert(uid) => errors.duplicate(path.index(i), uid),
                _ => {}
            }
        }
    }
}

fn condition(path: &Path, detail: &str, errors: &mut Errors) {
    errors.push(FieldError::invalid_unprinted(path.child("conditions"), detail));
}

/// What holds for jobs that are over.
fn finished(change: &Change, path: &Path, errors: &mut Errors) {
    let status = &change.job["status"];
    let (complete, failed) = (change.is("Complete"), change.is("Failed"));
    if (change.newly("Complete") || change.newly("Failed")) && complete && failed {
        condition(path, "cannot set Complete=True and Failed=true conditions", errors);
    }
    if (change.newly("Complete") || change.newly("FailureTarget")) && complete && change.is("FailureTarget") {
        condition(
            path,
            "cannot set Complete=True and FailureTarget=true conditions",
            errors,
        );
    }
    let (start, end) = (&status["startTime"], &status["completionTime"]);
    let time_changed = change.has_changed("completionTime") || change.newly("Complete");
    if time_changed && given(end) && !complete {
        let detail = "cannot set completionTime when there is no Complete=True condition";
        errors.invalid(path.child("completionTime"), end.clone(), detail);
    }
    if time_changed && !given(end) && complete {
        errors.required(
            path.child("completionTime"),
            "completionTime is required for Complete jobs",
        );
    }
    let times = change.has_changed("startTime") || change.has_changed("completionTime");
    if times && given(start) && given(end) && text(end) < text(start) {
        let detail = "completionTime cannot be set before startTime";
        errors.invalid(path.child("completionTime"), end.clone(), detail);
    }
    if change.newly("Failed") && !change.is("FailureTarget") {
        let detail = "cannot set Failed=True condition without the FailureTarget=true condition";
        condition(path, detail, errors);
    }
    if change.newly("Complete") && !change.is("SuccessCriteriaMet") {
        let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        condition(path, detail, errors);
    }
    let newly = change.newly_finished();
    if newly && int(&status["active"]) > 0 {
        errors.invalid(
            path.child("active"),
            int(&status["active"]),
            "active>0 is invalid for finished job",
        );
    }
    if newly && !given(start) {
        errors.required(path.child("startTime"), "startTime is required for finished job");
    }
    let uncounted = &status["uncountedTerminatedPods"];
    if newly && !(items(&uncounted["failed"]).is_empty() && items(&uncounted["succeeded"]).is_empty()) {
        let printed = shapes::compact("UncountedTerminatedPods", uncounted);
        let detail = "uncountedTerminatedPods needs to be empty for finished job";
        errors.push(FieldError::invalid_printed(
            path.child("uncountedTerminatedPods"),
            &printed,
            detail,
        ));
    }
}

fn index_lists(change: &Change, path: &Path, errors: &mut Errors) {
    let (spec, status) = (&change.job["spec"], &change.job["status"]);
    let completions = optional_int(&spec["completions"]);
    let (completed, failed) = (
        text(&status["completedIndexes"]),
        optional_text(&status["failedIndexes"]),
    );
    let (field_completed, field_failed) = (path.child("completedIndexes"), path.child("failedIndexes"));
    let indexed = text(&spec["completionMode"]) == "Indexed";
    let (completed_changed, failed_changed) = (
        change.has_changed("completedIndexes"),
        change.has_changed("failedIndexes"),
    );
    if let Some(completions) = completions.filter(|_| completed_changed && indexed)
        && let Err(why) = indexes::count(completed, completions)
    {
        errors.invalid(
            field_completed,
            completed,
            &format!("error parsing completedIndexes: {why}"),
        );
    }
    if let (Some(completions), Some(failed)) = (completions, failed)
        && failed_changed
        && given(&spec["backoffLimitPerIndex"])
        && let Err(why) = indexes::count(failed, completions)
    {
        errors.invalid(field_failed, failed, &format!("error parsing failedIndexes: {why}"));
    }
    if completed_changed && !completed.is_empty() && !indexed {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.invalid(field_completed, completed, detail);
    }
    if let Some(failed) = failed.filter(|_| failed_changed && !given(&spec["backoffLimitPerIndex"])) {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.invalid(field_failed, failed, detail);
    }
    if let (Some(completions), Some(failed)) = (completions, failed)
        && (completed_changed || failed_changed)
        && let Some(index) = indexes::overlap(completed, failed, completions)
    {
        let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.invalid(field_failed, failed, &detail);
    }
}

fn running(change: &Change, path: &Path, errors: &mut Errors) {
    let status = &change.job["status"];
    let (ready, active) = (int(&status["ready"]), int(&status["active"]));
    if change.newly_finished() && int(&status["terminating"]) > 0 {
        let detail = "terminating>0 is invalid for finished job";
        errors.invalid(path.child("terminating"), int(&status["terminating"]), detail);
    }
    if (change.has_changed("ready") || change.has_changed("active")) && ready > active {
        errors.invalid(path.child("ready"), ready, "cannot set more ready pods than active");
    }
}

fn criteria(change: &Change, path: &Path, errors: &mut Errors) {
    let met = change.is("SuccessCriteriaMet");
    if met && change.is("Failed") {
        condition(
            path,
            "cannot set SuccessCriteriaMet=True and Failed=true conditions",
            errors,
        );
    }
    if met && change.is("FailureTarget") {
        let detail = "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions";
        condition(path, detail, errors);
    }
    if given(&change.job["spec"]["successPolicy"]) && !met && change.is("Complete") {
        let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        condition(path, detail, errors);
    }
}

fn against_old(change: &Change, path: &Path, errors: &mut Errors) {
    let (new, old) = (&change.job["status"], &change.old["status"]);
    for terminal in ["Failed", "Complete", "FailureTarget"] {
        if is_true(change.old, terminal) && !change.is(terminal) {
            condition(
                path,
                &format!("cannot disable the terminal {terminal}=True condition"),
                errors,
            );
        }
    }
    for counter in ["failed", "succeeded"] {
        if int(&new[counter]) < int(&old[counter]) {
            let detail = format!("cannot decrease the {counter} counter");
            errors.invalid(path.child(counter), int(&new[counter]), &detail);
        }
    }
    let end = "completionTime";
    if given(&new[end]) && given(&old[end]) && new[end] != old[end] {
        errors.invalid(path.child(end), new[end].clone(), "completionTime cannot be mutated");
    }
    let start = "startTime";
    if given(&old[start]) && new[start] != old[start] && !flag(&change.job["spec"]["suspend"]) {
        errors.required(path.child(start), "startTime cannot be removed for unsuspended job");
    }
    let met = change.is("SuccessCriteriaMet");
    if is_true(change.old, "SuccessCriteriaMet") && !met {
        condition(path, "cannot disable the SuccessCriteriaMet=True condition", errors);
    }
    if is_true(change.old, "Complete") && !is_true(change.old, "SuccessCriteriaMet") && met {
        let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        condition(path, detail, errors);
    }
}

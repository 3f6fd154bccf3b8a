//! Jobs made by the clock.

use serde_json::Value;

use super::job::without_selector;
use super::{schedule, time_zones};
use crate::core::pod::options::Options;
use crate::core::pod::template_options;
use crate::errors::Errors;
use crate::get::{flag, given, optional_text, text};
use crate::{FieldError, Path};

fn spec(cron: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, path) = (&cron["spec"], Path::Root.child("spec"));
    match text(&spec["schedule"]) {
        "" => errors.required(path.child("schedule"), ""),
        written => when(written, spec, old, &path.child("schedule"), errors),
    }
    errors.non_negative(&spec["startingDeadlineSeconds"], &path.child("startingDeadlineSeconds"));
    let zone = &spec["timeZone"];
    if let Some(zone_name) = optional_text(zone)
        && old.is_none_or(|old| old["spec"]["timeZone"] != *zone)
    {
        for detail in time_zones::wrong(zone_name) {
            errors.invalid(path.child("timeZone"), zone_name, &detail);
        }
    }
    let policies = ["Allow", "Forbid", "Replace"];
    errors.required_one_of(
        text(&spec["concurrencyPolicy"]),
        &policies,
        &path.child("concurrencyPolicy"),
    );
    job_template(spec, old, &path, errors);
    errors.none_negative(spec, &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"], &path);
}

fn when(written: &str, spec: &Value, old: Option<&Value>, path: &Path, errors: &mut Errors) {
    if let Some(why) = schedule::wrong(written) {
        errors.invalid(path, written, &why);
    }
    if !written.contains("TZ") {
        return;
    }
    let had_zone = old.is_some_and(|old| text(&old["spec"]["schedule"]).contains("TZ"));
    if !had_zone {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.invalid(path, written, detail);
    } else if given(&spec["timeZone"]) {
        let detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
        errors.invalid(path, written, detail);
    }
}

fn job_template(spec: &Value, old: Option<&Value>, path: &Path, errors: &mut Errors) {
    let template = path.child("jobTemplate");
    let (job, path) = (&spec["jobTemplate"]["spec"], template.child("spec"));
    let options = match old {
        Some(old) => template_options(Some(&old["spec"]["jobTemplate"]["spec"]["template"])),
        None => Options::new(false),
    };
    without_selector(job, options, &path, errors);
    if given(&job["selector"]) {
        errors.invalid_selector(
            path.child("selector"),
            &job["selector"],
            "`selector` will be auto-generated",
        );
    }
    if flag(&job["manualSelector"]) {
        errors.not_supported(path.child("manualSelector"), true, &["nil", "false"]);
    }
}

/// A new one.
pub(crate) fn create(cron: &Value) -> Vec<FieldError> {
    Errors::of(|errors| spec(cron, None, errors))
}

/// One that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| spec(new, Some(old), errors))
}

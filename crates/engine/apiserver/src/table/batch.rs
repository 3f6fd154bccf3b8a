//! Cells of Jobs and CronJobs.

use serde_json::Value;

use super::format::{containers, count, or_none, selector};
use super::{Row, age};
use crate::times;

pub(super) fn cells(plural: &str, row: &Row<'_>) -> Option<Vec<Value>> {
    match plural {
        "jobs" => Some(job(row)),
        "cronjobs" => Some(cron_job(row)),
        _ => None,
    }
}

fn job(row: &Row<'_>) -> Vec<Value> {
    let succeeded = row.int("status.succeeded");
    let completions = match row.at("spec.completions").as_i64() {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None => match row.int("spec.parallelism") {
            many if many > 1 => format!("{succeeded}/1 of {many}"),
            _ => format!("{succeeded}/1"),
        },
    };
    let started = row.text("status.startTime");
    let duration = match (times::parse(started), times::parse(row.text("status.completionTime"))) {
        (None, _) => String::new(),
        (Some(_), None) => row.since(started),
        (Some(from), Some(to)) => age::human((to / 1000).cast_signed() - (from / 1000).cast_signed()),
    };
    let has = |kind: &str| {
        let conditions = row.at("status.conditions").as_array().into_iter().flatten();
        conditions
            .into_iter()
            .any(|c| c["type"] == kind && c["status"] == "True")
    };
    let status = if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if !row.text("metadata.deletionTimestamp").is_empty() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let [names, images] = containers(row.at("spec.template.spec"));
    vec![
        row.name(),
        status.into(),
        completions.into(),
        duration.into(),
        row.age(),
        names,
        images,
        selector(row.at("spec.selector")),
    ]
}

fn cron_job(row: &Row<'_>) -> Vec<Value> {
    let suspended = match row.at("spec.suspend").as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let last = match row.text("status.lastScheduleTime") {
        "" => "<none>".to_owned(),
        time => row.since(time),
    };
    let [names, images] = containers(row.at("spec.jobTemplate.spec.template.spec"));
    vec![
        row.name(),
        row.text("spec.schedule").into(),
        or_none(row.text("spec.timeZone")),
        suspended.into(),
        count(row.at("status.active")).into(),
        last.into(),
        row.age(),
        names,
        images,
        selector(row.at("spec.jobTemplate.spec.selector")),
    ]
}

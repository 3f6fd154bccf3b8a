//! Jobs and cron jobs.

use crate::fields::{Fields, is_missing, items, object, set_if_empty, set_if_missing, structure};
use crate::pod;
use crate::workloads::{label_as_template, template_labels};

/// How often a job's pods may fail.
const BACKOFF_LIMIT: i32 = 6;

/// A Job.
pub fn job(job: &mut Fields) {
    let labels = template_labels(job);
    if let Some(spec) = structure(job, "spec") {
        // With only the number of pods at a time given, any success ends the job.
        if is_missing(spec, "parallelism") {
            set_if_missing(spec, "completions", 1);
        }
        set_if_missing(spec, "parallelism", 1);
        // Failures are counted for each index instead.
        let limit = if is_missing(spec, "backoffLimitPerIndex") {
            BACKOFF_LIMIT
        } else {
            i32::MAX
        };
        set_if_missing(spec, "backoffLimit", limit);
        set_if_missing(spec, "completionMode", "NonIndexed");
        set_if_missing(spec, "suspend", false);
        set_if_missing(spec, "manualSelector", false);
        let replacement = if is_missing(spec, "podFailurePolicy") {
            "TerminatingOrFailed"
        } else {
            "Failed"
        };
        set_if_missing(spec, "podReplacementPolicy", replacement);
        job_spec(spec);
    }
    label_as_template(job, labels);
}

/// A CronJob. Its jobs get the defaults of jobs when they are made.
pub fn cron_job(cron: &mut Fields) {
    let Some(spec) = structure(cron, "spec") else {
        return;
    };
    set_if_empty(spec, "concurrencyPolicy", "Allow");
    set_if_missing(spec, "suspend", false);
    set_if_missing(spec, "successfulJobsHistoryLimit", 3);
    set_if_missing(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = object(spec, "jobTemplate").and_then(|template| object(template, "spec")) {
        job_spec(job);
    }
}

/// What jobs and templates of jobs have in common.
fn job_spec(spec: &mut Fields) {
    if let Some(policy) = object(spec, "podFailurePolicy") {
        for rule in items(policy, "rules") {
            for condition in items(rule, "onPodConditions") {
                set_if_empty(condition, "status", "True");
            }
        }
    }
    pod::template(spec);
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::{Value, json};

    fn job(spec: Value) -> Value {
        let mut object = json!({"spec": spec});
        apply("batch", "v1", "jobs", &mut object);
        object["spec"].take()
    }

    #[test]
    fn a_job_runs_once() {
        let expected = json!({
            "completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
            "manualSelector": false, "podReplacementPolicy": "TerminatingOrFailed",
        });
        assert_eq!(job(json!({})), expected);
    }

    #[test]
    fn counts_depend_on_each_other() {
        assert!(job(json!({"parallelism": 2})).get("completions").is_none());
        assert_eq!(job(json!({"completions": 2}))["parallelism"], 1);
        assert_eq!(job(json!({"backoffLimitPerIndex": 0}))["backoffLimit"], 2_147_483_647);
    }

    #[test]
    fn failures() {
        let spec = job(json!({"podFailurePolicy": {"rules": [{"onPodConditions": [{"type": "t"}]}]}}));
        assert_eq!(spec["podReplacementPolicy"], "Failed");
        assert_eq!(
            spec["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"],
            "True"
        );
    }

    #[test]
    fn a_job_is_labelled_as_its_pods() {
        let mut object = json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}});
        apply("batch", "v1", "jobs", &mut object);
        assert_eq!(object["metadata"]["labels"], json!({"a": "b"}));
    }

    #[test]
    fn a_cron_job_leaves_its_jobs_open() {
        let mut object = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {}}}}}});
        apply("batch", "v1", "cronjobs", &mut object);
        let spec = &object["spec"];
        assert_eq!(
            (&spec["concurrencyPolicy"], &spec["suspend"]),
            (&json!("Allow"), &json!(false))
        );
        assert_eq!(
            spec["jobTemplate"]["spec"]["template"]["spec"]["dnsPolicy"],
            "ClusterFirst"
        );
        assert!(spec["jobTemplate"]["spec"].get("backoffLimit").is_none());
    }
}

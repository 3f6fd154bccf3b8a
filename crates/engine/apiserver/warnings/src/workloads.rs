//! What runs pods: what their templates would be warned of, and names that make poor hostnames.

use engenho_validation::get::{int, items, optional_int, same, text};
use engenho_validation::names::dns_label;
use serde_json::Value;

use crate::{amounts, pod};

/// Above these numbers, which indexes of an indexed Job failed may not fit into its status.
const COMPLETIONS_SOFT_MAX: i64 = 100_000;
const PARALLELISM_SOFT_MAX: i64 = 10_000;

fn name(object: &Value) -> Vec<String> {
    let wrong = dns_label(text(&object["metadata"]["name"]));
    if wrong.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
        wrong.join(" ")
    )]
}

/// Whether an update changed what the generation counts.
fn changed(new: &Value, old: &Value) -> bool {
    int(&new["metadata"]["generation"]) != int(&old["metadata"]["generation"])
}

fn template(object: &Value) -> Vec<String> {
    pod::template(&object["spec"]["template"], "spec.template")
}

/// Deployments, ReplicaSets and ReplicationControllers.
pub(crate) fn create(object: &Value) -> Vec<String> {
    let mut warnings = name(object);
    warnings.extend(template(object));
    warnings
}

/// Deployments and ReplicaSets.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<String> {
    if changed(new, old) { template(new) } else { Vec::new() }
}

/// ReplicationControllers: upstream mistakes the old template for the new one, and clients see that.
pub(crate) fn update_replication_controller(new: &Value, old: &Value) -> Vec<String> {
    if changed(new, old) { template(old) } else { Vec::new() }
}

/// A DaemonSet, whose name is in no hostname.
pub(crate) fn create_daemon_set(object: &Value) -> Vec<String> {
    template(object)
}

/// A DaemonSet has a generation of the template of its own.
pub(crate) fn update_daemon_set(new: &Value, old: &Value) -> Vec<String> {
    if same(&new["spec"]["template"], &old["spec"]["template"]) {
        Vec::new()
    } else {
        template(new)
    }
}

/// A StatefulSet.
pub(crate) fn create_stateful_set(object: &Value) -> Vec<String> {
    let mut warnings = template(object);
    // The paths of both verbs are upstream's.
    claims(object, "", &mut warnings);
    warnings
}

/// A StatefulSet that replaces an old one.
pub(crate) fn update_stateful_set(new: &Value, old: &Value) -> Vec<String> {
    let mut warnings = update(new, old);
    claims(new, ".Spec", &mut warnings);
    warnings
}

fn claims(object: &Value, below: &str, warnings: &mut Vec<String>) {
    let spec = &object["spec"];
    for (i, claim) in items(&spec["volumeClaimTemplates"]).iter().enumerate() {
        let at = format_args!("spec.volumeClaimTemplates[{i}]{below}");
        amounts::of_claim(&claim["spec"], at, warnings);
    }
    if optional_int(&spec["revisionHistoryLimit"]).is_some_and(|limit| limit < 0) {
        warnings.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .into(),
        );
    }
}

/// A PodTemplate.
pub(crate) fn create_pod_template(object: &Value) -> Vec<String> {
    pod::template(&object["template"], "template")
}

/// A PodTemplate that replaces an old one.
pub(crate) fn update_pod_template(new: &Value, old: &Value) -> Vec<String> {
    if changed(new, old) {
        create_pod_template(new)
    } else {
        Vec::new()
    }
}

fn job_spec(spec: &Value, at: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if text(&spec["completionMode"]) == "Indexed"
        && int(&spec["completions"]) > COMPLETIONS_SOFT_MAX
        && int(&spec["parallelism"]) > PARALLELISM_SOFT_MAX
    {
        warnings.push(format!(
            "{at}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    warnings.extend(pod::template(&spec["template"], &format!("{at}.template")));
    warnings
}

/// A Job.
pub(crate) fn create_job(object: &Value) -> Vec<String> {
    let mut warnings = name(object);
    warnings.extend(job_spec(&object["spec"], "spec"));
    warnings
}

/// A Job that replaces an old one.
pub(crate) fn update_job(new: &Value, old: &Value) -> Vec<String> {
    if changed(new, old) {
        job_spec(&new["spec"], "spec")
    } else {
        Vec::new()
    }
}

fn cron_job_spec(object: &Value) -> Vec<String> {
    job_spec(&object["spec"]["jobTemplate"]["spec"], "spec.jobTemplate.spec")
}

/// A CronJob.
pub(crate) fn create_cron_job(object: &Value) -> Vec<String> {
    let mut warnings = name(object);
    warnings.extend(cron_job_spec(object));
    warnings
}

/// A CronJob that replaces an old one. A time zone in the schedule is refused at creation.
pub(crate) fn update_cron_job(new: &Value, old: &Value) -> Vec<String> {
    let mut warnings = if changed(new, old) {
        cron_job_spec(new)
    } else {
        Vec::new()
    };
    if text(&new["spec"]["schedule"]).contains("TZ") {
        warnings.push(
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                .into(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GRACE: &str =
        "terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1";
    const NAME: &str = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]";

    fn object(generation: i64, grace: i64) -> Value {
        json!({
            "metadata": {"name": "web.v2", "generation": generation},
            "spec": {"template": {"spec": {"terminationGracePeriodSeconds": grace}}},
        })
    }

    #[test]
    fn names_and_templates() {
        let of_template = format!("spec.template.spec.{GRACE}");
        assert_eq!(create(&object(1, -1)), [NAME, &of_template]);
        assert_eq!(create_job(&object(1, -1)), [NAME, &of_template]);
        assert_eq!(create_daemon_set(&object(1, -1)), [of_template.as_str()]);
        assert_eq!(create_stateful_set(&object(1, -1)), [of_template.as_str()]);
        let cron = json!({"metadata": {"name": "web.v2"}, "spec": {"jobTemplate": object(1, -1)}});
        assert_eq!(
            create_cron_job(&cron),
            [NAME, &format!("spec.jobTemplate.spec.template.spec.{GRACE}")]
        );
        let template = json!({"template": object(1, -1)["spec"]["template"]});
        assert_eq!(create_pod_template(&template), [format!("template.spec.{GRACE}")]);
    }

    #[test]
    fn updates_that_change_something() {
        let of_template = format!("spec.template.spec.{GRACE}");
        for of in [update, update_job, update_stateful_set] {
            assert_eq!(of(&object(2, -1), &object(1, 3)), [of_template.as_str()]);
            assert!(of(&object(1, -1), &object(1, -1)).is_empty());
        }
        assert_eq!(update_daemon_set(&object(1, -1), &object(1, 3)), [of_template.as_str()]);
        assert!(update_daemon_set(&object(2, -1), &object(1, -1)).is_empty());
        let (new, old) = (object(2, 3), object(1, -1));
        assert_eq!(update_replication_controller(&new, &old), [of_template.as_str()]);
    }

    #[test]
    fn stateful_sets() {
        let set = |generation: i64| {
            json!({
                "metadata": {"generation": generation},
                "spec": {
                    "revisionHistoryLimit": -1,
                    "volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "1500m"}}}}],
                },
            })
        };
        let limit =
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended";
        let claim = |below: &str| {
            format!(
                "spec.volumeClaimTemplates[0]{below}.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer"
            )
        };
        assert_eq!(create_stateful_set(&set(1)), [claim(""), limit.into()]);
        assert_eq!(update_stateful_set(&set(1), &set(1)), [claim(".Spec"), limit.into()]);
    }

    #[test]
    fn huge_indexed_jobs() {
        let job = |completions: i64, parallelism: i64| {
            let spec = json!({"completionMode": "Indexed", "completions": completions, "parallelism": parallelism});
            create_job(&json!({"metadata": {"name": "a"}, "spec": spec}))
        };
        assert!(job(100_000, 20_000).is_empty() && job(200_000, 10_000).is_empty());
        assert!(job(100_001, 10_001)[0].starts_with("spec: In Indexed Jobs with a number of completions"));
    }

    #[test]
    fn zones_in_schedules() {
        let cron = json!({"spec": {"schedule": "CRON_TZ=UTC 1 * * * *"}});
        let warnings = update_cron_job(&cron, &cron);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("cannot use TZ or CRON_TZ in spec.spec.schedule, "));
    }
}

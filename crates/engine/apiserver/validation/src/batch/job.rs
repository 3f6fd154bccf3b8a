//! Jobs.

use serde_json::Value;

use super::policies;
use crate::apps::{is_usable, selects};
use crate::core::pod::options::Options;
use crate::core::pod::{printed_labels, template, template_options};
use crate::errors::Errors;
use crate::get::{flag, given, int, optional_int, optional_text, same, text};
use crate::names::dns_label;
use crate::scalars::formats::domain_prefixed_path;
use crate::{FieldError, Path, labels, shapes};

const INDEXED_MAX: i64 = 100_000;
const MANY_COMPLETIONS: i64 = 100_000;
const OF_MANY_MAX: i64 = 10_000;
const MANAGED_BY_BYTES_MAX: usize = 63;
/// Labels of a job's pods: each with the field of the metadata it repeats.
const GENERATED: [(&str, &str); 4] = [
    ("controller-uid", "uid"),
    ("job-name", "name"),
    ("batch.kubernetes.io/controller-uid", "uid"),
    ("batch.kubernetes.io/job-name", "name"),
];

fn is_indexed(spec: &Value) -> bool {
    text(&spec["completionMode"]) == "Indexed"
}

/// The selector and labels the server made must be those it makes.
fn generated(job: &Value, prefixed_labels: bool, errors: &mut Errors) {
    let (spec, metadata) = (&job["spec"], &job["metadata"]);
    if flag(&spec["manualSelector"]) || !given(&spec["selector"]) {
        return;
    }
    let path_metadata = Path::Root.child("metadata");
    if text(&metadata["uid"]).is_empty() {
        errors.required(path_metadata.child("uid"), "");
    }
    let path = Path::Root.child("spec");
    let path_template = path.child("template");
    let template_metadata = path_template.child("metadata");
    let field = template_metadata.child("labels");
    let has = &spec["template"]["metadata"]["labels"];
    let mut expected = serde_json::Map::new();
    for (label, source) in GENERATED
        .into_iter()
        .filter(|(label, _)| prefixed_labels || !label.contains('/'))
    {
        let value = text(&metadata[source]);
        let detail = format!("must be '{value}'");
        match has.get(label).map(text) {
            None => errors.required(field.key(label), &detail),
            Some(found) if found != value => errors.invalid(field.key(label), has.clone(), &detail),
            Some(_) => {}
        }
        expected.insert(label.to_owned(), Value::from(value));
    }
    let selector = &spec["selector"];
    if is_usable(selector) && !labels::matches(selector, &Value::Object(expected)) {
        errors.invalid_selector(path.child("selector"), selector, "`selector` not auto-generated");
    }
}

/// A spec with its selector.
fn spec(job: &Value, options: Options, errors: &mut Errors) {
    let (spec, path) = (&job["spec"], Path::Root.child("spec"));
    without_selector(spec, options, &path, errors);
    let selector = &spec["selector"];
    if given(selector) {
        errors.extend(labels::selector(
            selector,
            options.lenient_selectors,
            &path.child("selector"),
        ));
    } else {
        errors.required(path.child("selector"), "");
    }
    if is_usable(selector) && !selects(selector, &spec["template"]) {
        let path_template = path.child("template");
        let metadata = path_template.child("metadata");
        let detail = "`selector` does not match template `labels`";
        errors.invalid(metadata.child("labels"), printed_labels(&spec["template"]), detail);
    }
}

/// A spec of a job or of a template of jobs, but for the selector.
pub(super) fn without_selector(spec: &Value, options: Options, path: &Path, errors: &mut Errors) {
    const COUNTS: [&str; 7] = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    errors.none_negative(spec, &COUNTS, path);
    if given(&spec["maxFailedIndexes"]) && !given(&spec["backoffLimitPerIndex"]) {
        errors.required(path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if let Some(manager) = optional_text(&spec["managedBy"]) {
        managed_by(manager, &path.child("managedBy"), errors);
    }
    completion(spec, path, errors);
    if given(&spec["podFailurePolicy"]) {
        policies::failure(spec, &path.child("podFailurePolicy"), errors);
    }
    if given(&spec["successPolicy"]) {
        let field = path.child("successPolicy");
        if is_indexed(spec) {
            policies::success(spec, &field, errors);
        } else {
            let printed = shapes::compact("SuccessPolicy", &spec["successPolicy"]);
            let detail = "requires indexed completion mode";
            errors.push(FieldError::invalid_printed(field, &printed, detail));
        }
    }
    if let Some(policy) = optional_text(&spec["podReplacementPolicy"]) {
        let supported: &[&str] = match given(&spec["podFailurePolicy"]) {
            true => &["Failed"],
            false => &["Failed", "TerminatingOrFailed"],
        };
        errors.one_of(policy, supported, &path.child("podReplacementPolicy"));
    }
    let path_template = path.child("template");
    template(&spec["template"], options, &path_template, errors);
    restart_policy(spec, &path_template.child("spec").child("restartPolicy"), errors);
}

fn managed_by(manager: &str, path: &Path, errors: &mut Errors) {
    if manager.is_empty() {
        errors.required(path, "");
    } else {
        for (part, detail) in domain_prefixed_path(manager) {
            errors.invalid(path, part, &detail);
        }
    }
    if manager.len() > MANAGED_BY_BYTES_MAX {
        errors.push(FieldError::too_long(path, MANAGED_BY_BYTES_MAX));
    }
}

fn completion(spec: &Value, path: &Path, errors: &mut Errors) {
    let mode = optional_text(&spec["completionMode"]);
    if let Some(mode) = mode {
        errors.one_of(mode, &["NonIndexed", "Indexed"], &path.child("completionMode"));
    }
    if is_indexed(spec) {
        indexed(spec, path, errors);
    } else if mode.is_none_or(|mode| mode == "NonIndexed") {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(count) = optional_int(&spec[field]) {
                errors.invalid(path.child(field), count, "requires indexed completion mode");
            }
        }
    }
}

fn indexed(spec: &Value, path: &Path, errors: &mut Errors) {
    let of = |field: &str| optional_int(&spec[field]);
    let (completions, parallelism, failed) = (of("completions"), of("parallelism"), of("maxFailedIndexes"));
    let (field_parallelism, field_failed) = (path.child("parallelism"), path.child("maxFailedIndexes"));
    let above = |count: Option<i64>, max: i64| count.filter(|count| *count > max);
    if completions.is_none() {
        errors.required(path.child("completions"), "when completion mode is Indexed");
    }
    if let Some(count) = above(parallelism, INDEXED_MAX) {
        let detail = format!("must be less than or equal to {INDEXED_MAX} when completion mode is Indexed");
        errors.invalid(field_parallelism, count, &detail);
    }
    if let Some(count) = completions.and_then(|completions| above(failed, completions)) {
        errors.invalid(field_failed, count, "must be less than or equal to completions");
    }
    if let Some(count) = above(failed, INDEXED_MAX) {
        let detail = format!("must be less than or equal to {INDEXED_MAX}");
        errors.invalid(field_failed, count, &detail);
    }
    if above(completions, MANY_COMPLETIONS).is_none() || !given(&spec["backoffLimitPerIndex"]) {
        return;
    }
    if failed.is_none() {
        let detail = format!("must be specified when completions is above {MANY_COMPLETIONS}");
        errors.required(field_failed, &detail);
    }
    let detail = format!(
        "must be less than or equal to {OF_MANY_MAX} when completions are above {MANY_COMPLETIONS} and used with backoff limit per index"
    );
    for (count, field) in [(parallelism, &field_parallelism), (failed, &field_failed)] {
        if let Some(count) = above(count, OF_MANY_MAX) {
            errors.invalid(field, count, &detail);
        }
    }
}

fn restart_policy(spec: &Value, path: &Path, errors: &mut Errors) {
    match text(&spec["template"]["spec"]["restartPolicy"]) {
        "Always" | "" => errors.required(path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if given(&spec["podFailurePolicy"]) => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid(path, "OnFailure", detail);
        }
        "OnFailure" | "Never" => {}
        other => errors.not_supported(path, other, &["OnFailure", "Never"]),
    }
}

/// A job with its name.
fn whole(job: &Value, prefixed_labels: bool, options: Options, errors: &mut Errors) {
    generated(job, prefixed_labels, errors);
    spec(job, options, errors);
    let completions = int(&job["spec"]["completions"]);
    if is_indexed(&job["spec"]) && completions > 0 {
        // The name of a pod is the job's with the index behind.
        let name = text(&job["metadata"]["name"]);
        let host = format!("{name}-{}", completions - 1);
        if !dns_label(&host).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {host}");
            errors.invalid("metadata.name", name, &detail);
        }
    }
}

/// A new job.
pub(crate) fn create(job: &Value) -> Vec<FieldError> {
    Errors::of(|errors| whole(job, true, Options::new(false), errors))
}

/// A job that replaces another one: little but its parallelism may change.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    const KEPT: [(&str, &str); 5] = [
        ("completionMode", ""),
        ("podFailurePolicy", "PodFailurePolicy"),
        ("backoffLimitPerIndex", ""),
        ("managedBy", ""),
        ("successPolicy", "SuccessPolicy"),
    ];
    let path = Path::Root.child("spec");
    // Jobs of old versions have no prefixed labels.
    let labels = &old["spec"]["template"]["metadata"]["labels"];
    let prefixed_labels = ["job-name", "controller-uid"]
        .iter()
        .all(|label| labels.get(format!("batch.kubernetes.io/{label}")).is_some());
    let options = template_options(Some(&old["spec"]["template"]));
    Errors::of(|errors| {
        // The spec is checked as that of a new job and once more as that of a changed one: both are reported.
        whole(new, prefixed_labels, options, errors);
        spec(new, options, errors);
        completions_kept(&new["spec"], &old["spec"], &path.child("completions"), errors);
        let (selector, old_selector) = (&new["spec"]["selector"], &old["spec"]["selector"]);
        if !same(selector, old_selector) {
            errors.invalid_selector(path.child("selector"), selector, "field is immutable");
        }
        template_kept(new, old, &path.child("template"), errors);
        for (field, shape) in KEPT {
            let (now, before) = (&new["spec"][field], &old["spec"][field]);
            if shape.is_empty() {
                errors.immutable(now, before, &path.child(field));
            } else if !same(now, before) {
                let printed = shapes::compact(shape, now);
                errors.push(FieldError::invalid_printed(
                    path.child(field),
                    &printed,
                    "field is immutable",
                ));
            }
        }
    })
}

/// A job of indexed pods may grow and shrink if its parallelism does with it.
fn completions_kept(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let (now, before) = (&new["completions"], &old["completions"]);
    if !is_indexed(new) {
        errors.immutable(now, before, path);
    } else if given(now) && now != before && int(now) != int(&new["parallelism"]) {
        let detail = "can only be modified in tandem with spec.parallelism";
        errors.invalid(path, now.clone(), detail);
    }
}

/// While a job is suspended and has never run, its pods may be sent elsewhere.
fn may_be_sent_elsewhere(old: &Value) -> bool {
    flag(&old["spec"]["suspend"]) && !given(&old["status"]["startTime"])
}

fn put(target: &mut Value, field: &str, value: &Value) {
    if let Some(fields) = target.as_object_mut() {
        match value {
            Value::Null => fields.remove(field),
            value => fields.insert(field.to_owned(), value.clone()),
        };
    }
}

fn template_kept(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let (now, mut before) = (&new["spec"]["template"], old["spec"]["template"].clone());
    if may_be_sent_elsewhere(old) {
        let pods = &now["spec"];
        if let Some(spec) = before.get_mut("spec") {
            let affinity = &pods["affinity"];
            let mut had = spec["affinity"].clone();
            if given(affinity) && !given(&had) {
                had = serde_json::json!({});
            }
            put(&mut had, "nodeAffinity", &affinity["nodeAffinity"]);
            let cleared = !given(affinity) && crate::get::is_nothing(&had);
            put(spec, "affinity", if cleared { &Value::Null } else { &had });
            for field in ["nodeSelector", "tolerations", "schedulingGates"] {
                put(spec, field, &pods[field]);
            }
        }
        if !before["metadata"].is_object() {
            put(&mut before, "metadata", &serde_json::json!({}));
        }
        if let Some(metadata) = before.get_mut("metadata") {
            for field in ["annotations", "labels"] {
                put(metadata, field, &now["metadata"][field]);
            }
        }
    }
    let (now, before) = (shapes::pod_template(now), shapes::pod_template(&before));
    if !shapes::same("PodTemplateSpec", &now, &before) {
        let printed = shapes::compact("PodTemplateSpec", &now);
        errors.push(FieldError::invalid_printed(path, &printed, "field is immutable"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(spec: Value) -> Value {
        let labels = json!({
            "controller-uid": "u", "job-name": "j", "batch.kubernetes.io/controller-uid": "u",
            "batch.kubernetes.io/job-name": "j",
        });
        let container =
            json!({"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"});
        let mut whole = json!({
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
            "template": {"metadata": {"labels": labels}, "spec": {
                "containers": [container], "restartPolicy": "Never", "dnsPolicy": "ClusterFirst",
                "terminationGracePeriodSeconds": 30,
            }},
        });
        if let (Value::Object(whole), Value::Object(spec)) = (&mut whole, spec) {
            whole.extend(spec);
        }
        json!({"metadata": {"name": "j", "uid": "u"}, "spec": whole})
    }

    fn fields(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn indexed_jobs_say_how_many() {
        assert!(create(&job(json!({}))).is_empty());
        assert_eq!(
            fields(create(&job(json!({"completionMode": "Indexed"})))),
            ["spec.completions"]
        );
        let many = json!({"completionMode": "Indexed", "completions": 200_000, "backoffLimitPerIndex": 1});
        assert_eq!(fields(create(&job(many))), ["spec.maxFailedIndexes"]);
    }

    #[test]
    fn pods_of_a_suspended_job_may_be_sent_elsewhere() {
        let (old, mut new) = (job(json!({"suspend": true})), job(json!({"suspend": true})));
        new["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
        assert!(update(&new, &old).is_empty());
        let running = job(json!({"suspend": false}));
        assert_eq!(fields(update(&new, &running)), ["spec.template"]);
    }
}

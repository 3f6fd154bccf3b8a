use serde_json::json;

use super::*;
use crate::config::Exemptions;

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
const AUDIT: &str = "pod-security.kubernetes.io/audit";
const WARN: &str = "pod-security.kubernetes.io/warn";

fn ask(labels: &Value, pod: &Value, old: Option<&Value>) -> Outcome {
    evaluate_pod(&Config::default(), &asked_by(labels), pod, old)
}

fn asked_by(labels: &Value) -> Request<'_> {
    Request {
        namespace: "team",
        labels,
        username: "jane",
    }
}

fn host_pod() -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"hostPID": true, "containers": [{"name": "web", "image": "i:1"}]}})
}

#[test]
fn requests_that_may_start_containers_are_looked_at() {
    for (group, plural, subresource, target) in [
        ("", "pods", "", Some(Target::Pod)),
        ("", "pods", "ephemeralcontainers", Some(Target::Pod)),
        ("", "pods", "resize", Some(Target::Pod)),
        ("", "pods", "status", None),
        ("", "pods", "exec", None),
        ("", "pods", "binding", None),
        ("", "namespaces", "", Some(Target::Namespace)),
        ("", "namespaces", "status", None),
        ("", "namespaces", "finalize", None),
        ("", "podtemplates", "", Some(Target::Template("/template"))),
        (
            "",
            "replicationcontrollers",
            "",
            Some(Target::Template("/spec/template")),
        ),
        ("apps", "deployments", "", Some(Target::Template("/spec/template"))),
        ("apps", "deployments", "scale", None),
        ("apps", "controllerrevisions", "", None),
        (
            "batch",
            "cronjobs",
            "",
            Some(Target::Template("/spec/jobTemplate/spec/template")),
        ),
        ("", "deployments", "", None),
    ] {
        assert_eq!(
            Target::of(group, plural, subresource),
            target,
            "{group} {plural} {subresource}"
        );
    }
}

#[test]
fn privileged_namespaces_allow_everything() {
    let outcome = ask(&Value::Null, &host_pod(), None);
    assert_eq!(outcome, Outcome::noted(audit::ENFORCE_POLICY, "privileged:latest"));
}

#[test]
fn what_violates_the_enforced_policy_is_refused_without_warning() {
    let outcome = ask(
        &json!({ENFORCE: "baseline", AUDIT: "baseline", WARN: "restricted"}),
        &host_pod(),
        None,
    );
    let details = "PodSecurity \"baseline:latest\": host namespaces (hostPID=true)";
    assert_eq!(outcome.denied, Some(format!("violates {details}")));
    assert_eq!(outcome.warnings, [] as [String; 0]);
    assert_eq!(
        outcome.audit,
        [
            (audit::ENFORCE_POLICY, "baseline:latest".to_owned()),
            (audit::AUDIT_VIOLATIONS, format!("would violate {details}")),
        ]
    );
}

#[test]
fn other_modes_warn_and_note() {
    let labels = json!({WARN: "baseline", "pod-security.kubernetes.io/warn-version": "v1.30", AUDIT: "baseline"});
    let outcome = ask(&labels, &host_pod(), None);
    assert!(outcome.allowed());
    assert_eq!(
        outcome.warnings,
        ["would violate PodSecurity \"baseline:v1.30\": host namespaces (hostPID=true)"]
    );
    assert_eq!(outcome.audit.len(), 2);
    assert_eq!(
        outcome.audit[0],
        (audit::ENFORCE_POLICY, "privileged:latest".to_owned())
    );
}

#[test]
fn workloads_are_warned_of_what_would_be_refused() {
    let labels = json!({ENFORCE: "baseline"});
    let outcome = evaluate_template(&Config::default(), &asked_by(&labels), &host_pod());
    assert_eq!(
        outcome,
        Outcome {
            warnings: vec!["would violate PodSecurity \"baseline:latest\": host namespaces (hostPID=true)".to_owned()],
            ..Outcome::default()
        }
    );
    for labels in [json!({ENFORCE: "baseline", WARN: "privileged"}), Value::Null] {
        let outcome = evaluate_template(&Config::default(), &asked_by(&labels), &host_pod());
        assert_eq!(outcome, Outcome::default());
    }
    let none = evaluate_template(&Config::default(), &asked_by(&labels), &Value::Null);
    assert_eq!(none, Outcome::default());
}

#[test]
fn unreadable_labels_enforce_restricted_and_are_noted() {
    let outcome = ask(&json!({ENFORCE: "strict", WARN: "x"}), &host_pod(), None);
    assert!(
        outcome
            .denied
            .is_some_and(|told| told.starts_with("violates PodSecurity \"restricted:latest\": "))
    );
    let level = "must be one of privileged, baseline, restricted";
    assert_eq!(
        outcome.audit[0],
        (
            audit::ERROR,
            format!(
                "Failed to parse policy: [metadata.labels[{ENFORCE}]: Invalid value: \"strict\": {level}, \
                 metadata.labels[{WARN}]: Invalid value: \"x\": {level}]"
            )
        )
    );
    let one = json!({AUDIT: "x"});
    let outcome = evaluate_template(&Config::default(), &asked_by(&one), &host_pod());
    assert_eq!(
        outcome.audit,
        [(
            audit::ERROR,
            format!("Failed to parse policy: metadata.labels[{AUDIT}]: Invalid value: \"x\": {level}")
        )]
    );
}

#[test]
fn updates_that_start_nothing_new_are_allowed() {
    let labels = json!({ENFORCE: "baseline"});
    let old = host_pod();
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(ask(&labels, &new, Some(&old)), Outcome::default());
    new["spec"]["containers"][0]["image"] = json!("i:2");
    assert!(!ask(&labels, &new, Some(&old)).allowed());
}

#[test]
fn significant_are_other_containers_and_images() {
    let container = |name: &str, image: &str| json!({"name": name, "image": image});
    let pod = |list: &str, containers: &[Value]| json!({"spec": {list: containers}});
    let (a, b) = (container("a", "1"), container("b", "1"));
    let newer = container("a", "2");
    for list in ["containers", "initContainers"] {
        for (new, old, significant) in [
            (vec![&a], vec![&a], false),
            (vec![&a], vec![&newer], true),
            (vec![&a, &b], vec![&a], true),
            (vec![&b], vec![&a], false),
        ] {
            let (new, old) = (owned(&new), owned(&old));
            assert_eq!(
                is_significant_update(&pod(list, &new), &pod(list, &old)),
                significant,
                "{new:?} {old:?}"
            );
        }
    }
    let list = "ephemeralContainers";
    for (new, old, significant) in [
        (vec![], vec![&a], false),
        (vec![&b, &a], vec![&a, &b], false),
        (vec![&a, &b], vec![&a], true),
        (vec![&newer], vec![&a], true),
    ] {
        let (new, old) = (owned(&new), owned(&old));
        assert_eq!(
            is_significant_update(&pod(list, &new), &pod(list, &old)),
            significant,
            "{new:?} {old:?}"
        );
    }
}

fn owned(values: &[&Value]) -> Vec<Value> {
    values.iter().map(|value| (*value).clone()).collect()
}

#[test]
fn the_exempt_are_not_looked_at() {
    let labels = json!({ENFORCE: "restricted"});
    let exempt = |exemptions| Config {
        exemptions,
        ..Config::default()
    };
    let names = |name: &str| vec![name.to_owned()];
    let mut pod = host_pod();
    pod["spec"]["runtimeClassName"] = json!("vm");
    for (exemptions, by) in [
        (
            Exemptions {
                usernames: names("jane"),
                ..Exemptions::default()
            },
            "user",
        ),
        (
            Exemptions {
                namespaces: names("team"),
                ..Exemptions::default()
            },
            "namespace",
        ),
        (
            Exemptions {
                runtime_classes: names("vm"),
                ..Exemptions::default()
            },
            "runtimeClass",
        ),
    ] {
        let config = exempt(exemptions);
        let noted = Outcome::noted(audit::EXEMPT, by);
        assert_eq!(evaluate_pod(&config, &asked_by(&labels), &pod, None), noted);
        assert_eq!(evaluate_template(&config, &asked_by(&labels), &pod), noted);
    }
    let empty = exempt(Exemptions {
        usernames: names(""),
        namespaces: names("other"),
        runtime_classes: names(""),
    });
    let nobody = Request {
        namespace: "",
        username: "",
        labels: &labels,
    };
    assert!(!evaluate_pod(&empty, &nobody, &host_pod(), None).allowed());
}

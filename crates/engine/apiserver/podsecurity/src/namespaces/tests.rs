use serde_json::json;

use super::*;
use crate::config::Exemptions;
use crate::level::Version;

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
const ENFORCE_VERSION: &str = "pod-security.kubernetes.io/enforce-version";
const WARN: &str = "pod-security.kubernetes.io/warn";

const BASELINE: LevelVersion = LevelVersion {
    level: Level::Baseline,
    version: Version::Latest,
};

fn pod(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

fn replica(name: &str, uid: &str, spec: Value) -> Value {
    let owners = json!([{"uid": "other"}, {"uid": uid, "controller": true}]);
    json!({"metadata": {"name": name, "ownerReferences": owners}, "spec": spec})
}

fn check(config: &Config, pods: &[Value]) -> Vec<String> {
    check_pods(config, "team", BASELINE, pods, || true)
}

#[test]
fn namespaces_are_created_with_valid_labels_only() {
    let config = Config::default();
    assert_eq!(create_namespace(&config, "team", &Value::Null), Ok(vec![]));
    assert_eq!(
        create_namespace(&config, "team", &json!({ENFORCE: "baseline"})),
        Ok(vec![])
    );
    let errors = create_namespace(&config, "team", &json!({ENFORCE: "none", ENFORCE_VERSION: "v1"}));
    let fields: Vec<String> = errors.unwrap_err().into_iter().map(|error| error.field).collect();
    assert_eq!(
        fields,
        [
            format!("metadata.labels[{ENFORCE}]"),
            format!("metadata.labels[{ENFORCE_VERSION}]")
        ]
    );
}

#[test]
fn wrong_labels_may_stay_but_not_change() {
    let config = Config::default();
    let update = |new: Value, old: Value| update_namespace(&config, "team", &new, &old);
    let wrong = json!({ENFORCE: "none"});
    assert_eq!(update(wrong.clone(), wrong.clone()), Ok(NamespaceUpdate::default()));
    assert!(update(wrong.clone(), Value::Null).is_err());
    assert!(update(json!({ENFORCE: "nothing"}), wrong.clone()).is_err());
    assert!(update(json!({ENFORCE: "none", WARN: "x"}), wrong.clone()).is_err());
    assert_eq!(update(Value::Null, wrong), Ok(NamespaceUpdate::default()));
}

#[test]
fn pods_are_checked_when_more_is_enforced() {
    let config = Config::default();
    for (new, old, checked) in [
        (json!({}), json!({}), None),
        (json!({ENFORCE: "baseline"}), json!({}), Some("baseline:latest")),
        (
            json!({ENFORCE: "restricted"}),
            json!({ENFORCE: "baseline"}),
            Some("restricted:latest"),
        ),
        (json!({ENFORCE: "baseline"}), json!({ENFORCE: "restricted"}), None),
        (
            json!({ENFORCE: "baseline"}),
            json!({ENFORCE: "baseline", WARN: "baseline"}),
            None,
        ),
        (json!({WARN: "restricted"}), json!({}), None),
        (json!({ENFORCE_VERSION: "v1.1"}), json!({}), None),
        // Other rules may be stricter, though the level is not.
        (
            json!({ENFORCE: "baseline", ENFORCE_VERSION: "v1.30"}),
            json!({ENFORCE: "restricted"}),
            Some("baseline:v1.30"),
        ),
    ] {
        let update = update_namespace(&config, "team", &new, &old);
        let check = update.map(|update| update.check.map(|check| check.to_string()));
        assert_eq!(check, Ok(checked.map(str::to_owned)), "{new} {old}");
    }
}

#[test]
fn labels_of_exempt_namespaces_mean_nothing() {
    let config = Config {
        exemptions: Exemptions {
            namespaces: vec!["team".to_owned()],
            ..Exemptions::default()
        },
        ..Config::default()
    };
    let labels = json!({ENFORCE: "baseline", ENFORCE_VERSION: "v1.3", WARN: "restricted"});
    let warning = "namespace \"team\" is exempt from Pod Security, and the policy (enforce=baseline:v1.3, \
                   warn=restricted:latest) will be ignored";
    assert_eq!(create_namespace(&config, "team", &labels), Ok(vec![warning.to_owned()]));
    assert_eq!(create_namespace(&config, "other", &labels), Ok(vec![]));
    assert_eq!(
        create_namespace(&config, "team", &json!({WARN: "privileged"})),
        Ok(vec![])
    );
    let update = update_namespace(&config, "team", &labels, &Value::Null);
    assert_eq!(
        update,
        Ok(NamespaceUpdate {
            warnings: vec![warning.to_owned()],
            check: None
        })
    );
}

#[test]
fn violating_pods_are_counted_by_what_they_violate() {
    let host = || json!({"hostPID": true});
    let pods = [
        pod("b", host()),
        pod("fine", json!({})),
        pod("a", host()),
        pod("c", host()),
        pod(
            "z",
            json!({"hostIPC": true, "volumes": [{"name": "v", "hostPath": {}}]}),
        ),
        pod(
            "y",
            json!({"hostPID": true, "volumes": [{"name": "w", "hostPath": {}}]}),
        ),
        pod(
            "x",
            json!({"containers": [{"name": "c", "securityContext": {"privileged": true}}]}),
        ),
    ];
    assert_eq!(
        check(&Config::default(), &pods),
        [
            "existing pods in namespace \"team\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 2 other pods): host namespaces",
            "x: privileged",
            "y (and 1 other pod): host namespaces, hostPath volumes",
        ]
    );
    assert_eq!(check(&Config::default(), &pods[1..2]), [] as [String; 0]);
}

#[test]
fn replicas_come_last_and_the_exempt_not_at_all() {
    let host = || json!({"hostPID": true});
    let mut pods: Vec<Value> = (0..NAMESPACE_MAX_PODS_TO_CHECK)
        .map(|index| replica(&format!("r-{index}"), "set", json!({})))
        .collect();
    pods.push(pod("alone", host()));
    pods.push(replica("s-1", "other-set", host()));
    pods.push(pod(
        "vm",
        json!({"runtimeClassName": "vm", "hostIPC": true, "hostPID": true}),
    ));
    let config = Config {
        exemptions: Exemptions {
            runtime_classes: vec!["vm".to_owned()],
            ..Exemptions::default()
        },
        ..Config::default()
    };
    assert_eq!(
        check(&config, &pods),
        [
            "new PodSecurity enforce level only checked against the first 3000 of 3002 existing pods",
            "existing pods in namespace \"team\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "alone (and 1 other pod): host namespaces",
        ]
    );
}

#[test]
fn time_runs_out_after_the_pod_it_runs_out_at() {
    let pods = ["a", "b", "c"].map(|name| pod(name, json!({"hostPID": true})));
    let mut left = 2;
    let in_time = || {
        left -= 1;
        left > 0
    };
    assert_eq!(
        check_pods(&Config::default(), "team", BASELINE, &pods, in_time),
        [
            "new PodSecurity enforce level only checked against the first 2 of 3 existing pods",
            "existing pods in namespace \"team\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 1 other pod): host namespaces",
        ]
    );
    assert_eq!(
        check_pods(&Config::default(), "team", BASELINE, &pods[..1], || false).len(),
        2
    );
}

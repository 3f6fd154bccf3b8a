//! What holds for any JSON.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    Config, Level, LevelVersion, Request, Version, check_pods, create_namespace, evaluate, evaluate_pod,
    evaluate_template, update_namespace,
};

/// Names that the checks look for.
const NAMES: [&str; 44] = [
    "metadata",
    "name",
    "annotations",
    "ownerReferences",
    "controller",
    "uid",
    "spec",
    "containers",
    "initContainers",
    "ephemeralContainers",
    "image",
    "hostNetwork",
    "hostUsers",
    "os",
    "runtimeClassName",
    "volumes",
    "hostPath",
    "emptyDir",
    "ports",
    "hostPort",
    "livenessProbe",
    "lifecycle",
    "preStop",
    "httpGet",
    "host",
    "securityContext",
    "privileged",
    "procMount",
    "allowPrivilegeEscalation",
    "capabilities",
    "add",
    "drop",
    "runAsNonRoot",
    "runAsUser",
    "sysctls",
    "seccompProfile",
    "appArmorProfile",
    "seLinuxOptions",
    "type",
    "user",
    "windowsOptions",
    "hostProcess",
    "pod-security.kubernetes.io/enforce",
    "seccomp.security.alpha.kubernetes.io/pod",
];

const TEXTS: [&str; 8] = [
    "",
    "ALL",
    "windows",
    "Unconfined",
    "RuntimeDefault",
    "baseline",
    "v1.30",
    "é\"\n",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1.0_f64..1.0).prop_map(Value::from),
        prop::sample::select(&TEXTS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 96, 6, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            4 => prop::collection::vec((prop::sample::select(&NAMES[..]), inner), 0..6).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
            }),
        ]
    })
}

fn any_policy() -> impl Strategy<Value = LevelVersion> {
    let level = prop::sample::select(vec![Level::Privileged, Level::Baseline, Level::Restricted]);
    let version = prop_oneof![Just(Version::Latest), (0..40_u64).prop_map(Version::Minor)];
    (level, version).prop_map(|(level, version)| LevelVersion { level, version })
}

proptest! {
    #[test]
    fn no_json_panics(pod in any_json(), old in any_json(), labels in any_json(), policy in any_policy()) {
        let config = Config::default();
        let request = Request { namespace: "n", labels: &labels, username: "u" };
        let _ = evaluate_pod(&config, &request, &pod, Some(&old));
        let _ = evaluate_template(&config, &request, &pod);
        let _ = create_namespace(&config, "n", &labels);
        let _ = update_namespace(&config, "n", &labels, &old);
        let _ = check_pods(&config, "n", policy, [&pod, &old, &labels], || true);
    }

    #[test]
    fn what_restricted_allows_baseline_allows(metadata in any_json(), spec in any_json(), minor in 0..40_u64) {
        let at = |level| evaluate(LevelVersion { level, version: Version::Minor(minor) }, &metadata, &spec);
        prop_assert!(at(Level::Privileged).is_empty());
        // Up to 1.18 baseline reads annotations of seccomp, and so does restricted.
        if at(Level::Restricted).is_empty() {
            prop_assert!(at(Level::Baseline).is_empty());
        }
    }

    #[test]
    fn details_name_every_reason(spec in any_json(), policy in any_policy()) {
        let violations = evaluate(policy, &json!({}), &spec);
        for violation in &violations.0 {
            prop_assert!(violations.details().contains(violation.reason));
            prop_assert!(violations.reasons().contains(violation.reason));
        }
    }

    #[test]
    fn versions_are_read_as_written(policy in any_policy()) {
        prop_assert_eq!(Version::parse(&policy.version.to_string()), Some(policy.version));
        prop_assert_eq!(Level::parse(policy.level.as_str()), Some(policy.level));
    }
}

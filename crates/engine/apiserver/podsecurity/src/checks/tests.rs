use serde_json::{Value, json};

use super::*;

fn told(level: Level, version: Version, metadata: &Value, spec: &Value) -> String {
    evaluate(LevelVersion { level, version }, metadata, spec).details()
}

fn baseline(spec: &Value) -> String {
    told(Level::Baseline, Version::Latest, &Value::Null, spec)
}

/// What level restricted says of a pod that would be fine but for `pod` in its security context and `container` in
/// that of its container.
fn restricted(version: Version, mut pod: Value, mut container: Value) -> String {
    merge(
        &mut pod,
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
    );
    merge(
        &mut container,
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}),
    );
    let spec = json!({"securityContext": pod, "containers": [{"name": "web", "securityContext": container}]});
    told(Level::Restricted, version, &Value::Null, &spec)
}

/// Fills in what is not given, and drops what is given as null.
fn merge(given: &mut Value, fill: Value) {
    let (Some(given), Some(fill)) = (given.as_object_mut(), fill.as_object()) else {
        return;
    };
    for (key, value) in fill {
        given.entry(key).or_insert_with(|| value.clone());
    }
    given.retain(|_, value| !value.is_null());
}

#[test]
fn checks_are_known_by_distinct_ids_in_order() {
    for checks in [BASELINE.as_slice(), RESTRICTED.as_slice()] {
        assert!(checks.is_sorted_by(|a, b| a.id < b.id));
        assert!(checks.iter().all(|check| check.rules.is_sorted_by(|a, b| a.0 < b.0)));
        assert!(
            checks
                .iter()
                .flat_map(|check| check.rules)
                .all(|rule| rule.0 <= NEWEST_MINOR)
        );
    }
    let overridden = RESTRICTED.iter().filter_map(|check| check.overrides);
    assert!(
        overridden
            .into_iter()
            .all(|id| BASELINE.iter().any(|check| check.id == id))
    );
}

#[test]
fn nothing_is_forbidden_to_the_privileged() {
    let spec = json!({"hostNetwork": true, "containers": [{"name": "a", "securityContext": {"privileged": true}}]});
    assert_eq!(told(Level::Privileged, Version::Latest, &Value::Null, &spec), "");
}

#[test]
fn baseline_says_what_is_forbidden_and_where() {
    for (spec, details) in [
        (json!({"containers": [{"name": "a"}]}), ""),
        (
            json!({"hostIPC": true, "hostPID": true, "hostNetwork": false}),
            "host namespaces (hostPID=true, hostIPC=true)",
        ),
        (
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "n", "nfs": {}}]}),
            "hostPath volumes (volume \"v\")",
        ),
        (
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "hostPath": {"path": "/"}}]}),
            "hostPath volumes (volumes \"v\", \"w\")",
        ),
        (
            json!({
                "containers": [{"name": "a", "ports": [{"hostPort": 80}, {"hostPort": 443}, {"containerPort": 1}]}],
            }),
            "hostPort (container \"a\" uses hostPorts 443, 80)",
        ),
        (
            json!({
                "containers": [{"name": "a", "ports": [{"hostPort": 80}]}],
                "ephemeralContainers": [{"name": "e", "ports": [{"hostPort": 80}]}],
                "initContainers": [{"name": "i", "ports": [{"hostPort": 0}]}],
            }),
            "hostPort (containers \"a\", \"e\" use hostPort 80)",
        ),
        (
            json!({
                "containers": [
                    {"name": "b", "livenessProbe": {"httpGet": {"host": "y"}}, "startupProbe": {"tcpSocket": {"host": "x"}}},
                    {"name": "a", "lifecycle": {"preStop": {"httpGet": {"host": "y"}}}},
                    {"name": "c", "readinessProbe": {"httpGet": {"host": ""}}, "lifecycle": {"postStart": {}}},
                ],
            }),
            "probe or lifecycle host (containers \"a\", \"b\" use probe or lifecycle hosts \"x\", \"y\")",
        ),
        (
            json!({
                "ephemeralContainers": [{"name": "e", "securityContext": {"privileged": true}}],
                "containers": [{"name": "a", "securityContext": {"privileged": true}}],
                "initContainers": [{"name": "i", "securityContext": {"privileged": false}}],
            }),
            "privileged (containers \"a\", \"e\" must not set securityContext.privileged=true)",
        ),
        (
            json!({"containers": [
                {"name": "a", "securityContext": {"capabilities": {"add": ["SYS_TIME", "CHOWN", "ALL"]}}},
                {"name": "b", "securityContext": {"capabilities": {"add": ["SYS_TIME"]}}},
                {"name": "c", "securityContext": {"capabilities": {"add": ["KILL"]}}},
            ]}),
            "non-default capabilities (containers \"a\", \"b\" must not include \"ALL\", \"SYS_TIME\" in \
             securityContext.capabilities.add)",
        ),
        (
            json!({"hostUsers": false, "containers": [
                {"name": "a", "securityContext": {"procMount": "Unmasked"}},
                {"name": "b", "securityContext": {"procMount": "Default"}},
            ]}),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            json!({
                "securityContext": {"windowsOptions": {"hostProcess": true}},
                "containers": [{"name": "a", "securityContext": {"windowsOptions": {"hostProcess": true}}}],
            }),
            "hostProcess (pod and container \"a\" must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            json!({"securityContext": {"runAsUser": 0, "runAsNonRoot": false, "sysctls": []}}),
            "",
        ),
    ] {
        assert_eq!(baseline(&spec), details, "{spec}");
    }
}

#[test]
fn profiles_have_to_confine() {
    for (spec, details) in [
        (
            json!({
                "securityContext": {"seccompProfile": {"type": "Unconfined"}},
                "containers": [{"name": "a", "securityContext": {"seccompProfile": {"type": ""}}}],
            }),
            "seccompProfile (pod and container \"a\" must not set securityContext.seccompProfile.type to \"\", \
             \"Unconfined\")",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}}),
            "",
        ),
        (
            json!({"containers": [
                {"name": "a", "securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
                {"name": "b", "securityContext": {"appArmorProfile": {"type": "Other"}}},
                {"name": "c", "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}},
            ]}),
            "forbidden AppArmor profiles (containers \"a\", \"b\" must not set AppArmor profile type to \"Other\", \
             \"Unconfined\")",
        ),
        (
            json!({
                "securityContext": {"seLinuxOptions": {"type": "spc_t", "level": "s0"}},
                "containers": [
                    {"name": "a", "securityContext": {"seLinuxOptions": {"role": "r", "type": "a_t"}}},
                    {"name": "b", "securityContext": {"seLinuxOptions": {"type": "container_t"}}},
                ],
            }),
            "seLinuxOptions (pod and container \"a\" set forbidden securityContext.seLinuxOptions: types \"a_t\", \
             \"spc_t\"; role may not be set)",
        ),
        (
            json!({"containers": [{"name": "a", "securityContext": {"seLinuxOptions": {"user": "u", "role": "r"}}}]}),
            "seLinuxOptions (container \"a\" set forbidden securityContext.seLinuxOptions: user may not be set; role \
             may not be set)",
        ),
        (
            json!({"securityContext": {"seLinuxOptions": {"type": "t"}}}),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"t\")",
        ),
    ] {
        assert_eq!(baseline(&spec), details, "{spec}");
    }
}

#[test]
fn annotations_name_app_armor_profiles_too() {
    let key = |container: &str| format!("container.apparmor.security.beta.kubernetes.io/{container}");
    let spec = json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}});
    let one =
        json!({"annotations": {key("a"): "unconfined", key("b"): "localhost/x", key("c"): "", "d": "unconfined"}});
    let latest = Version::Latest;
    assert_eq!(
        told(Level::Baseline, latest, &one, &Value::Null),
        "forbidden AppArmor profile (annotation must not set AppArmor profile type to \
         \"container.apparmor.security.beta.kubernetes.io/a=\"unconfined\"\")"
    );
    let two = json!({"annotations": {key("b"): "x", key("a"): "y", key("c"): "runtime/default"}});
    assert_eq!(
        told(Level::Baseline, latest, &two, &spec),
        "forbidden AppArmor profiles (pod and annotations must not set AppArmor profile type to \"Unconfined\", \
         \"container.apparmor.security.beta.kubernetes.io/a=\"y\"\", \
         \"container.apparmor.security.beta.kubernetes.io/b=\"x\"\")"
    );
}

#[test]
fn seccomp_was_annotated_before_it_had_fields() {
    let metadata = json!({"annotations": {
        "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
        "container.seccomp.security.alpha.kubernetes.io/a": "docker/default",
        "container.seccomp.security.alpha.kubernetes.io/b": "",
        "container.seccomp.security.alpha.kubernetes.io/none": "unconfined",
    }});
    let spec = json!({
        "containers": [{"name": "a"}, {"name": "b"}],
        "securityContext": {"seccompProfile": {"type": "Unconfined"}},
    });
    assert_eq!(
        told(Level::Baseline, Version::Minor(18), &metadata, &spec),
        "seccompProfile (forbidden annotations container.seccomp.security.alpha.kubernetes.io/b=\"\", \
         seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")"
    );
    assert_eq!(
        told(Level::Baseline, Version::Minor(19), &metadata, &spec),
        "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")"
    );
    assert_eq!(
        told(
            Level::Baseline,
            Version::Minor(19),
            &metadata,
            &json!({"containers": [{"name": "b"}]})
        ),
        ""
    );
}

#[test]
fn rules_change_with_versions() {
    let sysctls = json!({"securityContext": {"sysctls": [
        {"name": "net.ipv4.tcp_rmem"}, {"name": "net.ipv4.tcp_fin_timeout"},
        {"name": "net.ipv4.ip_local_reserved_ports"}, {"name": "kernel.shm_rmid_forced"},
        {"name": "net.ipv4.tcp_slow_start_after_idle"},
    ]}});
    let last = "net.ipv4.tcp_slow_start_after_idle";
    for (minor, forbidden) in [
        (
            0,
            format!("net.ipv4.tcp_rmem, net.ipv4.tcp_fin_timeout, net.ipv4.ip_local_reserved_ports, {last}"),
        ),
        (
            26,
            format!("net.ipv4.tcp_rmem, net.ipv4.tcp_fin_timeout, net.ipv4.ip_local_reserved_ports, {last}"),
        ),
        (27, format!("net.ipv4.tcp_rmem, net.ipv4.tcp_fin_timeout, {last}")),
        (29, format!("net.ipv4.tcp_rmem, {last}")),
        (32, last.to_owned()),
        (u64::MAX, last.to_owned()),
    ] {
        let details = told(Level::Baseline, Version::Minor(minor), &Value::Null, &sysctls);
        assert_eq!(details, format!("forbidden sysctls ({forbidden})"), "{minor}");
    }
    let engine = json!({"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}});
    let probe = json!({"containers": [{"name": "a", "livenessProbe": {"tcpSocket": {"host": "h"}}}]});
    for (spec, minor, allowed) in [
        (&engine, 30, false),
        (&engine, 31, true),
        (&probe, 33, true),
        (&probe, 34, false),
    ] {
        let violations = told(Level::Baseline, Version::Minor(minor), &Value::Null, spec);
        assert_eq!(violations.is_empty(), allowed, "{minor}: {violations}");
    }
}

#[test]
fn restricted_asks_for_hardening() {
    let spec = json!({"containers": [{"name": "web"}], "initContainers": [{"name": "init"}]});
    assert_eq!(
        told(Level::Restricted, Version::Latest, &Value::Null, &spec),
        "allowPrivilegeEscalation != false (containers \"init\", \"web\" must set \
         securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (containers \"init\", \"web\" must \
         set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or containers \"init\", \"web\" \
         must set securityContext.runAsNonRoot=true), seccompProfile (pod or containers \"init\", \"web\" must set \
         securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    let latest = Version::Latest;
    for (pod, container, details) in [
        (json!({}), json!({}), ""),
        (json!({"runAsNonRoot": null}), json!({"runAsNonRoot": true}), ""),
        (
            json!({"runAsNonRoot": false}),
            json!({"runAsNonRoot": true}),
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
        ),
        (
            json!({}),
            json!({"runAsNonRoot": false}),
            "runAsNonRoot != true (container \"web\" must not set securityContext.runAsNonRoot=false)",
        ),
        (
            json!({"runAsUser": 0}),
            json!({"runAsUser": 0}),
            "runAsUser=0 (pod and container \"web\" must not set runAsUser=0)",
        ),
        (json!({"runAsUser": 1000}), json!({}), ""),
        (
            json!({}),
            json!({"allowPrivilegeEscalation": true}),
            "allowPrivilegeEscalation != false (container \"web\" must set \
             securityContext.allowPrivilegeEscalation=false)",
        ),
        (
            json!({}),
            json!({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}),
            "",
        ),
        (
            json!({}),
            json!({"capabilities": {"drop": ["all"], "add": ["CHOWN", "NET_BIND_SERVICE", "BPF"]}}),
            "unrestricted capabilities (container \"web\" must set securityContext.capabilities.drop=[\"ALL\"]; \
             container \"web\" must not include \"BPF\", \"CHOWN\" in securityContext.capabilities.add)",
        ),
        (
            json!({"seccompProfile": null}),
            json!({"seccompProfile": {"type": "Localhost"}}),
            "",
        ),
        (
            json!({}),
            json!({"seccompProfile": {"type": "Unconfined"}}),
            "seccompProfile (container \"web\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
    ] {
        assert_eq!(
            restricted(latest, pod.clone(), container.clone()),
            details,
            "{pod} {container}"
        );
    }
}

#[test]
fn restricted_checks_stand_in_for_baseline_ones_from_their_first_version() {
    let added = json!({"capabilities": {"add": ["BPF"]}});
    assert_eq!(
        restricted(Version::Minor(21), json!({}), added.clone()),
        "non-default capabilities (container \"web\" must not include \"BPF\" in securityContext.capabilities.add)"
    );
    assert_eq!(
        restricted(Version::Minor(22), json!({}), added),
        "unrestricted capabilities (container \"web\" must set securityContext.capabilities.drop=[\"ALL\"]; \
         container \"web\" must not include \"BPF\" in securityContext.capabilities.add)"
    );
    for (minor, allowed) in [(7, true), (8, false)] {
        let details = restricted(
            Version::Minor(minor),
            json!({}),
            json!({"allowPrivilegeEscalation": null}),
        );
        assert_eq!(details.is_empty(), allowed, "{minor}");
    }
    for (minor, allowed) in [(18, true), (19, false)] {
        let details = restricted(Version::Minor(minor), json!({"seccompProfile": null}), json!({}));
        assert_eq!(details.is_empty(), allowed, "{minor}");
    }
    for (minor, allowed) in [(22, true), (23, false)] {
        let details = restricted(Version::Minor(minor), json!({"runAsUser": 0}), json!({}));
        assert_eq!(details.is_empty(), allowed, "{minor}");
    }
}

#[test]
fn windows_pods_need_not_set_what_linux_knows() {
    let spec = json!({"os": {"name": "windows"}, "containers": [{"name": "web"}]});
    let reasons = |minor| {
        let policy = LevelVersion {
            level: Level::Restricted,
            version: Version::Minor(minor),
        };
        evaluate(policy, &Value::Null, &spec).reasons()
    };
    assert_eq!(
        reasons(24),
        "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"
    );
    assert_eq!(reasons(25), "runAsNonRoot != true");
}

#[test]
fn user_namespaces_excuse_nothing() {
    let spec = json!({
        "hostUsers": false,
        "securityContext": {"runAsUser": 0},
        "containers": [{"name": "web", "securityContext": {"procMount": "Unmasked"}}],
    });
    let policy = LevelVersion {
        level: Level::Restricted,
        version: Version::Latest,
    };
    let reasons = evaluate(policy, &Value::Null, &spec).reasons();
    for reason in ["procMount", "runAsNonRoot != true", "runAsUser=0"] {
        assert!(reasons.contains(reason), "{reasons}");
    }
}

#[test]
fn only_some_kinds_of_volumes_are_allowed_when_restricted() {
    let volumes = |volumes: Value| {
        let policy = LevelVersion {
            level: Level::Restricted,
            version: Version::Minor(0),
        };
        evaluate(policy, &Value::Null, &json!({"volumes": volumes})).details()
    };
    for kind in [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ] {
        assert_eq!(volumes(json!([{"name": "v", kind: {}}])), "", "{kind}");
    }
    assert_eq!(
        volumes(json!([{"name": "v", "nfs": {}}])),
        "restricted volume types (volume \"v\" uses restricted volume type \"nfs\")"
    );
    assert_eq!(
        volumes(json!([{"name": "a", "nfs": {}}, {"name": "b", "hostPath": {}}, {"name": "c", "emptyDir": {}}])),
        "restricted volume types (volumes \"a\", \"b\" use restricted volume types \"hostPath\", \"nfs\")"
    );
    assert_eq!(
        volumes(json!([{"name": "a", "rbd": {}}, {"name": "b", "rbd": {}}, {"name": "c"}])),
        "restricted volume types (volumes \"a\", \"b\", \"c\" use restricted volume types \"rbd\", \"unknown\")"
    );
}

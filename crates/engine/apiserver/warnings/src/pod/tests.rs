//! What is said of pods.

use serde_json::{Value, json};

use super::{create, template, update_status};

fn of(spec: Value) -> Vec<String> {
    create(&json!({"metadata": {"name": "p"}, "spec": spec}))
}

fn annotated(annotations: Value, spec: Value) -> Value {
    json!({"metadata": {"name": "p", "annotations": annotations}, "spec": spec})
}

#[test]
fn plain_pods_are_fine() {
    let container = json!({
        "name": "c", "ports": [{"name": "a", "containerPort": 80, "protocol": "TCP"}, {"name": "b", "containerPort": 80, "protocol": "UDP"}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}, {"name": "A", "value": "$(A)2"}],
        "resources": {"limits": {"memory": "1Gi", "cpu": "100m"}},
    });
    let spec = json!({
        "containers": [container], "terminationGracePeriodSeconds": 30, "nodeSelector": {"kubernetes.io/os": "linux"},
        "topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}],
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}, {"name": "w", "configMap": {"name": "m"}}],
        "hostAliases": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}], "imagePullSecrets": [{"name": "s"}],
    });
    assert_eq!(of(spec), Vec::<String>::new());
}

#[test]
fn names() {
    let named = |name: &str| create(&json!({"metadata": {"name": name}}));
    assert_eq!(
        named("a.b"),
        [
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"
        ]
    );
    assert_eq!(
        named(&format!("a.{}", "b".repeat(62))),
        [
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must be no more than 63 characters must not contain dots]"
        ]
    );
}

#[test]
fn where_to_run() {
    let null = "a null labelSelector results in matching no pod";
    let term = json!({"topologyKey": "a"});
    let spec = json!({
        "nodeSelector": {"beta.kubernetes.io/os": "linux", "a": "b"},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "node-role.kubernetes.io/master", "values": ["-"]}]}],
                },
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"preference": {"matchExpressions": [{"key": "a", "values": ["ok", "a b"]}]}},
                ],
            },
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term, {"labelSelector": {}}]},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": term}]},
        },
        "topologySpreadConstraints": [{"topologyKey": "failure-domain.beta.kubernetes.io/zone"}],
        "terminationGracePeriodSeconds": -1,
    });
    assert_eq!(
        of(spec),
        [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead".to_owned(),
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: node-role.kubernetes.io/master is use \"node-role.kubernetes.io/control-plane\" instead".into(),
            "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values[1]: a b is invalid, a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')".into(),
            "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead".into(),
            format!("spec.topologySpreadConstraints[0].labelSelector: {null}"),
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1".into(),
            format!("spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: {null}"),
            format!("spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: {null}"),
        ]
    );
}

#[test]
fn plugins() {
    let claim = json!({"spec": {"resources": {"requests": {"storage": "100m"}}}});
    let spec = json!({"volumes": [
        {"name": "a", "gitRepo": {}}, {"name": "b", "storageos": {}}, {"name": "c", "rbd": {}}, {"name": "d", "nfs": {}},
        {"name": "e", "ephemeral": {"volumeClaimTemplate": claim}}, {"name": "f", "scaleIO": {}},
    ]});
    assert_eq!(
        of(spec),
        [
            "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
            "spec.volumes[1].storageOS: deprecated in v1.22, non-functional in v1.25+",
            "spec.volumes[2].rbd: deprecated in v1.28, non-functional in v1.31+",
            "spec.volumes[4].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: fractional byte value \"100m\" is invalid, must be an integer",
            "spec.volumes[5].scaleIO: deprecated in v1.16, non-functional in v1.22+",
        ]
    );
}

#[test]
fn files_in_the_way() {
    let files = |paths: &[&str]| paths.iter().map(|path| json!({"path": path})).collect::<Value>();
    let spec = json!({"volumes": [
        {"name": "a", "configMap": {"name": "m", "items": files(&["x", "x/y", "xy", "x/"])}},
        {"name": "b", "secret": {"secretName": "s", "items": files(&["d/e", "d"])}},
        {"name": "c", "downwardAPI": {"items": files(&["d", "d"])}},
        {"name": "d", "projected": {"sources": [
            {"configMap": {"name": "m", "items": files(&["t"])}}, {}, {"serviceAccountToken": {"path": "t/u"}},
            {"clusterTrustBundle": {"signerName": "s.example/x", "path": "v"}}, {"downwardAPI": {"items": files(&["v/w"])}},
        ]}},
        {"name": "e", "projected": {"sources": [
            {"secret": {"name": "s", "items": files(&["p"])}}, {"configMap": {"name": "all"}},
        ]}},
    ]});
    assert_eq!(
        of(spec),
        [
            "volume \"a\" (ConfigMap \"m\"): overlapping paths: \"x/y\" with \"x\"",
            "volume \"a\" (ConfigMap \"m\"): overlapping paths: \"x\" with \"x\"",
            "volume \"a\" (ConfigMap \"m\"): overlapping paths: \"x\" with \"x/y\"",
            "volume \"b\" (Secret \"s\"): overlapping paths: \"d\" with \"d/e\"",
            "volume \"c\" (DownwardAPI): overlapping paths: \"d\" with \"d\"",
            "volume \"d\" (Projected) has no sources provided",
            "volume \"d\" (Projected): overlapping paths: \"t/u\" (ServiceAccountToken) with \"t\" (ConfigMap \"m\")",
            "volume \"d\" (Projected): overlapping paths: \"v/w\" (DownwardAPI) with \"v\" (ClusterTrustBundle \"s.example/x\")",
            "volume \"e\" (Projected): overlapping paths: \"p\" (Secret \"s\") with \"p\" (Secret \"s\")",
        ]
    );
}

#[test]
fn lists_of_the_pod() {
    let future = "will be considered invalid in a future Kubernetes release";
    let spec = json!({
        "hostAliases": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.1"}, {"ip": "192.0.02.2"}],
        "imagePullSecrets": [{"name": "s"}, {}, {"name": "s"}, {"name": ""}],
        "overhead": {"memory": "1500m"},
        "dnsConfig": {"nameservers": ["192.0.2.3", "FD00::1"]},
    });
    assert_eq!(
        of(spec),
        [
            "spec.hostAliases[1].ip: duplicate ip \"192.0.2.1\"".to_owned(),
            "spec.imagePullSecrets[2].name: duplicate name \"s\"".into(),
            "spec.imagePullSecrets[3].name: duplicate name \"\"".into(),
            "spec.imagePullSecrets[1].name: invalid empty name \"\"".into(),
            "spec.imagePullSecrets[3].name: invalid empty name \"\"".into(),
            "spec.overhead[memory]: fractional byte value \"1500m\" is invalid, must be an integer".into(),
            "spec.dnsConfig.nameservers[1]: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")".into(),
            format!("spec.hostAliases[2].ip: non-standard IP address \"192.0.02.2\" {future}: use \"192.0.2.2\""),
        ]
    );
}

#[test]
fn containers() {
    let container = json!({
        "name": "c",
        "resources": {"limits": {"memory": "100m", "ephemeral-storage": "1"}, "requests": {"memory": "200m"}},
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)"}, {"name": "A", "value": "2"}, {"name": "A", "valueFrom": {}}],
    });
    assert_eq!(
        of(json!({"initContainers": [container]})),
        [
            "spec.initContainers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
            "spec.initContainers[0].resources.requests[memory]: fractional byte value \"200m\" is invalid, must be an integer",
            "spec.initContainers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.initContainers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.initContainers[0].env[3]: hides previous definition of \"A\", which may be dropped when using apply",
        ]
    );
}

#[test]
fn ports() {
    let port = |number: i64, host: i64, ip: &str, name: &str| json!({"containerPort": number, "hostPort": host, "hostIP": ip, "protocol": "TCP", "name": name});
    let spec = json!({"containers": [
        {"name": "a", "ports": [port(80, 0, "", "web"), port(81, 8081, "192.0.2.1", ""), port(82, 0, "192.0.2.1", "x")]},
        {"name": "b", "ports": [port(80, 0, "", "web"), port(81, 8081, "", ""), port(81, 8082, "", ""), port(80, 8080, "", "y")]},
    ]});
    assert_eq!(
        of(spec),
        [
            "spec.containers[0].ports[2]: hostIP set without hostPort: {Name:x HostPort:0 ContainerPort:82 Protocol:TCP HostIP:192.0.2.1}",
            "spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.containers[1].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[1]",
            "spec.containers[1].ports[3]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.containers[1].ports[3]: overlapping port definition with spec.containers[1].ports[0]",
            "spec.containers[1].ports[0]: duplicate port name \"web\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]",
        ]
    );
}

#[test]
fn annotations_in_the_place_of_fields() {
    let annotations = json!({
        "scheduler.alpha.kubernetes.io/critical-pod": "", "security.alpha.kubernetes.io/sysctls": "a=b",
        "seccomp.security.alpha.kubernetes.io/pod": "x", "container.seccomp.security.alpha.kubernetes.io/c": "x",
    });
    let container = json!({"name": "c"});
    let expected = [
        "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead",
        "metadata.annotations[security.alpha.kubernetes.io/sysctls]: non-functional in v1.11+; use the \"sysctls\" field instead",
        "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
        "metadata.annotations[container.seccomp.security.alpha.kubernetes.io/c]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
    ];
    let pod = annotated(annotations.clone(), json!({"containers": [container]}));
    assert_eq!(create(&pod), expected);
    assert_eq!(
        template(&pod, "spec.template"),
        expected.map(|text| format!("spec.template.{text}"))
    );
    let fields = json!({"seccompProfile": {"type": "RuntimeDefault"}});
    let spec = json!({"securityContext": fields, "containers": [{"name": "c", "securityContext": fields}]});
    assert_eq!(create(&annotated(annotations, spec)), expected[..2]);
}

#[test]
fn apparmor() {
    let key = "container.apparmor.security.beta.kubernetes.io/c";
    let text =
        format!("metadata.annotations[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead");
    let pod = |annotation: &str, field: Value, os: &str| {
        let spec =
            json!({"os": {"name": os}, "securityContext": {"appArmorProfile": field}, "containers": [{"name": "c"}]});
        annotated(json!({key: annotation}), spec)
    };
    let unconfined = json!({"type": "Unconfined"});
    let local = json!({"type": "Localhost", "localhostProfile": "x"});
    for (annotation, field, os, warned) in [
        ("unconfined", Value::Null, "linux", true),
        ("unconfined", unconfined.clone(), "linux", false),
        ("localhost/x", local.clone(), "linux", false),
        ("localhost/y", local, "linux", true),
        ("runtime/default", unconfined.clone(), "linux", true),
        ("nonsense", unconfined.clone(), "linux", true),
        ("unconfined", Value::Null, "windows", false),
    ] {
        assert_eq!(
            create(&pod(annotation, field, os)),
            Vec::from_iter(warned.then(|| text.clone())),
            "{annotation} {os}"
        );
    }
    let of_template = |field: Value| template(&pod("nonsense", field, "linux"), "template");
    assert_eq!(of_template(Value::Null), [format!("template.{text}")]);
    assert!(of_template(unconfined).is_empty());
}

#[test]
fn statuses() {
    let status = json!({"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "FD00::1"}], "hostIPs": [{"ip": "FD00::2"}]}});
    assert_eq!(
        update_status(&status),
        [
            "status.podIPs[1].ip: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
            "status.hostIPs[0].ip: IPv6 address \"FD00::2\" should be in RFC 5952 canonical format (\"fd00::2\")",
        ]
    );
}

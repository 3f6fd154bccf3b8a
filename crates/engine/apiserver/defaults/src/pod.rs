//! Pods and what is made of the same spec: pod templates, containers, probes.

use serde_json::{Map, json};

use crate::fields::{
    Fields, agree, is_missing, items, object, set_if_empty, set_if_missing, set_if_zero, structure, text,
};
use crate::image;
use crate::resources;
use crate::volumes;

/// Containers that a pod has from the start.
const RUN: [&str; 2] = ["containers", "initContainers"];
/// All containers of a pod.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
/// Statuses of all containers of a pod.
const STATUSES: [&str; 3] = [
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
const HOOKS: [&str; 2] = ["postStart", "preStop"];

/// Numbers of a probe, for which zero is no value.
const PROBE_NUMBERS: [(&str, i64); 4] = [
    ("timeoutSeconds", 1),
    ("periodSeconds", 10),
    ("successThreshold", 1),
    ("failureThreshold", 3),
];

/// A Pod.
pub fn pod(object: &mut Fields) {
    if let Some(spec) = structure(object, "spec") {
        // These hold for a pod only, not for a template it is made of.
        for list in RUN {
            items(spec, list).for_each(resources::requests_from_limits);
        }
        resources::pod_level(spec);
        set_if_missing(spec, "enableServiceLinks", true);
        if spec.get("hostNetwork").is_some_and(|on| on == true) {
            for list in RUN {
                items(spec, list).for_each(host_ports);
            }
        }
        self::spec(spec);
    }
    if let Some(status) = self::object(object, "status") {
        agree(
            status,
            "podIP",
            "podIPs",
            |address| json!({"ip": address}),
            |item| item.get("ip")?.as_str(),
        );
        for list in STATUSES {
            for container in items(status, list) {
                resources::round(container, &["allocatedResources"]);
                resources::round_requirements(container);
            }
        }
    }
}

/// A PodTemplate.
pub fn pod_template(object: &mut Fields) {
    template(object);
}

/// The `template` of a workload.
pub fn template(owner: &mut Fields) {
    if let Some(template) = object(owner, "template")
        && let Some(spec) = structure(template, "spec")
    {
        self::spec(spec);
    }
}

/// On the host's network a container's ports are the host's.
fn host_ports(container: &mut Fields) {
    for port in items(container, "ports") {
        if let Some(number) = port.get("containerPort").filter(|p| p.is_number()).cloned() {
            set_if_zero(port, "hostPort", number);
        }
    }
}

/// The spec of a pod or of a template.
fn spec(spec: &mut Fields) {
    set_if_empty(spec, "dnsPolicy", "ClusterFirst");
    set_if_empty(spec, "restartPolicy", "Always");
    set_if_empty(spec, "schedulerName", "default-scheduler");
    set_if_missing(spec, "securityContext", Map::new());
    set_if_missing(spec, "terminationGracePeriodSeconds", 30);
    service_account(spec);
    resources::round(spec, &["overhead"]);
    resources::round_requirements(spec);
    items(spec, "volumes").for_each(volumes::volume);
    for list in CONTAINERS {
        items(spec, list).for_each(container);
    }
}

/// Two fields name the service account. The older one counts only where the newer one is missing.
fn service_account(spec: &mut Fields) {
    const FIELDS: [&str; 2] = ["serviceAccountName", "serviceAccount"];
    let readable = FIELDS
        .iter()
        .all(|field| is_missing(spec, field) || spec.get(*field).is_some_and(|v| v.is_string()));
    let name = FIELDS
        .map(|field| text(spec, field))
        .into_iter()
        .find(|name| !name.is_empty());
    if let Some(name) = name.filter(|_| readable).map(str::to_owned) {
        for field in FIELDS {
            spec.insert(field.to_owned(), name.as_str().into());
        }
    }
}

fn container(container: &mut Fields) {
    let policy = image::pull_policy(text(container, "image"));
    set_if_empty(container, "imagePullPolicy", policy);
    set_if_empty(container, "terminationMessagePath", "/dev/termination-log");
    set_if_empty(container, "terminationMessagePolicy", "File");
    resources::round_requirements(container);
    for port in items(container, "ports") {
        set_if_empty(port, "protocol", "TCP");
    }
    for variable in items(container, "env") {
        if let Some(source) = object(variable, "valueFrom") {
            field_references(source);
        }
    }
    for name in PROBES {
        if let Some(probe) = object(container, name) {
            self::probe(probe);
        }
    }
    for hook in HOOKS {
        if let Some(hook) = object(container, "lifecycle").and_then(|lifecycle| object(lifecycle, hook)) {
            http_get(hook);
        }
    }
}

/// References to fields of the pod and to resources of its containers.
pub fn field_references(source: &mut Fields) {
    if let Some(reference) = object(source, "fieldRef") {
        set_if_empty(reference, "apiVersion", "v1");
    }
    if let Some(reference) = object(source, "resourceFieldRef") {
        set_if_missing(reference, "divisor", "0");
    }
}

fn probe(probe: &mut Fields) {
    for (field, value) in PROBE_NUMBERS {
        set_if_zero(probe, field, value);
    }
    http_get(probe);
    if let Some(call) = object(probe, "grpc") {
        set_if_missing(call, "service", "");
    }
}

fn http_get(handler: &mut Fields) {
    if let Some(request) = object(handler, "httpGet") {
        set_if_empty(request, "path", "/");
        set_if_empty(request, "scheme", "HTTP");
    }
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Value {
        let mut object = json!({"spec": spec});
        apply("", "v1", "pods", &mut object);
        object["spec"].take()
    }

    #[test]
    fn a_pod_has_what_every_pod_has() {
        let spec = pod(json!({"containers": [{"name": "c", "image": "a:1"}]}));
        let container = json!({
            "name": "c", "image": "a:1", "imagePullPolicy": "IfNotPresent",
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        });
        let expected = json!({
            "containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
            "enableServiceLinks": true,
        });
        assert_eq!(spec, expected);
    }

    #[test]
    fn what_was_written_stays() {
        let written = json!({
            "dnsPolicy": "None", "restartPolicy": "Never", "schedulerName": "s", "enableServiceLinks": false,
            "securityContext": {"runAsUser": 0}, "terminationGracePeriodSeconds": 0,
        });
        assert_eq!(pod(written.clone()), written);
    }

    #[test]
    fn only_a_pod_takes_requests_from_limits_and_ports_from_containers() {
        let spec = json!({"hostNetwork": true, "containers": [{
            "resources": {"limits": {"cpu": "2000m"}}, "ports": [{"containerPort": 80}],
        }]});
        let of_pod = pod(spec.clone());
        let (container, port) = (
            &of_pod["containers"][0],
            json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"}),
        );
        assert_eq!(
            container["resources"],
            json!({"limits": {"cpu": "2"}, "requests": {"cpu": "2"}})
        );
        assert_eq!(container["ports"], json!([port]));

        let mut template = json!({"template": {"spec": spec}});
        apply("", "v1", "podtemplates", &mut template);
        let spec = &template["template"]["spec"];
        assert_eq!(spec["containers"][0]["resources"], json!({"limits": {"cpu": "2"}}));
        assert_eq!(
            spec["containers"][0]["ports"],
            json!([{"containerPort": 80, "protocol": "TCP"}])
        );
        assert!(spec.get("enableServiceLinks").is_none());
    }

    #[test]
    fn probes_hooks_and_references() {
        let spec = pod(json!({"initContainers": [{
            "livenessProbe": {"httpGet": {"port": 1}, "periodSeconds": 0, "timeoutSeconds": 7},
            "startupProbe": {"grpc": {"port": 1}},
            "lifecycle": {"preStop": {"httpGet": {"port": 1, "path": "x"}}},
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "p"}}},
                    {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "r"}}}],
        }]}));
        let container = &spec["initContainers"][0];
        let numbers = |timeout: i64| json!({"timeoutSeconds": timeout, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3});
        let mut liveness = numbers(7);
        liveness["httpGet"] = json!({"port": 1, "path": "/", "scheme": "HTTP"});
        let mut startup = numbers(1);
        startup["grpc"] = json!({"port": 1, "service": ""});
        assert_eq!(
            (&container["livenessProbe"], &container["startupProbe"]),
            (&liveness, &startup)
        );
        let hook = json!({"port": 1, "path": "x", "scheme": "HTTP"});
        assert_eq!(container["lifecycle"]["preStop"]["httpGet"], hook);
        assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
        assert_eq!(container["env"][1]["valueFrom"]["resourceFieldRef"]["divisor"], "0");
    }

    #[test]
    fn addresses_agree_and_amounts_are_rounded() {
        let container = json!({"allocatedResources": {"cpu": "1000m"}, "resources": {"requests": {"cpu": "1000m"}}});
        let mut object = json!({"status": {"podIP": "192.0.2.1", "containerStatuses": [container]}});
        apply("", "v1", "pods", &mut object);
        let container = json!({"allocatedResources": {"cpu": "1"}, "resources": {"requests": {"cpu": "1"}}});
        let expected = json!({
            "podIP": "192.0.2.1", "podIPs": [{"ip": "192.0.2.1"}], "containerStatuses": [container],
        });
        assert_eq!(object["status"], expected);
    }

    #[test]
    fn both_names_of_the_service_account_agree() {
        for given in [
            json!({"serviceAccount": "a"}),
            json!({"serviceAccountName": "a", "serviceAccount": "b"}),
        ] {
            let spec = pod(given);
            assert_eq!(
                (&spec["serviceAccountName"], &spec["serviceAccount"]),
                (&json!("a"), &json!("a"))
            );
        }
        assert_eq!(
            pod(json!({"serviceAccountName": 1, "serviceAccount": "b"}))["serviceAccountName"],
            1
        );
    }
}

//! Cells of the core group.

use serde_json::Value;

use super::format::{access_modes, containers, count, labels, limited, or_none, or_unset, texts};
use super::{Row, misc, pod};
use crate::object;

pub(super) fn cells(plural: &str, row: &Row<'_>) -> Option<Vec<Value>> {
    let (name, age) = (row.name(), row.age());
    Some(match plural {
        "pods" => pod::cells(row),
        "nodes" => node(row),
        "services" => service(row),
        "events" => misc::event(
            row,
            "involvedObject",
            "message",
            "source",
            ["firstTimestamp", "lastTimestamp", "count"],
        ),
        "namespaces" => vec![name, row.text("status.phase").into(), age],
        "configmaps" => vec![name, (count(row.at("data")) + count(row.at("binaryData"))).into(), age],
        "secrets" => vec![name, row.text("type").into(), count(row.at("data")).into(), age],
        "serviceaccounts" => vec![name, count(row.at("secrets")).into(), age],
        "endpoints" => vec![name, endpoints(row.at("subsets")).into(), age],
        "persistentvolumes" => volume(row),
        "persistentvolumeclaims" => claim(row),
        "replicationcontrollers" => {
            let [names, images] = containers(row.at("spec.template.spec"));
            let number = |path: &str| Value::from(row.int(path));
            let selector = labels(row.at("spec.selector"));
            vec![
                name,
                number("spec.replicas"),
                number("status.replicas"),
                number("status.readyReplicas"),
                age,
                names,
                images,
                selector,
            ]
        }
        "podtemplates" => {
            let [names, images] = containers(row.at("template.spec"));
            vec![name, names, images, labels(row.at("template.metadata.labels"))]
        }
        "resourcequotas" => {
            let (requests, limits) = quota(row);
            vec![name, requests.into(), limits.into(), age]
        }
        "limitranges" => vec![name, object::creation_timestamp(row.object).into()],
        _ => return None,
    })
}

fn node(row: &Row<'_>) -> Vec<Value> {
    let mut conditions = row.at("status.conditions").as_array().into_iter().flatten();
    let ready = conditions.rfind(|c| c["type"] == "Ready");
    let mut status = match ready.map(|c| c["status"] == "True") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if row.at("spec.unschedulable") == true {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles: Vec<&str> = Vec::new();
    for (key, value) in row.at("metadata.labels").as_object().into_iter().flatten() {
        match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => roles.push(role),
            _ if key == "kubernetes.io/role" => roles.extend(value.as_str().filter(|v| !v.is_empty())),
            _ => {}
        }
    }
    roles.sort_unstable();
    roles.dedup();
    let address = |kind: &str| {
        let list = row.at("status.addresses").as_array().into_iter().flatten();
        or_none(
            list.filter(|a| a["type"] == kind)
                .find_map(|a| a["address"].as_str())
                .unwrap_or_default(),
        )
    };
    let info = |field: &str| match row.text(&format!("status.nodeInfo.{field}")) {
        "" => "<unknown>".into(),
        text => Value::from(text),
    };
    vec![
        row.name(),
        status.into(),
        or_none(&roles.join(",")),
        row.age(),
        row.text("status.nodeInfo.kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn service(row: &Row<'_>) -> Vec<Value> {
    let kind = row.text("spec.type");
    let external_ips = texts(row.at("spec.externalIPs"));
    let external = match kind {
        "LoadBalancer" => {
            let ingress = row.at("status.loadBalancer.ingress").as_array().into_iter().flatten();
            let mut all: Vec<&str> = ingress
                .filter_map(|i| i["ip"].as_str().filter(|ip| !ip.is_empty()).or(i["hostname"].as_str()))
                .collect();
            all.extend(external_ips);
            if all.is_empty() {
                "<pending>".into()
            } else {
                Value::from(all.join(","))
            }
        }
        "ExternalName" => row.text("spec.externalName").into(),
        _ => or_none(&external_ips.join(",")),
    };
    let ports: Vec<String> = row
        .at("spec.ports")
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| {
            let protocol = p["protocol"].as_str().unwrap_or("TCP");
            match p["nodePort"].as_i64().filter(|n| *n > 0) {
                Some(node_port) => format!("{}:{node_port}/{protocol}", p["port"]),
                None => format!("{}/{protocol}", p["port"]),
            }
        })
        .collect();
    let cluster_ip = texts(row.at("spec.clusterIPs"))
        .first()
        .copied()
        .unwrap_or(row.text("spec.clusterIP"));
    vec![
        row.name(),
        kind.into(),
        or_none(cluster_ip),
        external,
        or_none(&ports.join(",")),
        row.age(),
        labels(row.at("spec.selector")),
    ]
}

fn endpoints(subsets: &Value) -> String {
    let mut all = Vec::new();
    for subset in subsets.as_array().into_iter().flatten() {
        for address in subset["addresses"].as_array().into_iter().flatten() {
            let ip = address["ip"].as_str().unwrap_or_default();
            match subset["ports"].as_array().filter(|p| !p.is_empty()) {
                Some(ports) => all.extend(ports.iter().map(|p| match ip.contains(':') {
                    true => format!("[{ip}]:{}", p["port"]),
                    false => format!("{ip}:{}", p["port"]),
                })),
                None => all.push(ip.to_owned()),
            }
        }
    }
    if all.is_empty() {
        "<none>".into()
    } else {
        limited(&all, 3)
    }
}

fn phase<'a>(row: &'a Row<'_>) -> &'a str {
    if row.text("metadata.deletionTimestamp").is_empty() {
        row.text("status.phase")
    } else {
        "Terminating"
    }
}

fn volume(row: &Row<'_>) -> Vec<Value> {
    let claim = row.at("spec.claimRef");
    let claim = match claim {
        Value::Null => String::new(),
        c => format!(
            "{}/{}",
            c["namespace"].as_str().unwrap_or_default(),
            c["name"].as_str().unwrap_or_default()
        ),
    };
    vec![
        row.name(),
        row.text("spec.capacity.storage").into(),
        access_modes(row.at("spec.accessModes")).into(),
        row.text("spec.persistentVolumeReclaimPolicy").into(),
        phase(row).into(),
        claim.into(),
        row.text("spec.storageClassName").into(),
        or_unset(row.text("spec.volumeAttributesClassName")),
        row.text("status.reason").into(),
        row.age(),
        or_unset(row.text("spec.volumeMode")),
    ]
}

fn claim(row: &Row<'_>) -> Vec<Value> {
    let bound = !row.text("spec.volumeName").is_empty();
    let (capacity, modes) = if bound {
        (
            row.text("status.capacity.storage").to_owned(),
            access_modes(row.at("status.accessModes")),
        )
    } else {
        (String::new(), String::new())
    };
    vec![
        row.name(),
        phase(row).into(),
        row.text("spec.volumeName").into(),
        capacity.into(),
        modes.into(),
        row.text("spec.storageClassName").into(),
        or_unset(row.text("spec.volumeAttributesClassName")),
        row.age(),
        or_unset(row.text("spec.volumeMode")),
    ]
}

fn quota(row: &Row<'_>) -> (String, String) {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let quantity = |v: &Value| {
        v.as_str()
            .map_or_else(|| if v.is_null() { "0".into() } else { v.to_string() }, str::to_owned)
    };
    for (resource, hard) in row.at("status.hard").as_object().into_iter().flatten() {
        let used = &row.at("status.used")[resource];
        let text = format!("{resource}: {}/{}", quantity(used), quantity(hard));
        if resource.starts_with("limits") {
            limits.push(text)
        } else {
            requests.push(text)
        }
    }
    (requests.join(", "), limits.join(", "))
}

//! What an object of each kind uses, by the names that quotas limit it under.

use std::collections::{BTreeMap, BTreeSet};

use engenho_quantity::Quantity;
use serde_json::Value;

use super::scopes::Scope;
use crate::Operation;
use crate::claim_resize::class;
use crate::get::{items, text};
use crate::pod_resources::{List, effective, has_pod_level};
use engenho_quantity::amounts::{Amounts, add, largest, read};

/// Prefix of what is asked for, in the names of quotas.
const REQUESTS: &str = "requests.";
const HUGE_PAGES: &str = "hugepages-";
/// After the name of a storage class, what claims of that class use.
const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
/// After the name of a device class, the devices of that class.
const DEVICES: &str = ".deviceclass.resource.k8s.io/devices";
/// As many devices as one allocation can hold, which is what "all" is counted as.
const MOST_DEVICES: i64 = 32;
/// Resources of pods that are asked for under their own name and one with a prefix.
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// A quota on one of these takes every container to state it. No more are to follow.
const STATED: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];
/// Resources of the core group that could be counted before all could.
const FORMERLY_COUNTED: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// A resource as quotas see it.
pub(super) enum Kind<'a> {
    Pods,
    Claims,
    Services,
    DeviceClaims,
    /// Everything else is only counted.
    Other {
        group: &'a str,
        plural: &'a str,
    },
}

impl<'a> Kind<'a> {
    pub fn of(group: &'a str, plural: &'a str) -> Self {
        match (group, plural) {
            ("", "pods") => Self::Pods,
            ("", "persistentvolumeclaims") => Self::Claims,
            ("", "services") => Self::Services,
            ("resource.k8s.io", "resourceclaims") => Self::DeviceClaims,
            _ => Self::Other { group, plural },
        }
    }

    /// Whether such a write may change what is used.
    pub fn counts(&self, operation: Operation, subresource: &str) -> bool {
        match (self, operation) {
            (_, Operation::Delete) => false,
            (Self::Pods, Operation::Create) => matches!(subresource, "" | "resize"),
            (Self::Pods, Operation::Update) => subresource == "resize",
            (Self::Claims, _) => subresource.is_empty() || (subresource == "status" && operation == Operation::Update),
            (Self::Services, _) => matches!(subresource, "" | "status"),
            (Self::DeviceClaims, _) => subresource.is_empty(),
            (Self::Other { .. }, _) => subresource.is_empty() && operation == Operation::Create,
        }
    }

    /// The name that objects themselves are counted under.
    fn count_name(&self) -> String {
        match self {
            Self::Pods => "count/pods".to_owned(),
            Self::Claims => "count/persistentvolumeclaims".to_owned(),
            Self::Services => "count/services".to_owned(),
            Self::DeviceClaims => "count/resourceclaims.resource.k8s.io".to_owned(),
            Self::Other { group: "", plural } => format!("count/{plural}"),
            Self::Other { group, plural } => format!("count/{plural}.{group}"),
        }
    }

    /// Whether this is a name that objects of the kind are counted under.
    pub fn covers(&self, resource: &str) -> bool {
        if resource == self.count_name() {
            return true;
        }
        match self {
            Self::Pods => is_of_pods(resource),
            Self::Claims => ["persistentvolumeclaims", "requests.storage"].iter().any(|name| {
                let rest = resource.strip_suffix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with(STORAGE_CLASS))
            }),
            Self::Services => matches!(resource, "services" | "services.nodeports" | "services.loadbalancers"),
            Self::DeviceClaims => resource.ends_with(DEVICES),
            Self::Other { group, plural } => {
                group.is_empty() && resource == *plural && FORMERLY_COUNTED.contains(plural)
            }
        }
    }

    /// Whether an object is among those that a quota is about.
    pub fn is_in_scope(&self, quota: &Value, object: &Value) -> bool {
        Scope::of(quota).all(|scope| match self {
            Self::Pods => scope.holds_for_pod(object),
            Self::Claims => scope.holds_for_claim(object),
            _ => false,
        })
    }

    /// Whether a quota counts an object.
    pub fn is_matched_by(&self, quota: &Value, object: &Value) -> bool {
        let hard = &quota["status"]["hard"];
        let mut limited = crate::get::fields(hard).map(|(name, _)| name);
        limited.any(|name| self.covers(name)) && self.is_in_scope(quota, object)
    }

    /// What an object uses.
    pub fn usage(&self, object: &Value) -> Amounts {
        let mut used = match self {
            Self::Pods => pod(object),
            Self::Claims => claim(object),
            Self::Services => service(object),
            Self::DeviceClaims => devices(object),
            Self::Other { group: "", plural } if FORMERLY_COUNTED.contains(plural) => one(plural),
            Self::Other { .. } => Amounts::new(),
        };
        used.insert(self.count_name(), Quantity::whole(1));
        used
    }

    /// What a pod has to state because a quota limits it, and does not.
    pub fn unstated(&self, limited: &[String], pod: &Value) -> Option<String> {
        if !matches!(self, Self::Pods) || has_pod_level(pod) {
            return None;
        }
        let spec = &pod["spec"];
        let containers = items(&spec["containers"]).iter().chain(items(&spec["initContainers"]));
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for container in containers {
            let resources = &container["resources"];
            let stated = compute(&read(&resources["requests"]), &read(&resources["limits"]));
            let required = limited.iter().filter(|name| STATED.contains(&name.as_str()));
            for name in required.filter(|name| !stated.contains_key(*name)) {
                missing.entry(name).or_default().insert(text(&container["name"]));
            }
        }
        let each = missing.into_iter().map(|(name, containers)| {
            let containers: Vec<&str> = containers.into_iter().collect();
            format!("{name} for: {}", containers.join(","))
        });
        let each: Vec<String> = each.collect();
        (!each.is_empty()).then(|| format!("must specify {}", each.join("; ")))
    }
}

fn one(name: &str) -> Amounts {
    Amounts::from([(name.to_owned(), Quantity::whole(1))])
}

fn is_of_pods(resource: &str) -> bool {
    let compute = |name: &str| COMPUTE.contains(&name);
    resource == "pods"
        || compute(resource)
        || resource.starts_with(HUGE_PAGES)
        || resource.strip_prefix("limits.").is_some_and(compute)
        || resource
            .strip_prefix(REQUESTS)
            .is_some_and(|name| compute(name) || name.starts_with(HUGE_PAGES) || !is_native(resource))
}

/// Whether a resource is one that Kubernetes itself knows.
fn is_native(resource: &str) -> bool {
    !resource.contains('/') || resource.contains("kubernetes.io/")
}

/// What containers with these amounts use, by the names of quotas.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = one("pods");
    for (name, amount) in requests {
        let is_compute = COMPUTE.contains(&name.as_str()) || name.starts_with(HUGE_PAGES);
        if is_compute {
            used.insert(name.clone(), *amount);
        }
        if is_compute || !(is_native(name) || name.starts_with(REQUESTS)) {
            used.insert(format!("{REQUESTS}{name}"), *amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(name, _)| COMPUTE.contains(&name.as_str())) {
        used.insert(format!("limits.{name}"), *amount);
    }
    used
}

/// A pod that has come to its end uses nothing any more.
fn pod(pod: &Value) -> Amounts {
    match text(&pod["status"]["phase"]) {
        "Failed" | "Succeeded" => Amounts::new(),
        _ => compute(&effective(pod, List::Requests), &effective(pod, List::Limits)),
    }
}

fn claim(claim: &Value) -> Amounts {
    const STORAGE: &str = "storage";
    let mut used = one("persistentvolumeclaims");
    let mut size = read(&claim["spec"]["resources"]["requests"]).remove(STORAGE);
    let allocated = read(&claim["status"]["allocatedResources"]).remove(STORAGE);
    if size.is_some() {
        size = size.max(allocated);
    }
    if let Some(size) = size {
        // Storage comes in whole bytes.
        let rounded = Quantity::whole(size.value());
        let whole = if rounded == size || size.value() == i64::MAX {
            size
        } else {
            rounded
        };
        used.insert("requests.storage".to_owned(), whole);
    }
    let class = class(claim);
    if !class.is_empty() {
        let of_class: Vec<_> = used
            .iter()
            .map(|(name, amount)| (format!("{class}{STORAGE_CLASS}{name}"), *amount))
            .collect();
        used.extend(of_class);
    }
    used
}

fn service(service: &Value) -> Amounts {
    let spec = &service["spec"];
    let ports = items(&spec["ports"]);
    let kind = text(&spec["type"]);
    let is_balanced = kind == "LoadBalancer";
    let node_ports = match kind {
        "NodePort" => ports.len(),
        // Without ports of their own making, only those that are given count.
        "LoadBalancer" if spec["allocateLoadBalancerNodePorts"] == false => {
            let is_given = |port: &&Value| port["nodePort"].as_i64().is_some_and(|number| number != 0);
            ports.iter().filter(is_given).count()
        }
        "LoadBalancer" => ports.len(),
        _ => 0,
    };
    let mut used = one("services");
    let node_ports = i64::try_from(node_ports).unwrap_or(i64::MAX);
    used.insert("services.nodeports".to_owned(), Quantity::whole(node_ports));
    used.insert(
        "services.loadbalancers".to_owned(),
        Quantity::whole(i64::from(is_balanced)),
    );
    used
}

/// The devices that a claim may get at most, by class.
fn devices(claim: &Value) -> Amounts {
    let of = |request: &Value| {
        let count = match text(&request["allocationMode"]) {
            "All" => MOST_DEVICES,
            _ => request["count"].as_i64().unwrap_or(1),
        };
        let name = format!("{}{DEVICES}", text(&request["deviceClassName"]));
        Amounts::from([(name, Quantity::whole(count))])
    };
    let mut used = Amounts::new();
    for request in items(&claim["spec"]["devices"]["requests"]) {
        let alternatives = items(&request["firstAvailable"]);
        // Before the stable version, a request held what is in `exactly` now.
        let exactly = match &request["exactly"] {
            Value::Null => request,
            exactly => exactly,
        };
        if !alternatives.is_empty() {
            let mut most = Amounts::new();
            for alternative in alternatives {
                largest(&mut most, &of(alternative));
            }
            add(&mut used, &most);
        } else if exactly["adminAccess"] != true {
            add(&mut used, &of(exactly));
        }
    }
    used
}

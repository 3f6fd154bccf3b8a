//! Containers of all three kinds.

use std::collections::HashSet;

use serde_json::Value;

use super::mounts::{self, Volumes};
use super::options::Options;
use super::{env, probes, resources, security};
use crate::errors::Errors;
use crate::get::{given, int, is_nothing, items, optional_text, text};
use crate::names::dns_label;
use crate::scalars::formats::{port_name, port_number};
use crate::{Path, shapes};

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
/// Protocols of ports.
pub(crate) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// What the containers of a pod are checked against.
#[derive(Debug)]
pub(super) struct Pod<'a> {
    pub spec: &'a Value,
    pub volumes: Volumes<'a>,
    pub claims: Vec<&'a str>,
    pub grace: Option<i64>,
    pub host_users: bool,
    pub options: Options,
}

/// Visits init containers, containers and ephemeral containers.
pub(crate) fn visit<'a>(spec: &'a Value, path: &Path, mut visitor: impl FnMut(&'a Value, &Path)) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let path = path.child(list);
        for (i, container) in items(&spec[list]).iter().enumerate() {
            visitor(container, &path.index(i));
        }
    }
}

/// A policy of pulling images.
pub(crate) fn pull_policy(policy: &Value, path: &Path, errors: &mut Errors) {
    errors.required_one_of(text(policy), &PULL_POLICIES, path);
}

/// Whether an init container runs as long as the pod.
pub(super) fn is_restarting(container: &Value) -> bool {
    text(&container["restartPolicy"]) == "Always"
}

impl<'a> Pod<'a> {
    fn list(&self, name: &str) -> &'a [Value] {
        items(&self.spec[name])
    }

    fn common(&self, container: &Value, path: &Path, errors: &mut Errors) {
        match text(&container["name"]) {
            "" => errors.required(path.child("name"), ""),
            name => errors.check(dns_label, name, &path.child("name")),
        }
        if text(&container["image"]).is_empty() {
            errors.required(path.child("image"), "");
        }
        let policies = ["File", "FallbackToLogsOnError"];
        let policy = path.child("terminationMessagePolicy");
        errors.required_one_of(text(&container["terminationMessagePolicy"]), &policies, &policy);
        ports(&container["ports"], &path.child("ports"), errors);
        env::variables(&container["env"], &path.child("env"), errors);
        env::sources(&container["envFrom"], &path.child("envFrom"), errors);
        mounts::mounts(container, &self.volumes, &path.child("volumeMounts"), errors);
        mounts::devices(container, &self.volumes, &path.child("volumeDevices"), errors);
        pull_policy(&container["imagePullPolicy"], &path.child("imagePullPolicy"), errors);
        let path_resources = path.child("resources");
        resources::container(
            &container["resources"],
            &self.claims,
            self.options,
            &path_resources,
            errors,
        );
        self.resize_policy(&container["resizePolicy"], &path.child("resizePolicy"), errors);
        let context = path.child("securityContext");
        security::container(&container["securityContext"], self.host_users, &context, errors);
    }

    fn resize_policy(&self, policies: &Value, path: &Path, errors: &mut Errors) {
        let never = text(&self.spec["restartPolicy"]) == "Never";
        let mut names = HashSet::new();
        for (i, policy) in items(policies).iter().enumerate() {
            let (name, restart) = (text(&policy["resourceName"]), text(&policy["restartPolicy"]));
            if !names.insert(name) {
                errors.duplicate(path.index(i), name);
            }
            errors.required_one_of(name, &["cpu", "memory"], path);
            errors.required_one_of(restart, &["NotRequired", "RestartContainer"], path);
            if never && restart != "NotRequired" {
                errors.invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'");
            }
        }
    }

    fn handlers(&self, container: &Value, path: &Path, errors: &mut Errors) {
        if given(&container["lifecycle"]) {
            probes::lifecycle(&container["lifecycle"], self.grace, &path.child("lifecycle"), errors);
        }
        probes::all(container, self.grace, path, errors);
    }

    /// Regular containers.
    pub fn containers(&self, path: &Path, errors: &mut Errors) {
        let containers = self.list("containers");
        if containers.is_empty() {
            errors.required(path, "");
            return;
        }
        let mut names = HashSet::new();
        for (i, container) in containers.iter().enumerate() {
            let item = path.index(i);
            self.common(container, &item, errors);
            if !names.insert(text(&container["name"])) {
                errors.duplicate(item.child("name"), text(&container["name"]));
            }
            self.handlers(container, &item, errors);
            if given(&container["restartPolicy"]) {
                errors.forbidden(item.child("restartPolicy"), "may not be set for non-init containers");
            }
        }
        host_ports(containers, path, errors);
    }

    /// Containers that run before.
    pub fn init_containers(&self, path: &Path, errors: &mut Errors) {
        let mut names: HashSet<&str> = self.list("containers").iter().map(|c| text(&c["name"])).collect();
        for (i, container) in self.list("initContainers").iter().enumerate() {
            let (item, name) = (path.index(i), text(&container["name"]));
            self.common(container, &item, errors);
            if let Some(policy) = optional_text(&container["restartPolicy"]) {
                errors.one_of(policy, &["Always"], &item.child("restartPolicy"));
            }
            if names.contains(name) {
                errors.duplicate(item.child("name"), name);
            } else if !name.is_empty() {
                names.insert(name);
            }
            // Init containers run one after the other: each may use the ports of the others.
            host_ports(std::slice::from_ref(container), path, errors);
            if is_restarting(container) {
                self.handlers(container, &item, errors);
                continue;
            }
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if given(&container[field]) {
                    let detail = "may not be set for init containers without restartPolicy=Always";
                    errors.forbidden(item.child(field), detail);
                }
            }
        }
    }

    /// Containers put in later, to look at the others.
    pub fn ephemeral_containers(&self, path: &Path, errors: &mut Errors) {
        let others: HashSet<&str> = ["containers", "initContainers"]
            .iter()
            .flat_map(|list| self.list(list))
            .map(|c| text(&c["name"]))
            .collect();
        let mut names = others.clone();
        for (i, container) in self.list("ephemeralContainers").iter().enumerate() {
            let (item, name) = (path.index(i), text(&container["name"]));
            self.common(container, &item, errors);
            only_of_pods(container, &item, errors);
            if !names.insert(name) {
                errors.duplicate(item.child("name"), name);
            }
            let target = text(&container["targetContainerName"]);
            if !target.is_empty() && !others.contains(target) {
                errors.not_found(item.child("targetContainerName"), target);
            }
            ephemeral_fields(container, &item, errors);
        }
    }
}

fn ephemeral_fields(container: &Value, path: &Path, errors: &mut Errors) {
    const REFUSED: [&str; 8] = [
        "ports",
        "resources",
        "resizePolicy",
        "restartPolicy",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
    ];
    let detail = "cannot be set for an Ephemeral Container";
    for field in REFUSED {
        let value = &container[field];
        let set = match field {
            "ports" | "resources" | "resizePolicy" => !is_nothing(value),
            _ => given(value),
        };
        if set {
            errors.forbidden(path.child(field), detail);
        }
    }
    let mounts = path.child("volumeMounts");
    for (i, mount) in items(&container["volumeMounts"]).iter().enumerate() {
        for field in ["subPath", "subPathExpr"] {
            if !text(&mount[field]).is_empty() {
                errors.forbidden(mounts.index(i).child(field), detail);
            }
        }
    }
}

/// What holds for containers of pods and not for those of templates.
pub(super) fn only_of_pods(container: &Value, path: &Path, errors: &mut Errors) {
    let image = text(&container["image"]);
    if image.trim() != image {
        errors.invalid(
            path.child("image"),
            image,
            "must not have leading or trailing whitespace",
        );
    }
}

fn ports(list: &Value, path: &Path, errors: &mut Errors) {
    let mut names = HashSet::new();
    for (i, port) in items(list).iter().enumerate() {
        let item = path.index(i);
        let name = text(&port["name"]);
        if !name.is_empty() {
            let wrong = port_name(name);
            if !wrong.is_empty() {
                errors.all(wrong, name, &item.child("name"));
            } else if !names.insert(name) {
                errors.duplicate(item.child("name"), name);
            }
        }
        match int(&port["containerPort"]) {
            0 => errors.required(item.child("containerPort"), ""),
            number => errors.all(port_number(number), number, &item.child("containerPort")),
        }
        match int(&port["hostPort"]) {
            0 => {}
            number => errors.all(port_number(number), number, &item.child("hostPort")),
        }
        errors.required_one_of(text(&port["protocol"]), &PROTOCOLS, &item.child("protocol"));
    }
}

fn host_ports(containers: &[Value], path: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, container) in containers.iter().enumerate() {
        let item = path.index(i);
        let ports = item.child("ports");
        for (j, port) in items(&container["ports"]).iter().enumerate() {
            let number = int(&port["hostPort"]);
            if number == 0 {
                continue;
            }
            let key = format!("{}/{}/{number}", text(&port["protocol"]), text(&port["hostIP"]));
            if !seen.insert(key.clone()) {
                errors.duplicate(ports.index(j).child("hostPort"), key);
            }
        }
    }
}

/// Claims of devices of a pod.
pub(super) fn resource_claims(claims: &Value, path: &Path, errors: &mut Errors) {
    use crate::names::dns_subdomain;
    let mut names = HashSet::new();
    for (i, claim) in items(claims).iter().enumerate() {
        let (item, name) = (path.index(i), text(&claim["name"]));
        if name.is_empty() {
            errors.required(item.child("name"), "");
        } else if !names.insert(name) {
            errors.duplicate(item.child("name"), name);
        } else {
            errors.check(dns_label, name, &item.child("name"));
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        let detail = match sources.iter().filter(|s| given(&claim[**s])).count() {
            0 => Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            1 => None,
            _ => Some("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"),
        };
        if let Some(detail) = detail {
            let printed = shapes::compact("PodResourceClaim", claim);
            errors.push(crate::FieldError::invalid_printed(item, &printed, detail));
        }
        for source in sources {
            if let Some(name) = optional_text(&claim[source]) {
                errors.check(dns_subdomain, name, &item.child(source));
            }
        }
    }
}

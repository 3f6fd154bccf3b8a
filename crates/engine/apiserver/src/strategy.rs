//! What the server itself puts into objects or keeps out of them, by kind: status, finalizers of namespaces,
//! generations (upstream's `PrepareForCreate` and `PrepareForUpdate`).

mod pods;
mod requests;

use engenho_catalog::Resource;
use engenho_patch::{defaults, round_trip};
use serde_json::{Map, Value, json};

use crate::authorizer::Identity;
use crate::kinds::{self, Generation, kind_of};
use crate::object;
use crate::times;

pub use requests::stamp_conditions;

/// Annotation that every DaemonSet carries.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
/// Label that every Namespace carries.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

fn is(resource: &Resource, group: &str, plural: &str) -> bool {
    resource.group == group && resource.plural == plural
}

/// Whether status is written through a subresource of its own.
pub fn has_status(resource: &Resource) -> bool {
    resource.subresource("status").is_some()
}

/// Drops what means nothing, and fills in what has a default.
pub fn default(resource: &Resource, object: &mut Value) {
    let schema = resource.schema();
    let typed = schema.filter(|_| !kinds::is_custom(resource));
    if let Some(schema) = &typed {
        round_trip::decoded(object, schema);
    }
    if let Some(schema) = &schema {
        defaults::apply(object, schema);
    }
    engenho_defaults::apply(&resource.group, &resource.version, &resource.plural, object);
    if let Some(schema) = &typed {
        round_trip::encoded(object, schema);
    }
    // The server's own structures are never empty on the wire where they mean nothing.
    if let Some(map) = object.as_object_mut()
        && resource.subresource("status").is_none()
        && map
            .get("status")
            .is_some_and(|s| s.as_object().is_some_and(Map::is_empty))
    {
        map.remove("status");
    }
}

/// Gives an object, whose fields are booked, the form in which it is stored and shown. All but two groups are stored
/// in a form in which an empty list is none.
pub fn finish(resource: &Resource, object: &mut Value) {
    if let Some(schema) = resource.schema().filter(|_| !kinds::is_custom(resource)) {
        round_trip::encoded(object, &schema);
        if !matches!(&*resource.group, "apiextensions.k8s.io" | "apiregistration.k8s.io") {
            round_trip::stored(object, &schema);
        }
    }
    engenho_defaults::finish(&resource.group, &resource.plural, object);
}

/// Prepares a new object: the client's status goes, the server's own initial state comes.
pub fn prepare_create(resource: &Resource, object: &mut Value, now_ms: u64) {
    if let Some(map) = object.as_object_mut()
        && has_status(resource)
        // A Node registers with its status, and some kinds keep what they are given.
        && !is(resource, "", "nodes")
        && !is(resource, "apiregistration.k8s.io", "apiservices")
    {
        match initial_status(resource) {
            Some(status) => drop(map.insert("status".into(), status)),
            None => drop(map.remove("status")),
        }
    }
    match kind_of(resource).generation {
        Generation::None => {}
        Generation::Spec | Generation::SpecAndMetadata => object::set_meta(object, "generation", 1),
    }
    match (&*resource.group, &*resource.plural) {
        ("", "namespaces") => {
            let mut finalizers = object["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
            if !finalizers.iter().any(|f| f == "kubernetes") {
                finalizers.push(json!("kubernetes"));
            }
            object["spec"] = json!({ "finalizers": finalizers });
            object["status"] = json!({"phase": "Active"});
            keep_namespace_label(object);
        }
        ("", "pods") => {
            pods::drop_disabled(object, None);
            pods::merge_label_keys(object);
            object["status"] = json!({"phase": "Pending", "qosClass": pods::qos_class(object)});
        }
        ("apiregistration.k8s.io", "apiservices") => object["status"] = local_service(object, now_ms),
        ("apps", "daemonsets") => keep_template_generation(object, None),
        ("", "persistentvolumes") => {
            object["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": times::seconds(now_ms)});
        }
        ("", "persistentvolumeclaims") => object["status"] = json!({"phase": "Pending"}),
        ("batch", "jobs") => select_own_pods(object),
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            object["status"] = engenho_crd::conditions::initial_status(&object["spec"]);
        }
        _ => {}
    }
    drop_disabled(resource, object, None);
}

/// Fields of features that are off by default: dropped, unless the object has them already.
const DISABLED: [(&str, &str, &str); 3] = [
    (
        "apps",
        "statefulsets",
        "/spec/updateStrategy/rollingUpdate/maxUnavailable",
    ),
    ("", "nodes", "/spec/configSource"),
    (
        "storage.k8s.io",
        "csidrivers",
        "/spec/nodeAllocatableUpdatePeriodSeconds",
    ),
];

/// Drops what this version of the API knows and does not take.
fn drop_disabled(resource: &Resource, new: &mut Value, old: Option<&Value>) {
    for (_, _, path) in DISABLED.iter().filter(|(group, plural, _)| is(resource, group, plural)) {
        let used = old
            .and_then(|old| old.pointer(path))
            .is_some_and(|value| !value.is_null());
        if let Some((parent, field)) = path.rsplit_once('/').filter(|_| !used)
            && let Some(map) = new.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            map.remove(field);
        }
    }
    if is(resource, "discovery.k8s.io", "endpointslices") {
        drop_topology(new, old);
    }
}

/// The topology of the v1beta1 API: kept as it is as long as the endpoints stay the same.
fn drop_topology(new: &mut Value, old: Option<&Value>) {
    if old.is_some_and(|old| old["endpoints"] == new["endpoints"]) {
        return;
    }
    for endpoint in new["endpoints"].as_array_mut().into_iter().flatten() {
        if let Some(map) = endpoint.as_object_mut() {
            map.remove("deprecatedTopology");
        }
    }
}

/// What a new object says of its status before anybody reported one: a structure whose required fields are zero.
fn initial_status(resource: &Resource) -> Option<Value> {
    let status = match (&*resource.group, &*resource.plural) {
        ("", "services") | ("networking.k8s.io", "ingresses") => json!({"loadBalancer": {}}),
        ("", "replicationcontrollers") | ("apps", "replicasets") => json!({"replicas": 0}),
        ("apps", "statefulsets") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "daemonsets") => json!({
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        }),
        ("policy", "poddisruptionbudgets") => json!({
            "disruptionsAllowed": 0,
            "currentHealthy": 0,
            "desiredHealthy": 0,
            "expectedPods": 0,
        }),
        ("storage.k8s.io", "volumeattachments") => json!({"attached": false}),
        ("autoscaling", "horizontalpodautoscalers") if resource.version == "v1" => {
            json!({"currentReplicas": 0, "desiredReplicas": 0})
        }
        ("autoscaling", "horizontalpodautoscalers") => json!({"desiredReplicas": 0, "currentMetrics": null}),
        // Its controller begins with what clients then see.
        ("apiextensions.k8s.io", _) => return None,
        _ if kinds::is_custom(resource) => return None,
        _ => json!({}),
    };
    Some(status)
}

/// An API that this server serves itself is there at once.
fn local_service(service: &Value, now_ms: u64) -> Value {
    if !service["spec"]["service"].is_null() {
        return json!({});
    }
    json!({"conditions": [{
        "type": "Available",
        "status": "True",
        "lastTransitionTime": times::seconds(now_ms),
        "reason": "Local",
        "message": "Local APIServices are always available",
    }]})
}

/// The number of templates that a DaemonSet has had, in an annotation (of clients before apps/v1).
fn keep_template_generation(new: &mut Value, old: Option<&Value>) {
    let before = old.and_then(|old| old["metadata"]["annotations"][TEMPLATE_GENERATION].as_str());
    let before: u64 = before.and_then(|text| text.parse().ok()).unwrap_or(0);
    let same = old.is_some_and(|old| old["spec"]["template"] == new["spec"]["template"]);
    let generation = if same { before } else { before.saturating_add(1) };
    engenho_patch::meta::set_annotation(new, TEMPLATE_GENERATION, &generation.to_string());
}

/// A DaemonSet that names no number of templates has its first one.
pub fn begin_template_generation(set: &mut Value) {
    if set["metadata"].is_object() && set["metadata"]["annotations"][TEMPLATE_GENERATION].is_null() {
        engenho_patch::meta::set_annotation(set, TEMPLATE_GENERATION, "1");
    }
}

/// A Job selects its pods by its own uid, unless its maker chose a selector.
fn select_own_pods(job: &mut Value) {
    let (uid, name) = (object::uid(job).to_owned(), object::name(job).to_owned());
    let Some(spec) = job.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    if spec["manualSelector"] == true || !spec["template"].is_object() {
        return;
    }
    let labels = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ];
    for (label, value) in labels {
        engenho_patch::meta::set_label(&mut spec["template"], label, value);
    }
    if spec["selector"].is_null() {
        spec["selector"] = json!({});
    }
    if spec["selector"].is_object()
        && (spec["selector"]["matchLabels"].is_null() || spec["selector"]["matchLabels"].is_object())
    {
        spec["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] = uid.into();
    }
}

/// Every Namespace carries its name as a label.
pub fn keep_namespace_label(object: &mut Value) {
    let name = object::name(object).to_owned();
    engenho_patch::meta::set_label(object, NAMESPACE_LABEL, &name);
}

/// Prepares the replacement of `old`, through the main resource.
pub fn prepare_update(resource: &Resource, new: &mut Value, old: &Value) {
    if has_status(resource)
        && let Some(map) = new.as_object_mut()
    {
        match old.get("status") {
            Some(status) => drop(map.insert("status".into(), status.clone())),
            None => drop(map.remove("status")),
        }
    }
    if is(resource, "apiextensions.k8s.io", "customresourcedefinitions") {
        engenho_crd::conditions::keep_storage_version(new);
    }
    if is(resource, "", "namespaces") {
        new["spec"] = old["spec"].clone();
        keep_namespace_label(new);
    }
    if is(resource, "", "pods") {
        pods::drop_disabled(new, Some(old));
    }
    if is(resource, "apps", "daemonsets") {
        keep_template_generation(new, Some(old));
    }
    if is(resource, "storage.k8s.io", "csidrivers") && new["spec"] != old["spec"] {
        object::set_meta(new, "generation", object::generation(old) + 1);
    }
    if is(resource, "", "pods") && !object::meta(old, "deletionTimestamp").is_empty() {
        // A grace period only ever shrinks, and only by a deletion.
        new["metadata"]["deletionTimestamp"] = old["metadata"]["deletionTimestamp"].clone();
    }
    drop_disabled(resource, new, Some(old));
    set_generation(resource, new, old);
}

/// Prepares the replacement of `old`, through `/status`: only status and a little metadata count.
pub fn prepare_status_update(resource: &Resource, new: &mut Value, old: &Value) {
    let mut kept = old.clone();
    if let Some(map) = kept.as_object_mut() {
        match new.get("status") {
            Some(status) => drop(map.insert("status".into(), status.clone())),
            None => drop(map.remove("status")),
        }
    }
    // Upstream lets labels, annotations and finalizers through on most kinds; a Node's spec stays.
    for field in [
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "managedFields",
        "resourceVersion",
    ] {
        let given = new["metadata"].get(field).cloned();
        if field == "ownerReferences" && is(resource, "", "pods") {
            continue;
        }
        match given {
            Some(value) => object::set_meta(&mut kept, field, value),
            None => drop(object::remove_meta(&mut kept, field)),
        }
    }
    if is(resource, "", "namespaces") {
        keep_namespace_label(&mut kept);
    }
    if is(resource, "", "pods") {
        pods::keep_status(&mut kept, old);
    }
    *new = kept;
}

/// Prepares the replacement of `old`, through `/approval`: only the conditions count.
pub fn prepare_approval(new: &mut Value, old: &Value) {
    let conditions = new["status"].get("conditions").cloned();
    let managed = new["metadata"].get("managedFields").cloned();
    let revision = new["metadata"].get("resourceVersion").cloned();
    *new = old.clone();
    if let Some(conditions) = conditions {
        new["status"]["conditions"] = conditions;
    } else if let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("conditions");
    }
    for (field, value) in [("managedFields", managed), ("resourceVersion", revision)] {
        if let Some(value) = value {
            object::set_meta(new, field, value);
        }
    }
}

/// A certificate signing request says who made it, whatever the client wrote.
pub fn sign_request(object: &mut Value, who: &Identity) {
    if !object["spec"].is_object() {
        return;
    }
    let spec = &mut object["spec"];
    spec["username"] = who.user.as_str().into();
    let facts = [
        ("uid", json!(who.uid), who.uid.is_empty()),
        ("groups", json!(who.groups), who.groups.is_empty()),
        ("extra", json!(who.extra), who.extra.is_empty()),
    ];
    for (field, value, empty) in facts {
        if !empty {
            spec[field] = value;
        } else if let Some(map) = spec.as_object_mut() {
            map.remove(field);
        }
    }
}

/// Prepares the replacement of `old`, through `/finalize` of a Namespace.
pub fn prepare_finalize(new: &mut Value, old: &Value) {
    new["status"] = old["status"].clone();
    keep_namespace_label(new);
}

/// Moves the generation on if anything that it counts has changed.
pub fn set_generation(resource: &Resource, new: &mut Value, old: &Value) {
    let rule = kind_of(resource).generation;
    if rule == Generation::None {
        return;
    }
    let before = object::generation(old);
    let changed = desired(new, rule) != desired(old, rule);
    let generation = if changed { before + 1 } else { before };
    if generation > 0 {
        object::set_meta(new, "generation", generation);
    } else {
        object::remove_meta(new, "generation");
    }
}

/// What a generation counts changes of: everything but metadata and status.
fn desired(object: &Value, rule: Generation) -> Map<String, Value> {
    let mut map = object.as_object().cloned().unwrap_or_default();
    for field in ["metadata", "status", "kind", "apiVersion"] {
        map.remove(field);
    }
    if rule == Generation::SpecAndMetadata {
        for field in ["labels", "annotations"] {
            if let Some(value) = object["metadata"].get(field) {
                map.insert(format!("metadata.{field}"), value.clone());
            }
        }
    }
    map
}

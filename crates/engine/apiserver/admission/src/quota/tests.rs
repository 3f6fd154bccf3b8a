//! Quotas against writes of each kind.

use serde_json::json;

use super::*;
use crate::lookup::tests::{Stored, pods, refused, request};

fn quota(spec: Value, hard: Value, used: Value) -> Stored {
    let metadata = json!({"name": "q", "namespace": "n", "resourceVersion": "7"});
    let object = json!({"metadata": metadata, "spec": spec, "status": {"hard": hard, "used": used}});
    Stored::of(&[("", "resourcequotas", object)])
}

/// The new usage, or why there is none.
fn planned(request: &Request<'_>, object: &Value, old: Option<&Value>, stored: &Stored) -> Result<Value, String> {
    match plan(request, object, old, stored) {
        Ok(updates) => Ok(match updates.as_slice() {
            [] => Value::Null,
            [one] => {
                assert_eq!((&*one.name, &*one.resource_version), ("q", "7"));
                one.new_status["used"].clone()
            }
            _ => unreachable!("there is one quota"),
        }),
        refusal => Err(refused(refusal)),
    }
}

fn pod(requests: Value, limits: Value) -> Value {
    json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests, "limits": limits}}]}})
}

fn create(group: &'static str, plural: &'static str) -> Request<'static> {
    Request {
        namespace: "n",
        ..request(Operation::Create, group, plural)
    }
}

#[test]
fn pods_count_what_they_ask_for() {
    let stored = quota(
        json!({}),
        json!({"requests.cpu": "1", "limits.memory": "1Gi", "pods": "5"}),
        json!({"requests.cpu": "400m", "limits.memory": "512Mi", "pods": "1"}),
    );
    let of =
        |requests: Value, limits: Value| planned(&pods(Operation::Create, ""), &pod(requests, limits), None, &stored);
    assert_eq!(
        of(json!({"cpu": "600m"}), json!({"memory": "512Mi"})),
        Ok(json!({"requests.cpu": "1", "limits.memory": "1Gi", "pods": "2"}))
    );
    assert_eq!(
        of(json!({"cpu": "700m"}), json!({"memory": "10Mi"})).unwrap_err(),
        "exceeded quota: q, requested: requests.cpu=700m, used: requests.cpu=400m, limited: requests.cpu=1"
    );
    assert_eq!(
        of(json!({"cpu": "5"}), json!({"memory": "5Gi"})).unwrap_err(),
        "exceeded quota: q, requested: limits.memory=5Gi,requests.cpu=5, used: limits.memory=512Mi,requests.cpu=400m, \
         limited: limits.memory=1Gi,requests.cpu=1"
    );
    assert_eq!(
        of(json!({}), json!({})).unwrap_err(),
        "failed quota: q: must specify limits.memory for: c; requests.cpu for: c"
    );
}

#[test]
fn nothing_is_written_for_a_dry_run() {
    let stored = quota(json!({}), json!({"pods": "1"}), json!({"pods": "0"}));
    let mut request = pods(Operation::Create, "");
    assert_eq!(planned(&request, &json!({}), None, &stored), Ok(json!({"pods": "1"})));
    request.dry_run = true;
    assert_eq!(planned(&request, &json!({}), None, &stored), Ok(Value::Null));
}

#[test]
fn a_quota_is_only_about_its_scopes() {
    let stored = quota(
        json!({"scopes": ["BestEffort"]}),
        json!({"pods": "0"}),
        json!({"pods": "0"}),
    );
    let of = |requests: Value| planned(&pods(Operation::Create, ""), &pod(requests, json!({})), None, &stored);
    assert_eq!(of(json!({"cpu": "1m"})), Ok(Value::Null));
    assert_eq!(
        of(json!({})).unwrap_err(),
        "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"
    );
}

#[test]
fn a_quota_is_known_before_it_counts() {
    let stored = quota(json!({}), json!({"pods": "1", "count/pods": "1"}), json!({"pods": "0"}));
    assert_eq!(
        planned(&pods(Operation::Create, ""), &json!({}), None, &stored).unwrap_err(),
        "status unknown for quota: q, resources: count/pods,pods"
    );
    let fresh = quota(json!({"hard": {"pods": "0"}}), Value::Null, Value::Null);
    assert_eq!(
        planned(&pods(Operation::Create, ""), &json!({}), None, &fresh),
        Ok(Value::Null)
    );
}

#[test]
fn a_resize_counts_by_what_it_adds() {
    let stored = quota(
        json!({}),
        json!({"cpu": "2", "pods": "9"}),
        json!({"cpu": "1", "pods": "1"}),
    );
    let of = |from: &str, to: &str| {
        let mut old = pod(json!({"cpu": from}), json!({}));
        old["metadata"] = json!({"resourceVersion": "1"});
        let new = pod(json!({"cpu": to}), json!({}));
        planned(&pods(Operation::Update, "resize"), &new, Some(&old), &stored)
    };
    assert_eq!(of("1", "1500m"), Ok(json!({"cpu": "1500m", "pods": "1"})));
    assert_eq!(of("1", "500m"), Ok(Value::Null));
    assert_eq!(
        of("1", "3").unwrap_err(),
        "exceeded quota: q, requested: cpu=2, used: cpu=1, limited: cpu=2"
    );
    let stored = quota(json!({}), json!({"cpu": "2"}), json!({"cpu": "1"}));
    let update = pods(Operation::Update, "");
    assert_eq!(
        planned(&update, &pod(json!({"cpu": "9"}), json!({})), None, &stored),
        Ok(Value::Null)
    );
}

#[test]
fn claims_count_by_size_and_class() {
    let stored = quota(
        json!({}),
        json!({"requests.storage": "10Gi", "gold.storageclass.storage.k8s.io/requests.storage": "2Gi"}),
        json!({"requests.storage": "1Gi", "gold.storageclass.storage.k8s.io/requests.storage": "0"}),
    );
    let of = |class: &str, size: &str| {
        let claim = json!({"spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}});
        planned(&create("", "persistentvolumeclaims"), &claim, None, &stored)
    };
    let gold = "gold.storageclass.storage.k8s.io/requests.storage";
    assert_eq!(of("gold", "1Gi"), Ok(json!({"requests.storage": "2Gi", gold: "1Gi"})));
    assert_eq!(
        of("tin", "0.5"),
        Ok(json!({"requests.storage": "1073741825", gold: "0"}))
    );
    assert_eq!(
        of("gold", "3Gi").unwrap_err(),
        format!("exceeded quota: q, requested: {gold}=3Gi, used: {gold}=0, limited: {gold}=2Gi")
    );
}

#[test]
fn services_count_by_type() {
    let stored = quota(
        json!({}),
        json!({"services": "5", "services.nodeports": "1", "services.loadbalancers": "1"}),
        json!({"services": "0", "services.nodeports": "0", "services.loadbalancers": "0"}),
    );
    let of = |spec: Value| planned(&create("", "services"), &json!({"spec": spec}), None, &stored);
    let used = |ports: &str, balanced: &str| {
        Ok(json!({"services": "1", "services.nodeports": ports, "services.loadbalancers": balanced}))
    };
    assert_eq!(of(json!({"type": "ClusterIP", "ports": [{}]})), used("0", "0"));
    assert_eq!(of(json!({"type": "NodePort", "ports": [{}]})), used("1", "0"));
    assert_eq!(of(json!({"type": "LoadBalancer", "ports": [{}]})), used("1", "1"));
    let given = json!({
        "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{}, {}, {"nodePort": 30000}],
    });
    assert_eq!(of(given), used("1", "1"));
    assert_eq!(
        of(json!({"type": "NodePort", "ports": [{}, {}]})).unwrap_err(),
        "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1"
    );
}

#[test]
fn devices_count_at_most() {
    let gpu = "gpu.deviceclass.resource.k8s.io/devices";
    let stored = quota(json!({}), json!({gpu: "40"}), json!({gpu: "0"}));
    let of = |requests: Value| {
        let claim = json!({"spec": {"devices": {"requests": requests}}});
        planned(&create("resource.k8s.io", "resourceclaims"), &claim, None, &stored)
    };
    let exactly = |count: i64| json!({"exactly": {"deviceClassName": "gpu", "count": count}});
    assert_eq!(of(json!([exactly(2), exactly(3)])), Ok(json!({gpu: "5"})));
    assert_eq!(
        of(json!([{"exactly": {"deviceClassName": "gpu", "allocationMode": "All"}}])),
        Ok(json!({gpu: "32"}))
    );
    let either = json!({"firstAvailable": [
        {"deviceClassName": "gpu", "count": 1}, {"deviceClassName": "gpu", "count": 4}, {"deviceClassName": "x", "count": 9},
    ]});
    assert_eq!(of(json!([either])), Ok(json!({gpu: "4"})));
    let admin = json!({"exactly": {"deviceClassName": "gpu", "count": 1, "adminAccess": true}});
    assert_eq!(of(json!([admin])), Ok(Value::Null));
}

#[test]
fn anything_can_be_counted() {
    let stored = quota(
        json!({}),
        json!({"count/deployments.apps": "1", "configmaps": "1", "count/configmaps": "2"}),
        json!({"count/deployments.apps": "1", "configmaps": "0", "count/configmaps": "0"}),
    );
    assert_eq!(
        planned(&create("apps", "deployments"), &json!({}), None, &stored).unwrap_err(),
        "exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=1, \
         limited: count/deployments.apps=1"
    );
    assert_eq!(
        planned(&create("", "configmaps"), &json!({}), None, &stored),
        Ok(json!({"count/deployments.apps": "1", "configmaps": "1", "count/configmaps": "1"}))
    );
    let events = quota(json!({}), json!({"count/events": "0"}), json!({"count/events": "0"}));
    assert_eq!(
        planned(&create("", "events"), &json!({}), None, &events),
        Ok(Value::Null)
    );
}

#[test]
fn extended_resources_are_asked_for_only() {
    let stored = quota(
        json!({}),
        json!({"requests.a.b/gpu": "1"}),
        json!({"requests.a.b/gpu": "0"}),
    );
    let of = |count: &str| {
        planned(
            &pods(Operation::Create, ""),
            &pod(json!({"a.b/gpu": count}), json!({})),
            None,
            &stored,
        )
    };
    assert_eq!(of("1"), Ok(json!({"requests.a.b/gpu": "1"})));
    assert_eq!(
        of("2").unwrap_err(),
        "exceeded quota: q, requested: requests.a.b/gpu=2, used: requests.a.b/gpu=0, limited: requests.a.b/gpu=1"
    );
    assert_eq!(
        of("-1").unwrap_err(),
        "quota usage is negative for resource(s): requests.a.b/gpu"
    );
}

#[test]
fn usage_is_counted_from_nothing() {
    let quota = json!({"spec": {"hard": {"pods": "9", "cpu": "9", "services": "1"}, "scopes": ["NotTerminating"]}});
    let running = pod(json!({"cpu": "1"}), json!({}));
    let mut done = running.clone();
    done["status"] = json!({"phase": "Succeeded"});
    let mut ending = running.clone();
    ending["spec"]["activeDeadlineSeconds"] = json!(1);
    let all = [running.clone(), done, ending, running];
    assert_eq!(
        Value::Object(used(&quota, "", "pods", all.iter())),
        json!({"pods": "2", "cpu": "2"})
    );
    assert_eq!(
        Value::Object(used(&quota, "", "pods", [].iter())),
        json!({"pods": "0", "cpu": "0"})
    );
}

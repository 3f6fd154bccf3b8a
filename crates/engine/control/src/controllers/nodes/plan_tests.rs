//! Tests of what a Node should be.

use proptest::prelude::*;
use revoada_core::MemberId;

use super::*;
use crate::facts::{Capacity, Machine, NodeReport, NodeTaint, NodeVersions};

const NOW: u64 = 1_700_000_000_000;

fn facts() -> NodeFacts {
    NodeFacts {
        name: "n1".into(),
        member_id: MemberId([7; 32]),
        role: Role::Voter,
        is_alive: true,
        liveness_since_unix_ms: NOW - 5_000,
        pod_cidr: None,
        report: Some(NodeReport {
            internal_addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            hostname: "machine".into(),
            zone: Some("z1".into()),
            labels: vec![
                ("disk".into(), "ssd".into()),
                ("kubernetes.io/hostname".into(), "no".into()),
            ],
            taints: vec![NodeTaint {
                key: "gpu".into(),
                value: "yes".into(),
                effect: "NoSchedule".into(),
            }],
            capacity: Capacity {
                cpu_milli: 2500,
                memory_bytes: 4096 * 1024,
                pods: 110,
                ephemeral_bytes: 1001,
            },
            machine: Machine {
                os: "linux".into(),
                arch: "amd64".into(),
                ..Machine::default()
            },
            versions: NodeVersions {
                kubelet: "v1.34.0+engenho".into(),
                runtime: None,
            },
        }),
    }
}

/// Writes until nothing is left to write.
fn settled(existing: Option<Value>, facts: &NodeFacts, now: u64) -> Value {
    let mut node = existing;
    for _ in 0..3 {
        node = match next_write(node.as_ref(), facts, now) {
            None => return node.unwrap(),
            Some(Write::Create(new) | Write::Replace(new) | Write::Status(new)) => Some(new),
        };
    }
    panic!("{node:?} does not settle");
}

fn taints(node: &Value) -> Vec<String> {
    let list = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let text = |t: &Value, f: &str| t[f].as_str().unwrap_or_default().to_owned();
    list.iter()
        .map(|t| format!("{}={}:{}", text(t, "key"), text(t, "value"), text(t, "effect")))
        .collect()
}

fn condition<'v>(node: &'v Value, name: &str) -> &'v Value {
    node["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == name)
        .unwrap()
}

const NO_RUNTIME: &str = "engenho.io/no-runtime=member-runs-no-pods:NoSchedule";

#[test]
fn a_new_node_is_written_at_once() {
    let Some(Write::Create(node)) = next_write(None, &facts(), NOW) else {
        panic!()
    };
    let expected = json!({
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "disk": "ssd",
        "engenho.io/member": MemberId([7; 32]).short(),
        "engenho.io/role": "voter",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": "n1",
        "kubernetes.io/os": "linux",
        "node-role.kubernetes.io/control-plane": "",
        "topology.kubernetes.io/zone": "z1",
    });
    assert_eq!(node["metadata"]["labels"], expected);
    assert_eq!(taints(&node), [NO_RUNTIME, "gpu=yes:NoSchedule"]);
    let expected = json!([
        {"type": "InternalIP", "address": "10.0.0.1"},
        {"type": "InternalIP", "address": "fd00::1"},
        {"type": "Hostname", "address": "machine"},
    ]);
    assert_eq!(node["status"]["addresses"], expected);
    let expected = json!({"cpu": "2500m", "memory": "4Mi", "pods": "110", "ephemeral-storage": "1001"});
    assert_eq!(
        (&node["status"]["capacity"], &node["status"]["allocatable"]),
        (&expected, &expected)
    );
    assert_eq!(condition(&node, "Ready")["status"], "True");
    assert_eq!(condition(&node, "Ready")["lastTransitionTime"], "2023-11-14T22:13:15Z");
    assert_eq!(next_write(Some(&node), &facts(), NOW + 1_000_000), None);
}

#[test]
fn death_shows_in_status_first_and_then_in_taints() {
    let alive = settled(None, &facts(), NOW);
    let dead = NodeFacts {
        is_alive: false,
        liveness_since_unix_ms: NOW + 9_000,
        ..facts()
    };
    let Some(Write::Status(told)) = next_write(Some(&alive), &dead, NOW + 10_000) else {
        panic!()
    };
    for name in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        assert_eq!(condition(&told, name)["status"], "Unknown");
        assert_eq!(condition(&told, name)["reason"], "NodeStatusUnknown");
        assert_eq!(condition(&told, name)["lastTransitionTime"], "2023-11-14T22:13:29Z");
    }
    assert_eq!(told["spec"], alive["spec"]);
    let Some(Write::Replace(tainted)) = next_write(Some(&told), &dead, NOW + 10_000) else {
        panic!()
    };
    let unreachable = [
        "node.kubernetes.io/unreachable=:NoSchedule",
        "node.kubernetes.io/unreachable=:NoExecute",
    ];
    assert_eq!(
        taints(&tainted),
        [NO_RUNTIME, "gpu=yes:NoSchedule", unreachable[0], unreachable[1]]
    );
    assert_eq!(tainted["spec"]["taints"][3]["timeAdded"], "2023-11-14T22:13:30Z");
    assert_eq!(next_write(Some(&tainted), &dead, NOW + 99_000), None);

    let back = settled(Some(tainted), &facts(), NOW + 99_000);
    assert_eq!(back["spec"], alive["spec"]);
    assert!(is_ready(&back));
}

#[test]
fn what_users_write_stays_and_what_configuration_drops_goes() {
    let mut node = settled(None, &facts(), NOW);
    node["metadata"]["labels"]["mine"] = json!("1");
    node["metadata"]["annotations"]["mine"] = json!("2");
    node["spec"]["taints"] = json!([{"key": "mine", "effect": "NoExecute"}]);
    node["spec"]["unschedulable"] = json!(true);
    node["status"]["capacity"]["example.com/gpu"] = json!("4");
    node["status"]["conditions"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "Mine", "status": "True"}));
    let mut less = facts();
    less.role = Role::Worker;
    let report = less.report.as_mut().unwrap();
    (report.labels, report.taints, report.zone) = (vec![], vec![], None);
    report.versions.runtime = Some("containerd://2".into());
    let node = settled(Some(node), &less, NOW);
    let labels = &node["metadata"]["labels"];
    assert_eq!(
        (&labels["mine"], &labels["engenho.io/role"]),
        (&json!("1"), &json!("worker"))
    );
    for gone in [
        "disk",
        "topology.kubernetes.io/zone",
        "node-role.kubernetes.io/control-plane",
    ] {
        assert!(labels[gone].is_null(), "{gone}");
    }
    assert_eq!(node["metadata"]["annotations"], json!({"mine": "2"}));
    assert_eq!(
        taints(&node),
        ["mine=:NoExecute", "node.kubernetes.io/unschedulable=:NoSchedule"]
    );
    assert_eq!(node["status"]["capacity"]["example.com/gpu"], "4");
    assert_eq!(condition(&node, "Mine")["status"], "True");
}

#[test]
fn a_member_that_was_never_heard_loses_nothing() {
    let node = settled(None, &facts(), NOW);
    let silent = NodeFacts {
        is_alive: false,
        report: None,
        ..facts()
    };
    let dead = settled(Some(node.clone()), &silent, NOW);
    assert_eq!(dead["metadata"], node["metadata"]);
    assert_eq!(dead["status"]["nodeInfo"], node["status"]["nodeInfo"]);
    assert!(taints(&dead).contains(&NO_RUNTIME.to_owned()));
    assert_eq!(settled(Some(dead), &facts(), NOW)["spec"], node["spec"]);
    settled(None, &silent, NOW);
}

#[test]
fn nodes_of_others_and_of_nobody_are_told_apart() {
    let member = settled(None, &facts(), NOW);
    let foreign = json!({"metadata": {"name": "foreign"}});
    let existing = [member.clone(), foreign];
    assert!(departed(&existing, &[facts()]).is_empty());
    assert!(departed(&existing, &[]).is_empty());
    let other = NodeFacts {
        name: "n2".into(),
        ..facts()
    };
    assert_eq!(departed(&existing, std::slice::from_ref(&other)), [&member]);
    let witness = NodeFacts {
        role: Role::Witness,
        ..facts()
    };
    assert_eq!(departed(&existing, &[witness.clone(), other.clone()]), [&member]);

    let double = NodeFacts {
        member_id: MemberId([1; 32]),
        is_alive: false,
        ..facts()
    };
    let members = [double.clone(), witness, facts(), other.clone()];
    assert_eq!(wanted(&members), (vec![&facts(), &other], vec![&double]));
}

proptest! {
    /// Whatever a Node was, it settles, users' things stay, and it comes to the same as it would have at once.
    #[test]
    fn any_history_settles(
        steps in proptest::collection::vec((any::<bool>(), 0..3_usize, any::<bool>(), any::<bool>(), any::<bool>()), 1..8),
        keys in proptest::collection::btree_set("[a-c]", 0..3),
    ) {
        let mut node = None;
        for (step, (is_alive, role, runs, heard, cordoned)) in steps.into_iter().enumerate() {
            let mut facts = facts();
            facts.is_alive = is_alive;
            facts.role = [Role::Voter, Role::Standby, Role::Worker][role];
            let report = facts.report.as_mut().unwrap();
            report.versions.runtime = runs.then(|| "r://1".to_owned());
            report.labels = keys.iter().skip(step).map(|k| (k.clone(), "x".to_owned())).collect();
            if !heard {
                facts.report = None;
            }
            if let Some(node) = &mut node {
                let node: &mut Value = node;
                node["spec"]["unschedulable"] = cordoned.into();
                node["metadata"]["labels"]["mine"] = "1".into();
            }
            let had = node.is_some();
            let after = settled(node, &facts, NOW + step as u64 * 1000);
            prop_assert_eq!(is_ready(&after), is_alive);
            prop_assert_eq!(!after["metadata"]["labels"]["node-role.kubernetes.io/control-plane"].is_null(), role < 2);
            prop_assert!(!had || after["metadata"]["labels"]["mine"] == "1");
            let unreachable = taints(&after).iter().filter(|t| t.contains("unreachable")).count();
            prop_assert_eq!(unreachable, if is_alive { 0 } else { 2 });
            node = Some(after);
        }
    }
}

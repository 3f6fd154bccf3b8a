//! Statuses of quotas, and what they are counted from.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn of(group: &str, plural: &str) -> Counted {
    Counted {
        group: group.to_owned(),
        plural: plural.to_owned(),
        prefix: format!("/registry/{group}/{plural}/"),
    }
}

fn pod(cpu: &str, memory: &str) -> Value {
    let requests = json!({"cpu": cpu, "memory": memory});
    json!({
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]},
        "status": {"phase": "Running"},
    })
}

fn text(amounts: &Amounts) -> Value {
    let texts = amounts
        .iter()
        .map(|(name, amount)| (name.clone(), amount.to_string().into()));
    Value::Object(texts.collect())
}

#[test]
fn a_quota_is_counted_by_what_it_names() {
    let countable = countable(Catalog::builtin());
    let named = |hard: &[&str]| {
        let hard: Map<String, Value> = hard.iter().map(|name| ((*name).to_owned(), json!("1"))).collect();
        let quota = json!({"spec": {"hard": hard}});
        let counted = counted_by(&quota, &countable);
        let names = counted.iter().map(|of| format!("{}.{}", of.plural, of.group));
        names.collect::<Vec<_>>()
    };
    assert_eq!(named(&["requests.cpu", "count/pods", "limits.memory"]), ["pods."]);
    assert_eq!(named(&["requests.example.com/gpu"]), ["pods."]);
    assert_eq!(
        named(&["gold.storageclass.storage.k8s.io/requests.storage"]),
        ["persistentvolumeclaims."]
    );
    assert_eq!(
        named(&["services.nodeports", "resourcequotas"]),
        ["resourcequotas.", "services."]
    );
    for core in ["configmaps", "secrets", "replicationcontrollers"] {
        assert_eq!(named(&[core]), [format!("{core}.")]);
    }
    assert_eq!(
        named(&["count/deployments.apps", "count/deployments", "count/nodes"]),
        ["deployments.apps"]
    );
    assert_eq!(
        named(&["count/events", "count/events.events.k8s.io", "count/bindings"]),
        [""; 0]
    );
    // One for all versions.
    assert_eq!(named(&["count/horizontalpodautoscalers.autoscaling"]).len(), 1);
}

#[test]
fn few_namespaces_are_watched_each_and_many_at_once() {
    let (pods, maps) = (of("core", "pods"), of("core", "configmaps"));
    let homes = [
        (&pods, "a".to_owned()),
        (&maps, "a".to_owned()),
        (&pods, "b".to_owned()),
        (&pods, "a".to_owned()),
    ];
    let watched = |max: usize| prefixes(&homes, max).into_iter().collect::<Vec<_>>();
    assert_eq!(
        watched(3),
        [
            "/registry/core/configmaps/a/",
            "/registry/core/pods/a/",
            "/registry/core/pods/b/"
        ]
    );
    assert_eq!(watched(2), ["/registry/core/configmaps/", "/registry/core/pods/"]);
}

#[test]
fn pods_count_until_they_end_or_should_have() {
    let quota = json!({"spec": {"hard": {"pods": "9", "count/pods": "9", "requests.cpu": "9"}}});
    let of = of("", "pods");
    let mut pod = pod("500m", "1Gi");
    let all = json!({"count/pods": "1", "pods": "1", "requests.cpu": "500m"});
    let none = json!({"count/pods": "1", "pods": "0", "requests.cpu": "0"});
    assert_eq!(text(&usage(&quota, &of, &pod, false)), all);
    assert_eq!(overdue_unix_ms(&of, &pod), None);
    pod["metadata"]["deletionTimestamp"] = json!("2023-11-14T22:13:20Z");
    assert_eq!(overdue_unix_ms(&of, &pod), None);
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    assert_eq!(overdue_unix_ms(&of, &pod), Some(1_700_000_030_000));
    assert_eq!(overdue_unix_ms(&super::tests::of("", "services"), &pod), None);
    assert_eq!(text(&usage(&quota, &of, &pod, true)), none);
    pod["status"] = json!("odd");
    assert_eq!(text(&usage(&quota, &of, &pod, true)), none);
    pod["status"] = json!({"phase": "Succeeded"});
    assert_eq!(text(&usage(&quota, &of, &pod, false)), none);
}

#[test]
fn a_status_follows_and_settles() {
    let quota = json!({
        "metadata": {"name": "q", "resourceVersion": "7"},
        "spec": {"hard": {"pods": "2", "requests.cpu": "1", "example.com/unknown": "3"}},
    });
    let of = of("", "pods");
    let first = with_status(&quota, &nothing(&quota, &of)).unwrap();
    let hard = quota["spec"]["hard"].clone();
    assert_eq!(
        first["status"],
        json!({"hard": hard, "used": {"pods": "0", "requests.cpu": "0"}})
    );
    assert_eq!(first["metadata"], quota["metadata"]);
    assert_eq!(with_status(&first, &nothing(&quota, &of)), None);

    // What nobody counts is left; the same amount in other words is the same.
    let mut known = first.clone();
    known["status"]["used"] = json!({"pods": "0", "requests.cpu": "0m", "example.com/unknown": "1"});
    known["status"]["hard"]["requests.cpu"] = json!("1000m");
    assert_eq!(with_status(&known, &nothing(&quota, &of)), None);
    let one = with_status(&known, &usage(&quota, &of, &pod("100m", "1"), false)).unwrap();
    assert_eq!(
        one["status"]["used"],
        json!({"pods": "1", "requests.cpu": "100m", "example.com/unknown": "1"})
    );

    // A limit that is gone takes its usage along.
    let mut fewer = one.clone();
    fewer["spec"]["hard"] = json!({"pods": "1"});
    let told = with_status(&fewer, &usage(&fewer, &of, &pod("100m", "1"), false)).unwrap();
    assert_eq!(told["status"], json!({"hard": {"pods": "1"}, "used": {"pods": "1"}}));
    fewer["spec"] = json!({});
    let told = with_status(&fewer, &Amounts::new()).unwrap();
    assert_eq!(told["status"], json!({"hard": {}, "used": {}}));
    assert_eq!(with_status(&told, &Amounts::new()), None);
    assert_eq!(with_status(&json!({"spec": {}}), &Amounts::new()), None);
}

proptest! {
    /// Counting one by one comes to the same, to the letter, as counting all at once.
    #[test]
    fn shares_make_the_sum(
        pods in vec((prop_oneof!["[1-9][0-9]?m", "[0-9]"], prop_oneof!["[1-9][0-9]?[KM]i", "[1-9]G", "0"], any::<bool>()), 0..6)
    ) {
        let quota = json!({"spec": {
            "hard": {"pods": "9", "count/pods": "9", "cpu": "9", "requests.memory": "9Gi", "limits.cpu": "1"},
        }});
        let of = of("", "pods");
        let pods: Vec<Value> = pods.into_iter().map(|(cpu, memory, has_ended)| {
            let mut pod = pod(&cpu, &memory);
            if has_ended {
                pod["status"]["phase"] = json!("Failed");
            }
            pod
        }).collect();
        let mut total = nothing(&quota, &of);
        for pod in &pods {
            add(&mut total, &usage(&quota, &of, pod, false));
        }
        prop_assert_eq!(text(&total), Value::Object(used(&quota, "", "pods", pods.iter())));
    }

    /// Whatever a quota says: once written, there is nothing more to write.
    #[test]
    fn a_status_is_written_once(
        hard in vec(("pods|cpu|count/pods|x.y/z", "[0-9]{1,2}|1e3|x|-1"), 0..4),
        before in vec(("pods|cpu|count/pods|x.y/z", "[0-9]{1,2}|500m|x"), 0..4),
        status in any::<bool>(),
    ) {
        let list = |pairs: Vec<(String, String)>| {
            Value::Object(pairs.into_iter().map(|(name, amount)| (name, amount.into())).collect())
        };
        let mut quota = json!({"spec": {"hard": list(hard)}});
        if status {
            quota["status"] = json!({"used": list(before)});
        }
        let used = usage(&quota, &of("", "pods"), &pod("1", "1"), false);
        if let Some(told) = with_status(&quota, &used) {
            prop_assert_eq!(with_status(&told, &used), None);
        }
    }
}

//! The compiled policy against upstream's answers and against the plain reading of the rules.

use engenho_catalog::boot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::attributes::Verdict;
use crate::authn::service_account_identity;

const V1: &str = "rbac.authorization.k8s.io/v1";

fn role(namespace: &str, name: &str, rules: Value) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "rules": rules})
}

fn binding(namespace: &str, name: &str, kind: &str, role: &str, subjects: Value) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name},
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": kind, "name": role},
        "subjects": subjects,
    })
}

fn user(name: &str, groups: &[&str]) -> Identity {
    Identity {
        user: name.into(),
        groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        ..Identity::default()
    }
}

fn ask(identity: &Identity, verb: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes {
        identity: identity.clone(),
        verb: verb.into(),
        resource_request: true,
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Attributes::default()
    }
}

fn ask_path(identity: &Identity, verb: &str, path: &str) -> Attributes {
    Attributes {
        identity: identity.clone(),
        verb: verb.into(),
        path: path.into(),
        ..Attributes::default()
    }
}

/// The roles and bindings of a fresh cluster, aggregated.
pub(crate) fn boot_policy(extra_bindings: &[Value]) -> Policy {
    let of = |kind: &str| {
        let ours = boot::objects().filter(|o| o["apiVersion"] == V1 && o["kind"] == kind);
        ours.collect::<Vec<_>>()
    };
    let mut cluster_roles = of("ClusterRole");
    for aggregated in crate::aggregate(&cluster_roles).expect("selectors are valid") {
        let rules = aggregated.rules_value();
        if let Some(role) = cluster_roles
            .iter_mut()
            .find(|r| r["metadata"]["name"] == aggregated.name.as_str())
        {
            role["rules"] = rules;
        }
    }
    let mut bindings = of("RoleBinding");
    bindings.extend_from_slice(extra_bindings);
    Policy::compile(&of("Role"), &cluster_roles, &bindings, &of("ClusterRoleBinding"))
}

#[test]
fn reasons_name_the_binding_the_role_and_the_subject() {
    let pods = json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]}]);
    let none: [Value; 0] = [];
    let policy = Policy::compile(
        &[role("ns", "r", pods.clone())],
        &[role("", "cr", pods)],
        &[
            binding(
                "ns",
                "b",
                "Role",
                "r",
                json!([{"kind": "User", "name": "golden-alice"}]),
            ),
            binding(
                "ns",
                "c",
                "ClusterRole",
                "cr",
                json!([{"kind": "ServiceAccount", "name": "bot"}]),
            ),
        ],
        &none,
    );
    let alice = user("golden-alice", &["system:authenticated"]);
    let reason = |attributes: &Attributes| {
        let decision = policy.authorize(attributes);
        (decision.verdict, decision.reason)
    };
    let allowed = (
        Verdict::Allow,
        r#"RBAC: allowed by RoleBinding "b/ns" of Role "r" to User "golden-alice""#.to_owned(),
    );
    assert_eq!(reason(&ask(&alice, "get", "pods", "ns", "")), allowed);
    assert_eq!(reason(&ask(&alice, "get", "pods/log", "ns", "x")), allowed);
    for denied in [
        ask(&alice, "delete", "pods", "ns", ""),
        ask(&alice, "get", "pods", "other", ""),
        ask(&alice, "get", "pods", "", ""),
        ask(&alice, "get", "pods/exec", "ns", ""),
        ask(&user("bob", &[]), "get", "pods", "ns", ""),
    ] {
        assert_eq!(reason(&denied), (Verdict::NoOpinion, String::new()), "{denied:?}");
    }
    let bot = service_account_identity("ns", "bot", "");
    assert_eq!(
        reason(&ask(&bot, "list", "pods", "ns", "")).1,
        r#"RBAC: allowed by RoleBinding "c/ns" of ClusterRole "cr" to ServiceAccount "bot/ns""#
    );
    let other = service_account_identity("other", "bot", "");
    assert_eq!(reason(&ask(&other, "list", "pods", "ns", "")).0, Verdict::NoOpinion);
}

#[test]
fn subjects_are_matched_by_kind() {
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    let granted = |subject: Value, identity: &Identity, cluster: bool| {
        let list = [binding("ns", "b", "ClusterRole", "cr", json!([subject]))];
        let none: [Value; 0] = [];
        let roles = [role("", "cr", rules.clone())];
        let policy = if cluster {
            Policy::compile(&none, &roles, &none, &list)
        } else {
            Policy::compile(&none, &roles, &list, &none)
        };
        policy.authorize(&ask(identity, "get", "pods", "ns", "")).allowed()
    };
    let bot = service_account_identity("ns", "bot", "");
    for (subject, identity, in_namespace, in_cluster) in [
        (json!({"kind": "User", "name": "a"}), user("a", &[]), true, true),
        (json!({"kind": "User", "name": "a"}), user("b", &["a"]), false, false),
        (
            json!({"kind": "Group", "name": "a"}),
            user("b", &["x", "a"]),
            true,
            true,
        ),
        (json!({"kind": "Group", "name": "a"}), user("a", &[]), false, false),
        (json!({"kind": "User", "name": "*"}), user("a", &["a"]), false, false),
        (
            json!({"kind": "ServiceAccount", "name": "bot", "namespace": "ns"}),
            bot.clone(),
            true,
            true,
        ),
        (
            json!({"kind": "ServiceAccount", "name": "bot"}),
            bot.clone(),
            true,
            false,
        ),
        (
            json!({"kind": "ServiceAccount", "name": "bot", "namespace": "x"}),
            bot.clone(),
            false,
            false,
        ),
        (
            json!({"kind": "User", "name": "system:serviceaccount:ns:bot"}),
            bot.clone(),
            true,
            true,
        ),
        (
            json!({"kind": "Group", "name": "system:serviceaccounts:ns"}),
            bot.clone(),
            true,
            true,
        ),
        (json!({"kind": "Robot", "name": "a"}), user("a", &["a"]), false, false),
    ] {
        assert_eq!(granted(subject.clone(), &identity, false), in_namespace, "{subject}");
        assert_eq!(granted(subject.clone(), &identity, true), in_cluster, "{subject}");
    }
}

#[test]
fn what_cannot_be_resolved_is_told_and_grants_nothing() {
    let alice = user("alice", &["dev"]);
    let subjects = json!([{"kind": "User", "name": "alice"}]);
    let none: [Value; 0] = [];
    let policy = Policy::compile(
        &none,
        &none,
        &[binding("ns", "b", "Role", "gone", subjects.clone())],
        &[
            binding("", "a", "ClusterRole", "lost", subjects.clone()),
            binding("", "b", "ClusterRole", "lost", subjects),
        ],
    );
    assert_eq!(
        policy.authorize(&ask(&alice, "get", "pods", "ns", "")).reason,
        "RBAC: [clusterrole.rbac.authorization.k8s.io \"lost\" not found, role.rbac.authorization.k8s.io \"gone\" not found]"
    );
    assert_eq!(
        policy.authorize(&ask(&alice, "get", "pods", "", "")).reason,
        "RBAC: clusterrole.rbac.authorization.k8s.io \"lost\" not found"
    );
    assert_eq!(
        aggregate_errors(&policy.rules_for(&alice, "other").1).as_deref(),
        Some("clusterrole.rbac.authorization.k8s.io \"lost\" not found")
    );
}

#[test]
fn unreadable_objects_grant_nothing_and_are_listed() {
    let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    let none: [Value; 0] = [];
    let mut wrong = binding("ns", "b", "ClusterRole", "cr", json!([{"kind": "User", "name": 7}]));
    let policy = Policy::compile(&none, &[role("", "cr", all)], [&wrong], &none);
    assert_eq!(policy.skipped()[0].name, "ns/b");
    wrong["subjects"] = Value::Null;
    assert!(Policy::compile(&none, &none, [&wrong], &none).skipped().is_empty());
}

#[test]
fn a_fresh_cluster_answers_as_upstream() {
    let edit = binding(
        "ns",
        "e",
        "ClusterRole",
        "edit",
        json!([{"kind": "User", "name": "ed"}]),
    );
    let view = binding(
        "ns",
        "v",
        "ClusterRole",
        "view",
        json!([{"kind": "User", "name": "vi"}]),
    );
    let policy = boot_policy(&[edit, view]);
    assert_eq!(policy.skipped(), []);
    let allowed = |attributes: Attributes| policy.authorize(&attributes).allowed();
    let authenticated = &["system:authenticated"][..];

    let master = user("root", &["system:masters"]);
    assert!(allowed(ask(&master, "*", "*", "", "")));
    assert!(allowed(ask_path(&master, "delete", "/anything")));

    let anonymous = user("system:anonymous", &["system:unauthenticated"]);
    assert!(allowed(ask_path(&anonymous, "get", "/healthz")));
    assert!(allowed(ask_path(&anonymous, "get", "/version")));
    assert!(!allowed(ask_path(&anonymous, "get", "/api")));
    assert!(!allowed(ask_path(&anonymous, "post", "/healthz")));

    let ed = user("ed", authenticated);
    assert!(allowed(ask_path(&ed, "get", "/apis/apps/v1")));
    assert!(!allowed(ask_path(&ed, "get", "/metrics")));
    assert!(allowed(ask(&ed, "create", "configmaps", "ns", "")));
    assert!(allowed(ask(&ed, "get", "secrets", "ns", "x")));
    assert!(!allowed(ask(&ed, "create", "configmaps", "default", "")));
    let mut roles = ask(&ed, "create", "roles", "ns", "");
    roles.group = RBAC_GROUP.into();
    assert!(!allowed(roles));
    let vi = user("vi", authenticated);
    assert!(allowed(ask(&vi, "list", "pods", "ns", "")));
    assert!(!allowed(ask(&vi, "get", "secrets", "ns", "")));
    let mut review = ask(&vi, "create", "selfsubjectaccessreviews", "", "");
    review.group = "authorization.k8s.io".into();
    assert_eq!(
        policy.authorize(&review).reason,
        r#"RBAC: allowed by ClusterRoleBinding "system:basic-user" of ClusterRole "system:basic-user" to Group "system:authenticated""#
    );

    let scheduler = user("system:kube-scheduler", authenticated);
    assert!(allowed(ask(&scheduler, "list", "pods", "ns", "")));
    assert!(!allowed(ask(&scheduler, "list", "secrets", "ns", "")));
    let controllers = user("system:kube-controller-manager", authenticated);
    assert!(allowed(ask(&controllers, "list", "secrets", "ns", "")));
}

#[test]
fn a_review_lists_the_rules_as_upstream_does() {
    let pods = json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]}]);
    let mut policy = boot_policy(&[binding(
        "ns",
        "b",
        "Role",
        "r",
        json!([{"kind": "User", "name": "golden-alice"}]),
    )]);
    policy.add_role(&objects::read(&role("ns", "r", pods.clone())).expect("a role"));
    let (review, errors) = policy.rules_for(&user("golden-alice", &["system:authenticated"]), "ns");
    let status = serde_json::to_value(&review).expect("JSON");
    assert_eq!(status["incomplete"], false);
    assert!(status.get("evaluationError").is_none());
    let resources = status["resourceRules"].as_array().expect("a list");
    for rule in [
        json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]}),
        json!({"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]}),
        json!({"verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
               "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]}),
    ] {
        assert!(resources.contains(&rule), "{rule}");
    }
    assert_eq!(resources.len(), 3);
    let paths = status["nonResourceRules"].as_array().expect("a list");
    assert_eq!(paths.len(), 2);
    let info = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]});
    assert!(paths.contains(&info));

    assert_eq!(errors, [""; 0]);
}

#[test]
fn a_policy_stays_small() {
    // A few hundred verbs, groups, resources and names are all that the built-in roles consist of.
    assert!(boot_policy(&[]).strings() < 700, "{}", boot_policy(&[]).strings());
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "", "*", "a", "b", "a/b", "*/b", "b/*", "/a", "/a/*", "/*", "/a/b", "*/", "a*",
    ])
    .prop_map(str::to_owned)
}

fn words(max: usize) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(word(), 0..=max)
}

fn rules() -> impl Strategy<Value = Vec<PolicyRule>> {
    let rule =
        (words(2), words(2), words(3), words(1), words(2)).prop_map(|(verbs, groups, resources, names, urls)| {
            PolicyRule {
                verbs,
                api_groups: groups,
                resources,
                resource_names: names,
                non_resource_urls: urls,
            }
        });
    proptest::collection::vec(rule, 0..3)
}

#[derive(Debug, Clone)]
struct Grant {
    in_namespace: bool,
    rules: Vec<PolicyRule>,
    subjects: Vec<(&'static str, String)>,
}

fn grants() -> impl Strategy<Value = Vec<Grant>> {
    let subject = (prop::sample::select(vec!["User", "Group", "ServiceAccount"]), word());
    let grant = (any::<bool>(), rules(), proptest::collection::vec(subject, 0..3)).prop_map(
        |(in_namespace, rules, subjects)| Grant {
            in_namespace,
            rules,
            subjects,
        },
    );
    proptest::collection::vec(grant, 0..6)
}

proptest! {
    /// Compiling changes nothing: the policy allows exactly what some rule of some binding to the caller allows.
    #[test]
    fn compiled_and_plain_evaluation_agree(
        grants in grants(), name in word(), groups in words(2), account: bool,
        verb in word(), group in word(), resource in word(), subresource in prop::sample::select(vec!["", "b", "c"]),
        object in word(), path in word(), about_resource: bool, namespaced: bool,
    ) {
        let namespace = if namespaced { "ns" } else { "" };
        let identity = if account {
            service_account_identity("ns", &name, "")
        } else {
            Identity { user: name, groups, ..Identity::default() }
        };
        let attributes = Attributes {
            identity: identity.clone(), verb, resource_request: about_resource, group, resource,
            subresource: subresource.into(), namespace: namespace.into(), name: object, path, ..Attributes::default()
        };
        let applies = |grant: &Grant| grant.subjects.iter().any(|(kind, who)| match *kind {
            "User" => identity.user == *who,
            "Group" => identity.in_group(who),
            _ => grant.in_namespace && identity.user == format!("system:serviceaccount:ns:{who}"),
        });
        let expected = grants.iter().any(|g| {
            (!g.in_namespace || namespaced) && applies(g) && g.rules.iter().any(|r| r.allows(&attributes))
        });

        let roles: Vec<Value> = grants.iter().enumerate()
            .map(|(n, g)| role("", &format!("r{n}"), serde_json::to_value(&g.rules).expect("JSON"))).collect();
        let bindings = |in_namespace: bool| -> Vec<Value> {
            grants.iter().enumerate().filter(|(_, g)| g.in_namespace == in_namespace).map(|(n, g)| {
                let subjects: Vec<Value> = g.subjects.iter().map(|(k, w)| json!({"kind": k, "name": w})).collect();
                binding(if in_namespace { "ns" } else { "" }, &format!("b{n}"), "ClusterRole", &format!("r{n}"), subjects.into())
            }).collect()
        };
        let none: [Value; 0] = [];
        let policy = Policy::compile(&none, &roles, &bindings(true), &bindings(false));
        prop_assert_eq!(policy.authorize(&attributes).allowed(), expected);
        // Whoever holds rules may grant them, and nothing he doesn't hold.
        let (held, _) = policy.policy_rules(&identity, namespace);
        prop_assert_eq!(held.iter().any(|r| r.allows(&attributes)), expected);
    }
}

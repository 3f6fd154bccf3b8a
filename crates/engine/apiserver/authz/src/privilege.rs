//! Nobody gains rights by writing roles and bindings.
//!
//! As upstream: who writes a role must hold every right in it, or the verb `escalate` on it; who writes a binding
//! must hold every right of the role it refers to, or the verb `bind` on that role.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::attributes::{Attributes, Identity};
use crate::objects::{self, BindingObject, RoleObject};
use crate::policy::Policy;
use crate::quote::{quote, quote_list};
use crate::rule::PolicyRule;
use crate::union::aggregate_errors;
use crate::{GROUP_MASTERS, RBAC_GROUP};

/// A create or update of a role or binding, after mutation and before it is stored.
#[derive(Debug, Clone, Copy)]
pub struct RbacWrite<'a> {
    /// Who writes.
    pub identity: &'a Identity,
    /// `roles`, `clusterroles`, `rolebindings` or `clusterrolebindings`; anything else is allowed.
    pub resource: &'a str,
    /// Namespace of the request, empty for the cluster.
    pub namespace: &'a str,
    /// Name in the URL: empty for a create.
    pub name: &'a str,
    /// The object to be.
    pub new: &'a Value,
    /// The object that is, if there is one.
    pub old: Option<&'a Value>,
}

/// Why a role or binding may not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EscalationError {
    /// It would grant what the writer doesn't hold. The text is the cause of a 403 Forbidden about the object.
    #[error("{message}")]
    Forbidden {
        /// Upstream's text: the user, its groups and the missing rules.
        message: String,
    },
    /// A binding refers to a role that doesn't exist. A 404 Not Found whose kind is, as upstream, the resource
    /// that is written.
    #[error("{resource}.{RBAC_GROUP} {} not found", quote(name))]
    RoleNotFound {
        /// The resource that is written.
        resource: String,
        /// Name of the missing role.
        name: String,
    },
    /// A binding refers to something that is no role. Validation says so first.
    #[error("unsupported role reference kind: {}", quote(kind))]
    RoleKind {
        /// The kind it refers to.
        kind: String,
    },
    /// The object cannot be read. Validation says so first.
    #[error("the object is not of the resource {resource}: {reason}")]
    Object {
        /// The resource that is written.
        resource: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whoever is allowed this may write whatever rights the writer holds: the verb `escalate` on a role, the verb `bind` on
/// the role that a binding refers to. `None` if the write is allowed anyway.
pub fn rbac_escalation_question(write: &RbacWrite<'_>) -> Result<Option<Attributes>, EscalationError> {
    if write.identity.in_group(GROUP_MASTERS) {
        return Ok(None);
    }
    if let Some(old) = write.old
        && only_collects_garbage(write.new, old)
    {
        return Ok(None);
    }
    match write.resource {
        "roles" | "clusterroles" => Ok(Some(Attributes {
            version: "*".into(),
            ..question(write, "escalate", write.resource, write.name)
        })),
        "rolebindings" | "clusterrolebindings" => {
            let new: BindingObject = read(write, write.new)?;
            let to = &new.role_ref;
            let resource = match to.kind.as_str() {
                "ClusterRole" => "clusterroles",
                "Role" => "roles",
                kind => return Err(EscalationError::RoleKind { kind: kind.to_owned() }),
            };
            Ok(Some(Attributes {
                group: to.api_group.clone(),
                ..question(write, "bind", resource, &to.name)
            }))
        }
        _ => Ok(None),
    }
}

/// Whether the write is allowed to one whom the question of [`rbac_escalation_question`] does not allow it. `policy` is
/// the policy before the write.
pub fn rbac_escalation_allowed(policy: &Policy, write: &RbacWrite<'_>) -> Result<(), EscalationError> {
    match write.resource {
        "roles" | "clusterroles" => role(policy, write),
        "rolebindings" | "clusterrolebindings" => binding(policy, write),
        _ => Ok(()),
    }
}

fn role(policy: &Policy, write: &RbacWrite<'_>) -> Result<(), EscalationError> {
    let new: RoleObject = read(write, write.new)?;
    confirm(policy, write, &new.rules)?;
    if write.resource == "clusterroles" {
        let old = write.old.and_then(|old| objects::read::<RoleObject>(old).ok());
        let aggregates = new.aggregates() || old.is_some_and(|old| old.aggregates());
        // It can gather anything, so it is worth everything.
        if aggregates && confirm(policy, write, &everything()).is_err() {
            return Err(EscalationError::Forbidden {
                message: "must have cluster-admin privileges to use the aggregationRule".into(),
            });
        }
    }
    Ok(())
}

fn binding(policy: &Policy, write: &RbacWrite<'_>) -> Result<(), EscalationError> {
    let new: BindingObject = read(write, write.new)?;
    let to = &new.role_ref;
    let rules =
        policy
            .role_rules(&to.kind, &to.name, write.namespace)
            .ok_or_else(|| EscalationError::RoleNotFound {
                resource: write.resource.to_owned(),
                name: to.name.clone(),
            })?;
    confirm(policy, write, &rules)
}

fn question(write: &RbacWrite<'_>, verb: &str, resource: &str, name: &str) -> Attributes {
    Attributes {
        identity: write.identity.clone(),
        verb: verb.into(),
        resource_request: true,
        group: RBAC_GROUP.into(),
        resource: resource.into(),
        namespace: write.namespace.into(),
        name: name.into(),
        ..Attributes::default()
    }
}

fn read<T: for<'v> serde::Deserialize<'v>>(write: &RbacWrite<'_>, value: &Value) -> Result<T, EscalationError> {
    objects::read(value).map_err(|error| EscalationError::Object {
        resource: write.resource.to_owned(),
        reason: error.to_string(),
    })
}

fn everything() -> [PolicyRule; 2] {
    let star = || vec!["*".to_owned()];
    [
        PolicyRule {
            verbs: star(),
            api_groups: star(),
            resources: star(),
            ..PolicyRule::default()
        },
        PolicyRule {
            verbs: star(),
            non_resource_urls: star(),
            ..PolicyRule::default()
        },
    ]
}

/// Whether an update changes nothing but what the garbage collector writes. Bookkeeping of the server itself
/// grants nothing and doesn't count.
fn only_collects_garbage(new: &Value, old: &Value) -> bool {
    let strip = |value: &Value| {
        let mut value = value.clone();
        if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
                meta.remove(field);
            }
        }
        value
    };
    strip(new) == strip(old)
}

/// The writer must hold every right of `rules` in the namespace of the write.
fn confirm(policy: &Policy, write: &RbacWrite<'_>, rules: &[PolicyRule]) -> Result<(), EscalationError> {
    let (held, unresolved) = policy.policy_rules(write.identity, write.namespace);
    let missing: Vec<PolicyRule> = rules
        .iter()
        .flat_map(atoms)
        .filter(|atom| !held.iter().any(|h| covers(h, atom)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = compact(missing).iter().map(PolicyRule::describe).collect();
    lines.sort();
    lines.dedup();
    let mut message = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        quote(&write.identity.user),
        quote_list(&write.identity.groups),
        lines.join("\n")
    );
    if let Some(errors) = aggregate_errors(&unresolved) {
        message.push_str(&format!("; resolution errors: [{errors}]"));
    }
    Err(EscalationError::Forbidden { message })
}

/// The rule taken apart: one verb and one group, resource and name, or one verb and one path each.
pub(crate) fn atoms(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |s: &String| vec![s.clone()];
    let mut atoms = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let atom = PolicyRule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    ..PolicyRule::default()
                };
                if rule.resource_names.is_empty() {
                    atoms.push(atom);
                    continue;
                }
                atoms.extend(rule.resource_names.iter().map(|name| PolicyRule {
                    resource_names: one(name),
                    ..atom.clone()
                }));
            }
        }
    }
    for path in &rule.non_resource_urls {
        atoms.extend(rule.verbs.iter().map(|verb| PolicyRule {
            verbs: one(verb),
            non_resource_urls: one(path),
            ..PolicyRule::default()
        }));
    }
    atoms
}

/// Whether `held` includes all of `atom`.
pub(crate) fn covers(held: &PolicyRule, atom: &PolicyRule) -> bool {
    let all = |set: &[String], of: &[String]| of.iter().all(|x| set.contains(x));
    let star = |set: &[String]| set.iter().any(|x| x == "*");
    let resource = |r: &String| {
        held.resources.contains(r)
            || r.split_once('/')
                .is_some_and(|(_, sub)| held.resources.iter().any(|h| h.strip_prefix("*/") == Some(sub)))
    };
    (star(&held.verbs) || all(&held.verbs, &atom.verbs))
        && (star(&held.api_groups) || all(&held.api_groups, &atom.api_groups))
        && (star(&held.resources) || atom.resources.iter().all(resource))
        && (held.resource_names.is_empty()
            || (!atom.resource_names.is_empty() && all(&held.resource_names, &atom.resource_names)))
        && atom.non_resource_urls.iter().all(|path| {
            held.non_resource_urls
                .iter()
                .any(|h| crate::rule::path_matches(h, path))
        })
}

/// Joins atoms that differ by verb only.
fn compact(atoms: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut simple: BTreeMap<(String, String), PolicyRule> = BTreeMap::new();
    let mut out = Vec::new();
    for atom in atoms {
        match (atom.api_groups.as_slice(), atom.resources.as_slice()) {
            ([group], [resource]) if atom.resource_names.is_empty() && atom.non_resource_urls.is_empty() => {
                let key = (group.clone(), resource.clone());
                match simple.get_mut(&key) {
                    Some(rule) => rule.verbs.extend(atom.verbs),
                    None => drop(simple.insert(key, atom)),
                }
            }
            _ => out.push(atom),
        }
    }
    out.extend(simple.into_values());
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Value {
        json!({"verbs": verbs, "apiGroups": groups, "resources": resources})
    }

    /// A user who may write roles and bindings in `ns`, and holds what `rules` say there.
    fn policy(rules: Value) -> Policy {
        let subjects = json!([{"kind": "User", "name": "golden-alice"}]);
        let all = json!([
            rule(&["*"], &["*"], &["*"]),
            {"verbs": ["*"], "nonResourceURLs": ["*"]},
        ]);
        let roles = [json!({"metadata": {"name": "r", "namespace": "ns"}, "rules": rules})];
        let cluster_roles = [json!({"metadata": {"name": "cluster-admin"}, "rules": all})];
        let bindings = [json!({
            "metadata": {"name": "b", "namespace": "ns"}, "subjects": subjects,
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": "Role", "name": "r"},
        })];
        Policy::compile(&roles, &cluster_roles, &bindings, [])
    }

    fn alice() -> Identity {
        Identity {
            user: "golden-alice".into(),
            groups: vec!["system:authenticated".into()],
            ..Identity::default()
        }
    }

    fn decide(policy: &Policy, write: &RbacWrite<'_>) -> Result<(), EscalationError> {
        match rbac_escalation_question(write)? {
            Some(question) if !policy.authorize(&question).allowed() => rbac_escalation_allowed(policy, write),
            _ => Ok(()),
        }
    }

    fn check(policy: &Policy, resource: &str, namespace: &str, new: &Value, old: Option<&Value>) -> Result<(), String> {
        let identity = alice();
        let write = RbacWrite {
            identity: &identity,
            resource,
            namespace,
            name: if old.is_some() { "x" } else { "" },
            new,
            old,
        };
        decide(policy, &write).map_err(|e| e.to_string())
    }

    fn role(rules: Value) -> Value {
        json!({"metadata": {"name": "x", "namespace": "ns"}, "rules": rules})
    }

    fn binding(kind: &str, name: &str) -> Value {
        json!({"metadata": {"name": "x"}, "roleRef": {"apiGroup": RBAC_GROUP, "kind": kind, "name": name}})
    }

    const HEAD: &str = "user \"golden-alice\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n";

    #[test]
    fn roles_grant_only_what_the_writer_holds() {
        let policy = policy(json!([rule(&["get"], &[""], &["pods"])]));
        let write = |rules: Value| check(&policy, "roles", "ns", &role(rules), None);
        assert_eq!(write(json!([rule(&["get"], &[""], &["pods"])])), Ok(()));
        assert_eq!(write(json!([])), Ok(()));
        let refused = |rules: Value| write(rules).expect_err("refused");
        assert_eq!(
            refused(json!([rule(&["get"], &[""], &["secrets"])])),
            format!("{HEAD}{{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}}")
        );
        assert_eq!(
            refused(json!([rule(&["*"], &["*"], &["*"])])),
            format!("{HEAD}{{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}}")
        );
        assert_eq!(
            refused(json!([rule(&["get", "delete"], &[""], &["pods", "secrets"])])),
            format!(
                "{HEAD}{{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}}\n\
                 {{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"delete\"]}}"
            )
        );
        // What is held in a namespace isn't held elsewhere.
        let own = role(json!([rule(&["get"], &[""], &["pods"])]));
        assert!(check(&policy, "roles", "other", &own, None).is_err());
        assert!(check(&policy, "clusterroles", "", &own, None).is_err());
    }

    #[test]
    fn bindings_grant_only_what_the_writer_holds() {
        let policy = policy(json!([rule(&["get"], &[""], &["pods"])]));
        let write = |kind, name| check(&policy, "rolebindings", "ns", &binding(kind, name), None);
        assert_eq!(write("Role", "r"), Ok(()));
        assert_eq!(
            write("ClusterRole", "cluster-admin").expect_err("refused"),
            format!(
                "{HEAD}{{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}}\n{{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}}"
            )
        );
        assert_eq!(
            write("Role", "nope").expect_err("missing"),
            "rolebindings.rbac.authorization.k8s.io \"nope\" not found"
        );
        assert_eq!(
            write("Pod", "r").expect_err("no role"),
            "unsupported role reference kind: \"Pod\""
        );
        let cluster = check(&policy, "clusterrolebindings", "", &binding("Role", "r"), None);
        assert_eq!(
            cluster.expect_err("a cluster binding has no namespace"),
            "clusterrolebindings.rbac.authorization.k8s.io \"r\" not found"
        );
    }

    #[test]
    fn escalate_and_bind_are_enough() {
        let escalate = policy(json!([rule(&["escalate"], &[RBAC_GROUP], &["roles"])]));
        let everything = role(json!([rule(&["*"], &["*"], &["*"])]));
        assert_eq!(check(&escalate, "roles", "ns", &everything, None), Ok(()));
        assert!(check(&escalate, "clusterroles", "", &everything, None).is_err());
        let mut bind = rule(&["bind"], &[RBAC_GROUP], &["clusterroles"]);
        bind["resourceNames"] = json!(["cluster-admin"]);
        let bind = policy(json!([bind]));
        let admin = binding("ClusterRole", "cluster-admin");
        assert_eq!(check(&bind, "rolebindings", "ns", &admin, None), Ok(()));
        assert!(check(&bind, "clusterrolebindings", "", &admin, None).is_err());
        assert!(check(&bind, "rolebindings", "ns", &binding("ClusterRole", "gone"), None).is_err());
    }

    #[test]
    fn masters_and_the_garbage_collector_pass() {
        let policy = policy(json!([]));
        let new = role(json!([rule(&["*"], &["*"], &["*"])]));
        let master = Identity {
            groups: vec![GROUP_MASTERS.into()],
            ..alice()
        };
        let write = RbacWrite {
            identity: &master,
            resource: "roles",
            namespace: "ns",
            name: "",
            new: &new,
            old: None,
        };
        assert_eq!(decide(&policy, &write), Ok(()));
        let mut released = new.clone();
        released["metadata"]["finalizers"] = json!([]);
        assert_eq!(check(&policy, "roles", "ns", &released, Some(&new)), Ok(()));
        released["metadata"]["labels"] = json!({"a": "b"});
        assert!(check(&policy, "roles", "ns", &released, Some(&new)).is_err());
        assert_eq!(check(&policy, "pods", "ns", &new, None), Ok(()));
    }

    #[test]
    fn aggregation_needs_everything() {
        let text = "must have cluster-admin privileges to use the aggregationRule";
        let policy = policy(json!([]));
        let plain = json!({"metadata": {"name": "x"}, "rules": []});
        let mut aggregated = plain.clone();
        aggregated["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
        assert_eq!(check(&policy, "clusterroles", "", &plain, None), Ok(()));
        assert_eq!(check(&policy, "clusterroles", "", &aggregated, None), Err(text.into()));
        assert_eq!(
            check(&policy, "clusterroles", "", &plain, Some(&aggregated)),
            Err(text.into())
        );
    }

    #[test]
    fn coverage_is_per_atom() {
        let of = |value: Value| objects::read::<PolicyRule>(&value).expect("a rule");
        let named = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a", "b"]});
        let one = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]});
        let any = rule(&["get"], &[""], &["pods"]);
        let paths = |list: &[&str]| json!({"verbs": ["get"], "nonResourceURLs": list});
        for (held, wanted, covered) in [
            (&named, &one, true),
            (&any, &one, true),
            (&one, &any, false),
            (
                &rule(&["get"], &[""], &["*/log"]),
                &rule(&["get"], &[""], &["pods/log"]),
                true,
            ),
            (
                &rule(&["get"], &[""], &["*/log"]),
                &rule(&["get"], &[""], &["pods"]),
                false,
            ),
            (
                &rule(&["get"], &[""], &["pods"]),
                &rule(&["get"], &[""], &["pods/log"]),
                false,
            ),
            (&rule(&["get"], &[""], &["*"]), &rule(&["get"], &[""], &["*/log"]), true),
            (&rule(&["*"], &["*"], &["*"]), &paths(&["/x"]), false),
            (&paths(&["/a/*"]), &paths(&["/a/b"]), true),
            (&paths(&["/a/*"]), &paths(&["/a/*"]), true),
            (&paths(&["/a"]), &paths(&["/a/*"]), false),
        ] {
            let all = atoms(&of(wanted.clone())).iter().all(|a| covers(&of(held.clone()), a));
            assert_eq!(all, covered, "{held} covers {wanted}");
        }
        assert_eq!(atoms(&of(named)).len(), 2);
    }
}

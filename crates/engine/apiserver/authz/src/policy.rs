//! Roles and bindings, compiled for fast answers.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::Value;

use crate::RBAC_GROUP;
use crate::attributes::{Attributes, Decision, Identity};
use crate::objects::{self, BindingObject, RoleObject, SubjectRef};
use crate::quote::quote;
use crate::review::{NonResourceRule, ResourceRule, RuleReview};
use crate::rule::{PolicyRule, path_matches};
use crate::symbols::{EMPTY, STAR, Symbol, Symbols};
use crate::union::aggregate_errors;

/// An object that [`Policy::compile`] could not read: it grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} is left out of authorisation: {reason}")]
pub struct SkippedObject {
    /// Its kind.
    pub kind: &'static str,
    /// `namespace/name`, as far as it is known.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The RBAC policy of a cluster at one moment. Immutable: compile a new one when a role or binding changes.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    symbols: Symbols,
    /// By namespace and name.
    roles: BTreeMap<(Symbol, Symbol), Box<[Rule]>>,
    cluster_roles: BTreeMap<Symbol, Box<[Rule]>>,
    cluster_bindings: BindingSet,
    /// By namespace.
    bindings: BTreeMap<Symbol, BindingSet>,
    skipped: Vec<SkippedObject>,
}

#[derive(Debug, Clone)]
struct Rule {
    verbs: Box<[Symbol]>,
    groups: Box<[Symbol]>,
    resources: Box<[Symbol]>,
    names: Box<[Symbol]>,
    paths: Box<[Symbol]>,
}

/// Bindings of one scope, found by whom they name.
#[derive(Debug, Clone, Default)]
struct BindingSet {
    bindings: Vec<Binding>,
    /// User name (service accounts too) to bindings that name it.
    by_user: BTreeMap<Symbol, Vec<u32>>,
    by_group: BTreeMap<Symbol, Vec<u32>>,
}

#[derive(Debug, Clone)]
struct Binding {
    name: Symbol,
    role_kind: Symbol,
    role: Symbol,
    subjects: Box<[Subject]>,
}

#[derive(Debug, Clone)]
struct Subject {
    kind: SubjectKind,
    /// The user or group that this subject is.
    matches: Symbol,
    /// As written, for reasons.
    name: Symbol,
    /// Of a service account.
    namespace: Symbol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubjectKind {
    User,
    Group,
    ServiceAccount,
}

/// The identity in symbols; what the policy doesn't name is left out.
struct Caller {
    user: Option<Symbol>,
    groups: Vec<Symbol>,
}

/// The request in symbols; what the policy doesn't name matches only `*`.
struct Query<'a> {
    verb: Option<Symbol>,
    group: Option<Symbol>,
    resource: Option<Symbol>,
    any_subresource: Option<Symbol>,
    name: Option<Symbol>,
    path: &'a str,
    about_resource: bool,
}

/// Which binding granted a rule.
struct Source<'p> {
    policy: &'p Policy,
    binding: &'p Binding,
    subject: &'p Subject,
    /// Empty for a ClusterRoleBinding.
    namespace: Symbol,
}

enum Visit<'p> {
    Rule(Source<'p>, &'p Rule),
    Unresolved(String),
}

impl Policy {
    /// Compiles the objects. One that cannot be read grants nothing and is listed by [`Policy::skipped`].
    /// Bindings are tried in the order given, those of the cluster first.
    pub fn compile<'v>(
        roles: impl IntoIterator<Item = &'v Value>,
        cluster_roles: impl IntoIterator<Item = &'v Value>,
        role_bindings: impl IntoIterator<Item = &'v Value>,
        cluster_role_bindings: impl IntoIterator<Item = &'v Value>,
    ) -> Self {
        let mut policy = Self::default();
        for value in cluster_roles {
            if let Some(role) = policy.read::<RoleObject>("ClusterRole", value) {
                policy.add_cluster_role(&role);
            }
        }
        for value in roles {
            if let Some(role) = policy.read::<RoleObject>("Role", value) {
                policy.add_role(&role);
            }
        }
        for value in cluster_role_bindings {
            if let Some(binding) = policy.read::<BindingObject>("ClusterRoleBinding", value) {
                let compiled = policy.binding(&binding, "");
                policy.cluster_bindings.add(compiled);
            }
        }
        for value in role_bindings {
            if let Some(binding) = policy.read::<BindingObject>("RoleBinding", value) {
                let namespace = policy.symbols.intern(&binding.metadata.namespace);
                let compiled = policy.binding(&binding, &binding.metadata.namespace);
                policy.bindings.entry(namespace).or_default().add(compiled);
            }
        }
        policy
    }

    /// Objects that could not be read.
    pub fn skipped(&self) -> &[SkippedObject] {
        &self.skipped
    }

    /// How many distinct strings the policy holds: a measure of its size.
    pub fn strings(&self) -> usize {
        self.symbols.len()
    }

    fn read<'v, T: serde::Deserialize<'v>>(&mut self, kind: &'static str, value: &'v Value) -> Option<T> {
        match objects::read(value) {
            Ok(object) => Some(object),
            Err(error) => {
                let of = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
                self.skipped.push(SkippedObject {
                    kind,
                    name: match of("namespace") {
                        "" => of("name").to_owned(),
                        namespace => format!("{namespace}/{}", of("name")),
                    },
                    reason: error.to_string(),
                });
                None
            }
        }
    }

    fn rules(&mut self, rules: &[PolicyRule]) -> Box<[Rule]> {
        rules
            .iter()
            .map(|rule| Rule {
                verbs: self.symbols.intern_all(&rule.verbs),
                groups: self.symbols.intern_all(&rule.api_groups),
                resources: self.symbols.intern_all(&rule.resources),
                names: self.symbols.intern_all(&rule.resource_names),
                paths: self.symbols.intern_all(&rule.non_resource_urls),
            })
            .collect()
    }

    fn add_cluster_role(&mut self, role: &RoleObject) {
        let name = self.symbols.intern(&role.metadata.name);
        let rules = self.rules(&role.rules);
        self.cluster_roles.insert(name, rules);
    }

    fn add_role(&mut self, role: &RoleObject) {
        let key = (
            self.symbols.intern(&role.metadata.namespace),
            self.symbols.intern(&role.metadata.name),
        );
        let rules = self.rules(&role.rules);
        self.roles.insert(key, rules);
    }

    fn binding(&mut self, binding: &BindingObject, namespace: &str) -> Binding {
        Binding {
            name: self.symbols.intern(&binding.metadata.name),
            role_kind: self.symbols.intern(&binding.role_ref.kind),
            role: self.symbols.intern(&binding.role_ref.name),
            subjects: binding
                .subjects
                .iter()
                .filter_map(|s| self.subject(s, namespace))
                .collect(),
        }
    }

    /// `None` for a subject that can match nobody.
    fn subject(&mut self, subject: &SubjectRef, binding_namespace: &str) -> Option<Subject> {
        let name = self.symbols.intern(&subject.name);
        let (kind, matches, namespace) = match subject.kind.as_str() {
            "User" => (SubjectKind::User, name, EMPTY),
            "Group" => (SubjectKind::Group, name, EMPTY),
            "ServiceAccount" => {
                let namespace = match subject.namespace.as_str() {
                    "" => binding_namespace,
                    own => own,
                };
                if namespace.is_empty() {
                    return None;
                }
                let user = crate::authn::service_account_user(namespace, &subject.name);
                (
                    SubjectKind::ServiceAccount,
                    self.symbols.intern(&user),
                    self.symbols.intern(namespace),
                )
            }
            _ => return None,
        };
        Some(Subject {
            kind,
            matches,
            name,
            namespace,
        })
    }

    /// What RBAC says.
    pub fn authorize(&self, attributes: &Attributes) -> Decision {
        let query = self.query(attributes);
        let mut granted = None;
        let mut unresolved = Vec::new();
        self.visit(&attributes.identity, &attributes.namespace, &mut |visit| match visit {
            Visit::Rule(source, rule) if self.allows(rule, &query) => {
                granted = Some(source.describe());
                ControlFlow::Break(())
            }
            Visit::Rule(..) => ControlFlow::Continue(()),
            Visit::Unresolved(error) => {
                unresolved.push(error);
                ControlFlow::Continue(())
            }
        });
        match (granted, aggregate_errors(&unresolved)) {
            (Some(source), _) => Decision::allow(format!("RBAC: allowed by {source}")),
            (None, Some(errors)) => Decision::no_opinion(format!("RBAC: {errors}")),
            (None, None) => Decision::no_opinion(""),
        }
    }

    /// What `identity` may do in `namespace` (and in the cluster, if bindings of the cluster say so), and what could not
    /// be resolved.
    pub fn rules_for(&self, identity: &Identity, namespace: &str) -> (RuleReview, Vec<String>) {
        let (rules, errors) = self.policy_rules(identity, namespace);
        let mut review = RuleReview::default();
        for rule in rules {
            if !rule.resources.is_empty() {
                review.resource_rules.push(ResourceRule {
                    verbs: rule.verbs.clone(),
                    api_groups: rule.api_groups,
                    resources: rule.resources,
                    resource_names: rule.resource_names,
                });
            }
            if !rule.non_resource_urls.is_empty() {
                review.non_resource_rules.push(NonResourceRule {
                    verbs: rule.verbs,
                    non_resource_urls: rule.non_resource_urls,
                });
            }
        }
        (review, errors)
    }

    /// Every rule granted to `identity` in `namespace`, and what could not be resolved.
    pub(crate) fn policy_rules(&self, identity: &Identity, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let mut rules = Vec::new();
        let mut unresolved = Vec::new();
        self.visit(identity, namespace, &mut |visit| {
            match visit {
                Visit::Rule(_, rule) => rules.push(self.written(rule)),
                Visit::Unresolved(error) => unresolved.push(error),
            }
            ControlFlow::Continue(())
        });
        (rules, unresolved)
    }

    /// The rules of the role that a binding in `namespace` (empty: of the cluster) refers to; `None` if there is
    /// no such role.
    pub(crate) fn role_rules(&self, kind: &str, name: &str, namespace: &str) -> Option<Vec<PolicyRule>> {
        let name = self.symbols.find(name)?;
        let rules = match kind {
            "ClusterRole" => self.cluster_roles.get(&name)?,
            "Role" => self.roles.get(&(self.symbols.find(namespace)?, name))?,
            _ => return None,
        };
        Some(rules.iter().map(|r| self.written(r)).collect())
    }

    fn written(&self, rule: &Rule) -> PolicyRule {
        PolicyRule {
            verbs: self.symbols.texts(&rule.verbs),
            api_groups: self.symbols.texts(&rule.groups),
            resources: self.symbols.texts(&rule.resources),
            resource_names: self.symbols.texts(&rule.names),
            non_resource_urls: self.symbols.texts(&rule.paths),
        }
    }

    fn query<'a>(&self, attributes: &'a Attributes) -> Query<'a> {
        let find = |text: &str| self.symbols.find(text);
        let (resource, any_subresource) = if attributes.subresource.is_empty() {
            (find(&attributes.resource), None)
        } else {
            (
                find(&format!("{}/{}", attributes.resource, attributes.subresource)),
                find(&format!("*/{}", attributes.subresource)),
            )
        };
        Query {
            verb: find(&attributes.verb),
            group: find(&attributes.group),
            resource,
            any_subresource,
            name: find(&attributes.name),
            path: &attributes.path,
            about_resource: attributes.resource_request,
        }
    }

    fn allows(&self, rule: &Rule, query: &Query<'_>) -> bool {
        let has = |list: &[Symbol], one: Option<Symbol>| list.iter().any(|s| *s == STAR || Some(*s) == one);
        if !has(&rule.verbs, query.verb) {
            return false;
        }
        if !query.about_resource {
            return rule
                .paths
                .iter()
                .any(|p| path_matches(self.symbols.text(*p), query.path));
        }
        has(&rule.groups, query.group)
            && (has(&rule.resources, query.resource)
                || (query.any_subresource.is_some() && has(&rule.resources, query.any_subresource)))
            && (rule.names.is_empty() || rule.names.iter().any(|n| Some(*n) == query.name))
    }

    /// Shows every rule that applies to `identity` in `namespace`, until `visitor` breaks.
    fn visit<'p>(
        &'p self,
        identity: &Identity,
        namespace: &str,
        visitor: &mut dyn FnMut(Visit<'p>) -> ControlFlow<()>,
    ) {
        let caller = Caller {
            user: self.symbols.find(&identity.user),
            groups: identity.groups.iter().filter_map(|g| self.symbols.find(g)).collect(),
        };
        if self
            .visit_set(&self.cluster_bindings, EMPTY, &caller, visitor)
            .is_break()
            || namespace.is_empty()
        {
            return;
        }
        let Some(namespace) = self.symbols.find(namespace) else {
            return;
        };
        if let Some(set) = self.bindings.get(&namespace) {
            let _ = self.visit_set(set, namespace, &caller, visitor);
        }
    }

    fn visit_set<'p>(
        &'p self,
        set: &'p BindingSet,
        namespace: Symbol,
        caller: &Caller,
        visitor: &mut dyn FnMut(Visit<'p>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for (binding, subject) in set.of(caller) {
            let rules = match self.symbols.text(binding.role_kind) {
                "ClusterRole" => self.cluster_roles.get(&binding.role),
                // A binding of the cluster cannot refer to a role of a namespace.
                "Role" if namespace != EMPTY => self.roles.get(&(namespace, binding.role)),
                _ => None,
            };
            let Some(rules) = rules else {
                visitor(Visit::Unresolved(self.unresolved(binding)))?;
                continue;
            };
            for rule in rules {
                let source = Source {
                    policy: self,
                    binding,
                    subject,
                    namespace,
                };
                visitor(Visit::Rule(source, rule))?;
            }
        }
        ControlFlow::Continue(())
    }

    fn unresolved(&self, binding: &Binding) -> String {
        let name = quote(self.symbols.text(binding.role));
        match self.symbols.text(binding.role_kind) {
            "ClusterRole" => format!("clusterrole.{RBAC_GROUP} {name} not found"),
            "Role" => format!("role.{RBAC_GROUP} {name} not found"),
            other => format!("unsupported role reference kind: {}", quote(other)),
        }
    }
}

impl BindingSet {
    fn add(&mut self, binding: Binding) {
        let at = self.bindings.len() as u32;
        for subject in &binding.subjects {
            let index = match subject.kind {
                SubjectKind::Group => &mut self.by_group,
                SubjectKind::User | SubjectKind::ServiceAccount => &mut self.by_user,
            };
            let list = index.entry(subject.matches).or_default();
            if list.last() != Some(&at) {
                list.push(at);
            }
        }
        self.bindings.push(binding);
    }

    /// The bindings that name the caller, in order, with the first subject that does.
    fn of(&self, caller: &Caller) -> impl Iterator<Item = (&Binding, &Subject)> {
        let lists = caller
            .user
            .and_then(|u| self.by_user.get(&u))
            .into_iter()
            .chain(caller.groups.iter().filter_map(|g| self.by_group.get(g)));
        let mut found: Vec<u32> = lists.flatten().copied().collect();
        found.sort_unstable();
        found.dedup();
        let user = caller.user;
        let groups = caller.groups.clone();
        found.into_iter().filter_map(move |at| {
            let binding = &self.bindings[at as usize];
            let subject = binding.subjects.iter().find(|s| match s.kind {
                SubjectKind::Group => groups.contains(&s.matches),
                SubjectKind::User | SubjectKind::ServiceAccount => user == Some(s.matches),
            })?;
            Some((binding, subject))
        })
    }
}

impl Source<'_> {
    /// `RoleBinding "name/namespace" of Role "role" to User "user"`.
    fn describe(&self) -> String {
        let text = |s: Symbol| self.policy.symbols.text(s);
        let pair = |name: Symbol, namespace: Symbol| quote(&format!("{}/{}", text(name), text(namespace)));
        let binding = if self.namespace == EMPTY {
            format!("ClusterRoleBinding {}", quote(text(self.binding.name)))
        } else {
            format!("RoleBinding {}", pair(self.binding.name, self.namespace))
        };
        let subject = match self.subject.kind {
            SubjectKind::User => format!("User {}", quote(text(self.subject.name))),
            SubjectKind::Group => format!("Group {}", quote(text(self.subject.name))),
            SubjectKind::ServiceAccount => {
                format!("ServiceAccount {}", pair(self.subject.name, self.subject.namespace))
            }
        };
        format!(
            "{binding} of {} {} to {subject}",
            text(self.binding.role_kind),
            quote(text(self.binding.role))
        )
    }
}

#[cfg(test)]
mod tests;

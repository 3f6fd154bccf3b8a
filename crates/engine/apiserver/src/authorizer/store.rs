//! The authoriser of a replica: the chain, over the roles, bindings and pods of its store.

use std::sync::Arc;

use async_trait::async_trait;
use engenho_authz::union::RulesUnion;
use engenho_authz::{
    Attributes, Decision, EscalationError, GROUP_MASTERS, Identity, NODE_RULES_UNKNOWN, NonResourceRule, Policy,
    RbacWrite, ResourceRule, RuleReview, Union, Verdict, aggregate, authorize_node, node_name, rbac_escalation_allowed,
    rbac_escalation_question,
};
use engenho_store::{KeyRange, RangeRequest, Store};
use parking_lot::Mutex;
use serde_json::Value;

use super::Authorizer;
use super::chain::{AuthorizerChain, Kind, Link};
use super::nodes::Nodes;
use super::webhook::{Known, NO_RULES, Question};
use crate::watched::Watched;

const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";

/// A chain of authorizers over a store. The policy of RBAC is compiled when it is first needed and again when a role or
/// binding has changed, before the next decision: whoever was granted something can use it at once.
pub struct StoreAuthorizer {
    store: Arc<Store>,
    state: Mutex<State>,
    nodes: Nodes,
    chain: Arc<AuthorizerChain>,
}

#[derive(Default)]
struct State {
    policy: Arc<Policy>,
    watched: Watched,
}

/// How far a request has come along the chain.
struct Walk {
    links: Arc<[Link]>,
    at: usize,
    union: Union,
}

/// Where it stands.
enum Step {
    Decided(Decision),
    Ask(Question),
}

impl StoreAuthorizer {
    /// The authorizers that every cluster has, over this replica's store.
    pub fn new(store: Arc<Store>) -> Self {
        Self::with_chain(store, Arc::default())
    }

    /// Authorizers over this replica's store.
    pub fn with_chain(store: Arc<Store>, chain: Arc<AuthorizerChain>) -> Self {
        Self {
            store,
            state: Mutex::default(),
            nodes: Nodes::default(),
            chain,
        }
    }

    /// The policy as of this replica's newest revision.
    pub fn policy(&self) -> Arc<Policy> {
        let mut state = self.state.lock();
        let unchanged = state.watched.is_unchanged(&self.store);
        if !unchanged {
            self.compile(&mut state);
        }
        state.policy.clone()
    }

    fn compile(&self, state: &mut State) {
        let read = match self.store.range(&RangeRequest::new(KeyRange::prefix(PREFIX))) {
            Ok(read) => read,
            Err(error) => {
                return tracing::error!(%error, "roles and bindings cannot be read: the policy stays as it was");
            }
        };
        let mut kinds: [Vec<Value>; 4] = Default::default();
        for kv in &read.kvs {
            let key = String::from_utf8_lossy(&kv.key[PREFIX.len().min(kv.key.len())..]).into_owned();
            let slot = match key.split('/').next() {
                Some("roles") => 0,
                Some("clusterroles") => 1,
                Some("rolebindings") => 2,
                Some("clusterrolebindings") => 3,
                _ => continue,
            };
            match serde_json::from_slice(&kv.value) {
                Ok(value) => kinds[slot].push(value),
                Err(error) => tracing::warn!(key, %error, "an unreadable RBAC object grants nothing"),
            }
        }
        // Aggregated roles hold their rules by definition, whether or not a controller has written them down yet.
        match aggregate(&kinds[1]) {
            Ok(changes) => {
                for change in changes {
                    let role = kinds[1]
                        .iter_mut()
                        .find(|r| r["metadata"]["name"] == change.name.as_str());
                    if let Some(role) = role {
                        role["rules"] = change.rules_value();
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cluster roles are not aggregated"),
        }
        let [roles, cluster_roles, bindings, cluster_bindings] = &kinds;
        let policy = Policy::compile(roles, cluster_roles, bindings, cluster_bindings);
        for skipped in policy.skipped() {
            tracing::warn!(%skipped, "an RBAC object grants nothing");
        }
        state.policy = Arc::new(policy);
        state.watched.follow(&self.store, PREFIX, read.revision);
    }

    fn walk(&self) -> Walk {
        Walk {
            links: self.chain.links(),
            at: 0,
            union: Union::default(),
        }
    }

    /// Goes on until somebody has the last word, or has to be asked.
    fn step(&self, walk: &mut Walk, attributes: &Attributes) -> Step {
        if attributes.identity.in_group(GROUP_MASTERS) {
            return Step::Decided(Decision::allow(""));
        }
        while let Some(link) = walk.links.get(walk.at) {
            let said = match &link.kind {
                Kind::Node => {
                    let node = node_name(&attributes.identity).unwrap_or_default();
                    authorize_node(attributes, &|from, namespace, name| {
                        self.nodes.leads(&self.store, node, from, namespace, name)
                    })
                }
                Kind::Rbac => self.policy().authorize(attributes),
                Kind::AlwaysAllow => Decision::allow(""),
                Kind::AlwaysDeny => Decision::no_opinion("Everything is forbidden."),
                Kind::Webhook(webhook) => match webhook.known(attributes) {
                    Known::Said(decision) => decision,
                    Known::Ask(question) => return Step::Ask(question),
                },
            };
            if let Some(decision) = self.hear(walk, said) {
                return Step::Decided(decision);
            }
        }
        Step::Decided(std::mem::take(&mut walk.union).finish())
    }

    /// Takes what the authorizer says whose turn it is.
    fn hear(&self, walk: &mut Walk, said: Decision) -> Option<Decision> {
        let link = walk.links.get(walk.at)?;
        let decision = match said.verdict {
            Verdict::Allow => Some("allowed"),
            Verdict::Deny => Some("denied"),
            Verdict::NoOpinion => None,
        };
        if let Some(decision) = decision {
            self.chain.figures.decided(link.kind.name(), &link.name, decision);
        }
        walk.at += 1;
        walk.union.add(said)
    }
}

#[async_trait]
impl Authorizer for StoreAuthorizer {
    fn decide(&self, attributes: &Attributes) -> Option<Decision> {
        match self.step(&mut self.walk(), attributes) {
            Step::Decided(decision) => Some(decision),
            Step::Ask(_) => None,
        }
    }

    async fn authorize(&self, attributes: &Attributes) -> Decision {
        let mut walk = self.walk();
        loop {
            let question = match self.step(&mut walk, attributes) {
                Step::Decided(decision) => return decision,
                Step::Ask(question) => question,
            };
            let links = walk.links.clone();
            let said = match links.get(walk.at).map(|link| &link.kind) {
                Some(Kind::Webhook(webhook)) => webhook.ask(question).await,
                _ => Decision::no_opinion(""),
            };
            if let Some(decision) = self.hear(&mut walk, said) {
                return decision;
            }
        }
    }

    fn rules(&self, identity: &Identity, namespace: &str) -> RuleReview {
        let mut union = RulesUnion::default();
        for link in &*self.chain.links() {
            match &link.kind {
                Kind::Node if node_name(identity).is_some() => union.unknown(NODE_RULES_UNKNOWN),
                Kind::Node | Kind::AlwaysDeny => {}
                Kind::Rbac => {
                    let (review, errors) = self.policy().rules_for(identity, namespace);
                    union.add(review, errors);
                }
                Kind::AlwaysAllow => union.add(everything(), []),
                Kind::Webhook(_) => union.unknown(NO_RULES),
            }
        }
        union.finish()
    }

    async fn check_escalation(&self, write: &RbacWrite<'_>) -> Result<(), EscalationError> {
        let Some(question) = rbac_escalation_question(write)? else {
            return Ok(());
        };
        if self.authorize(&question).await.allowed() {
            return Ok(());
        }
        rbac_escalation_allowed(&self.policy(), write)
    }

    fn metrics(&self, out: &mut String) {
        self.chain.figures.write(out);
    }
}

fn everything() -> RuleReview {
    let star = || vec!["*".to_owned()];
    RuleReview {
        resource_rules: vec![ResourceRule {
            verbs: star(),
            api_groups: star(),
            resources: star(),
            resource_names: Vec::new(),
        }],
        non_resource_rules: vec![NonResourceRule {
            verbs: star(),
            non_resource_urls: star(),
        }],
        ..RuleReview::default()
    }
}

//! FlowSchemas and PriorityLevelConfigurations as they are enforced.

use serde::Deserialize;
use serde_json::{Value, json};

/// Name of the mandatory level and schema without limits.
pub const EXEMPT: &str = "exempt";
/// Name of the mandatory level and schema of what nothing else takes.
pub const CATCH_ALL: &str = "catch-all";

/// Longest hand that is dealt, and least and most queues: what validation lets pass.
const HAND_MAX: u32 = 15;
const QUEUES_MAX: u32 = 10_000_000;

/// An object that is known by its name and uid.
pub trait NamedObject: Sized {
    /// Its name.
    fn name(&self) -> &str;
    /// Its uid, empty for one that is only imagined.
    fn uid(&self) -> &str;
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    uid: String,
}

/// A FlowSchema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FlowSchema {
    metadata: Metadata,
    pub(crate) spec: FlowSchemaSpec,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FlowSchemaSpec {
    pub priority_level_configuration: Name,
    pub matching_precedence: i64,
    pub distinguisher_method: Option<Distinguisher>,
    pub rules: Vec<Rule>,
}

impl Default for FlowSchemaSpec {
    fn default() -> Self {
        Self {
            priority_level_configuration: Name::default(),
            matching_precedence: 1000,
            distinguisher_method: None,
            rules: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Name {
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Distinguisher {
    #[serde(rename = "type")]
    pub method: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Rule {
    pub subjects: Vec<Subject>,
    pub resource_rules: Vec<ResourceRule>,
    pub non_resource_rules: Vec<PathRule>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Subject {
    pub kind: String,
    pub user: Option<Name>,
    pub group: Option<Name>,
    pub service_account: Option<ServiceAccount>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceAccount {
    pub namespace: String,
    pub name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ResourceRule {
    pub verbs: Vec<String>,
    pub api_groups: Vec<String>,
    pub resources: Vec<String>,
    pub cluster_scope: bool,
    pub namespaces: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PathRule {
    pub verbs: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}

impl FlowSchema {
    /// Reads a FlowSchema in its v1 form; `None` if it is none.
    pub fn parse(object: &Value) -> Option<Self> {
        serde_json::from_value(object.clone()).ok()
    }

    /// The level that its requests belong to.
    pub fn level(&self) -> &str {
        &self.spec.priority_level_configuration.name
    }

    /// Schemas are tried in this order.
    pub(crate) fn rank(&self) -> (i64, &str) {
        (self.spec.matching_precedence, &self.metadata.name)
    }
}

impl NamedObject for FlowSchema {
    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn uid(&self) -> &str {
        &self.metadata.uid
    }
}

/// Queues of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queuing {
    /// How many.
    pub queues: u32,
    /// How many of them a flow may use.
    pub hand_size: u32,
    /// Requests that may wait in one.
    pub queue_length_limit: u32,
}

/// What a level does with its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discipline {
    /// All of them go on.
    Exempt,
    /// Those over the limit are refused.
    Reject,
    /// Those over the limit wait.
    Queue(Queuing),
}

/// A PriorityLevelConfiguration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriorityLevel {
    metadata: Metadata,
    /// Its part of the server's seats.
    pub shares: u32,
    /// Percent of its seats that others may use.
    pub lendable_percent: u32,
    /// Percent of its seats that it may use beyond them; `None` for no bound.
    pub borrowing_limit_percent: Option<u32>,
    /// What it does with its requests.
    pub discipline: Discipline,
}

#[derive(Deserialize)]
struct RawLevel {
    #[serde(default)]
    metadata: Metadata,
    spec: RawSpec,
}

#[derive(Deserialize)]
struct RawSpec {
    #[serde(rename = "type")]
    kind: String,
    limited: Option<RawLimits>,
    exempt: Option<RawLimits>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLimits {
    nominal_concurrency_shares: Option<u32>,
    lendable_percent: Option<u32>,
    borrowing_limit_percent: Option<u32>,
    limit_response: Option<RawResponse>,
}

#[derive(Deserialize)]
struct RawResponse {
    #[serde(rename = "type")]
    kind: String,
    queuing: Option<Queuing>,
}

impl PriorityLevel {
    /// Reads a PriorityLevelConfiguration in its v1 form; `None` if it is none, or says of itself what cannot be.
    pub fn parse(object: &Value) -> Option<Self> {
        let RawLevel { metadata, spec } = serde_json::from_value(object.clone()).ok()?;
        // A level never changes between exempt and limited: its name says which it is.
        if (spec.kind == "Exempt") != (metadata.name == EXEMPT) {
            return None;
        }
        let (limits, discipline) = match (spec.kind.as_str(), spec.limited, spec.exempt) {
            ("Exempt", None, Some(limits)) => (limits, Discipline::Exempt),
            ("Limited", Some(limits), None) => {
                let discipline = match limits.limit_response.as_ref().map(|r| (r.kind.as_str(), r.queuing)) {
                    Some(("Reject", None)) => Discipline::Reject,
                    Some(("Queue", Some(queuing))) if is_sound(&queuing) => Discipline::Queue(queuing),
                    _ => return None,
                };
                (limits, discipline)
            }
            _ => return None,
        };
        let default_shares = if discipline == Discipline::Exempt { 0 } else { 30 };
        Some(Self {
            metadata,
            shares: limits.nominal_concurrency_shares.unwrap_or(default_shares),
            lendable_percent: limits.lendable_percent.unwrap_or(0).min(100),
            borrowing_limit_percent: limits.borrowing_limit_percent,
            discipline,
        })
    }
}

fn is_sound(queuing: &Queuing) -> bool {
    (1..=QUEUES_MAX).contains(&queuing.queues)
        && (1..=HAND_MAX.min(queuing.queues)).contains(&queuing.hand_size)
        && queuing.queue_length_limit > 0
}

impl NamedObject for PriorityLevel {
    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn uid(&self) -> &str {
        &self.metadata.uid
    }
}

/// The spec of a mandatory level, `None` for another name.
pub fn mandatory_level(name: &str) -> Option<Value> {
    match name {
        EXEMPT => Some(json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}})),
        CATCH_ALL => Some(json!({
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
        })),
        _ => None,
    }
}

/// The spec of a mandatory schema, `None` for another name.
pub fn mandatory_schema(name: &str) -> Option<Value> {
    let resources = json!([{
        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"],
    }]);
    let paths = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    let group = |name: &str| json!({"kind": "Group", "group": {"name": name}});
    let spec = match name {
        EXEMPT => json!({
            "priorityLevelConfiguration": {"name": EXEMPT},
            "matchingPrecedence": 1,
            "rules": [{"subjects": [group("system:masters")], "resourceRules": resources, "nonResourceRules": paths}],
        }),
        CATCH_ALL => json!({
            "priorityLevelConfiguration": {"name": CATCH_ALL},
            "matchingPrecedence": 10_000,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [group("system:unauthenticated"), group("system:authenticated")],
                "resourceRules": resources,
                "nonResourceRules": paths,
            }],
        }),
        _ => return None,
    };
    Some(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mandatory_objects_are_sound() {
        for name in [EXEMPT, CATCH_ALL] {
            let object = |spec: Option<Value>| json!({"metadata": {"name": name}, "spec": spec});
            let level = PriorityLevel::parse(&object(mandatory_level(name))).expect("a level");
            assert_eq!(level.discipline == Discipline::Exempt, name == EXEMPT);
            let schema = FlowSchema::parse(&object(mandatory_schema(name))).expect("a schema");
            assert_eq!((schema.name(), schema.level()), (name, name));
        }
    }

    #[test]
    fn broken_levels_are_none() {
        let parse = |name: &str, spec: Value| PriorityLevel::parse(&json!({"metadata": {"name": name}, "spec": spec}));
        let queue =
            |q: Value| json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": q}}});
        assert!(parse("a", queue(json!({"queues": 8, "handSize": 2, "queueLengthLimit": 5}))).is_some());
        assert!(parse("a", queue(json!({"queues": 8, "handSize": 9, "queueLengthLimit": 5}))).is_none());
        assert!(parse("a", queue(json!({"queues": 0, "handSize": 0, "queueLengthLimit": 5}))).is_none());
        assert!(parse("a", queue(Value::Null)).is_none());
        assert!(
            parse(
                "exempt",
                queue(json!({"queues": 8, "handSize": 2, "queueLengthLimit": 5}))
            )
            .is_none()
        );
        assert!(parse("a", json!({"type": "Exempt", "exempt": {}})).is_none());
        assert!(parse("a", json!({"type": "Limited"})).is_none());
        assert!(PriorityLevel::parse(&json!(7)).is_none());
    }
}

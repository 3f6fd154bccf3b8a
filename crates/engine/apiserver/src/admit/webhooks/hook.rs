//! Webhooks as they are called: read once for all requests.

use std::time::Duration;

use engenho_cel::Environment;
use engenho_cel::Type;
use engenho_validation::get::{items, text, texts};
use serde_json::Value;

use crate::admit::policies::Expression;
use crate::outbound::hooks::Hook as Place;

/// What a webhook may take if it does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One webhook of a configuration.
#[derive(Debug)]
pub(super) struct Webhook {
    /// Tells it from all others of its kind.
    pub uid: String,
    /// Its configuration.
    pub configuration: String,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Which requests it is about.
    pub rules: Vec<Value>,
    /// Whether other versions of what its rules name count.
    pub equivalent: bool,
    /// Over the labels of the namespace.
    pub namespace_selector: Value,
    /// Over the labels of the object.
    pub object_selector: Value,
    /// Under which it is called.
    pub conditions: Vec<Expression>,
    /// Whether a request goes on that it could not be asked about.
    pub ignores_failure: bool,
    /// Whether it does something else than to judge, also in a dry run.
    pub side_effects: bool,
    /// The versions of AdmissionReview that it reads, in its order.
    pub review_versions: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether it wants to see what others changed after it.
    pub reinvoked: bool,
}

impl Webhook {
    /// All of a configuration.
    pub fn all(object: &Value) -> Vec<Self> {
        let configuration = text(&object["metadata"]["name"]);
        let mut all: Vec<Self> = Vec::new();
        for webhook in items(&object["webhooks"]) {
            let name = text(&webhook["name"]);
            let before = all.iter().filter(|have| have.name == name).count();
            all.push(Self::new(configuration, before, webhook));
        }
        all
    }

    fn new(configuration: &str, before: usize, webhook: &Value) -> Self {
        let name = text(&webhook["name"]);
        let environment = Environment::match_condition();
        let conditions = items(&webhook["matchConditions"]).iter();
        let seconds = webhook["timeoutSeconds"].as_u64();
        Self {
            uid: format!("{configuration}/{name}/{before}"),
            configuration: configuration.to_owned(),
            name: name.to_owned(),
            place: Place::new(&webhook["clientConfig"]),
            rules: items(&webhook["rules"]).to_vec(),
            equivalent: webhook["matchPolicy"] == "Equivalent",
            namespace_selector: webhook["namespaceSelector"].clone(),
            object_selector: webhook["objectSelector"].clone(),
            conditions: conditions
                .map(|one| Expression::new(text(&one["expression"]), &environment, &[Type::Bool]))
                .collect(),
            ignores_failure: webhook["failurePolicy"] == "Ignore",
            side_effects: !matches!(text(&webhook["sideEffects"]), "None" | "NoneOnDryRun"),
            review_versions: texts(&webhook["admissionReviewVersions"]).map(str::to_owned).collect(),
            timeout: seconds.map_or(TIMEOUT, |seconds| Duration::from_secs(seconds.clamp(1, 30))),
            reinvoked: webhook["reinvocationPolicy"] == "IfNeeded",
        }
    }

    /// Whether it may be about objects of a resource, whatever is done to them.
    pub fn concerns(&self, group: &str, plural: &str) -> bool {
        self.rules.iter().any(|rule| {
            let grouped = texts(&rule["apiGroups"]).any(|item| item == "*" || item == group || self.equivalent);
            grouped
                && texts(&rule["resources"]).any(|item| {
                    let item = item.split('/').next().unwrap_or_default();
                    item == "*" || item == plural
                })
        })
    }
}

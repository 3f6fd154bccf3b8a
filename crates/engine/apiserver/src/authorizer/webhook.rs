//! An authorizer that asks a webhook: it is sent SubjectAccessReviews, and its answers are kept for a while.

use std::sync::Arc;
use std::time::Duration;

use engenho_authz::structured::{FailurePolicy, ReviewVersion, WebhookConfig};
use engenho_authz::{Attributes, Decision};
use http::{StatusCode, header};
use parking_lot::Mutex;
use revoada_core::env::{Clock, Entropy};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::endpoint::{Endpoint, Place};
use super::figures::Figures;
use crate::expiring::Expiring;
use crate::outbound::{Call, Outbound, OutboundError, call, hooks};
use crate::random;

/// Most answers that are kept.
const KEPT_MAX: usize = 8192;
/// A request whose parts are as long as this together is no reason to keep an answer (upstream's bound).
const ATTRIBUTE_BYTES_MAX: usize = 10_000;
/// How long an answer may be.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// How often it is asked before it counts as failed.
const ATTEMPTS: u32 = 5;
/// The pause before it is asked again; each further one is longer by half.
const PAUSE_MS: u64 = 500;
/// How long all attempts together may take.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Why its rules are not listed.
pub(super) const NO_RULES: &str = "webhook authorizer does not support user rule resolution";

/// What is needed to ask webhooks.
#[derive(Clone)]
pub struct WebhookDeps {
    /// The way to them.
    pub outbound: Arc<dyn Outbound>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes, for pauses.
    pub entropy: Arc<dyn Entropy>,
}

/// One webhook.
pub(super) struct WebhookAuthorizer {
    name: String,
    config: WebhookConfig,
    place: Place,
    /// Its URL with the timeout, for errors.
    shown: String,
    query: String,
    deps: WebhookDeps,
    figures: Arc<Figures>,
    kept: Mutex<Expiring<Answer>>,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    allowed: bool,
    denied: bool,
    reason: String,
}

/// A review that it has to be sent.
pub(super) struct Question {
    spec: Value,
    key: [u8; 32],
    is_kept: bool,
}

/// What it says without being asked.
pub(super) enum Known {
    Said(Decision),
    Ask(Question),
}

/// Why it gave no answer.
struct Failure {
    text: String,
    is_timeout: bool,
    may_pass: bool,
}

impl WebhookAuthorizer {
    /// The error says what is wrong with where it is.
    pub fn new(
        name: String,
        config: WebhookConfig,
        endpoint: &Endpoint,
        deps: WebhookDeps,
        figures: Arc<Figures>,
    ) -> Result<Self, String> {
        let query = match config.timeout_ms {
            whole if whole.is_multiple_of(1000) => format!("?timeout={}s", whole / 1000),
            part => format!("?timeout={part}ms"),
        };
        Ok(Self {
            name,
            config,
            place: endpoint.place()?,
            shown: format!("{}{query}", endpoint.url),
            query,
            deps,
            figures,
            kept: Mutex::new(Expiring::new(KEPT_MAX)),
        })
    }

    fn failed(&self, error: impl Into<String>) -> Decision {
        match self.config.failure_policy {
            FailurePolicy::NoOpinion => Decision::no_opinion("").with_error(error),
            FailurePolicy::Deny => Decision::deny("").with_error(error),
        }
    }

    /// Looks at match conditions, and at answers that were kept.
    pub fn known(&self, attributes: &Attributes) -> Known {
        let spec = super::spec(attributes);
        if !self.config.conditions.is_empty() {
            let begun = Instant::now();
            let held = self.config.conditions.hold(&spec);
            let noted = held.as_ref().map(|holds| *holds).map_err(|_| ());
            self.figures.matched(&self.name, noted, begun.elapsed().as_secs_f64());
            match held {
                Ok(true) => {}
                Ok(false) => return Known::Said(Decision::no_opinion("")),
                Err(error) => return Known::Said(self.failed(error)),
            }
        }
        let key = *blake3::hash(spec.to_string().as_bytes()).as_bytes();
        let kept = self.kept.lock().get(&key, self.deps.clock.unix_ms());
        match kept {
            Some(answer) => Known::Said(answer.decision()),
            None => Known::Ask(Question {
                spec,
                key,
                is_kept: is_kept(attributes),
            }),
        }
    }

    /// Asks it, several times if it fails in a way that may pass.
    pub async fn ask(&self, question: Question) -> Decision {
        let asked = tokio::time::timeout(WAIT_MAX, self.attempts(&question.spec)).await;
        let (result, answered) = match asked {
            Ok(Ok(answer)) => ("success", Ok(answer)),
            Ok(Err(failure)) => (failure.result(), Err(failure.text)),
            Err(_) => ("canceled", Err("context deadline exceeded".to_owned())),
        };
        let answer = match answered {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(name = self.name, error, "the webhook that authorizes does not answer");
                if self.config.failure_policy == FailurePolicy::NoOpinion && result != "canceled" {
                    self.figures.failed_open(&self.name, result);
                }
                return self.failed(error);
            }
        };
        let kept_ms = if answer.allowed {
            self.config.authorized_ms
        } else {
            self.config.unauthorized_ms
        };
        if question.is_kept && kept_ms > 0 {
            let until_ms = self.deps.clock.unix_ms().saturating_add(kept_ms);
            self.kept.lock().put(question.key, answer.clone(), until_ms);
        }
        answer.decision()
    }

    async fn attempts(&self, spec: &Value) -> Result<Answer, Failure> {
        let review = self.review(spec);
        let mut pause_ms = PAUSE_MS;
        let mut attempt = 1;
        loop {
            let begun = Instant::now();
            let answered = self.post(&review).await;
            let result = answered.as_ref().map_or_else(Failure::result, |_| "success");
            self.figures.asked(&self.name, result, begun.elapsed().as_secs_f64());
            match answered {
                Err(failure) if failure.may_pass && attempt < ATTEMPTS => {}
                answered => return answered,
            }
            attempt += 1;
            let jitter = random::below(&*self.deps.entropy, (pause_ms / 5) as usize);
            tokio::time::sleep(Duration::from_millis(pause_ms + jitter as u64)).await;
            pause_ms += pause_ms / 2;
        }
    }

    fn review(&self, spec: &Value) -> Value {
        let mut spec = spec.clone();
        let version = match self.config.version {
            ReviewVersion::V1 => "v1",
            ReviewVersion::V1beta1 => {
                if let Some(fields) = spec.as_object_mut()
                    && let Some(groups) = fields.remove("groups")
                {
                    fields.insert("group".to_owned(), groups);
                }
                "v1beta1"
            }
        };
        json!({
            "kind": "SubjectAccessReview",
            "apiVersion": format!("authorization.k8s.io/{version}"),
            "metadata": {},
            "spec": spec,
            "status": {"allowed": false},
        })
    }

    async fn post(&self, review: &Value) -> Result<Answer, Failure> {
        let request = self.place.request(&self.query, review);
        let asked = Call {
            to: &self.place.to,
            request: request.map_err(|error| Failure::lasting(error.to_string()))?,
            timeout: Duration::from_millis(self.config.timeout_ms),
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let answer = match call(&*self.deps.outbound, asked).await {
            Ok(answer) => answer,
            Err(error) => {
                let text = format!("Post {:?}: {error}", self.shown);
                return Err(Failure {
                    is_timeout: error == OutboundError::Deadline,
                    may_pass: text.ends_with("connection reset by peer"),
                    text,
                });
            }
        };
        let code = answer.status();
        let told = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = told(header::CONTENT_TYPE).unwrap_or_default();
        let later = told(header::RETRY_AFTER).and_then(|value| value.trim().parse::<u64>().ok());
        let read = hooks::read(code, kind, answer.body()).and_then(|answer| self.read(&answer));
        read.map_err(|text| Failure {
            text,
            is_timeout: code == StatusCode::GATEWAY_TIMEOUT,
            may_pass: matches!(code.as_u16(), 429 | 500 | 504)
                || (!code.is_success() && later.is_some_and(|seconds| seconds > 0)),
        })
    }

    fn read(&self, review: &Value) -> Result<Answer, String> {
        let version = match self.config.version {
            ReviewVersion::V1 => "v1",
            ReviewVersion::V1beta1 => "v1beta1",
        };
        let wanted = format!("authorization.k8s.io/{version}");
        let (kind, api_version) = (review["kind"].as_str(), review["apiVersion"].as_str());
        // What is not said is what was asked for.
        if kind.is_some_and(|kind| kind != "SubjectAccessReview") || api_version.is_some_and(|told| told != wanted) {
            return Err(format!(
                "no kind {:?} is registered for version {:?} in the webhook's answer, which has to be a \
                 SubjectAccessReview of {wanted}",
                kind.unwrap_or_default(),
                api_version.unwrap_or_default()
            ));
        }
        let status = &review["status"];
        let flag = |key: &str| match status.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(format!(
                "json: cannot unmarshal status.{key} of the webhook's answer into bool"
            )),
        };
        Ok(Answer {
            allowed: flag("allowed")?,
            denied: flag("denied")?,
            reason: status["reason"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

impl Failure {
    fn lasting(text: String) -> Self {
        Self {
            text,
            is_timeout: false,
            may_pass: false,
        }
    }

    fn result(&self) -> &'static str {
        if self.is_timeout { "timeout" } else { "error" }
    }
}

impl Answer {
    fn decision(&self) -> Decision {
        match (self.denied, self.allowed) {
            (true, true) => Decision::deny(&self.reason)
                .with_error("webhook subject access review returned both allow and deny response"),
            (true, false) => Decision::deny(&self.reason),
            (false, true) => Decision::allow(&self.reason),
            (false, false) => Decision::no_opinion(&self.reason),
        }
    }
}

/// Whether what the sender chose is short enough for the answer to be kept.
fn is_kept(a: &Attributes) -> bool {
    let parts = [
        &a.namespace,
        &a.verb,
        &a.group,
        &a.version,
        &a.resource,
        &a.subresource,
        &a.name,
        &a.path,
    ];
    parts.iter().map(|part| part.len()).sum::<usize>() < ATTRIBUTE_BYTES_MAX
}

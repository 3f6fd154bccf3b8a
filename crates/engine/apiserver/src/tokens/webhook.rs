//! Tokens that a webhook judges: it is sent TokenReviews, and its answers are kept for a while.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engenho_authn::{Accepted, common_audiences};
use engenho_authz::Identity;
use parking_lot::Mutex;
use revoada_core::env::Clock;
use serde_json::{Value, json};

use super::{TokenAuthenticator, TokenError};
use crate::authorizer::endpoint::{Endpoint, Place};
use crate::expiring::Expiring;
use crate::outbound::{Call, Outbound, call};

/// How long one review may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may be.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Most answers that are kept.
const KEPT_MAX: usize = 4096;

/// Where the webhook is, and how it is asked.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Version of the reviews, `v1` or `v1beta1`.
    pub version: String,
    /// For how long its answers are kept, milliseconds.
    pub kept_ms: u64,
}

/// Asks a webhook whose token it is.
pub struct WebhookTokens {
    settings: WebhookSettings,
    place: Place,
    /// The audiences of the API.
    audiences: Vec<String>,
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Expiring<Result<Accepted, TokenError>>>,
}

impl WebhookTokens {
    /// A webhook; the error says what is wrong with where it is. `audiences` are those of the API.
    pub fn new(
        settings: WebhookSettings,
        audiences: Vec<String>,
        outbound: Arc<dyn Outbound>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        Ok(Self {
            place: settings.endpoint.place()?,
            settings,
            audiences,
            outbound,
            clock,
            kept: Mutex::new(Expiring::new(KEPT_MAX)),
        })
    }

    async fn ask(&self, token: &str, wanted: &[String]) -> Result<Value, String> {
        let api_version = format!("authentication.k8s.io/{}", self.settings.version);
        let mut review = json!({"kind": "TokenReview", "apiVersion": api_version, "spec": {"token": token}});
        if !wanted.is_empty() {
            review["spec"]["audiences"] = json!(wanted);
        }
        let asked = Call {
            to: &self.place.to,
            request: self.place.request("", &review).map_err(|error| error.to_string())?,
            timeout: TIMEOUT,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let answer = call(&*self.outbound, asked).await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("the webhook answers {}", answer.status()));
        }
        serde_json::from_slice(answer.body()).map_err(|error| error.to_string())
    }
}

/// What a review's status says.
fn judge(status: &Value, wanted: &[String], own: &[String]) -> Result<Accepted, TokenError> {
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().into_iter().flatten();
        texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    if status["authenticated"] != true {
        return Err(match status["error"].as_str().filter(|error| !error.is_empty()) {
            Some(error) => TokenError::Invalid {
                reason: error.to_owned(),
            },
            None => TokenError::Unknown,
        });
    }
    let told = texts(&status["audiences"]);
    // A webhook that tells none does not know of audiences, and means those of the API.
    let audiences = common_audiences(if told.is_empty() { own } else { &told }, wanted);
    if audiences.is_empty() && !wanted.is_empty() {
        return Err(TokenError::Unknown);
    }
    let user = &status["user"];
    let text = |key: &str| user[key].as_str().unwrap_or_default().to_owned();
    let extra = user["extra"].as_object().into_iter().flatten();
    Ok(Accepted {
        identity: Identity {
            user: text("username"),
            uid: text("uid"),
            groups: texts(&user["groups"]),
            extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
        },
        audiences,
        ..Accepted::default()
    })
}

#[async_trait]
impl TokenAuthenticator for WebhookTokens {
    async fn authenticate(&self, token: &str, wanted: &[String]) -> Result<Accepted, TokenError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(token.as_bytes());
        for audience in wanted {
            hasher.update(&[0]).update(audience.as_bytes());
        }
        let key = *hasher.finalize().as_bytes();
        let now_ms = self.clock.unix_ms();
        if let Some(kept) = self.kept.lock().get(&key, now_ms) {
            return kept;
        }
        let review = self.ask(token, wanted).await.map_err(|reason| {
            tracing::warn!(reason, "the webhook for tokens does not answer");
            TokenError::Invalid { reason }
        })?;
        let answer = judge(&review["status"], wanted, &self.audiences);
        let until_ms = now_ms.saturating_add(self.settings.kept_ms);
        self.kept.lock().put(key, answer.clone(), until_ms);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_as_upstream_judges_them() {
        let own = ["api".to_owned()];
        let user = json!({"username": "jane", "groups": ["dev"], "extra": {"a": ["b"]}});
        let yes = json!({"authenticated": true, "user": user});
        let accepted = judge(&yes, &own, &own).expect("accepted");
        assert_eq!(
            (accepted.identity.user.as_str(), &accepted.audiences),
            ("jane", &own.to_vec())
        );
        assert_eq!(accepted.identity.extra["a"], ["b"]);
        assert_eq!(judge(&yes, &["vault".into()], &own), Err(TokenError::Unknown));
        let mut vault = yes.clone();
        vault["audiences"] = json!(["vault"]);
        assert_eq!(
            judge(&vault, &["vault".into()], &own).expect("accepted").audiences,
            ["vault"]
        );
        assert_eq!(judge(&vault, &own, &own), Err(TokenError::Unknown));
        let no = json!({"authenticated": false, "error": "gone"});
        assert_eq!(
            judge(&no, &own, &own),
            Err(TokenError::Invalid { reason: "gone".into() })
        );
        assert_eq!(judge(&Value::Null, &own, &own), Err(TokenError::Unknown));
    }
}

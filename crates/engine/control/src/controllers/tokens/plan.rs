//! What a Secret with a service account's token should say.

use engenho_authn::{data, legacy};
use serde_json::{Value, json};

/// What is to be done with a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Keep,
    Delete,
    Fill { needs_token: bool },
}

const CA: &str = "ca.crt";
const NAMESPACE: &str = "namespace";

/// The account whose token a Secret is to hold; `None` if it holds none.
pub(super) fn account(secret: &Value) -> Option<&str> {
    let name = secret["metadata"]["annotations"][legacy::ACCOUNT_NAME].as_str()?;
    // A name with a slash would be another object's key, and is no account's.
    let is_name = !name.is_empty() && !name.contains('/');
    (secret["type"] == legacy::SECRET_TYPE && is_name).then_some(name)
}

/// What is to be done with a Secret of `account`, if that is there.
pub(super) fn next(secret: &Value, account: Option<&Value>, root_ca_pem: &str) -> Step {
    let wanted = secret["metadata"]["annotations"][legacy::ACCOUNT_UID]
        .as_str()
        .unwrap_or_default();
    let account = account.filter(|account| wanted.is_empty() || account["metadata"]["uid"] == wanted);
    if account.is_none() {
        return Step::Delete;
    }
    let has = |key: &str| data(secret, key).is_some_and(|value| !value.is_empty());
    let needs_ca = !root_ca_pem.is_empty() && data(secret, CA).as_deref() != Some(root_ca_pem.as_bytes());
    let needs_token = !has(legacy::TOKEN_KEY);
    if needs_ca || needs_token || !has(NAMESPACE) {
        Step::Fill { needs_token }
    } else {
        Step::Keep
    }
}

/// The Secret with what it lacks.
pub(super) fn fill(secret: &Value, account: Option<&Value>, root_ca_pem: &str, token: Option<&str>) -> Value {
    let mut filled = secret.clone();
    let mut put = |key: &str, value: &str| {
        if !filled["data"].is_object() {
            filled["data"] = json!({});
        }
        filled["data"][key] = engenho_authn::encode(value.as_bytes()).into();
    };
    if !root_ca_pem.is_empty() {
        put(CA, root_ca_pem);
    }
    if data(secret, NAMESPACE).is_none_or(|value| value.is_empty()) {
        put(NAMESPACE, secret["metadata"]["namespace"].as_str().unwrap_or_default());
    }
    if let Some(token) = token {
        put(legacy::TOKEN_KEY, token);
    }
    if let Some(account) = account {
        filled["metadata"]["annotations"][legacy::ACCOUNT_NAME] = account["metadata"]["name"].clone();
        filled["metadata"]["annotations"][legacy::ACCOUNT_UID] = account["metadata"]["uid"].clone();
    }
    filled
}

/// The account without its reference to a Secret; `None` if it has none.
pub(super) fn without_reference(account: &Value, secret: &str) -> Option<Value> {
    let references = account["secrets"].as_array()?;
    let mut changed = account.clone();
    let left: Vec<Value> = references.iter().filter(|r| r["name"] != secret).cloned().collect();
    (left.len() < references.len()).then(|| {
        changed["secrets"] = left.into();
        changed
    })
}

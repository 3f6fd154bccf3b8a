//! Tokens of service accounts: issued by the API, bound to an audience, a time and an object.

mod claims;

use std::collections::BTreeMap;

use engenho_authz::{Identity, authn, service_account_identity};
use serde_json::{Map, Value};

pub use claims::{Grant, Reference};

use crate::keys::unverified;
use crate::objects::{LEEWAY_S, Objects, is_long_deleted, uid};
use crate::verdict::{Accepted, Rejected, common_audiences};
use crate::{KeysError, TOKEN_BYTES_MAX, TokenKeys, legacy};

/// Shortest life of a token that may be asked for, seconds.
pub const EXPIRATION_S_MIN: i64 = 10 * 60;
/// Longest one.
pub const EXPIRATION_S_MAX: i64 = 1 << 32;
/// The one of who asks for none.
pub const EXPIRATION_S_DEFAULT: i64 = 60 * 60;
/// The life that clients are given which may not know how to renew a token: it is meant as a warning only.
pub const WARN_ONLY_S: i64 = 60 * 60 + 7;
/// The life that such a token really has.
pub const EXTENDED_S: i64 = 365 * 24 * 60 * 60;

const INVALIDATED: &str = "service account token has been invalidated";

/// Issues tokens of service accounts, and says whose one is.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Its keys.
    pub keys: TokenKeys,
    /// Its name, a URL; further ones are those of tokens from before it was renamed.
    pub names: Vec<String>,
    /// The audiences of the API itself.
    pub audiences: Vec<String>,
}

impl Issuer {
    /// An issuer that is its own audience.
    pub fn new(keys: TokenKeys, name: &str) -> Self {
        Self {
            keys,
            names: vec![name.to_owned()],
            audiences: vec![name.to_owned()],
        }
    }

    /// The name that new tokens bear.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// A signed token.
    pub fn issue(&self, grant: &Grant<'_>) -> Result<String, KeysError> {
        self.keys.sign(&claims::of(grant, self.name()))
    }

    /// Says whose token this is, if it is one of a service account and good for one of the wanted audiences.
    pub fn authenticate<O: Objects>(
        &self,
        token: &str,
        wanted: &[String],
        now_s: i64,
        objects: &O,
    ) -> Result<Accepted, Rejected<O::Error>> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Rejected::Unknown);
        }
        let claimed = unverified(token).ok_or(Rejected::Unknown)?;
        let is_legacy = match claimed.get("iss").and_then(Value::as_str) {
            Some(legacy::ISSUER) => true,
            Some(issuer) if self.names.iter().any(|name| name == issuer) => false,
            _ => return Err(Rejected::Unknown),
        };
        let claims = match self.keys.verify(token) {
            Some(Ok(claims)) => claims,
            Some(Err(text)) => return Err(Rejected::invalid(text)),
            None => return Err(Rejected::Unknown),
        };
        let mut annotations = Vec::new();
        let mut own = audiences(&claims).ok_or_else(|| Rejected::invalid("the audiences of the token are no texts"))?;
        if own.is_empty() {
            let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
            annotations.push(("authentication.k8s.io/legacy-token".to_owned(), subject.to_owned()));
            own.clone_from(&self.audiences);
        }
        let common = common_audiences(&own, wanted);
        if common.is_empty() && !self.audiences.is_empty() {
            return Err(Rejected::invalid(format!(
                "token audiences {} is invalid for the target audiences {}",
                quoted(&own),
                quoted(wanted)
            )));
        }
        let mut accepted = if is_legacy {
            legacy::validate(token, &claims, objects)?
        } else {
            validate(&claims, now_s, objects)?
        };
        accepted.audiences = common;
        annotations.append(&mut accepted.annotations);
        accepted.annotations = annotations;
        Ok(accepted)
    }
}

/// A list as Go's `%q` writes it.
fn quoted(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// One audience or several; `None` if they are no texts.
fn audiences(claims: &Map<String, Value>) -> Option<Vec<String>> {
    match claims.get("aud") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(several)) => several.iter().map(|v| v.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    }
}

/// A moment in seconds. A claim that is no number stands for none that fits.
fn moment(claims: &Map<String, Value>, claim: &str) -> Result<Option<i64>, ()> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match (value.as_i64(), value.as_f64()) {
            (Some(whole), _) => Ok(Some(whole)),
            (None, Some(number)) => Ok(Some(number as i64)),
            (None, None) => Err(()),
        },
    }
}

/// Whether the token is valid at this time, with some leeway for clocks.
fn check_times(claims: &Map<String, Value>, now_s: i64) -> Result<(), &'static str> {
    let time = |claim| {
        let damaged = "service account token claims could not be validated due to unexpected validation error";
        moment(claims, claim).map_err(|()| damaged)
    };
    let (not_before, expires, issued) = (time("nbf")?, time("exp")?, time("iat")?);
    let (late, early) = (now_s.saturating_add(LEEWAY_S), now_s.saturating_sub(LEEWAY_S));
    if not_before.is_some_and(|at| late < at) {
        Err("service account token is not valid yet")
    } else if expires.is_some_and(|at| early > at) {
        Err("service account token has expired")
    } else if issued.is_some_and(|at| late < at) {
        Err("service account token is issued in the future")
    } else {
        Ok(())
    }
}

fn validate<O: Objects>(claims: &Map<String, Value>, now_s: i64, objects: &O) -> Result<Accepted, Rejected<O::Error>> {
    check_times(claims, now_s).map_err(Rejected::invalid)?;
    let private = claims.get("kubernetes.io").cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let namespace = text(&private["namespace"]);
    let account = Reference::read(&private["serviceaccount"]).unwrap_or_default();
    let [pod, secret, node] = ["pod", "secret", "node"].map(|kind| Reference::read(&private[kind]));

    let get = |plural: &str, namespace: &str, name: &str| {
        // An empty name would be that of a whole collection.
        if name.is_empty() {
            return Ok(None);
        }
        objects.get(plural, namespace, name).map_err(Rejected::Objects)
    };
    let Some(found) = get("serviceaccounts", &namespace, &account.name)? else {
        return Err(Rejected::unbound(format!(
            "serviceaccounts {:?} not found",
            account.name
        )));
    };
    if uid(&found) != account.uid {
        return Err(Rejected::unbound(format!(
            "service account UID ({}) does not match claim ({})",
            uid(&found),
            account.uid
        )));
    }
    if is_long_deleted(&found, now_s) {
        let text = format!("service account {namespace}/{} has been deleted", account.name);
        return Err(Rejected::unbound(text));
    }
    let bound = |plural: &str, kind: &str, namespace: &str, to: &Reference| {
        let Some(found) = get(plural, namespace, &to.name)? else {
            return Err(Rejected::unbound(INVALIDATED));
        };
        if uid(&found) != to.uid {
            return Err(Rejected::unbound(format!(
                "{kind} UID ({}) does not match service account {} ref claim ({})",
                uid(&found),
                kind.to_lowercase(),
                to.uid
            )));
        }
        if is_long_deleted(&found, now_s) {
            return Err(Rejected::unbound(INVALIDATED));
        }
        Ok(())
    };
    if let Some(secret) = &secret {
        bound("secrets", "secret", &namespace, secret)?;
    }
    if let Some(pod) = &pod {
        bound("pods", "pod", &namespace, pod)?;
    }
    // The node of a pod's token only says where the pod is.
    if let (Some(node), None) = (&node, &pod) {
        bound("nodes", "node", "", node)?;
    }
    let mut annotations = Vec::new();
    let warn_after = private.as_object().and_then(|p| moment(p, "warnafter").ok().flatten());
    if let Some(after) = warn_after.filter(|at| *at != 0 && now_s > *at) {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let text = format!("subject: {subject}, seconds after warning threshold: {}", now_s - after);
        annotations.push(("authentication.k8s.io/stale-token".to_owned(), text));
    }
    let id = claims.get("jti").and_then(Value::as_str).unwrap_or_default();
    Ok(Accepted {
        identity: identity(&namespace, &account, pod.as_ref(), node.as_ref(), id),
        annotations,
        ..Accepted::default()
    })
}

fn identity(
    namespace: &str,
    account: &Reference,
    pod: Option<&Reference>,
    node: Option<&Reference>,
    id: &str,
) -> Identity {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |key: &str, value: String| {
        if !value.is_empty() {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
        }
    };
    if let Some(pod) = pod.filter(|pod| !pod.name.is_empty() && !pod.uid.is_empty()) {
        add("pod-name", pod.name.clone());
        add("pod-uid", pod.uid.clone());
    }
    if let Some(node) = node.filter(|node| !node.name.is_empty()) {
        add("node-name", node.name.clone());
        add("node-uid", node.uid.clone());
    }
    if let Some(credential) = credential_id(id) {
        extra.insert(authn::CREDENTIAL_ID.to_owned(), vec![credential]);
    }
    Identity {
        extra,
        ..service_account_identity(namespace, &account.name, &account.uid)
    }
}

/// How a token's id stands in what its user's identity says of the credential; `None` of no id.
pub fn credential_id(id: &str) -> Option<String> {
    (!id.is_empty()).then(|| format!("JTI={id}"))
}

#[cfg(test)]
mod tests;

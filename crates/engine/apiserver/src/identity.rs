//! How an identity travels between members: as headers that no outside request may carry.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::authorizer::Identity;

/// Prefix of every header of this module.
pub const PREFIX: &str = "x-engenho-";
const USER: HeaderName = HeaderName::from_static("x-engenho-user");
const UID: HeaderName = HeaderName::from_static("x-engenho-uid");
const GROUP: HeaderName = HeaderName::from_static("x-engenho-group");
const EXTRA: HeaderName = HeaderName::from_static("x-engenho-extra");
const PEER: HeaderName = HeaderName::from_static("x-engenho-peer");

const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'=').add(b',').add(b'"');

/// Name of the built-in user of requests without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// Group of requests without credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Group of requests with credentials.
pub const AUTHENTICATED: &str = "system:authenticated";

/// The other end of the connection that a request came in by, for the audit log. An extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// Writes it into the headers of a forwarded request, after the identity.
    pub fn to_headers(self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.0.to_string()) {
            headers.insert(PEER, value);
        }
    }

    /// Reads it in the headers of a forwarded request, before the identity takes them away.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        headers.get(PEER)?.to_str().ok()?.parse().ok().map(Self)
    }
}

/// The identity of a request without credentials.
pub fn anonymous() -> Identity {
    Identity {
        user: ANONYMOUS.into(),
        groups: vec![UNAUTHENTICATED.into()],
        ..Identity::default()
    }
}

/// Adds `system:authenticated` to an authenticated identity, as upstream does for everybody but the anonymous.
pub fn authenticated(mut identity: Identity) -> Identity {
    if identity.user != ANONYMOUS && !identity.in_group(AUTHENTICATED) && !identity.in_group(UNAUTHENTICATED) {
        identity.groups.push(AUTHENTICATED.into());
    }
    identity
}

fn value(text: &str) -> HeaderValue {
    let escaped = utf8_percent_encode(text, ESCAPED).to_string();
    HeaderValue::from_str(&escaped).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn text(value: &HeaderValue) -> Option<String> {
    percent_decode_str(value.to_str().ok()?)
        .decode_utf8()
        .ok()
        .map(Into::into)
}

/// Removes every header of this module: an outside request must not choose its identity.
pub fn strip_headers(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|n| n.as_str().starts_with(PREFIX))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Writes `identity` into the headers of a forwarded request.
pub fn identity_to_headers(identity: &Identity, headers: &mut HeaderMap) {
    strip_headers(headers);
    headers.insert(USER, value(&identity.user));
    if !identity.uid.is_empty() {
        headers.insert(UID, value(&identity.uid));
    }
    for group in &identity.groups {
        headers.append(GROUP, value(group));
    }
    for (key, values) in &identity.extra {
        for one in values {
            let pair = format!(
                "{}={}",
                utf8_percent_encode(key, ESCAPED),
                utf8_percent_encode(one, ESCAPED)
            );
            if let Ok(pair) = HeaderValue::from_str(&pair) {
                headers.append(EXTRA, pair);
            }
        }
    }
}

/// Takes the identity out of the headers of a forwarded request; `None` if it carries none.
/// Only for requests that arrived over the mesh.
pub fn identity_from_headers(headers: &mut HeaderMap) -> Option<Identity> {
    let user = headers.get(USER).and_then(text)?;
    let uid = headers.get(UID).and_then(text).unwrap_or_default();
    let groups = headers.get_all(GROUP).iter().filter_map(text).collect();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in headers.get_all(EXTRA) {
        let Some((key, one)) = pair.to_str().ok().and_then(|p| p.split_once('=')) else {
            continue;
        };
        let decode = |s: &str| percent_decode_str(s).decode_utf8().ok().map(|t| t.into_owned());
        if let (Some(key), Some(one)) = (decode(key), decode(one)) {
            extra.entry(key).or_default().push(one);
        }
    }
    strip_headers(headers);
    Some(Identity {
        user,
        uid,
        groups,
        extra,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn identity_survives_headers(
            user in "\\PC{1,20}", uid in "\\PC{0,8}",
            groups in proptest::collection::vec("\\PC{1,12}", 0..4),
            extra in proptest::collection::btree_map("[a-z=%/ .]{1,8}", proptest::collection::vec("\\PC{0,9}", 1..3), 0..3),
        ) {
            let identity = Identity { user, uid, groups, extra };
            let mut headers = HeaderMap::new();
            headers.insert("x-engenho-user", HeaderValue::from_static("forged"));
            identity_to_headers(&identity, &mut headers);
            prop_assert_eq!(identity_from_headers(&mut headers), Some(identity));
            prop_assert!(headers.is_empty());
        }
    }
}

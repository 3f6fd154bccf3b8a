//! Proxies that authenticate users themselves and name them in headers, as upstream's `--requestheader` flags have it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::{ClientRoots, PeerCertificate};
use crate::authorizer::Identity;

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA_PREFIX: &str = "x-remote-extra-";

/// Whom to believe whose user a request is.
#[derive(Clone)]
pub struct FrontProxy {
    /// Who signs certificates of proxies.
    pub roots: Arc<ClientRoots>,
    /// Common names of proxies; empty for any.
    pub allowed_names: Vec<String>,
}

impl FrontProxy {
    /// The user that a proxy names; `None` if the peer shows no certificate or the request names nobody.
    pub(super) fn identity(
        &self,
        headers: &HeaderMap,
        certificate: Option<&PeerCertificate>,
        now_ms: u64,
    ) -> Result<Option<Identity>, String> {
        let Some(certificate) = certificate else {
            return Ok(None);
        };
        let proxy = certificate.proxy(&self.roots, now_ms)?;
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&proxy.user) {
            return Err(format!(
                "x509: subject with cn={} is not in the allowed list",
                proxy.user
            ));
        }
        Ok(named(headers))
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values = headers.get_all(name).iter();
    let mut texts = values.filter_map(|value| value.to_str().ok());
    texts.next().map(str::to_owned)
}

/// The user in the headers.
fn named(headers: &HeaderMap) -> Option<Identity> {
    let user = text(headers, &USER).filter(|user| !user.is_empty())?;
    let texts = |name: &str| {
        let values = headers.get_all(name).iter();
        values.filter_map(|value| value.to_str().ok().map(str::to_owned))
    };
    let groups = texts(GROUP.as_str()).filter(|group| !group.is_empty()).collect();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) else {
            continue;
        };
        // A key that is not well escaped stands as it is.
        let key = percent_decode_str(key)
            .decode_utf8()
            .map_or_else(|_| key.to_owned(), Into::into);
        extra.entry(key).or_default().extend(texts(name.as_str()));
    }
    Some(Identity {
        user,
        uid: text(headers, &UID).unwrap_or_default(),
        groups,
        extra,
    })
}

/// Removes what only a proxy may say.
pub(super) fn strip(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| [USER, UID, GROUP].contains(name) || name.as_str().starts_with(EXTRA_PREFIX))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_name_a_user() {
        let mut headers = HeaderMap::new();
        assert_eq!(named(&headers), None);
        for (name, value) in [
            ("x-remote-user", "jane"),
            ("x-remote-uid", "7"),
            ("x-remote-group", "dev"),
            ("x-remote-group", ""),
            ("x-remote-group", "ops"),
            ("x-remote-extra-example.org%2fteam", "a"),
            ("x-remote-extra-example.org%2fteam", "b"),
            ("x-remote-other", "stays"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let jane = named(&headers).expect("a user");
        assert_eq!((jane.user.as_str(), jane.uid.as_str()), ("jane", "7"));
        assert_eq!(jane.groups, ["dev", "ops"]);
        assert_eq!(jane.extra["example.org/team"], ["a", "b"]);
        strip(&mut headers);
        assert_eq!(
            headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["x-remote-other"]
        );
    }
}

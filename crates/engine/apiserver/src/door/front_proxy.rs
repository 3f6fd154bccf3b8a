//! Proxies that authenticate users themselves and name them in headers, as upstream's `--requestheader` flags have it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
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
        named(headers)
    }
}

/// All values of a header. One that cannot be read must not be taken for absent: the request would go on as the proxy's.
fn texts(headers: &HeaderMap, name: &str) -> Result<Vec<String>, String> {
    let read = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).map(str::to_owned);
    let values = headers.get_all(name).iter().map(read).collect::<Result<_, _>>();
    values.map_err(|_| format!("the header {name} is not UTF-8"))
}

/// The user in the headers.
fn named(headers: &HeaderMap) -> Result<Option<Identity>, String> {
    let Some(user) = texts(headers, USER.as_str())?
        .into_iter()
        .next()
        .filter(|user| !user.is_empty())
    else {
        return Ok(None);
    };
    let groups = texts(headers, GROUP.as_str())?;
    let groups = groups.into_iter().filter(|group| !group.is_empty()).collect();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) else {
            continue;
        };
        // A key that is not well escaped stands as it is.
        let key = percent_decode_str(key)
            .decode_utf8()
            .map_or_else(|_| key.to_owned(), Into::into);
        extra.entry(key).or_default().extend(texts(headers, name.as_str())?);
    }
    Ok(Some(Identity {
        user,
        uid: texts(headers, UID.as_str())?.into_iter().next().unwrap_or_default(),
        groups,
        extra,
    }))
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
    use super::*;

    #[test]
    fn headers_name_a_user() {
        let mut headers = HeaderMap::new();
        assert_eq!(named(&headers), Ok(None));
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
        let jane = named(&headers).unwrap().unwrap();
        let mut unreadable = headers.clone();
        unreadable.insert("x-remote-user", HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(named(&unreadable).is_err());
        unreadable.insert("x-remote-user", HeaderValue::from_bytes("jürgen".as_bytes()).unwrap());
        assert_eq!(named(&unreadable).unwrap().unwrap().user, "jürgen");
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

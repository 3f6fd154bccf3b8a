//! Tokens of machines that join: Secrets of type `bootstrap.kubernetes.io/token` in `kube-system`.

use engenho_authz::Identity;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::objects::{Objects, data, is_deleted, same};
use crate::verdict::{Accepted, Rejected};

/// Type of the Secrets.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// What their names begin with; the token's id follows.
pub const SECRET_PREFIX: &str = "bootstrap-token-";
/// Where they are.
pub const NAMESPACE: &str = "kube-system";
/// Group of all who show such a token.
const GROUP: &str = "system:bootstrappers";
const ID_CHARS: usize = 6;
const SECRET_CHARS: usize = 16;
/// Most characters of the name after a further group's prefix.
const GROUP_CHARS_MAX: usize = 256;

/// Id and secret of a token `abcdef.0123456789abcdef`.
fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let of = |text: &str, chars: usize| {
        text.len() == chars && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    (of(id, ID_CHARS) && of(secret, SECRET_CHARS)).then_some((id, secret))
}

/// A value of the Secret, without the white space around it.
fn text(secret: &Value, key: &str) -> String {
    let bytes = data(secret, key).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Whether the Secret's time is over. One that cannot be read is.
fn has_expired(secret: &Value, now_s: i64) -> bool {
    let expiration = text(secret, "expiration");
    !expiration.is_empty()
        && OffsetDateTime::parse(&expiration, &Rfc3339).map_or(true, |at| at.unix_timestamp() < now_s)
}

/// The groups of who shows the token, sorted; `None` if one of them may not be given.
fn groups(secret: &Value) -> Option<Vec<String>> {
    let mut groups = vec![GROUP.to_owned()];
    let further = text(secret, "auth-extra-groups");
    for group in further.split(',').filter(|_| !further.is_empty()) {
        let group = group.trim();
        let name = group.strip_prefix("system:bootstrappers:")?;
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b':' | b'-');
        let outer = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = name.as_bytes();
        let fits = bytes.len() <= GROUP_CHARS_MAX
            && bytes.iter().all(|b| inner(*b))
            && outer(bytes.first())
            && outer(bytes.last());
        if !fits {
            return None;
        }
        groups.push(group.to_owned());
    }
    groups.sort();
    groups.dedup();
    Some(groups)
}

/// Says who shows the token, if a Secret vouches for it now.
pub fn authenticate<O: Objects>(token: &str, now_s: i64, objects: &O) -> Result<Accepted, Rejected<O::Error>> {
    let (id, secret) = parse(token).ok_or(Rejected::Unknown)?;
    let name = format!("{SECRET_PREFIX}{id}");
    let stored = objects.get("secrets", NAMESPACE, &name).map_err(Rejected::Objects)?;
    let held = stored
        .filter(|held| !is_deleted(held) && held["type"] == SECRET_TYPE)
        .ok_or(Rejected::Unknown)?;
    let vouches = same(text(&held, "token-secret").as_bytes(), secret.as_bytes())
        && text(&held, "token-id") == id
        && !has_expired(&held, now_s)
        && text(&held, "usage-bootstrap-authentication") == "true";
    let groups = groups(&held).filter(|_| vouches).ok_or(Rejected::Unknown)?;
    Ok(Accepted {
        identity: Identity {
            user: format!("system:bootstrap:{id}"),
            groups,
            ..Identity::default()
        },
        ..Accepted::default()
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;

    struct One(Value);

    impl Objects for One {
        type Error = Infallible;

        fn get(&self, plural: &str, namespace: &str, name: &str) -> Result<Option<Value>, Infallible> {
            let found = plural == "secrets" && namespace == NAMESPACE && self.0["metadata"]["name"] == name;
            Ok(found.then(|| self.0.clone()))
        }
    }

    fn secret(change: impl FnOnce(&mut Value)) -> One {
        let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
        let mut secret = json!({
            "metadata": {"name": "bootstrap-token-abc123"},
            "type": SECRET_TYPE,
            "data": {
                "token-id": base64("abc123"),
                "token-secret": base64("0123456789abcdef"),
                "usage-bootstrap-authentication": base64("true"),
                "expiration": base64("2023-11-14T22:13:20Z"),
                "auth-extra-groups": base64("system:bootstrappers:b,system:bootstrappers:a:x"),
            },
        });
        change(&mut secret);
        One(secret)
    }

    const TOKEN: &str = "abc123.0123456789abcdef";
    const NOW: i64 = 1_700_000_000;

    #[test]
    fn a_secret_vouches_for_its_token() {
        let who = authenticate(TOKEN, NOW, &secret(|_| {})).expect("accepted").identity;
        assert_eq!(who.user, "system:bootstrap:abc123");
        assert_eq!(
            who.groups,
            [
                "system:bootstrappers",
                "system:bootstrappers:a:x",
                "system:bootstrappers:b"
            ]
        );
    }

    #[test]
    fn anything_else_is_nobodys() {
        let base64 = |text: &str| Value::from(data_encoding::BASE64.encode(text.as_bytes()));
        let refused = |token: &str, now: i64, objects: One| {
            assert_eq!(
                authenticate(token, now, &objects),
                Err(Rejected::Unknown),
                "{token} {}",
                objects.0
            );
        };
        for token in [
            "",
            "abc123",
            "abc123.0123456789abcdeF",
            "abc123.0123456789abcde0",
            "abc124.0123456789abcdef",
        ] {
            refused(token, NOW, secret(|_| {}));
        }
        refused(TOKEN, NOW + 1, secret(|_| {}));
        let data: [(&str, Value); 5] = [
            ("token-id", base64("abc124")),
            ("usage-bootstrap-authentication", base64("false")),
            ("expiration", base64("tomorrow")),
            ("auth-extra-groups", base64("system:masters")),
            ("auth-extra-groups", base64("system:bootstrappers:-")),
        ];
        for (key, value) in data {
            refused(TOKEN, NOW, secret(|s| s["data"][key] = value));
        }
        refused(TOKEN, NOW, secret(|s| s["type"] = "Opaque".into()));
        refused(
            TOKEN,
            NOW,
            secret(|s| s["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:20Z".into()),
        );
    }
}

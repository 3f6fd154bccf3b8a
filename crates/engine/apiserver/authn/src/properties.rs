//! What holds whatever is sent: nothing panics, and only what was signed is believed.

use std::convert::Infallible;
use std::sync::OnceLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::structured::{AuthenticationConfig, Jwks};
use crate::{Grant, Issuer, Objects, Reference, TokenKeys, bootstrap, legacy};

/// Has everything, by any name.
struct Everything;

impl Objects for Everything {
    type Error = Infallible;

    fn get(&self, _: &str, _: &str, name: &str) -> Result<Option<Value>, Infallible> {
        Ok(Some(json!({"metadata": {"name": name, "uid": "u"}})))
    }
}

fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ISSUER.get_or_init(|| Issuer::new(TokenKeys::generate().expect("keys"), "https://i"))
}

fn token() -> String {
    let grant = Grant {
        namespace: "n",
        account: Reference {
            name: "a".into(),
            uid: "u".into(),
        },
        audiences: &issuer().audiences,
        pod: None,
        secret: None,
        node: None,
        now_s: 0,
        lifetime_s: 600,
        warn_after_s: None,
        id: "i",
    };
    issuer().issue(&grant).expect("a token")
}

fn is_accepted(token: &str) -> bool {
    issuer()
        .authenticate(token, &issuer().audiences, 0, &Everything)
        .is_ok()
}

#[test]
fn the_token_itself_is_accepted() {
    assert!(is_accepted(&token()));
}

proptest! {
    #[test]
    fn any_text_is_judged(text in "\\PC{0,60}", parts in proptest::collection::vec("[A-Za-z0-9_-]{0,20}", 0..5)) {
        prop_assert!(!is_accepted(&text));
        prop_assert!(!is_accepted(&parts.join(".")));
        prop_assert!(bootstrap::authenticate(&text, 0, &Everything).is_err());
        let _ = AuthenticationConfig::parse(&text, &[]);
        let _ = Jwks::parse(text.as_bytes());
        let _ = TokenKeys::from_json(&text);
    }

    #[test]
    fn a_changed_token_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
        let token = token();
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &to);
        // The last character of a part has bits that count for nothing, and are refused as well.
        prop_assert!(changed == token || !is_accepted(&changed), "{changed}");
    }

    #[test]
    fn any_signed_claims_are_judged(
        issuer_name in prop::sample::select(vec!["https://i", legacy::ISSUER]),
        value in prop::sample::select(vec![json!(null), json!(1), json!(-1.5e300), json!("x"), json!([1]), json!({"uid": 3})]),
        claim in prop::sample::select(vec!["aud", "exp", "nbf", "iat", "sub", "jti", "kubernetes.io"]),
    ) {
        let mut claims = json!({"iss": issuer_name, "aud": ["https://i"], "exp": 60, "kubernetes.io": {"namespace": "n"}});
        claims[claim] = value;
        let token = issuer().keys.sign(&claims).expect("a token");
        let _ = is_accepted(&token);
    }
}

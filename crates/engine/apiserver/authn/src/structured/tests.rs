//! Configurations, and tokens of the providers in them.

use serde_json::{Value, json};

use super::*;
use crate::TokenKeys;

const NOW: i64 = 1_700_000_000;
const URL: &str = "https://idp.example";

fn config(jwt: &str) -> String {
    format!("apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\njwt:\n{jwt}")
}

const PLAIN: &str = r#"
- issuer: {url: https://idp.example, audiences: [web, cli], audienceMatchPolicy: MatchAny}
  claimValidationRules: [{claim: hd, requiredValue: example.com}]
  claimMappings:
    username: {claim: sub, prefix: "idp:"}
    groups: {claim: roles, prefix: "idp/"}
    uid: {claim: id}
"#;

const EXPRESSIONS: &str = r#"
- issuer: {url: https://idp.example, audiences: [web]}
  claimValidationRules:
  - {expression: "claims.exp - claims.nbf <= 86400", message: "too long"}
  claimMappings:
    username: {expression: "claims.username + ':external'"}
    groups: {expression: "claims.roles.filter(r, r != 'none')"}
    uid: {expression: "claims.id"}
    extra: [{key: example.org/team, valueExpression: "claims.team"}]
  userValidationRules:
  - {expression: "!user.username.startsWith('system:')", message: "reserved"}
"#;

fn one(text: &str) -> JwtAuthenticator {
    let mut parsed = AuthenticationConfig::parse(&config(text), &[]).expect("a configuration");
    parsed.jwt.remove(0)
}

fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({
        "iss": URL, "aud": "web", "exp": NOW + 600, "nbf": NOW, "jti": "j1",
        "sub": "jane", "username": "jane", "hd": "example.com", "id": "7", "roles": ["dev", "none"], "team": "blue",
    });
    change(&mut claims);
    claims
}

fn ask(authenticator: &JwtAuthenticator, claims: &Value) -> Result<crate::Accepted, String> {
    let keys = TokenKeys::generate().expect("keys");
    let set = Jwks::parse(keys.jwks().as_bytes()).expect("a key set");
    let token = keys.sign(claims).expect("a token");
    assert!(authenticator.concerns(&token));
    authenticator.authenticate(&token, &set, NOW).expect("the key is there")
}

#[test]
fn claims_by_name_are_prefixed() {
    let who = ask(&one(PLAIN), &claims(|_| {})).expect("accepted").identity;
    assert_eq!((who.user.as_str(), who.uid.as_str()), ("idp:jane", "7"));
    assert_eq!(who.groups, ["idp/dev", "idp/none"]);
    assert_eq!(who.extra["authentication.kubernetes.io/credential-id"], ["JTI=j1"]);
}

#[test]
fn expressions_map_and_judge() {
    let authenticator = one(EXPRESSIONS);
    let who = ask(&authenticator, &claims(|_| {})).expect("accepted").identity;
    assert_eq!((who.user.as_str(), who.uid.as_str()), ("jane:external", "7"));
    assert_eq!(who.groups, ["dev"]);
    assert_eq!(who.extra["example.org/team"], ["blue"]);
    let refused = |change: &dyn Fn(&mut Value)| ask(&authenticator, &claims(change)).expect_err("refused");
    assert_eq!(
        refused(&|c| c["username"] = "system:admin".into()),
        "oidc: error evaluating user info validation rule: validation expression \
         '!user.username.startsWith('system:')' failed: reserved"
    );
    assert_eq!(
        refused(&|c| c["exp"] = (NOW + 90_000).into()),
        "oidc: error evaluating claim validation expression: validation expression 'claims.exp - claims.nbf <= 86400' \
         failed: too long"
    );
    assert!(refused(&|c| c["roles"] = json!([1])).contains("group claim expression"));
    assert!(refused(&|c| drop(c.as_object_mut().unwrap().remove("username"))).contains("username"));
}

#[test]
fn tokens_have_to_be_for_us_and_now() {
    let authenticator = one(PLAIN);
    let refused = |change: &dyn Fn(&mut Value)| ask(&authenticator, &claims(change)).expect_err("refused");
    assert_eq!(
        refused(&|c| c["aud"] = json!(["other"])),
        r#"oidc: verify token: oidc: expected audience in ["cli" "web"] got ["other"]"#
    );
    assert_eq!(
        refused(&|c| c["exp"] = (NOW - 1).into()),
        "oidc: verify token: oidc: token is expired (Token Expiry: 2023-11-14 22:13:19 +0000 UTC)"
    );
    assert!(refused(&|c| drop(c.as_object_mut().unwrap().remove("exp"))).contains("is expired"));
    assert!(refused(&|c| c["nbf"] = (NOW + 301).into()).contains("before the nbf"));
    assert_eq!(
        refused(&|c| c["hd"] = "evil.com".into()),
        "oidc: required claim hd value does not match. Got = evil.com, want = example.com"
    );
    let foreign = TokenKeys::generate()
        .expect("keys")
        .sign(&claims(|_| {}))
        .expect("a token");
    assert_eq!(
        authenticator.authenticate(&foreign, &Jwks::default(), NOW),
        Err(KeyMissing)
    );
    assert!(!authenticator.concerns("nonsense"));
}

#[test]
fn keys_that_both_sides_share_prove_nothing() {
    let text = br#"{"keys":[{"kty":"oct","k":"AAAA","alg":"HS256","kid":"a"},{"kty":"zzz"},{"kty":"EC"}]}"#;
    let set = Jwks::parse(text).expect("a key set");
    let header = data_encoding::BASE64URL_NOPAD.encode(br#"{"alg":"HS256","kid":"a"}"#);
    let payload = data_encoding::BASE64URL_NOPAD.encode(claims(|_| {}).to_string().as_bytes());
    let token = format!("{header}.{payload}.AAAA");
    assert!(matches!(one(PLAIN).authenticate(&token, &set, NOW), Ok(Err(_))));
    assert!(Jwks::parse(b"[]").is_err());
}

#[test]
fn wrong_configurations_are_told() {
    let errors = |text: &str| match AuthenticationConfig::parse(&config(text), &["https://own".to_owned()]) {
        Err(ConfigError::Invalid { errors }) => errors.join("\n"),
        other => panic!("{other:?}"),
    };
    let found = errors(
        r#"
- issuer: {url: "http://u:p@idp?x#y", audiences: [a, a]}
  claimMappings:
    username: {claim: sub}
    groups: {claim: a, expression: b}
    extra: [{key: team, valueExpression: "'x'"}, {key: k8s.io/x, valueExpression: "claims."}]
  userValidationRules: [{expression: "user.nobody"}]
- issuer: {url: https://own, audiences: []}
  claimMappings: {username: {expression: claims.email}}
"#,
    );
    for text in [
        "jwt[0].issuer.url: Invalid value: \"http://u:p@idp?x#y\": URL scheme must be https",
        "jwt[0].issuer.url: Invalid value: \"http://u:p@idp?x#y\": URL must not contain a query",
        "jwt[0].issuer.audiences[1]: Duplicate value: \"a\"",
        "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple",
        "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set",
        "jwt[0].claimMappings.groups: Invalid value: \"\": claim and expression can't both be set",
        "jwt[0].claimMappings.extra[0].key: Invalid value: \"team\"",
        "jwt[0].claimMappings.extra[1].key: Invalid value: \"k8s.io/x\": k8s.io, kubernetes.io",
        "jwt[0].claimMappings.extra[1].valueExpression: Invalid value",
        "jwt[0].userValidationRules[0].expression: Invalid value",
        "jwt[1].issuer.url: Invalid value: \"https://own\": URL must not overlap with disallowed issuers: [https://own]",
        "jwt[1].issuer.audiences: Required value: at least one",
        "jwt[1].claimMappings.username.expression: Invalid value: \"claims.email\": claims.email_verified must be used",
    ] {
        assert!(found.contains(text), "{text}\nin\n{found}");
    }
    for text in [
        "",
        "kind: X",
        "[",
        "apiVersion: v1\nkind: AuthenticationConfiguration\nnobody: x",
    ] {
        assert!(AuthenticationConfig::parse(text, &[]).is_err(), "{text}");
    }
}

#[test]
fn the_anonymous_may_be_kept_to_paths() {
    let text = config("  []\nanonymous: {enabled: true, conditions: [{path: /livez}]}\n");
    let anonymous = AuthenticationConfig::parse(&text, &[])
        .expect("a configuration")
        .anonymous;
    assert_eq!(anonymous.expect("set").conditions[0].path, "/livez");
    let text = config("  []\nanonymous: {enabled: false, conditions: [{path: /livez}]}\n");
    assert!(AuthenticationConfig::parse(&text, &[]).is_err());
}

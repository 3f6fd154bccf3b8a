//! Tokens against objects that come and go.

use std::cell::RefCell;
use std::convert::Infallible;

use serde_json::json;

use super::*;

const NOW: i64 = 1_700_000_000;
const NAME: &str = "https://issuer.example";

#[derive(Default)]
struct Kept(RefCell<BTreeMap<String, Value>>);

impl Kept {
    fn put(&self, plural: &str, name: &str, uid: &str) -> Reference {
        let object = json!({"metadata": {"name": name, "uid": uid}});
        let reference = Reference::to(&object);
        self.0.borrow_mut().insert(format!("{plural}/{name}"), object);
        reference
    }

    fn change(&self, key: &str, change: impl FnOnce(&mut Value)) {
        change(self.0.borrow_mut().get_mut(key).expect("an object"));
    }
}

impl Objects for Kept {
    type Error = Infallible;

    fn get(&self, plural: &str, _: &str, name: &str) -> Result<Option<Value>, Infallible> {
        Ok(self.0.borrow().get(&format!("{plural}/{name}")).cloned())
    }
}

fn issuer() -> Issuer {
    Issuer::new(TokenKeys::generate().expect("keys"), NAME)
}

fn grant<'a>(account: &Reference, audiences: &'a [String]) -> Grant<'a> {
    Grant {
        namespace: "ns",
        account: account.clone(),
        audiences,
        pod: None,
        secret: None,
        node: None,
        now_s: NOW,
        lifetime_s: 600,
        warn_after_s: None,
        id: "id-1",
    }
}

fn text(result: Result<Accepted, Rejected<Infallible>>) -> String {
    match result {
        Ok(accepted) => panic!("{accepted:?}"),
        Err(rejected) => rejected.to_string(),
    }
}

#[test]
fn a_token_names_its_account_pod_and_node() {
    let (issuer, kept) = (issuer(), Kept::default());
    let account = kept.put("serviceaccounts", "bot", "u1");
    let audiences = issuer.audiences.clone();
    let token = issuer.issue(&Grant {
        pod: Some(kept.put("pods", "p", "u2")),
        node: Some(Reference {
            name: "n".into(),
            uid: "u3".into(),
        }),
        ..grant(&account, &audiences)
    });
    let token = token.expect("a token");
    let accepted = issuer.authenticate(&token, &audiences, NOW, &kept).expect("accepted");
    assert_eq!(accepted.audiences, audiences);
    let who = accepted.identity;
    assert_eq!(
        (who.user.as_str(), who.uid.as_str()),
        ("system:serviceaccount:ns:bot", "u1")
    );
    assert_eq!(who.groups, ["system:serviceaccounts", "system:serviceaccounts:ns"]);
    let extra = |key: &str| who.extra[&format!("authentication.kubernetes.io/{key}")][0].clone();
    let facts = ["pod-name", "pod-uid", "node-name", "node-uid", "credential-id"].map(extra);
    assert_eq!(facts, ["p", "u2", "n", "u3", "JTI=id-1"]);
}

#[test]
fn times_are_held_with_a_minute_of_leeway() {
    let (issuer, kept) = (issuer(), Kept::default());
    let account = kept.put("serviceaccounts", "bot", "u1");
    let audiences = issuer.audiences.clone();
    let token = issuer.issue(&grant(&account, &audiences)).expect("a token");
    let at = |now| issuer.authenticate(&token, &audiences, now, &kept);
    assert!(at(NOW - 60).is_ok() && at(NOW + 660).is_ok());
    assert_eq!(text(at(NOW - 61)), "service account token is not valid yet");
    assert_eq!(text(at(NOW + 661)), "service account token has expired");
}

#[test]
fn audiences_have_to_meet() {
    let (issuer, kept) = (issuer(), Kept::default());
    let account = kept.put("serviceaccounts", "bot", "u1");
    let other = vec!["vault".to_owned(), "b".to_owned()];
    let token = issuer.issue(&grant(&account, &other)).expect("a token");
    let at = |wanted: &[String]| issuer.authenticate(&token, wanted, NOW, &kept);
    assert_eq!(at(&["b".into(), "c".into()]).expect("accepted").audiences, ["b"]);
    assert_eq!(
        text(at(&issuer.audiences)),
        r#"token audiences ["vault" "b"] is invalid for the target audiences ["https://issuer.example"]"#
    );
    let foreign = Issuer::new(issuer.keys.clone(), "https://other.example");
    let rejected = foreign.authenticate(&token, &other, NOW, &kept);
    assert_eq!(rejected, Err(Rejected::Unknown));
}

#[test]
fn what_a_token_is_bound_to_has_to_be_there() {
    let (issuer, kept) = (issuer(), Kept::default());
    let account = kept.put("serviceaccounts", "bot", "u1");
    let audiences = issuer.audiences.clone();
    let invalidated = "service account token has been invalidated";
    for (plural, kind) in [("pods", "pod"), ("secrets", "secret"), ("nodes", "node")] {
        let mut grant = grant(&account, &audiences);
        let bound = Some(kept.put(plural, "x", "u2"));
        match kind {
            "pod" => grant.pod = bound,
            "secret" => grant.secret = bound,
            _ => grant.node = bound,
        }
        let token = issuer.issue(&grant).expect("a token");
        let now = || issuer.authenticate(&token, &audiences, NOW, &kept);
        assert!(now().is_ok(), "{kind}");
        let key = format!("{plural}/x");
        kept.change(&key, |o| {
            o["metadata"]["deletionTimestamp"] = "2023-11-14T22:12:20Z".into()
        });
        assert!(now().is_ok(), "{kind} was deleted a minute ago");
        kept.change(&key, |o| {
            o["metadata"]["deletionTimestamp"] = "2023-11-14T22:12:19Z".into()
        });
        assert_eq!(text(now()), invalidated);
        kept.put(plural, "x", "u9");
        let expected = format!("{kind} UID (u9) does not match service account {kind} ref claim (u2)");
        assert_eq!(text(now()), expected);
        kept.0.borrow_mut().remove(&key);
        assert_eq!(text(now()), invalidated);
    }
}

#[test]
fn the_account_itself_has_to_be_there() {
    let (issuer, kept) = (issuer(), Kept::default());
    let account = kept.put("serviceaccounts", "bot", "u1");
    let audiences = issuer.audiences.clone();
    let token = issuer.issue(&grant(&account, &audiences)).expect("a token");
    let now = || issuer.authenticate(&token, &audiences, NOW, &kept);
    kept.change("serviceaccounts/bot", |o| {
        o["metadata"]["deletionTimestamp"] = "2023-11-14T22:00:00Z".into();
    });
    assert_eq!(text(now()), "service account ns/bot has been deleted");
    kept.put("serviceaccounts", "bot", "u9");
    assert_eq!(text(now()), "service account UID (u9) does not match claim (u1)");
    kept.0.borrow_mut().clear();
    assert_eq!(text(now()), r#"serviceaccounts "bot" not found"#);
    assert!(matches!(now(), Err(Rejected::Invalid { by_objects: true, .. })));
}

#[test]
fn a_late_use_of_an_extended_token_is_noted() {
    let (issuer, kept) = (issuer(), Kept::default());
    let account = kept.put("serviceaccounts", "bot", "u1");
    let audiences = issuer.audiences.clone();
    let token = issuer.issue(&Grant {
        warn_after_s: Some(WARN_ONLY_S),
        lifetime_s: EXTENDED_S,
        ..grant(&account, &audiences)
    });
    let token = token.expect("a token");
    let notes = |now| {
        issuer
            .authenticate(&token, &audiences, now, &kept)
            .expect("accepted")
            .annotations
    };
    assert_eq!(notes(NOW + WARN_ONLY_S), []);
    let text = "subject: system:serviceaccount:ns:bot, seconds after warning threshold: 5";
    assert_eq!(
        notes(NOW + WARN_ONLY_S + 5),
        [("authentication.k8s.io/stale-token".to_owned(), text.to_owned())]
    );
}

#[test]
fn tokens_of_secrets_live_as_long_as_their_secret_holds_them() {
    let (issuer, kept) = (issuer(), Kept::default());
    let account = kept.put("serviceaccounts", "bot", "u1");
    let token = legacy::issue(&issuer, "ns", &account, "s").expect("a token");
    let audiences = issuer.audiences.clone();
    let now = || issuer.authenticate(&token, &audiences, NOW, &kept);
    assert_eq!(text(now()), "Token has been invalidated");
    kept.put("secrets", "s", "u2");
    assert_eq!(text(now()), "Token does not match server's copy");
    kept.change("secrets/s", |s| {
        s["data"]["token"] = data_encoding::BASE64.encode(token.as_bytes()).into();
    });
    let accepted = now().expect("accepted");
    assert_eq!(accepted.identity.user, "system:serviceaccount:ns:bot");
    assert_eq!(accepted.used_secret, Some(("ns".into(), "s".into())));
    assert!(accepted.warnings.is_empty());
    kept.change("serviceaccounts/bot", |a| a["secrets"] = json!([{"name": "s"}]));
    assert_eq!(now().expect("accepted").warnings.len(), 1);
    kept.change("secrets/s", |s| {
        s["metadata"]["labels"] = json!({legacy::INVALID_SINCE: "2023-01-01"})
    });
    assert!(text(now()).starts_with("the token in secret ns/s for service account ns/bot has been marked invalid"));
}

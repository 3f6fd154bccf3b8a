//! Secrets with tokens are filled, work, and go with their account.

use engenho_apiserver::{BearerToken, body};
use http::Request;
use revoada_core::Role;
use serde_json::{Value, json};

use crate::world::{ROOT_CA, World, member, until};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

async fn status_with(world: &World, token: &str) -> u16 {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let mut request = Request::builder()
        .method("POST")
        .uri("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("content-type", "application/json")
        .body(body::full(review.to_string()))
        .unwrap();
    request
        .extensions_mut()
        .insert(BearerToken::new(token).expect("a token"));
    world.api.handle(request).await.status().as_u16()
}

#[tokio::test]
async fn a_secret_gets_a_token_that_works_until_its_account_goes() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    world.settled(&running).await;
    let account = json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "bot"}});
    world.create(ACCOUNTS, account).await;
    let secret = json!({
        "kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "s", "annotations": {"kubernetes.io/service-account.name": "bot"}},
    });
    world.create(SECRETS, secret.clone()).await;
    let path = &format!("{SECRETS}/s");
    let filled = until("the token", || async {
        world
            .get(path)
            .await
            .filter(|secret| secret["data"]["token"].is_string())
    })
    .await;
    let text = |key: &str| String::from_utf8(engenho_authn::data(&filled, key).unwrap()).unwrap();
    assert_eq!(
        (text("namespace").as_str(), text("ca.crt").as_str()),
        ("default", ROOT_CA)
    );
    let token = text("token");
    assert_eq!(status_with(&world, &token).await, 201);
    let used = world.get(path).await.unwrap();
    assert_eq!(
        used["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"],
        "2023-11-14"
    );
    let revision = world.settled(&running).await;
    assert_eq!(status_with(&world, &token).await, 201);
    assert_eq!(world.settled(&running).await, revision, "noted once a day");

    assert_eq!(
        world.send("DELETE", &format!("{ACCOUNTS}/bot"), Value::Null).await.0,
        200
    );
    until("the Secret to go", || async {
        world.get(path).await.is_none().then_some(())
    })
    .await;
    assert_eq!(status_with(&world, &token).await, 401);
    // One of an account that is not there goes as well.
    world.create(SECRETS, secret).await;
    until("the Secret to go", || async {
        world.get(path).await.is_none().then_some(())
    })
    .await;
    running.stop().await;
}

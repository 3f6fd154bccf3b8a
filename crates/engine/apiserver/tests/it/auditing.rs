//! The audit log: what is recorded of requests, and when.

use std::path::Path;
use std::sync::Arc;

use engenho_apiserver::{
    AuditLog, AuditPolicy, BearerToken, Body, Identity, Observers, Options, Rotation, audit_chain,
};
use http::Request;
use serde_json::{Value, json};

use crate::door::{Nobody, observed_door};
use crate::harness::{World, config_map, request};

const CMS: &str = "/api/v1/namespaces/default/configmaps";

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, nonResourceURLs: ['/healthz*', /version]}
- {level: Metadata, resources: [{group: '', resources: [secrets]}]}
- {level: RequestResponse, resources: [{group: '', resources: [configmaps]}], omitManagedFields: true}
- {level: Request, verbs: [create], omitStages: []}
";

async fn audited(dir: &Path) -> (World, Arc<AuditLog>) {
    let policy = AuditPolicy::parse(POLICY).expect("a policy");
    let log = AuditLog::open(policy, dir, Rotation::default()).expect("opens");
    let observers = Observers {
        audit: Some(log.clone()),
        ..Observers::default()
    };
    (World::observed(Options::default(), observers).await, log)
}

/// Ends the log and gives its events; the chain must hold.
fn events(dir: &Path, log: &AuditLog) -> Vec<Value> {
    log.close();
    let mut verifier = audit_chain::Verifier::default();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            verifier.line(line).expect("a good line");
            found.push(serde_json::from_slice(line).expect("JSON"));
        }
    }
    found
}

#[tokio::test]
async fn events_say_what_the_policy_asks_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let (w, log) = audited(dir.path()).await;
    assert_eq!(w.call("POST", CMS, Some(config_map("a"))).await.0, 201);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "c2VjcmV0"}});
    assert_eq!(
        w.call("POST", "/api/v1/namespaces/default/secrets", Some(secret))
            .await
            .0,
        201
    );
    let patch = json!({"data": {"k": "w"}});
    let kind = "application/merge-patch+json";
    assert_eq!(
        w.call_typed("PATCH", &format!("{CMS}/a"), kind, Some(patch.clone()))
            .await
            .0,
        200
    );
    w.call("GET", "/version", None).await;
    assert_eq!(w.call("GET", &format!("{CMS}/none"), None).await.0, 404);
    let mut eve = request("GET", &format!("{CMS}/a"), "", None);
    eve.extensions_mut().insert(Identity {
        user: "eve".into(),
        ..Identity::default()
    });
    eve.headers_mut().insert("audit-id", "chosen".parse().expect("a value"));
    let response = w.send(eve).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["audit-id"]),
        (403, &"chosen".parse().expect("a value"))
    );
    let mut as_bob = request("GET", CMS, "", None);
    as_bob
        .headers_mut()
        .insert("impersonate-user", "bob".parse().expect("a value"));
    assert_eq!(w.send(as_bob).await.status(), 403);

    let all = events(dir.path(), &log);
    let stages = |verb: &str, resource: &str| -> Vec<&Value> {
        let matches = |e: &&Value| e["verb"] == verb && e["objectRef"]["resource"] == resource;
        all.iter().filter(matches).collect()
    };
    assert!(
        all.iter()
            .all(|e| e["kind"] == "Event" && e["apiVersion"] == "audit.k8s.io/v1")
    );
    let created = stages("create", "configmaps");
    assert_eq!(created.len(), 1, "{created:?}");
    let event = created[0];
    assert_eq!(
        (&event["stage"], &event["level"]),
        (&json!("ResponseComplete"), &json!("RequestResponse"))
    );
    assert_eq!(event["objectRef"]["name"], "a");
    assert_eq!(event["requestObject"]["data"]["k"], "v");
    assert_eq!(event["responseObject"]["metadata"]["name"], "a");
    assert_eq!(event["responseObject"]["metadata"].get("managedFields"), None);
    assert_eq!(event["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "allow");
    assert_eq!(event["user"]["username"], "admin");
    let secrets = stages("create", "secrets");
    assert_eq!(secrets.len(), 1);
    assert_eq!(secrets[0]["objectRef"]["name"], "s");
    assert!(!secrets[0].to_string().contains("c2VjcmV0"), "a secret is in the log");
    assert_eq!(stages("patch", "configmaps")[0]["requestObject"], patch);
    let got = stages("get", "configmaps");
    assert_eq!(got[0]["responseStatus"]["reason"], "NotFound");
    assert_eq!(got[0]["responseStatus"]["code"], 404);
    assert_eq!(got[1]["auditID"], "chosen");
    assert_eq!(got[1]["annotations"]["authorization.k8s.io/decision"], "forbid");
    let listed = stages("list", "configmaps");
    assert_eq!(listed[0]["impersonatedUser"]["username"], "bob");
    assert_eq!(listed[0]["user"]["username"], "admin");
    assert!(!all.iter().any(|e| e["requestURI"] == "/version"));
}

#[tokio::test]
async fn watches_are_recorded_when_they_begin_and_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let (w, log) = audited(dir.path()).await;
    let response = w.send(request("GET", &format!("{CMS}?watch=1"), "", None)).await;
    assert_eq!(response.status(), 200);
    drop(response);
    let all = events(dir.path(), &log);
    let stages: Vec<&Value> = all
        .iter()
        .filter(|e| e["verb"] == "watch")
        .map(|e| &e["stage"])
        .collect();
    assert_eq!(stages, ["ResponseStarted", "ResponseComplete"]);
}

/// The one event of a refusal.
fn refusal(dir: &Path, log: &AuditLog, attempted: &str) {
    let all = events(dir, log);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["stage"], "ResponseStarted");
    assert_eq!(all[0]["sourceIPs"], json!(["10.1.2.3"]));
    let message = format!("Authentication failed, attempted: {attempted}");
    let status = json!({"metadata": {}, "message": message, "code": 401});
    assert_eq!(all[0]["responseStatus"], status);
}

fn from_elsewhere() -> Request<Body> {
    let mut request = request("GET", CMS, "", None);
    *request.extensions_mut() = http::Extensions::new();
    request
        .headers_mut()
        .insert("x-forwarded-for", "10.1.2.3".parse().expect("a value"));
    request
}

#[tokio::test]
async fn wrong_tokens_are_recorded() {
    let dir = tempfile::tempdir().expect("a folder");
    let (w, log) = audited(dir.path()).await;
    let mut wrong = from_elsewhere();
    wrong
        .extensions_mut()
        .insert(BearerToken::new("nonsense").expect("a token"));
    assert_eq!(w.send(wrong).await.status(), 401);
    refusal(dir.path(), &log, "bearer");
}

#[tokio::test]
async fn wrong_credentials_are_recorded_at_the_door() {
    let dir = tempfile::tempdir().expect("a folder");
    let policy = AuditPolicy::parse("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}");
    let log = AuditLog::open(policy.expect("a policy"), dir.path(), Rotation::default()).expect("opens");
    let observers = Observers {
        audit: Some(log.clone()),
        ..Observers::default()
    };
    let (door, _) = observed_door(Arc::new(Nobody), observers);
    let mut wrong = from_elsewhere();
    wrong
        .headers_mut()
        .insert("authorization", "Basic bm9ib2R5".parse().expect("a value"));
    assert_eq!(door.handle(wrong, None).await.status(), 401);
    refusal(dir.path(), &log, "basic");
}

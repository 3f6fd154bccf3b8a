//! Kubeconfigs made new and merged.

use std::time::Duration;

use data_encoding::BASE64;
use engenho_pki::{ClientSubject, ClusterCa, IssuedCertificate, Kubeconfig, KubeconfigError};
use proptest::prelude::*;
use serde_yaml_ng::Value;

use crate::certificates::{NOW, ca};

fn access(ca: &ClusterCa, server: &str) -> Kubeconfig {
    Kubeconfig {
        cluster: "engenho".into(),
        user: "engenho-admin".into(),
        context: "engenho".into(),
        server: server.into(),
        authority_pem: ca.certificate_pem(),
        client: client(ca),
        namespace: None,
    }
}

fn client(ca: &ClusterCa) -> IssuedCertificate {
    ca.issue_client(&ClientSubject::admin(), Duration::from_secs(3600), NOW)
        .expect("a leaf")
}

fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).expect("YAML")
}

fn entry<'v>(root: &'v Value, section: &str, name: &str) -> Vec<&'v Value> {
    let list = root[section].as_sequence().expect("a list");
    list.iter().filter(|e| e["name"] == name).collect()
}

#[test]
fn a_new_file_has_everything_embedded() {
    let ca = ca();
    let mut access = access(&ca, "https://127.0.0.1:6443");
    access.namespace = Some("team".into());
    let root = yaml(&access.render().expect("rendered"));
    assert_eq!(root["apiVersion"], "v1");
    assert_eq!(root["kind"], "Config");
    assert_eq!(root["current-context"], "engenho");
    let cluster = &entry(&root, "clusters", "engenho")[0]["cluster"];
    assert_eq!(cluster["server"], "https://127.0.0.1:6443");
    let decode = |v: &Value| BASE64.decode(v.as_str().expect("text").as_bytes()).expect("base64");
    assert_eq!(
        decode(&cluster["certificate-authority-data"]),
        ca.certificate_pem().as_bytes()
    );
    let user = &entry(&root, "users", "engenho-admin")[0]["user"];
    let mut pem = decode(&user["client-certificate-data"]);
    pem.extend(decode(&user["client-key-data"]));
    let leaf = IssuedCertificate::from_pem(&String::from_utf8(pem).expect("text")).expect("a leaf");
    assert_eq!(leaf.certificate(), access.client.certificate());
    let context = &entry(&root, "contexts", "engenho")[0]["context"];
    assert_eq!(context["cluster"], "engenho");
    assert_eq!(context["user"], "engenho-admin");
    assert_eq!(context["namespace"], "team");
}

const FOREIGN: &str = r#"
apiVersion: v1
kind: Config
preferences: {colors: true}
current-context: work
clusters:
- name: work
  cluster: {server: "https://work.example", insecure-skip-tls-verify: true}
users:
- name: work
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: login, args: [a, "1"]}
contexts:
- name: work
  context: {cluster: work, user: work, extensions: [{name: x, extension: {n: 1}}]}
extensions: []
"#;

#[test]
fn merging_keeps_what_is_there_and_replaces_what_is_ours() {
    let ca = ca();
    let merged = access(&ca, "https://one:6443").merge(FOREIGN).expect("merged");
    let (before, after) = (yaml(FOREIGN), yaml(&merged));
    for section in ["clusters", "users", "contexts"] {
        assert_eq!(entry(&after, section, "work"), entry(&before, section, "work"));
        assert_eq!(after[section].as_sequence().map(Vec::len), Some(2));
    }
    assert_eq!(after["preferences"], before["preferences"]);
    assert_eq!(after["extensions"], before["extensions"]);
    assert_eq!(after["current-context"], "engenho");

    let with_proxy = merged.replace(
        "server: https://one:6443",
        "server: https://one:6443\n    proxy-url: http://p",
    );
    let again = access(&ca, "https://two:6443");
    let root = yaml(&again.merge(&with_proxy).expect("ours is replaced"));
    let clusters = entry(&root, "clusters", "engenho");
    assert_eq!(clusters.len(), 1);
    assert_eq!(clusters[0]["cluster"]["server"], "https://two:6443");
    assert_eq!(
        clusters[0]["cluster"]["proxy-url"], "http://p",
        "what a user added stays"
    );
    let certificate = BASE64.encode(again.client.certificate_pem().as_bytes());
    assert_eq!(
        entry(&root, "users", "engenho-admin")[0]["user"]["client-certificate-data"],
        certificate.as_str()
    );
}

#[test]
fn entries_of_others_are_never_overwritten() {
    let ours = access(&ca(), "https://one:6443");
    let theirs = access(&ca(), "https://other:6443").render().expect("rendered");
    let section = |existing: &str| match ours.merge(existing) {
        Err(KubeconfigError::Conflict { section, .. }) => section,
        other => panic!("no conflict: {:?}", other.map(|_| ())),
    };
    assert_eq!(section(&theirs), "cluster");
    assert_eq!(section("users: [{name: engenho-admin, user: {token: abc}}]"), "user");
    assert_eq!(section("clusters: [{name: engenho}]"), "cluster");
    assert_eq!(
        section("contexts: [{name: engenho, context: {cluster: engenho, user: somebody}}]"),
        "context"
    );
}

#[test]
fn what_is_no_kubeconfig_is_left_alone() {
    let ours = access(&ca(), "https://one:6443");
    for text in [
        "- a\n",
        "kind: Pod\n",
        "clusters: 7\n",
        "a: [",
        "clusters: {a: b}\n",
        "\u{0}",
    ] {
        assert!(
            matches!(ours.merge(text), Err(KubeconfigError::Parse { .. })),
            "{text:?}"
        );
    }
    for text in ["", "  \n", "# nothing\n", "clusters: null\nusers:\n"] {
        assert!(ours.merge(text).is_ok(), "{text:?}");
    }
}

#[test]
fn files_are_merged_in_place_and_stay_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config");
    let ca = ca();
    access(&ca, "https://one:6443").merge_file(&path).expect("made");
    access(&ca, "https://two:6443").merge_file(&path).expect("merged");
    let text = std::fs::read_to_string(&path).expect("read");
    assert!(text.contains("https://two:6443") && !text.contains("https://one:6443"));
    assert_eq!(
        std::fs::metadata(&path).expect("metadata").permissions().mode() & 0o777,
        0o600
    );
    let other = access(&self::ca(), "https://three:6443");
    assert!(other.merge_file(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).expect("read"), text, "unchanged");
    other.write(&path).expect("overwritten on request");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever other entries there are, they come out as they went in, and merging twice changes nothing.
    #[test]
    fn merging_preserves_others(
        names in proptest::collection::btree_set("[a-z0-9:@/. -]{1,12}", 0..5),
        server in "[ -~]{0,20}", extra in "\\PC{0,20}", number: i64,
    ) {
        static CA: std::sync::OnceLock<(ClusterCa, Kubeconfig)> = std::sync::OnceLock::new();
        let (_, ours) = CA.get_or_init(|| { let ca = ca(); let a = access(&ca, "https://one:6443"); (ca, a) });
        let section = |item: &str| names.iter().filter(|n| !n.starts_with("engenho")).map(|n| serde_json::json!({
            "name": n, item: {"server": server, "extra": extra, "number": number, "list": [null, true]},
        })).collect::<Vec<_>>();
        let existing = serde_json::json!({
            "clusters": section("cluster"), "users": section("user"), "contexts": section("context"),
        });
        let existing = serde_yaml_ng::to_string(&existing).expect("YAML");
        let merged = ours.merge(&existing).expect("merged");
        let (before, after) = (yaml(&existing), yaml(&merged));
        for section in ["clusters", "users", "contexts"] {
            let before = before[section].as_sequence().expect("a list");
            let after = after[section].as_sequence().expect("a list");
            prop_assert_eq!(&after[..before.len()], &before[..]);
            prop_assert_eq!(after.len(), before.len() + 1);
        }
        prop_assert_eq!(ours.merge(&merged).expect("merged"), merged);
    }
}

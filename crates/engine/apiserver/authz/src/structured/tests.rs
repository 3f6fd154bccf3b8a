//! Configurations that are right and wrong, and match conditions.

use serde_json::json;

use super::*;

const WEBHOOK: &str = "
- type: Webhook
  name: hook
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: /etc/hook.yaml}
";

fn parse_with(authorizers: &str, required: &BTreeSet<&'static str>) -> Result<AuthorizationConfig, String> {
    let text =
        format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:{authorizers}");
    let check_file = |file: &str| file.contains("missing").then(|| "error loading file: gone".to_owned());
    let surroundings = Surroundings {
        check_file: &check_file,
        required,
    };
    AuthorizationConfig::parse(&text, surroundings).map_err(|error| error.to_string())
}

fn parse(authorizers: &str) -> Result<AuthorizationConfig, String> {
    parse_with(authorizers, &BTreeSet::new())
}

fn wrong(authorizers: &str) -> String {
    parse(authorizers).expect_err(authorizers)
}

fn hook(change: (&str, &str)) -> String {
    assert!(WEBHOOK.contains(change.0), "{}", change.0);
    WEBHOOK.replace(change.0, change.1)
}

fn webhook(text: &str) -> WebhookConfig {
    let mut config = parse(text).expect("a configuration");
    match config.authorizers.remove(0).kind {
        AuthorizerKind::Webhook(webhook) => *webhook,
        other => panic!("{other:?}"),
    }
}

#[test]
fn authorizers_keep_their_order() {
    let text = format!(" [{{type: Node, name: node}}]\n{WEBHOOK}");
    assert!(parse(&text).is_err(), "no YAML");
    let text = format!("{WEBHOOK}- {{type: Node, name: node}}\n- {{type: RBAC, name: rbac}}\n");
    let config = parse(&text).expect("a configuration");
    let kinds: Vec<&str> = config.authorizers.iter().map(|one| one.kind.name()).collect();
    assert_eq!(kinds, ["Webhook", "Node", "RBAC"]);
    assert_eq!(config.lasting_types().into_iter().collect::<Vec<_>>(), ["Node", "RBAC"]);
    assert!(config.says_the_same(&parse(&format!("{text}\n# a remark\n")).expect("a configuration")));
    let required = BTreeSet::from(["AlwaysDeny", "RBAC"]);
    let missing = parse_with(&text, &required).expect_err("missing");
    assert_eq!(missing, "missing required types: [AlwaysDeny]");
    for version in ["v1alpha1", "v1beta1", "v1", "v2"] {
        let text = json!({
            "apiVersion": format!("apiserver.config.k8s.io/{version}"),
            "kind": "AuthorizationConfiguration",
            "authorizers": [{"type": "RBAC", "name": "rbac"}],
        });
        let surroundings = Surroundings {
            check_file: &|_| None,
            required: &BTreeSet::new(),
        };
        let parsed = AuthorizationConfig::parse(&text.to_string(), surroundings);
        assert_eq!(parsed.is_ok(), version != "v2", "{version}");
    }
}

#[test]
fn a_webhook_has_defaults() {
    let found = webhook(WEBHOOK);
    assert_eq!(
        (found.authorized_ms, found.unauthorized_ms, found.timeout_ms),
        (300_000, 30_000, 3_000)
    );
    assert_eq!(
        (found.version, found.failure_policy),
        (ReviewVersion::V1, FailurePolicy::Deny)
    );
    assert_eq!(found.kubeconfig, "/etc/hook.yaml");
    assert!(found.conditions.is_empty());
    let found = webhook(&hook((
        "timeout: 3s",
        "timeout: 500ms\n    authorizedTTL: 1m\n    unauthorizedTTL: 0s\n    cacheUnauthorizedRequests: false",
    )));
    assert_eq!(
        (found.authorized_ms, found.unauthorized_ms, found.timeout_ms),
        (60_000, 0, 500)
    );
}

#[test]
fn what_is_wrong_is_told_as_upstream_tells_it() {
    let file = "connectionInfo: {type: KubeConfigFile, kubeConfigFile: /etc/hook.yaml}";
    for (text, expected) in [
        (
            " []".to_owned(),
            "authorizers: Required value: at least one authorization mode must be defined",
        ),
        (" [{name: a}]".to_owned(), "authorizers[0].type: Required value"),
        (
            " [{type: Magic, name: a}]".to_owned(),
            r#"authorizers[0].type: Unsupported value: "Magic": supported values: "ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook""#,
        ),
        (
            " [{type: Node, name: node}, {type: Node, name: other}]".to_owned(),
            r#"authorizers[1].type: Duplicate value: "Node""#,
        ),
        (" [{type: Node}]".to_owned(), "authorizers[0].name: Required value"),
        (
            " [{type: Node, name: x}, {type: RBAC, name: x}]".to_owned(),
            r#"authorizers[1].name: Duplicate value: "x""#,
        ),
        (
            " [{type: Node, name: nodes}]".to_owned(),
            "expected name node for authorizer Node instead of nodes",
        ),
        (
            " [{type: Webhook, name: w}]".to_owned(),
            "authorizers[0].webhook: Required value: required when type=Webhook",
        ),
        (
            hook(("type: Webhook", "type: RBAC")),
            r#"authorizers[0].webhook: Invalid value: "non-null": may only be specified when type=Webhook"#,
        ),
        (
            hook(("timeout: 3s", "{}")).replace("    {}\n", ""),
            "authorizers[0].timeout: Required value",
        ),
        (
            hook(("timeout: 3s", "timeout: 31s")),
            r#"authorizers[0].timeout: Invalid value: "31s": must be > 0s and <= 30s"#,
        ),
        (
            hook(("timeout: 3s", "timeout: 3s\n    authorizedTTL: -5s")),
            r#"authorizers[0].authorizedTTL: Invalid value: "-5s": must be > 0s"#,
        ),
        (
            hook(("subjectAccessReviewVersion: v1\n", "subjectAccessReviewVersion: v2\n")),
            r#"authorizers[0].subjectAccessReviewVersion: Unsupported value: "v2": supported values: "v1", "v1beta1""#,
        ),
        (
            hook(("failurePolicy: Deny", "failurePolicy: Ignore")),
            r#"authorizers[0].failurePolicy: Unsupported value: "Ignore": supported values: "NoOpinion", "Deny""#,
        ),
        (
            hook((
                file,
                "connectionInfo: {type: KubeConfigFile, kubeConfigFile: hook.yaml}",
            )),
            r#"authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "hook.yaml": must be an absolute path"#,
        ),
        (
            hook((file, "connectionInfo: {type: KubeConfigFile, kubeConfigFile: /missing}")),
            r#"authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "/missing": error loading file: gone"#,
        ),
        (
            hook((file, "connectionInfo: {type: Telepathy}")),
            r#"authorizers[0].connectionInfo.type: Unsupported value: {"Type":"Telepathy","KubeConfigFile":null}: supported values: "InClusterConfig", "KubeConfigFile""#,
        ),
        (
            hook((file, &format!("{file}\n    matchConditions: [{{expression: ' '}}]"))),
            "authorizers[0].matchConditions[0].expression: Required value",
        ),
        (
            hook((
                file,
                &format!("{file}\n    matchConditions: [{{expression: request.user}}]"),
            )),
            r#"authorizers[0].matchConditions[0].expression: Invalid value: "request.user": must evaluate to bool but got string"#,
        ),
        (
            format!("{WEBHOOK}- {{}}\n").replace("failurePolicy: Deny", "failurePolicy: ''"),
            "[authorizers[0].failurePolicy: Required value, authorizers[1].type: Required value]",
        ),
    ] {
        assert_eq!(wrong(&text), expected);
    }
    let unknown = wrong(" [{type: Node, name: node, colour: red}]");
    assert!(unknown.contains("unknown field `colour`"), "{unknown}");
    let syntax = hook((
        file,
        &format!("{file}\n    matchConditions: [{{expression: 'request.nope'}}]"),
    ));
    assert!(wrong(&syntax).contains("undefined field 'nope'"));
}

#[test]
fn what_this_server_lacks_is_told() {
    assert!(wrong(" [{type: ABAC, name: abac}]").contains("ABAC is not supported"));
    let inside = hook((
        "{type: KubeConfigFile, kubeConfigFile: /etc/hook.yaml}",
        "{type: InClusterConfig}",
    ));
    assert!(wrong(&inside).contains("InClusterConfig"));
}

#[test]
fn conditions_choose_requests() {
    let conditions = |expressions: &[&str]| {
        let list: Vec<_> = expressions.iter().map(|e| json!({ "expression": e })).collect();
        let list = serde_json::Value::from(list);
        webhook(&format!("{WEBHOOK}    matchConditions: {list}\n")).conditions
    };
    let pods = json!({
        "user": "jane", "groups": ["dev"], "extra": {"team": ["blue"]},
        "resourceAttributes": {
            "verb": "list", "resource": "pods", "namespace": "kube-system",
            "labelSelector": {"requirements": [{"key": "app", "operator": "In", "values": ["web"]}]},
        },
    });
    let path = json!({"user": "jane", "nonResourceAttributes": {"path": "/healthz", "verb": "get"}});
    for (expression, of_pods, of_path) in [
        ("has(request.resourceAttributes)", true, false),
        ("!('system:nodes' in request.groups)", true, true),
        ("request.user == 'jane' && request.uid == ''", true, true),
        (
            "has(request.nonResourceAttributes) && request.nonResourceAttributes.path.startsWith('/health')",
            false,
            true,
        ),
        (
            "has(request.resourceAttributes) && request.resourceAttributes.subresource == ''",
            true,
            false,
        ),
        (
            "has(request.resourceAttributes) && request.resourceAttributes.?labelSelector.requirements.hasValue() && \
             request.resourceAttributes.labelSelector.requirements.exists(r, r.key == 'app' && 'web' in r.values)",
            true,
            false,
        ),
        (
            "has(request.resourceAttributes) && has(request.resourceAttributes.fieldSelector)",
            false,
            false,
        ),
        (
            "'team' in request.extra && request.extra['team'][0] == 'blue'",
            true,
            false,
        ),
    ] {
        let conditions = conditions(&[expression]);
        assert_eq!(conditions.hold(&pods), Ok(of_pods), "{expression}");
        assert_eq!(conditions.hold(&path), Ok(of_path), "{expression}");
    }
    let failing = conditions(&[
        "request.resourceAttributes.verb == 'get'",
        "request.extra['x'][0] == ''",
    ]);
    assert_eq!(failing.hold(&pods), Ok(false), "one that is false settles it");
    assert_eq!(
        failing.hold(&path),
        Err(
            "[cel evaluation error: expression 'request.resourceAttributes.verb == 'get'' resulted in error: no such \
             key: resourceAttributes, cel evaluation error: expression 'request.extra['x'][0] == ''' resulted in error: \
             no such key: x]"
                .to_owned()
        )
    );
    let costly = conditions(&[
        "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.matches('(a*)*') && [0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, [0,1,2,3,4,5,6,7,8,9].all(f, a + b + c + d + e + f < 100))))))",
    ]);
    let error = costly.hold(&path).expect_err("too costly");
    assert!(
        error.ends_with("operation cancelled: actual cost limit exceeded"),
        "{error}"
    );
}

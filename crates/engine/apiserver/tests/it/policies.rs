//! Admission policies: which requests they see, what they say of them, and what becomes of it.

use serde_json::{Value, json};

use crate::harness::{World, config_map, request};

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const CMS: &str = "/api/v1/namespaces/default/configmaps";

/// A policy about writes of ConfigMaps, with `extra` in its spec.
fn policy(name: &str, extra: Value) -> Value {
    let mut spec = json!({
        "matchConstraints": {"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]},
        ]},
        "validations": [{"expression": "!('bad' in object.data)", "message": "bad key"}],
    });
    spec.as_object_mut()
        .expect("a map")
        .extend(extra.as_object().expect("a map").clone());
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": spec,
    })
}

fn binding(name: &str, of: &str, extra: Value) -> Value {
    let mut spec = json!({"policyName": of, "validationActions": ["Deny"]});
    spec.as_object_mut()
        .expect("a map")
        .extend(extra.as_object().expect("a map").clone());
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// A server where the policy `p` with this in its spec is bound by `b` with that in its own.
async fn bound(of_policy: Value, of_binding: Value) -> World {
    let w = World::new().await;
    let (code, made) = w.call("POST", POLICIES, Some(policy("p", of_policy))).await;
    assert_eq!(code, 201, "{made}");
    let (code, made) = w.call("POST", BINDINGS, Some(binding("b", "p", of_binding))).await;
    assert_eq!(code, 201, "{made}");
    w
}

fn about(operations: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({"resourceRules": [
        {"apiGroups": [group], "apiVersions": ["v1"], "operations": operations, "resources": resources},
    ]})
}

fn bad(name: &str) -> Value {
    let mut map = config_map(name);
    map["data"]["bad"] = json!("1");
    map
}

/// Answers to the creation of a ConfigMap.
async fn create(w: &World, object: Value) -> (u16, String) {
    let (code, answer) = w.call("POST", CMS, Some(object)).await;
    (code, answer["message"].as_str().unwrap_or_default().to_owned())
}

/// What the policy `p` says of a good ConfigMap, shortened to the part that differs.
async fn says(of_policy: Value, of_binding: Value) -> (u16, String) {
    let w = bound(of_policy, of_binding).await;
    let (code, message) = create(&w, config_map("c")).await;
    let start = "configmaps \"c\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: ";
    (code, message.replace(start, ""))
}

#[tokio::test]
async fn a_policy_is_in_force_at_once_while_it_is_bound() {
    let w = bound(json!({}), json!({})).await;
    let (code, refused) = w.call("POST", CMS, Some(bad("c"))).await;
    let by = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: bad key";
    assert_eq!((code, &refused["reason"]), (422, &json!("Invalid")));
    assert_eq!(refused["message"], format!("configmaps \"c\" is forbidden: {by}"));
    assert_eq!(
        refused["details"],
        json!({"name": "c", "kind": "configmaps", "causes": [{"message": by}]})
    );
    assert_eq!(create(&w, config_map("c")).await.0, 201);
    let patch = json!({"data": {"bad": "1"}});
    let merge = "application/merge-patch+json";
    let path = format!("{CMS}/c");
    assert_eq!(w.call_typed("PATCH", &path, merge, Some(patch)).await.0, 422);
    assert_eq!(w.call("DELETE", &path, None).await.0, 200);

    let changed = json!({"spec": {"validations": [{"expression": "object.metadata.name != 'd'"}]}});
    let at = format!("{POLICIES}/p");
    assert_eq!(w.call_typed("PATCH", &at, merge, Some(changed)).await.0, 200);
    assert_eq!(create(&w, bad("c")).await.0, 201);
    assert_eq!(create(&w, bad("d")).await.0, 422);
    assert_eq!(w.call("DELETE", &format!("{BINDINGS}/b"), None).await.0, 200);
    assert_eq!(create(&w, bad("d")).await.0, 201);
}

#[tokio::test]
async fn reasons_and_messages() {
    for (validation, code, message) in [
        (json!({"expression": "false"}), 422, "failed expression: false"),
        (
            json!({"expression": " false ", "message": " no ", "reason": "Forbidden"}),
            403,
            "no",
        ),
        (
            json!({"expression": "false", "message": "no", "reason": "RequestEntityTooLarge",
                "messageExpression": "'not ' + object.metadata.name"}),
            413,
            "not c",
        ),
        (
            json!({"expression": "false", "message": "no", "messageExpression": "' '"}),
            422,
            "no",
        ),
        (
            json!({"expression": "false", "message": "no", "messageExpression": "'' + object.absent"}),
            422,
            "no",
        ),
        (json!({"expression": "oldObject == null"}), 201, ""),
        (
            json!({"expression": "object.absent == 1"}),
            422,
            "expression 'object.absent == 1' resulted in error: no such key: absent",
        ),
    ] {
        let said = says(json!({"validations": [validation]}), json!({})).await;
        assert_eq!(said, (code, message.to_owned()), "{validation}");
    }
    let lenient = json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.absent == 1"}]});
    assert_eq!(says(lenient, json!({})).await.0, 201);
}

#[tokio::test]
async fn expressions_see_the_request() {
    for expression in [
        "request.operation == 'CREATE' && request.name == 'c' && request.namespace == 'default'",
        "request.kind.kind == 'ConfigMap' && request.requestResource.resource == 'configmaps'",
        "request.userInfo.username == 'admin' && 'system:masters' in request.userInfo.groups",
        "!request.dryRun && request.options.kind == 'CreateOptions' && !has(request.subResource)",
        "namespaceObject.metadata.name == 'default' && namespaceObject.status.phase == 'Active'",
        "namespaceObject.metadata.creationTimestamp < timestamp('2100-01-01T00:00:00Z')",
        "object.apiVersion == 'v1' && object.kind == 'ConfigMap'",
        "authorizer.group('').resource('configmaps').namespace('default').check('create').allowed()",
        "authorizer.requestResource.check('create').allowed()",
        "!authorizer.serviceAccount('default', 'default').group('').resource('pods').check('get').allowed()",
        "authorizer.path('/healthz').check('get').allowed()",
    ] {
        let said = says(json!({"validations": [{"expression": expression}]}), json!({})).await;
        assert_eq!(said, (201, String::new()), "{expression}");
    }
}

#[tokio::test]
async fn variables_and_conditions() {
    let no = json!([{"expression": "variables.name != 'c'", "messageExpression": "variables.name + '!'"}]);
    let variables = json!([
        {"name": "meta", "expression": "object.metadata"},
        {"name": "name", "expression": "string(variables.meta.name)"},
    ]);
    let of = |conditions: Value, failure: &str| {
        let policy = json!({
            "variables": variables, "validations": no, "matchConditions": conditions, "failurePolicy": failure,
        });
        says(policy, json!({}))
    };
    let condition = |name: &str, expression: &str| json!({"name": name, "expression": expression});
    assert_eq!(of(json!([]), "Fail").await, (422, "c!".into()));
    assert_eq!(of(json!([condition("a", "true")]), "Fail").await.0, 422);
    assert_eq!(
        of(
            json!([condition("a", "true"), condition("b", "request.dryRun")]),
            "Fail"
        )
        .await
        .0,
        201
    );
    let broken = condition("a", "object.absent == 1");
    let (code, message) = of(json!([broken]), "Fail").await;
    assert_eq!(code, 422);
    assert_eq!(
        message,
        "expression 'object.absent == 1' resulted in error: no such key: absent"
    );
    assert_eq!(of(json!([broken]), "Ignore").await.0, 201);
    assert_eq!(of(json!([broken, condition("b", "false")]), "Fail").await.0, 201);
}

#[tokio::test]
async fn rules_say_which_requests() {
    let no = json!([{"expression": "false"}]);
    let rule = |extra: Value| {
        let mut rule =
            json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]});
        rule.as_object_mut()
            .expect("a map")
            .extend(extra.as_object().expect("a map").clone());
        json!([rule])
    };
    for (constraints, code) in [
        (json!({"resourceRules": rule(json!({}))}), 422),
        (json!({"resourceRules": rule(json!({"resources": ["*"]}))}), 422),
        (json!({"resourceRules": rule(json!({"resources": ["*/status"]}))}), 201),
        (json!({"resourceRules": rule(json!({"operations": ["UPDATE"]}))}), 201),
        (json!({"resourceRules": rule(json!({"apiGroups": ["apps"]}))}), 201),
        (json!({"resourceRules": rule(json!({"apiVersions": ["v2"]}))}), 201),
        (json!({"resourceRules": rule(json!({"scope": "Cluster"}))}), 201),
        (json!({"resourceRules": rule(json!({"scope": "Namespaced"}))}), 422),
        (json!({"resourceRules": rule(json!({"resourceNames": ["d"]}))}), 201),
        (
            json!({"resourceRules": rule(json!({"resourceNames": ["d", "c"]}))}),
            422,
        ),
        (
            json!({"resourceRules": rule(json!({})), "excludeResourceRules": rule(json!({}))}),
            201,
        ),
        (
            json!({"resourceRules": rule(json!({})),
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}),
            422,
        ),
        (
            json!({"resourceRules": rule(json!({})), "namespaceSelector": {"matchLabels": {"a": "b"}}}),
            201,
        ),
        (
            json!({"resourceRules": rule(json!({})), "objectSelector": {"matchLabels": {"a": "b"}}}),
            201,
        ),
    ] {
        let policy = json!({"matchConstraints": constraints, "validations": no});
        assert_eq!(says(policy, json!({})).await.0, code, "{constraints}");
        // A binding narrows in the same way.
        let said = says(json!({"validations": no}), json!({"matchResources": constraints})).await;
        assert_eq!(said.0, code, "{constraints}");
    }
}

#[tokio::test]
async fn other_versions_are_the_same_objects() {
    const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let scaler = json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
    });
    let of = |policy: &str| {
        json!({
            "matchConstraints": {"matchPolicy": policy, "resourceRules": [{
                "apiGroups": ["autoscaling"], "apiVersions": ["v2"], "operations": ["*"],
                "resources": ["horizontalpodautoscalers"],
            }]},
            "validations": [{
                "expression": "false",
                "messageExpression": "string(object.apiVersion) + ' ' + request.kind.version + ' ' + request.requestKind.version \
                    + ' ' + string(object.spec.metrics[0].resource.target.averageUtilization)",
            }],
        })
    };
    let w = bound(of("Exact"), json!({})).await;
    let made = w.call("POST", &format!("{V1}?dryRun=All"), Some(scaler.clone())).await;
    assert_eq!(made.0, 201, "{}", made.1);
    let w = bound(of("Equivalent"), json!({})).await;
    let (code, refused) = w.call("POST", V1, Some(scaler)).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        code == 422 && message.ends_with("denied request: autoscaling/v2 v2 v1 50"),
        "{message}"
    );
}

#[tokio::test]
async fn parameters() {
    let policy = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": about(&["CREATE"], "", &["secrets"]),
        "validations": [{
            "expression": "params != null && object.metadata.name.startsWith(params.data.prefix)",
            "messageExpression": "params == null ? 'nothing' : params.kind + ' ' + params.metadata.name",
        }],
    });
    let w = World::new().await;
    assert_eq!(w.call("POST", POLICIES, Some(self::policy("p", policy))).await.0, 201);
    for (name, label) in [("one", "a"), ("two", "b")] {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"prefix": name},
            "metadata": {"name": name, "labels": {"for": label}}});
        assert_eq!(create(&w, object).await.0, 201);
    }
    let secrets = "/api/v1/namespaces/default/secrets?dryRun=All";
    let missing = "no params found for policy binding with `Deny` parameterNotFoundAction";
    for (reference, name, refusal) in [
        (json!({"name": "one", "parameterNotFoundAction": "Deny"}), "one-a", ""),
        (
            json!({"name": "one", "parameterNotFoundAction": "Deny"}),
            "two-a",
            "ConfigMap one",
        ),
        (
            json!({"name": "one", "namespace": "kube-system", "parameterNotFoundAction": "Deny"}),
            "one-a",
            &format!("failed to configure binding: {missing}"),
        ),
        (json!({"name": "three", "parameterNotFoundAction": "Allow"}), "x", ""),
        (
            json!({"selector": {"matchLabels": {"for": "b"}}, "parameterNotFoundAction": "Deny"}),
            "two",
            "",
        ),
        (
            json!({"selector": {}, "parameterNotFoundAction": "Deny"}),
            "two",
            "ConfigMap one",
        ),
        (Value::Null, "x", "nothing"),
    ] {
        let made = w
            .call(
                "POST",
                BINDINGS,
                Some(binding("b", "p", json!({"paramRef": reference}))),
            )
            .await;
        assert_eq!(made.0, 201, "{}", made.1);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
        let (code, answer) = w.call("POST", secrets, Some(secret)).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(code == 201, refusal.is_empty(), "{reference} {message}");
        assert!(message.ends_with(refusal), "{reference} {message}");
        assert_eq!(w.call("DELETE", &format!("{BINDINGS}/b"), None).await.0, 200);
    }

    let unknown = json!({"paramKind": {"apiVersion": "a.example/v1", "kind": "Limit"}});
    let w = bound(unknown, json!({})).await;
    let (code, message) = create(&w, config_map("c")).await;
    let wanted = "ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'a.example/v1, Kind=Limit'";
    assert!(code == 422 && message.ends_with(wanted), "{message}");
}

#[tokio::test]
async fn warnings_and_notes_let_it_pass() {
    let policy = json!({
        "validations": [{"expression": "!('bad' in object.data)"}],
        "auditAnnotations": [{"key": "k", "valueExpression": "'v'"}],
    });
    let w = bound(policy, json!({"validationActions": ["Warn", "Audit"]})).await;
    let answer = w.send(request("POST", CMS, "application/json", Some(bad("c")))).await;
    assert_eq!(answer.status().as_u16(), 201);
    let warning = answer.headers().get("warning").and_then(|value| value.to_str().ok());
    let wanted = "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': failed expression: !('bad' in object.data)\"";
    assert_eq!(warning, Some(wanted));
    let answer = w
        .send(request("POST", CMS, "application/json", Some(config_map("d"))))
        .await;
    assert!(answer.headers().get("warning").is_none());

    // An annotation that fails refuses, whatever is to be done about validations.
    let broken = json!({"auditAnnotations": [{"key": "k", "valueExpression": "string(object.absent)"}]});
    let (code, message) = says(broken, json!({"validationActions": ["Audit"]})).await;
    assert_eq!(code, 422);
    assert!(message.ends_with("no such key: absent"), "{message}");
}

#[tokio::test]
async fn deletions_are_judged_by_what_goes() {
    let policy = json!({
        "matchConstraints": about(&["DELETE"], "", &["configmaps"]),
        "validations": [{
            "expression": "object != null || oldObject.metadata.name != 'kept'",
            "messageExpression": "request.operation + ' ' + request.options.propagationPolicy",
            "reason": "Forbidden",
        }],
    });
    let w = bound(policy, json!({})).await;
    for name in ["kept", "other"] {
        assert_eq!(create(&w, config_map(name)).await.0, 201);
    }
    let (code, refused) = w
        .call("DELETE", &format!("{CMS}/kept?propagationPolicy=Background"), None)
        .await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        code == 403 && message.ends_with("denied request: DELETE Background"),
        "{message}"
    );
    assert_eq!(w.call("DELETE", &format!("{CMS}/other"), None).await.0, 200);
    assert_eq!(w.call("DELETE", CMS, None).await.0, 403);
    assert_eq!(w.call("GET", &format!("{CMS}/kept"), None).await.0, 200);
}

#[tokio::test]
async fn parts_of_objects_are_judged_where_rules_name_them() {
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
    let policy = json!({
        "matchConstraints": about(&["UPDATE"], "apps", &["deployments/scale", "deployments/status"]),
        "validations": [{
            "expression": "request.subResource == 'scale' ? object.spec.replicas <= 2 : object.status.replicas < 2",
            "messageExpression": "request.kind.kind + ' ' + string(oldObject.metadata.name)",
        }],
    });
    let w = bound(policy, json!({})).await;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    });
    assert_eq!(w.call("POST", DEPLOYMENTS, Some(deployment)).await.0, 201);
    let merge = "application/merge-patch+json";
    let at = |part: &str| format!("{DEPLOYMENTS}/d{part}");
    let replicas = |n: u32| Some(json!({"spec": {"replicas": n}}));
    assert_eq!(w.call_typed("PATCH", &at("/scale"), merge, replicas(2)).await.0, 200);
    let (code, refused) = w.call_typed("PATCH", &at("/scale"), merge, replicas(3)).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        code == 422 && message.ends_with("denied request: Scale d"),
        "{code} {message}"
    );
    assert_eq!(w.call_typed("PATCH", &at(""), merge, replicas(3)).await.0, 200);
    let status = Some(json!({"status": {"replicas": 2}}));
    let (code, refused) = w.call_typed("PATCH", &at("/status"), merge, status).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        code == 422 && message.ends_with("denied request: Deployment d"),
        "{code} {message}"
    );
}

#[tokio::test]
async fn connections_are_judged() {
    let policy = json!({
        "matchConstraints": about(&["CONNECT"], "", &["pods/exec"]),
        "validations": [{"expression": "object.container != 'secret'", "messageExpression": "string(object.kind)"}],
    });
    let w = bound(policy, json!({})).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(w.call("POST", pods, Some(pod)).await.0, 201);
    let exec = |container: &str| format!("{pods}/p/exec?container={container}&command=ls");
    let (code, refused) = w.call("POST", &exec("secret"), None).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        code == 422 && message.ends_with("denied request: PodExecOptions"),
        "{code} {message}"
    );
    assert_ne!(w.call("POST", &exec("c"), None).await.0, 422);
}

#[tokio::test]
async fn policies_never_lock_themselves_in() {
    let everything = json!({"resourceRules": [
        {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]},
    ]});
    let no = json!({"matchConstraints": everything, "validations": [{"expression": "false"}]});
    let w = bound(no, json!({})).await;
    assert_eq!(create(&w, config_map("c")).await.0, 422);
    assert_eq!(w.call("POST", POLICIES, Some(policy("q", json!({})))).await.0, 201);
    assert_eq!(w.call("DELETE", &format!("{POLICIES}/p"), None).await.0, 200);
    assert_eq!(create(&w, config_map("c")).await.0, 201);
}

#[tokio::test]
async fn what_does_not_compile_is_not_stored() {
    let w = World::new().await;
    let broken = policy("p", json!({"validations": [{"expression": "object.a ="}]}));
    let (code, refused) = w.call("POST", POLICIES, Some(broken)).await;
    let cause = &refused["details"]["causes"][0];
    assert_eq!((code, &cause["field"]), (422, &json!("spec.validations[0].expression")));
    let message = cause["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("Invalid value: \"object.a =\": compilation failed: ERROR: <input>:1:"),
        "{message}"
    );
    let hooks = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "w"},
        "webhooks": [{
            "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://a.example.com/x"},
            "matchConditions": [{"name": "c", "expression": "1"}],
        }],
    });
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let (code, refused) = w.call("POST", path, Some(hooks)).await;
    let cause = &refused["details"]["causes"][0];
    assert_eq!(
        (code, &cause["field"]),
        (422, &json!("webhooks[0].matchConditions[0].expression"))
    );
    assert_eq!(
        cause["message"],
        "Invalid value: \"1\": must evaluate to bool but got int"
    );
}

//! ServiceAccount: pods run as an account that exists, with its token at hand and within what it may use.

use serde_json::{Value, json};

use crate::get::{annotation, items, items_mut, list, set, text};
use crate::pod::{is_mirror, projections, service_account, uses_secrets, volumes};
use crate::{Lookup, Operation, Outcome, Refusal, Request};

/// The account of pods that name none.
const DEFAULT: &str = "default";
/// What the names of token volumes begin with.
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Where containers find their token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Seconds that a token is asked for; one more than an hour by seven, by which such tokens are told apart.
const TOKEN_SECONDS: i64 = 3607;
/// Marks an account whose pods may use no secrets but those it lists.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

pub(crate) fn mutate<L: Lookup>(
    request: &Request<'_>,
    pod: &mut Value,
    lookup: &L,
    random_suffix: &mut dyn FnMut() -> String,
) -> Outcome<L::Error> {
    if !request.creates("", "pods") || !pod["spec"].is_object() {
        return Ok(());
    }
    // A mirror pod has to stay what the node made it.
    if is_mirror(pod) {
        return check_mirror(pod);
    }
    let name = match service_account(pod) {
        "" => DEFAULT,
        given => given,
    }
    .to_owned();
    let account = find(request, &name, lookup)?;
    let spec = &mut pod["spec"];
    // The former field shows what the current one does.
    set(spec, "serviceAccountName", name.as_str());
    set(spec, "serviceAccount", name.as_str());
    if mounts_token(&account, spec) {
        mount_token(spec, random_suffix);
    }
    let pull_secrets = items(&account["imagePullSecrets"]);
    if items(&spec["imagePullSecrets"]).is_empty() && !pull_secrets.is_empty() {
        let names = pull_secrets.iter().map(|secret| json!({"name": text(&secret["name"])}));
        set(spec, "imagePullSecrets", names.collect::<Vec<Value>>());
    }
    check_secrets(&account, pod)
}

pub(crate) fn validate<L: Lookup>(request: &Request<'_>, pod: &Value, lookup: &L) -> Outcome<L::Error> {
    if !request.concerns("", "pods") {
        return Ok(());
    }
    match (request.operation, request.subresource) {
        (Operation::Create, "") if is_mirror(pod) => check_mirror(pod),
        (Operation::Create, "") => {
            let name = service_account(pod);
            if name.is_empty() {
                return Err(Refusal::forbidden(format!(
                    "no service account specified for pod {}/{}",
                    request.namespace,
                    crate::get::name(pod)
                )));
            }
            check_secrets(&find(request, name, lookup)?, pod)
        }
        (Operation::Update, "ephemeralcontainers") => {
            let account = find(request, service_account(pod), lookup)?;
            if !is_enforced(&account) {
                return Ok(());
            }
            check_environments(&account, &pod["spec"]["ephemeralContainers"], "ephemeral container")
        }
        _ => Ok(()),
    }
}

fn find<L: Lookup>(request: &Request<'_>, name: &str, lookup: &L) -> Result<Value, Refusal<L::Error>> {
    let namespace = request.namespace;
    lookup.get("", "serviceaccounts", namespace, name)?.ok_or_else(|| {
        Refusal::forbidden(format!(
            "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
        ))
    })
}

fn check_mirror<E>(pod: &Value) -> Outcome<E> {
    let refused = if !service_account(pod).is_empty() {
        "a mirror pod may not reference service accounts"
    } else if uses_secrets(pod) {
        "a mirror pod may not reference secrets"
    } else if projections(pod).any(|source| !source["serviceAccountToken"].is_null()) {
        "a mirror pod may not use ServiceAccountToken volume projections"
    } else {
        return Ok(());
    };
    Err(Refusal::forbidden(refused))
}

/// The pod's own wish counts before the account's.
fn mounts_token(account: &Value, spec: &Value) -> bool {
    let wish = |value: &Value| value["automountServiceAccountToken"].as_bool();
    wish(spec).or_else(|| wish(account)).unwrap_or(true)
}

fn mount_token(spec: &mut Value, random_suffix: &mut dyn FnMut() -> String) {
    let existing = items(&spec["volumes"])
        .iter()
        .map(|volume| text(&volume["name"]))
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(str::to_owned);
    let has_volume = existing.is_some();
    let name = existing.unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", random_suffix()));
    let mut is_mounted = false;
    for containers in ["initContainers", "containers"] {
        for container in items_mut(spec, containers) {
            let mounts = items(&container["volumeMounts"]);
            if mounts.iter().any(|mount| text(&mount["mountPath"]) == MOUNT_PATH) {
                continue;
            }
            if let Some(mounts) = list(container, "volumeMounts") {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
                is_mounted = true;
            }
        }
    }
    if is_mounted
        && !has_volume
        && let Some(volumes) = list(spec, "volumes")
    {
        volumes.push(json!({"name": name, "projected": token_volume()}));
    }
}

/// A token, what the API server's certificate is checked against, and the namespace.
fn token_volume() -> Value {
    let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    json!({
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
        ],
    })
}

/// Whether the annotation is one of the words Go reads as true.
fn is_enforced(account: &Value) -> bool {
    matches!(
        annotation(account, ENFORCE),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True")
    )
}

fn lists(account: &Value, field: &str, name: &str) -> bool {
    items(&account[field])
        .iter()
        .any(|reference| text(&reference["name"]) == name)
}

fn check_secrets<E>(account: &Value, pod: &Value) -> Outcome<E> {
    if !is_enforced(account) {
        return Ok(());
    }
    let account_name = crate::get::name(account);
    for volume in volumes(pod).iter().filter(|volume| !volume["secret"].is_null()) {
        let secret = text(&volume["secret"]["secretName"]);
        if !lists(account, "secrets", secret) {
            return Err(Refusal::forbidden(format!(
                "volume with secret.secretName=\"{secret}\" is not allowed because service account {account_name} \
                 does not reference that secret"
            )));
        }
    }
    check_environments(account, &pod["spec"]["initContainers"], "init container")?;
    check_environments(account, &pod["spec"]["containers"], "container")?;
    for (index, reference) in items(&pod["spec"]["imagePullSecrets"]).iter().enumerate() {
        let secret = text(&reference["name"]);
        if !lists(account, "imagePullSecrets", secret) {
            return Err(Refusal::forbidden(format!(
                "imagePullSecrets[{index}].name=\"{secret}\" is not allowed because service account {account_name} \
                 does not reference that imagePullSecret"
            )));
        }
    }
    Ok(())
}

fn check_environments<E>(account: &Value, containers: &Value, what: &str) -> Outcome<E> {
    let refuse = |container: &Value, source: String, secret: &str| {
        Err(Refusal::forbidden(format!(
            "{what} {} with {source} referencing secret.secretName=\"{secret}\" is not allowed because service \
             account {} does not reference that secret",
            text(&container["name"]),
            crate::get::name(account)
        )))
    };
    for container in items(containers) {
        for variable in items(&container["env"]) {
            let reference = &variable["valueFrom"]["secretKeyRef"];
            let secret = text(&reference["name"]);
            if !reference.is_null() && !lists(account, "secrets", secret) {
                return refuse(container, format!("envVar {}", text(&variable["name"])), secret);
            }
        }
        for source in items(&container["envFrom"]) {
            let reference = &source["secretRef"];
            let secret = text(&reference["name"]);
            if !reference.is_null() && !lists(account, "secrets", secret) {
                return refuse(container, "envFrom".to_owned(), secret);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::tests::{Stored, pods, refused};

    fn stored(extra: Value) -> Stored {
        let mut bot = json!({"metadata": {"name": "bot", "namespace": "n"}});
        bot.as_object_mut()
            .unwrap()
            .extend(extra.as_object().cloned().unwrap_or_default());
        Stored::of(&[
            (
                "",
                "serviceaccounts",
                json!({"metadata": {"name": "default", "namespace": "n"}}),
            ),
            ("", "serviceaccounts", bot),
        ])
    }

    fn admitted(spec: Value, stored: &Stored) -> Result<Value, String> {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": spec});
        let request = pods(Operation::Create, "");
        let outcome = mutate(&request, &mut pod, stored, &mut || "abcde".to_owned());
        match refused(outcome.and_then(|()| validate(&request, &pod, stored))) {
            text if text.is_empty() => Ok(pod["spec"].take()),
            text => Err(text),
        }
    }

    #[test]
    fn pods_get_the_token_of_their_account() {
        let spec = admitted(json!({"containers": [{}], "initContainers": [{}]}), &stored(json!({}))).unwrap();
        let mount = json!([{"name": "kube-api-access-abcde", "readOnly": true, "mountPath": MOUNT_PATH}]);
        assert_eq!(spec["containers"][0]["volumeMounts"], mount);
        assert_eq!(spec["initContainers"][0]["volumeMounts"], mount);
        assert_eq!(spec["volumes"][0]["name"], "kube-api-access-abcde");
        assert_eq!(spec["volumes"][0]["projected"]["defaultMode"], 420);
        assert_eq!(
            spec["volumes"][0]["projected"]["sources"].as_array().map(Vec::len),
            Some(3)
        );
        assert_eq!(
            (&spec["serviceAccountName"], &spec["serviceAccount"]),
            (&json!("default"), &json!("default"))
        );
        assert_eq!(spec.get("imagePullSecrets"), None);
    }

    #[test]
    fn who_wants_a_token() {
        let unwilling = stored(json!({"automountServiceAccountToken": false}));
        let of = |extra: Value, stored: &Stored| {
            let mut spec = json!({"containers": [{}], "serviceAccount": "bot"});
            spec.as_object_mut()
                .unwrap()
                .extend(extra.as_object().cloned().unwrap_or_default());
            let spec = admitted(spec, stored).unwrap();
            assert_eq!(spec["serviceAccountName"], "bot");
            (
                items(&spec["volumes"]).len(),
                items(&spec["containers"][0]["volumeMounts"]).len(),
            )
        };
        assert_eq!(of(json!({}), &unwilling), (0, 0));
        assert_eq!(of(json!({"automountServiceAccountToken": true}), &unwilling), (1, 1));
        assert_eq!(
            of(json!({"automountServiceAccountToken": false}), &stored(json!({}))),
            (0, 0)
        );
        let own_mount = json!({"containers": [{"volumeMounts": [{"name": "v", "mountPath": MOUNT_PATH}]}]});
        assert_eq!(of(own_mount, &stored(json!({}))), (0, 1));
        let own_volume = json!({"volumes": [{"name": "kube-api-access-mine"}]});
        assert_eq!(of(own_volume, &stored(json!({}))), (1, 1));
    }

    #[test]
    fn pull_secrets_come_from_the_account() {
        let stored = stored(json!({"imagePullSecrets": [{"name": "reg"}]}));
        let of = |own: Value| {
            let spec = json!({"containers": [], "serviceAccountName": "bot", "imagePullSecrets": own});
            admitted(spec, &stored).unwrap()["imagePullSecrets"].take()
        };
        assert_eq!(of(Value::Null), json!([{"name": "reg"}]));
        assert_eq!(of(json!([])), json!([{"name": "reg"}]));
        assert_eq!(of(json!([{"name": "mine"}])), json!([{"name": "mine"}]));
    }

    #[test]
    fn an_account_has_to_exist() {
        let refused = admitted(
            json!({"containers": [], "serviceAccountName": "no"}),
            &stored(json!({})),
        );
        let expected = "error looking up service account n/no: serviceaccount \"no\" not found";
        assert_eq!(refused.unwrap_err(), expected);
    }

    #[test]
    fn an_account_may_limit_secrets() {
        let stored = stored(json!({
            "metadata": {"name": "bot", "namespace": "n", "annotations": {ENFORCE: "true"}},
            "secrets": [{"name": "ok"}],
            "imagePullSecrets": [{"name": "reg"}],
        }));
        let key = |secret: &str| json!([{"name": "V", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]);
        let because = "is not allowed because service account bot does not reference that";
        let table = [
            (json!({"containers": [{"name": "c", "env": key("ok")}]}), String::new()),
            (
                json!({"volumes": [{"secret": {"secretName": "x"}}]}),
                format!("volume with secret.secretName=\"x\" {because} secret"),
            ),
            (
                json!({"containers": [{"name": "c", "env": key("x")}]}),
                format!("container c with envVar V referencing secret.secretName=\"x\" {because} secret"),
            ),
            (
                json!({"initContainers": [{"name": "c", "envFrom": [{"secretRef": {"name": "x"}}]}]}),
                format!("init container c with envFrom referencing secret.secretName=\"x\" {because} secret"),
            ),
            (
                json!({"imagePullSecrets": [{"name": "reg"}, {"name": "x"}]}),
                format!("imagePullSecrets[1].name=\"x\" {because} imagePullSecret"),
            ),
        ];
        for (mut spec, expected) in table {
            set(&mut spec, "serviceAccountName", "bot");
            assert_eq!(admitted(spec, &stored).err().unwrap_or_default(), expected);
        }
        let spec = json!({"serviceAccountName": "bot", "ephemeralContainers": [{"name": "d", "env": key("x")}]});
        let update = pods(Operation::Update, "ephemeralcontainers");
        let text = refused(validate(&update, &json!({"spec": spec}), &stored));
        assert_eq!(
            text,
            format!("ephemeral container d with envVar V referencing secret.secretName=\"x\" {because} secret")
        );
    }

    #[test]
    fn mirror_pods_stay_as_they_are() {
        let of = |spec: Value| {
            let mut pod = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": spec});
            let before = pod.clone();
            let request = pods(Operation::Create, "");
            let text = refused(mutate(&request, &mut pod, &stored(json!({})), &mut String::new));
            assert_eq!(pod, before);
            assert_eq!(text, refused(validate(&request, &pod, &stored(json!({})))));
            text
        };
        assert_eq!(of(json!({"containers": [{}]})), "");
        assert_eq!(
            of(json!({"serviceAccountName": "bot"})),
            "a mirror pod may not reference service accounts"
        );
        assert_eq!(
            of(json!({"volumes": [{"secret": {"secretName": "s"}}]})),
            "a mirror pod may not reference secrets"
        );
        assert_eq!(
            of(json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {}}]}}]})),
            "a mirror pod may not use ServiceAccountToken volume projections"
        );
    }
}

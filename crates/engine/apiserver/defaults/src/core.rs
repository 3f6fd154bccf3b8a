//! Namespaces, nodes, limits, quotas, secrets and the small kinds beside them.

use data_encoding::BASE64;
use serde_json::Value;

use crate::fields::{
    Fields, add_missing, agree, is_missing, items, object, set_if_empty, set_if_missing, structure, text,
};
use crate::resources;

/// Label that every Namespace carries.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
/// How long a requested token is good for.
const TOKEN_SECONDS: i64 = 3600;

/// A Namespace: its name as a label, once it has one.
pub fn namespace(namespace: &mut Fields) {
    if let Some(meta) = object(namespace, "metadata") {
        let name = text(meta, "name").to_owned();
        if !name.is_empty()
            && let Some(labels) = structure(meta, "labels")
        {
            labels.insert(NAMESPACE_LABEL.to_owned(), name.into());
        }
    }
    if let Some(status) = structure(namespace, "status") {
        set_if_empty(status, "phase", "Active");
    }
}

/// A Node: all it has can be allocated, unless it says otherwise.
pub fn node(node: &mut Fields) {
    if let Some(spec) = object(node, "spec") {
        agree(spec, "podCIDR", "podCIDRs", |range| range.into(), Value::as_str);
    }
    let Some(status) = object(node, "status") else {
        return;
    };
    if is_missing(status, "allocatable")
        && let Some(capacity) = status.get("capacity").filter(|c| c.is_object()).cloned()
    {
        status.insert("allocatable".to_owned(), capacity);
    }
    resources::round(status, &["capacity", "allocatable"]);
}

/// A LimitRange: containers are limited to the maximum, and ask for their limit or the minimum.
pub fn limit_range(range: &mut Fields) {
    const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    for limit in object(range, "spec").into_iter().flat_map(|spec| items(spec, "limits")) {
        if text(limit, "type") == "Container" {
            for (list, source) in [
                ("default", "max"),
                ("defaultRequest", "default"),
                ("defaultRequest", "min"),
            ] {
                let source = limit.get(source).and_then(Value::as_object).cloned();
                add_missing(limit, list, source.as_ref());
            }
        }
        resources::round(limit, &LISTS);
    }
}

/// A ResourceQuota.
pub fn resource_quota(quota: &mut Fields) {
    if let Some(spec) = object(quota, "spec") {
        resources::round(spec, &["hard"]);
    }
    if let Some(status) = object(quota, "status") {
        resources::round(status, &["hard", "used"]);
    }
}

/// A Secret: plain texts are written only, and join the encoded data.
pub fn secret(secret: &mut Fields) {
    set_if_empty(secret, "type", "Opaque");
    let Some(Value::Object(texts)) = secret.get("stringData") else {
        return;
    };
    let encoded: Option<Fields> = texts
        .iter()
        .map(|(key, text)| match text {
            Value::String(text) => Some((key.clone(), BASE64.encode(text.as_bytes()).into())),
            Value::Null => Some((key.clone(), "".into())),
            _ => None,
        })
        .collect();
    let Some(encoded) = encoded else {
        return;
    };
    if encoded.is_empty() || structure(secret, "data").map(|data| data.extend(encoded)).is_some() {
        secret.remove("stringData");
    }
}

/// A PriorityClass.
pub fn priority_class(class: &mut Fields) {
    set_if_missing(class, "preemptionPolicy", "PreemptLowerPriority");
}

/// A RuntimeClass.
pub fn runtime_class(class: &mut Fields) {
    if let Some(overhead) = object(class, "overhead") {
        resources::round(overhead, &["podFixed"]);
    }
}

/// A TokenRequest.
pub fn token_request(request: &mut Fields) {
    if let Some(spec) = structure(request, "spec") {
        set_if_missing(spec, "expirationSeconds", TOKEN_SECONDS);
    }
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::{Value, json};

    fn applied(plural: &str, mut object: Value) -> Value {
        apply("", "v1", plural, &mut object);
        object
    }

    #[test]
    fn a_namespace_is_labelled_with_its_name() {
        let object = applied("namespaces", json!({"metadata": {"name": "a", "labels": {"b": "c"}}}));
        let expected = json!({
            "metadata": {"name": "a", "labels": {"b": "c", "kubernetes.io/metadata.name": "a"}},
            "status": {"phase": "Active"},
        });
        assert_eq!(object, expected);
        let unnamed = applied("namespaces", json!({"metadata": {"generateName": "a"}}));
        assert_eq!(unnamed["metadata"], json!({"generateName": "a"}));
    }

    #[test]
    fn a_node_can_allocate_all_it_has() {
        let object = applied("nodes", json!({"status": {"capacity": {"cpu": "4000m"}}}));
        assert_eq!(
            object["status"],
            json!({"capacity": {"cpu": "4"}, "allocatable": {"cpu": "4"}})
        );
        assert_eq!(applied("nodes", json!({"status": {}})), json!({"status": {}}));
        let object = applied("nodes", json!({"spec": {"podCIDR": "10.0.0.0/24"}}));
        assert_eq!(object["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
    }

    #[test]
    fn limits_follow_from_each_other() {
        let limits = json!([
            {"type": "Container", "max": {"cpu": "2", "memory": "1Gi"}, "min": {"cpu": "1", "disk": "1k"}, "default": {"cpu": "1500m"}},
            {"type": "Pod", "max": {"cpu": "2"}},
            {"type": "Container"},
        ]);
        let object = applied("limitranges", json!({"spec": {"limits": limits}}));
        let expected = json!([
            {
                "type": "Container", "max": {"cpu": "2", "memory": "1Gi"}, "min": {"cpu": "1", "disk": "1k"},
                "default": {"cpu": "1500m", "memory": "1Gi"},
                "defaultRequest": {"cpu": "1500m", "memory": "1Gi", "disk": "1k"},
            },
            {"type": "Pod", "max": {"cpu": "2"}},
            {"type": "Container"},
        ]);
        assert_eq!(object["spec"]["limits"], expected);
    }

    #[test]
    fn texts_of_a_secret_are_encoded() {
        let given = json!({"type": "", "data": {"a": "dg==", "b": "dg=="}, "stringData": {"a": "é"}});
        let expected = json!({"type": "Opaque", "data": {"a": "w6k=", "b": "dg=="}});
        assert_eq!(applied("secrets", given), expected);
        let hostile = json!({"type": "t", "stringData": {"a": 1}});
        assert_eq!(applied("secrets", hostile.clone()), hostile);
        let hostile = json!({"type": "t", "stringData": {"a": "x"}, "data": []});
        assert_eq!(applied("secrets", hostile.clone()), hostile);
    }
}

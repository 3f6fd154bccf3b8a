//! What the ConfigMap of a Namespace should say.

use serde_json::{Value, json};

/// Name of the ConfigMap.
pub(super) const NAME: &str = "kube-root-ca.crt";
/// The one entry of its data.
const FILE: &str = "ca.crt";
/// Annotation that says what it is good for, and upstream's words in it.
const ANNOTATION: &str = "kubernetes.io/description";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
                           endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
                           guaranteed across distributions of Kubernetes clusters.";

/// What is to be written of one ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Write {
    Create(Value),
    Replace(Value),
}

/// Brings the ConfigMap of a Namespace in line with the certificates; `None` if it is. Any description will do.
pub(super) fn next_write(existing: Option<&Value>, root_ca_pem: &str) -> Option<Write> {
    let data = json!({FILE: root_ca_pem});
    let Some(existing) = existing else {
        return Some(Write::Create(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "annotations": {ANNOTATION: DESCRIPTION}},
            "data": data,
        })));
    };
    let description = existing["metadata"]["annotations"][ANNOTATION].as_str();
    if existing["data"] == data && description.is_some_and(|text| !text.is_empty()) {
        return None;
    }
    let mut wanted = existing.clone();
    wanted["data"] = data;
    let annotations = &mut wanted["metadata"]["annotations"];
    match annotations.as_object_mut() {
        Some(annotations) => {
            annotations.insert(ANNOTATION.to_owned(), DESCRIPTION.into());
        }
        None => *annotations = json!({ANNOTATION: DESCRIPTION}),
    }
    Some(Write::Replace(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created() -> Value {
        match next_write(None, "PEM") {
            Some(Write::Create(map)) => map,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_written_stays() {
        let mut map = created();
        assert_eq!(map["data"], json!({"ca.crt": "PEM"}));
        assert_eq!(next_write(Some(&map), "PEM"), None);
        map["metadata"]["annotations"][ANNOTATION] = json!("somebody's own words");
        map["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(next_write(Some(&map), "PEM"), None);
    }

    #[test]
    fn what_was_changed_is_put_right_and_the_rest_is_left() {
        let right = created();
        let mut other = right.clone();
        other["metadata"]["labels"] = json!({"a": "b"});
        let expected = Some(Write::Replace(other.clone()));
        let changes = [
            ("/data", Value::Null),
            ("/data", json!({"ca.crt": "other"})),
            ("/data", json!({"ca.crt": "PEM", "more": "x"})),
            ("/metadata/annotations", json!({ANNOTATION: ""})),
            ("/metadata/annotations", Value::Null),
        ];
        for (at, value) in changes {
            let mut changed = other.clone();
            *changed.pointer_mut(at).unwrap() = value;
            assert_eq!(next_write(Some(&changed), "PEM"), expected, "{changed}");
        }
        other["data"] = json!({"ca.crt": "NEW"});
        assert_eq!(
            next_write(Some(&right), "NEW").map(|write| match write {
                Write::Create(map) | Write::Replace(map) => map["data"].clone(),
            }),
            Some(other["data"].clone())
        );
    }
}

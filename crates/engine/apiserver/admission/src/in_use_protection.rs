//! StorageObjectInUseProtection: what storage is in use of is not removed before it is let go.

use serde_json::Value;

use crate::Request;
use crate::get::{items, list, section};

/// Finalizers that new objects get, by API group and plural.
const FINALIZERS: [(&str, &str, &str); 3] = [
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    (
        "storage.k8s.io",
        "volumeattributesclasses",
        "kubernetes.io/vac-protection",
    ),
];

pub(crate) fn mutate(request: &Request<'_>, object: &mut Value) {
    let wanted = FINALIZERS
        .iter()
        .find(|(group, plural, _)| request.creates(group, plural));
    let Some((_, _, finalizer)) = wanted else {
        return;
    };
    if items(&object["metadata"]["finalizers"])
        .iter()
        .any(|given| given == finalizer)
    {
        return;
    }
    if let Some(finalizers) = section(object, "metadata").and_then(|metadata| list(metadata, "finalizers")) {
        finalizers.push((*finalizer).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;
    use crate::lookup::tests::request;
    use serde_json::json;

    #[test]
    fn new_storage_is_protected() {
        let of = |operation, group: &str, plural: &str, given: Value| {
            let mut object = json!({"metadata": {"finalizers": given}});
            mutate(&request(operation, group, plural), &mut object);
            object["metadata"]["finalizers"].take()
        };
        for (group, plural, finalizer) in FINALIZERS {
            assert_eq!(of(Operation::Create, group, plural, Value::Null), json!([finalizer]));
            assert_eq!(
                of(Operation::Create, group, plural, json!(["a"])),
                json!(["a", finalizer])
            );
            assert_eq!(
                of(Operation::Create, group, plural, json!([finalizer])),
                json!([finalizer])
            );
            assert_eq!(of(Operation::Update, group, plural, json!(["a"])), json!(["a"]));
        }
        assert_eq!(of(Operation::Create, "", "configmaps", json!([])), json!([]));
    }
}

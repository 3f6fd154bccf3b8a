//! What a node may say of a volume claim: how large its volume is by now.

use serde_json::Value;

use super::refuse;
use crate::get::quoted;
use crate::{Operation, Outcome, Request};

/// Fields that a node may change, or that say nothing of a change.
const FREE: [(&str, &str); 6] = [
    ("metadata", "resourceVersion"),
    ("metadata", "managedFields"),
    ("status", "capacity"),
    ("status", "conditions"),
    ("status", "allocatedResourceStatuses"),
    ("status", "allocatedResources"),
];

pub(super) fn check<E>(request: &Request<'_>, node: &str, claim: &Value, old: Option<&Value>) -> Outcome<E> {
    if request.subresource != "status" {
        return refuse("may only update PVC status");
    }
    let (Operation::Update, Some(old)) = (request.operation, old) else {
        return refuse(format!("unexpected operation \"{}\"", request.operation.word()));
    };
    if fixed(claim) == fixed(old) {
        return Ok(());
    }
    refuse(format!(
        "node {} is not allowed to update fields other than status.capacity and status.conditions",
        quoted(node)
    ))
}

/// What of a claim a node may not change.
fn fixed(claim: &Value) -> Value {
    let mut claim = claim.clone();
    for (section, field) in FREE {
        if let Some(fields) = claim.get_mut(section).and_then(Value::as_object_mut) {
            fields.remove(field);
        }
    }
    claim
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;
    use crate::lookup::tests::{Stored, request};
    use serde_json::json;

    #[test]
    fn nodes_report_the_size_of_volumes() {
        let of = |operation, subresource: &'static str, new: Value| {
            let mut write = request(operation, "", "persistentvolumeclaims");
            write.subresource = subresource;
            let old = json!({"metadata": {"resourceVersion": "1"}, "status": {"phase": "Bound"}});
            told(write, &new, Some(&old), &Stored::default())
        };
        let grown = json!({"metadata": {}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        assert_eq!(of(Operation::Update, "status", grown.clone()), "");
        assert_eq!(of(Operation::Update, "", grown), "may only update PVC status");
        assert_eq!(
            of(
                Operation::Update,
                "status",
                json!({"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Bound"}})
            ),
            "node \"m\" is not allowed to update fields other than status.capacity and status.conditions"
        );
        assert_eq!(
            of(Operation::Delete, "status", json!({})),
            "unexpected operation \"DELETE\""
        );
    }
}

//! PersistentVolumeClaimResize: claims grow only where their storage class lets them.

use engenho_quantity::Quantity;
use serde_json::Value;

use crate::get::{annotation, text};
use crate::storage_class::CLASS_ANNOTATION;
use crate::{Lookup, Operation, Outcome, Refusal, Request};

pub(crate) fn validate<L: Lookup>(
    request: &Request<'_>,
    claim: &Value,
    old: Option<&Value>,
    lookup: &L,
) -> Outcome<L::Error> {
    let Some(old) = old else {
        return Ok(());
    };
    if !request.is_to("", "persistentvolumeclaims") || request.operation != Operation::Update {
        return Ok(());
    }
    let size = |claim: &Value| Quantity::of(&claim["spec"]["resources"]["requests"]["storage"]);
    if size(claim) <= size(old) {
        return Ok(());
    }
    if text(&old["status"]["phase"]) != "Bound" {
        return Err(Refusal::forbidden(
            "Only bound persistent volume claims can be expanded",
        ));
    }
    let (class, before) = (class(claim), self::class(old));
    let found = match class {
        "" => None,
        _ if class != before => None,
        _ => lookup.get("storage.k8s.io", "storageclasses", "", class)?,
    };
    if found.is_some_and(|class| class["allowVolumeExpansion"] == true) {
        return Ok(());
    }
    Err(Refusal::forbidden(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support \
         resize",
    ))
}

/// The class a claim names, in its former place or its field.
pub(crate) fn class(claim: &Value) -> &str {
    annotation(claim, CLASS_ANNOTATION).unwrap_or_else(|| text(&claim["spec"]["storageClassName"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::tests::{Stored, refused, request};
    use serde_json::json;

    #[test]
    fn a_claim_grows_where_its_class_lets_it() {
        let class = |name: &str, allows: bool| {
            let object = json!({"metadata": {"name": name}, "allowVolumeExpansion": allows});
            ("storage.k8s.io", "storageclasses", object)
        };
        let stored = Stored::of(&[class("elastic", true), class("stiff", false)]);
        let claim = |class: &str, size: &str, phase: &str| {
            let spec = json!({"storageClassName": class, "resources": {"requests": {"storage": size}}});
            json!({"spec": spec, "status": {"phase": phase}})
        };
        let grown = |class: &str, size: &str, phase: &str| {
            let request = request(Operation::Update, "", "persistentvolumeclaims");
            let old = claim(class, "1Gi", phase);
            refused(validate(&request, &claim(class, size, phase), Some(&old), &stored))
        };
        let fixed = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc \
                     must support resize";
        assert_eq!(grown("elastic", "2Gi", "Bound"), "");
        assert_eq!(grown("stiff", "1024Mi", "Bound"), "");
        assert_eq!(grown("stiff", "2Gi", "Bound"), fixed);
        assert_eq!(grown("gone", "2Gi", "Bound"), fixed);
        assert_eq!(grown("", "2Gi", "Bound"), fixed);
        assert_eq!(
            grown("elastic", "2Gi", "Pending"),
            "Only bound persistent volume claims can be expanded"
        );
    }
}

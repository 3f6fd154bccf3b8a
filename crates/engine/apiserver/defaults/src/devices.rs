//! Claims of devices.

use crate::fields::{Fields, items, object, set_if_empty, set_if_zero, text};

/// A ResourceClaim.
pub fn claim(claim: &mut Fields) {
    claim_spec(claim);
    let results = object(claim, "status")
        .and_then(|status| object(status, "allocation"))
        .and_then(|allocation| object(allocation, "devices"));
    for result in results.into_iter().flat_map(|devices| items(devices, "results")) {
        tolerations(result);
    }
}

/// A ResourceClaimTemplate.
pub fn claim_template(template: &mut Fields) {
    if let Some(claim) = object(template, "spec") {
        claim_spec(claim);
    }
}

fn claim_spec(claim: &mut Fields) {
    let devices = object(claim, "spec").and_then(|spec| object(spec, "devices"));
    for wanted in devices.into_iter().flat_map(|devices| items(devices, "requests")) {
        if let Some(exactly) = object(wanted, "exactly") {
            request(exactly);
        }
        items(wanted, "firstAvailable").for_each(request);
    }
}

/// One device is asked for, unless all of them are.
fn request(request: &mut Fields) {
    set_if_empty(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" {
        set_if_zero(request, "count", 1);
    }
    tolerations(request);
}

fn tolerations(owner: &mut Fields) {
    for toleration in items(owner, "tolerations") {
        set_if_empty(toleration, "operator", "Equal");
    }
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::json;

    #[test]
    fn requests_are_for_one_device() {
        let requests = json!([
            {"exactly": {"tolerations": [{"operator": ""}]}}, {"exactly": {"allocationMode": "All"}},
            {"firstAvailable": [{"count": 2}]},
        ]);
        let expected = json!([
            {"exactly": {"tolerations": [{"operator": "Equal"}], "allocationMode": "ExactCount", "count": 1}},
            {"exactly": {"allocationMode": "All"}},
            {"firstAvailable": [{"count": 2, "allocationMode": "ExactCount"}]},
        ]);
        let mut claim = json!({"spec": {"devices": {"requests": requests}}});
        let mut template = json!({"spec": claim.clone()});
        apply("resource.k8s.io", "v1", "resourceclaims", &mut claim);
        assert_eq!(claim["spec"]["devices"]["requests"], expected);
        apply("resource.k8s.io", "v1", "resourceclaimtemplates", &mut template);
        assert_eq!(template["spec"]["spec"]["devices"]["requests"], expected);
    }
}

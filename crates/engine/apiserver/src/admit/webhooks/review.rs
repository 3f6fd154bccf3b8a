//! AdmissionReviews: what a webhook is asked, and what its answer means.

use std::collections::BTreeMap;

use engenho_validation::get::{flag, items, optional_text, text};
use serde_json::{Value, json};

use crate::base64;
use crate::status::{Cause, Details, Status};

/// A version of AdmissionReview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReviewVersion {
    V1,
    V1beta1,
}

impl ReviewVersion {
    /// The first of a webhook's versions that is known here.
    ///
    /// # Errors
    /// None is.
    pub fn choose(accepted: &[String]) -> Result<Self, String> {
        let known = |version: &String| match version.as_str() {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1beta1),
            _ => None,
        };
        accepted.iter().find_map(known).ok_or_else(|| {
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
                .to_owned()
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1beta1 => "v1beta1",
        }
    }

    /// The review that asks `request`, which has to have its uid and objects.
    pub fn ask(self, request: Value) -> Value {
        json!({
            "kind": "AdmissionReview",
            "apiVersion": format!("admission.k8s.io/{}", self.name()),
            "request": request,
        })
    }
}

/// What a webhook answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub allowed: bool,
    /// A JSON patch; empty if there is none.
    pub patch: Vec<u8>,
    pub patch_type: String,
    /// `status` of a refusal, or null.
    pub status: Value,
    pub warnings: Vec<String>,
    pub annotations: BTreeMap<String, String>,
}

/// Reads the answer to a review.
///
/// # Errors
/// Why it is none.
pub(super) fn read(version: ReviewVersion, uid: &str, mutating: bool, review: &Value) -> Result<Answer, String> {
    let api_version = text(&review["apiVersion"]);
    let (group, answered) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = text(&review["kind"]);
    if !kind.is_empty() && (kind != "AdmissionReview" || group != "admission.k8s.io" || answered != version.name()) {
        return Err(mismatch(version, group, answered, kind));
    }
    let response = &review["response"];
    if response.is_null() {
        return Err(invalid("webhook response was absent"));
    }
    let answer = decode(response).map_err(|error| format!("failed to call webhook: {error}"))?;
    if version == ReviewVersion::V1beta1 {
        let (patch, patch_type) = match mutating && !answer.patch.is_empty() {
            true => (answer.patch, "JSONPatch".to_owned()),
            false => Default::default(),
        };
        return Ok(Answer {
            patch,
            patch_type,
            ..answer
        });
    }
    let told = text(&response["uid"]);
    if told != uid {
        return Err(invalid(&format!("expected response.uid={uid:?}, got {told:?}")));
    }
    if kind != "AdmissionReview" || group != "admission.k8s.io" || answered != "v1" {
        let got = format!("{group}/{answered}, Kind={kind}");
        return Err(invalid(&format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {got}"
        )));
    }
    let typed = optional_text(&response["patchType"]);
    let wrong = match (mutating, answer.patch.is_empty(), typed) {
        (true, false, None) => Some("webhook returned response.patch but not response.patchType"),
        (true, true, Some(_)) => Some("webhook returned response.patchType but not response.patch"),
        (true, false, Some("")) => Some("webhook returned invalid response.patchType of \"\""),
        (false, false, _) => Some("validating webhook may not return response.patch"),
        (false, true, Some(_)) => Some("validating webhook may not return response.patchType"),
        _ => None,
    };
    wrong.map_or(Ok(answer), |wrong| Err(invalid(wrong)))
}

fn invalid(reason: &str) -> String {
    format!("received invalid webhook response: {reason}")
}

/// An answer of another kind than was asked for.
fn mismatch(version: ReviewVersion, group: &str, answered: &str, kind: &str) -> String {
    let why = if kind == "AdmissionReview" && group == "admission.k8s.io" && matches!(answered, "v1" | "v1beta1") {
        format!(
            "converting ({answered}.AdmissionReview) to ({}.AdmissionReview): unknown conversion",
            version.name()
        )
    } else {
        let shown = if group.is_empty() {
            answered.to_owned()
        } else {
            format!("{group}/{answered}")
        };
        format!("no kind {kind:?} is registered for version {shown:?}")
    };
    format!("failed to call webhook: {why}")
}

/// The fields of an answer, if they are of the types they have to be.
fn decode(response: &Value) -> Result<Answer, String> {
    let is = |field: &str, of: &str, ok: fn(&Value) -> bool| {
        let value = &response[field];
        if value.is_null() || ok(value) {
            return Ok(());
        }
        let given = match value {
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            _ => "object",
        };
        Err(format!(
            "json: cannot unmarshal {given} into Go struct field AdmissionResponse.response.{field} of type {of}"
        ))
    };
    if !response.is_object() {
        return Err("json: cannot unmarshal the response into Go struct field AdmissionReview.response".to_owned());
    }
    is("uid", "types.UID", Value::is_string)?;
    is("allowed", "bool", Value::is_boolean)?;
    is("status", "v1.Status", Value::is_object)?;
    is("patch", "[]uint8", Value::is_string)?;
    is("patchType", "v1.PatchType", Value::is_string)?;
    is("auditAnnotations", "map[string]string", |v| {
        v.as_object()
            .is_some_and(|map| map.values().all(|v| v.is_string() || v.is_null()))
    })?;
    is("warnings", "[]string", |v| {
        v.as_array()
            .is_some_and(|list| list.iter().all(|v| v.is_string() || v.is_null()))
    })?;
    let patch = base64::decode_standard(text(&response["patch"]))
        .map_err(|at| format!("illegal base64 data at input byte {at}"))?;
    let annotations = response["auditAnnotations"].as_object().into_iter().flatten();
    Ok(Answer {
        allowed: flag(&response["allowed"]),
        patch,
        patch_type: text(&response["patchType"]).to_owned(),
        status: response["status"].clone(),
        warnings: items(&response["warnings"])
            .iter()
            .map(|w| text(w).to_owned())
            .collect(),
        annotations: annotations.map(|(k, v)| (k.clone(), text(v).to_owned())).collect(),
    })
}

/// The refusal of a webhook.
pub(super) fn denial(webhook: &str, status: &Value) -> Status {
    let by = format!("admission webhook {webhook:?} denied the request");
    let (message, reason) = (text(&status["message"]), text(&status["reason"]));
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let mut denied = Status::bad_request(match (message, reason) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    });
    // A rejection is none with a code of success.
    denied.code = code.filter(|code| (400..1000).contains(code)).unwrap_or(400);
    denied.reason = reason.to_owned();
    let told = &status["details"];
    if told.is_object() {
        let field = |of: &Value, key: &str| text(&of[key]).to_owned();
        let cause = |cause: &Value| Cause {
            reason: field(cause, "reason"),
            message: field(cause, "message"),
            field: field(cause, "field"),
        };
        denied.details = Some(Box::new(Details {
            name: field(told, "name"),
            group: field(told, "group"),
            kind: field(told, "kind"),
            uid: field(told, "uid"),
            causes: items(&told["causes"]).iter().map(cause).collect(),
            retry_after_s: told["retryAfterSeconds"]
                .as_u64()
                .and_then(|s| s.try_into().ok())
                .unwrap_or(0),
        }));
    }
    denied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(response: Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }

    #[test]
    fn answers_are_checked() {
        let v1 = |mutating, response| read(ReviewVersion::V1, "u", mutating, &review(response));
        let wrong = |reason: &str| Err(format!("received invalid webhook response: {reason}"));
        assert_eq!(v1(true, Value::Null), wrong("webhook response was absent"));
        assert_eq!(
            v1(true, json!({"uid": "x"})),
            wrong("expected response.uid=\"u\", got \"x\"")
        );
        let patch = json!({"uid": "u", "allowed": true, "patch": "W10="});
        assert_eq!(
            v1(true, patch.clone()),
            wrong("webhook returned response.patch but not response.patchType")
        );
        assert_eq!(
            v1(false, patch),
            wrong("validating webhook may not return response.patch")
        );
        let typed = json!({"uid": "u", "allowed": true, "patchType": "JSONPatch"});
        assert_eq!(
            v1(true, typed.clone()),
            wrong("webhook returned response.patchType but not response.patch")
        );
        assert_eq!(
            v1(false, typed),
            wrong("validating webhook may not return response.patchType")
        );
        let bare = read(ReviewVersion::V1, "u", true, &json!({"response": {"uid": "u"}}));
        assert_eq!(
            bare,
            wrong("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=")
        );
        let old = read(
            ReviewVersion::V1beta1,
            "u",
            true,
            &json!({"response": {"allowed": true, "patch": "W10="}}),
        );
        let old = old.expect("an answer");
        assert_eq!(
            (old.patch.as_slice(), old.patch_type.as_str()),
            (&b"[]"[..], "JSONPatch")
        );
        let kind = v1(true, json!({"uid": "u", "allowed": "yes"})).unwrap_err();
        assert!(
            kind.ends_with("AdmissionResponse.response.allowed of type bool"),
            "{kind}"
        );
        assert!(ReviewVersion::choose(&["v2".into(), "v1beta1".into()]) == Ok(ReviewVersion::V1beta1));
    }

    #[test]
    fn refusals_have_a_code_and_an_explanation() {
        let denied = denial("w", &Value::Null);
        assert_eq!(
            (denied.code, denied.message.as_str()),
            (400, "admission webhook \"w\" denied the request without explanation")
        );
        let denied = denial("w", &json!({"code": 200, "reason": "Because"}));
        assert_eq!(
            (denied.code, denied.message.as_str()),
            (400, "admission webhook \"w\" denied the request: Because")
        );
        let denied = denial(
            "w",
            &json!({"code": 418, "message": "m", "details": {"causes": [{"field": "f"}]}}),
        );
        assert_eq!(
            (denied.code, denied.message.as_str()),
            (418, "admission webhook \"w\" denied the request: m")
        );
        assert_eq!(denied.details.expect("details").causes[0].field, "f");
    }
}

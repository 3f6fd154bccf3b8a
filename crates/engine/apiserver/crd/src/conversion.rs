//! ConversionReviews: what the webhook of a definition is asked, and whether its answer can be used.

use engenho_patch::meta;
use engenho_validation::get::{items, text};
use engenho_validation::{FieldError, Path, labels};
use serde_json::{Value, json};

/// A version of ConversionReview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewVersion {
    /// `v1`
    V1,
    /// `v1beta1`
    V1beta1,
}

impl ReviewVersion {
    /// The first of a webhook's versions that is known here.
    ///
    /// # Errors
    /// None is.
    pub fn choose<'a>(mut accepted: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let known = accepted.find_map(|version| match version {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1beta1),
            _ => None,
        });
        known.ok_or_else(|| "no supported conversion review versions".to_owned())
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "apiextensions.k8s.io/v1",
            Self::V1beta1 => "apiextensions.k8s.io/v1beta1",
        }
    }
}

/// The review that asks for objects in the version `desired` (`group/version`).
pub fn review(version: ReviewVersion, uid: &str, desired: &str, objects: &[&Value]) -> Value {
    json!({
        "kind": "ConversionReview",
        "apiVersion": version.api_version(),
        "request": {"uid": uid, "desiredAPIVersion": desired, "objects": objects},
    })
}

/// The objects that a webhook gave for those it was asked to convert to `desired`.
///
/// # Errors
/// Why its answer cannot be used.
pub fn converted(
    version: ReviewVersion,
    uid: &str,
    desired: &str,
    asked: &[&Value],
    mut answer: Value,
) -> Result<Vec<Value>, String> {
    let Some(first) = asked.first() else {
        return Ok(Vec::new());
    };
    let about = shown(first);
    check(version, uid, &answer).map_err(|why| format!("conversion webhook for {about} failed: {why}"))?;
    let given = match answer["response"]["convertedObjects"].take() {
        Value::Array(given) => given,
        _ => Vec::new(),
    };
    if given.len() != asked.len() {
        return Err(format!(
            "conversion webhook for {about} returned {} objects, expected {}",
            given.len(),
            asked.len()
        ));
    }
    let pairs = given.into_iter().zip(asked);
    pairs.map(|(given, asked)| accept(asked, given, desired)).collect()
}

fn shown(object: &Value) -> String {
    format!("{}, Kind={}", text(&object["apiVersion"]), text(&object["kind"]))
}

fn check(version: ReviewVersion, uid: &str, answer: &Value) -> Result<(), String> {
    let (api_version, kind) = (text(&answer["apiVersion"]), text(&answer["kind"]));
    let response = &answer["response"];
    let v1 = version == ReviewVersion::V1;
    if v1 && (api_version != version.api_version() || kind != "ConversionReview") {
        let got = match api_version {
            "" => "/".to_owned(),
            core if !core.contains('/') => format!("/{core}"),
            full => full.to_owned(),
        };
        return Err(format!(
            "expected webhook response of {}, Kind=ConversionReview, got {got}, Kind={kind}",
            version.api_version()
        ));
    }
    if !response.is_object() {
        return Err("no response provided".to_owned());
    }
    let told = text(&response["uid"]);
    if v1 && told != uid {
        return Err(format!("expected response.uid={uid:?}, got {told:?}"));
    }
    let (status, message) = (
        text(&response["result"]["status"]),
        text(&response["result"]["message"]),
    );
    match (status, message) {
        ("Success", _) => Ok(()),
        (status, "") => Err(format!("response.result.status was '{status}', not 'Success'")),
        (_, message) => Err(message.to_owned()),
    }
}

/// One converted object with the metadata of the original, apart from labels and annotations.
fn accept(asked: &Value, mut given: Value, desired: &str) -> Result<Value, String> {
    let about = shown(asked);
    let wrong = |why: String| format!("conversion webhook for {about} returned invalid object{why}");
    if text(&given["kind"]).is_empty() {
        return Err("Object 'Kind' is missing in the converted object".to_owned());
    }
    let (wanted, got) = (text(&asked["kind"]), text(&given["kind"]));
    let api_version = text(&given["apiVersion"]);
    if api_version != desired {
        let why = format!(" at index 0: invalid groupVersion (expected {desired}, received {api_version})");
        return Err(wrong(why));
    }
    if wanted != got {
        return Err(wrong(format!(
            " at index 0: invalid kind (expected {wanted}, received {got})"
        )));
    }
    for (field, shown) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let of = |object: &Value| text(&object["metadata"][field]).to_owned();
        let (wanted, got) = (of(asked), of(&given));
        if wanted != got {
            return Err(wrong(format!(": must have the same {shown}: {wanted} != {got}")));
        }
    }
    let metadata = restore(&asked["metadata"], &given["metadata"])
        .map_err(|why| format!("conversion webhook for {about} returned invalid metadata: {why}"))?;
    given["metadata"] = metadata;
    Ok(given)
}

fn restore(original: &Value, given: &Value) -> Result<Value, String> {
    let Some(given) = given.as_object() else {
        return Err(match given {
            Value::Null => "missing metadata in converted object".to_owned(),
            other => format!("invalid metadata of type {} in converted object", meta::go_type(other)),
        });
    };
    let mut metadata = original.as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        let Some(new) = given.get(field).filter(|new| !new.is_null()) else {
            metadata.remove(field);
            continue;
        };
        let Some(map) = new.as_object() else {
            let of = meta::go_type(new);
            return Err(format!("invalid metadata.{field} of type {of} in converted object"));
        };
        if let Some((key, value)) = map.iter().find(|(_, value)| !value.is_string()) {
            let of = meta::go_type(value);
            return Err(format!(
                "metadata.{field}[{key}] must be a string, but is {of} in converted object"
            ));
        }
        if metadata.get(field) != Some(new) {
            let path = Path::Root.child("metadata");
            let errors: Vec<FieldError> = match field {
                "labels" => labels::labels(new, &path.child("labels")),
                _ => labels::annotations(new, &path.child("annotation")),
            };
            let texts: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
            match texts.as_slice() {
                [] => {}
                [one] => return Err(one.clone()),
                several => return Err(format!("[{}]", several.join(", "))),
            }
        }
        metadata.insert(field.to_owned(), new.clone());
    }
    Ok(Value::Object(metadata))
}

/// Names of the versions of ConversionReview that a `spec.conversion.webhook` lists.
pub fn review_versions(webhook: &Value) -> impl Iterator<Item = &str> {
    items(&webhook["conversionReviewVersions"]).iter().map(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str, metadata: Value) -> Value {
        json!({"apiVersion": format!("e.org/{version}"), "kind": "W", "metadata": metadata})
    }

    fn answer(objects: Value) -> Value {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "response": {"uid": "u", "result": {"status": "Success"}, "convertedObjects": objects}})
    }

    fn convert(asked: &Value, answer: Value) -> Result<Vec<Value>, String> {
        converted(ReviewVersion::V1, "u", "e.org/v2", &[asked], answer)
    }

    #[test]
    fn metadata_stays_but_for_labels_and_annotations() {
        let asked = object(
            "v1",
            json!({"name": "a", "uid": "x", "generation": 3, "labels": {"l": "1"}}),
        );
        let given = object(
            "v2",
            json!({"name": "a", "uid": "x", "annotations": {"n": "2"}, "generation": 9}),
        );
        let wanted = object(
            "v2",
            json!({"name": "a", "uid": "x", "generation": 3, "annotations": {"n": "2"}}),
        );
        assert_eq!(convert(&asked, answer(json!([given]))), Ok(vec![wanted]));
    }

    #[test]
    fn answers_that_cannot_be_used_are_explained() {
        let asked = object("v1", json!({"name": "a", "uid": "x"}));
        let fails = |answer: Value, wanted: &str| {
            let text = format!("conversion webhook for e.org/v1, Kind=W {wanted}");
            assert_eq!(convert(&asked, answer), Err(text));
        };
        let good = object("v2", json!({"name": "a", "uid": "x"}));
        fails(answer(json!([good, good])), "returned 2 objects, expected 1");
        fails(
            answer(json!([object("v3", json!({}))])),
            "returned invalid object at index 0: invalid groupVersion (expected e.org/v2, received e.org/v3)",
        );
        fails(
            answer(json!([object("v2", json!({"name": "b", "uid": "x"}))])),
            "returned invalid object: must have the same name: a != b",
        );
        let labelled = object("v2", json!({"name": "a", "uid": "x", "labels": {"l": 1}}));
        fails(
            answer(json!([labelled])),
            "returned invalid metadata: metadata.labels[l] must be a string, but is int64 in converted object",
        );
        let mut failed = answer(json!([]));
        failed["response"]["result"] = json!({"status": "Failed", "message": "no"});
        fails(failed.clone(), "failed: no");
        failed["response"]["result"] = json!({"status": "Failed"});
        fails(failed, "failed: response.result.status was 'Failed', not 'Success'");
        fails(
            json!({"response": {}}),
            "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got /, Kind=",
        );
        let old = json!({"response": {"result": {"status": "Success"}, "convertedObjects": [good]}});
        assert_eq!(
            converted(ReviewVersion::V1beta1, "u", "e.org/v2", &[&asked], old),
            Ok(vec![good])
        );
    }
}

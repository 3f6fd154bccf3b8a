//! VolumeAttachment.

use serde_json::Value;

use crate::core::persistent_volume::inline_spec;
use crate::get::{entries, given, int, optional_int, optional_text, same, text};
use crate::gojson::{self, Shape};
use crate::labels::check;
use crate::names::dns_subdomain;
use crate::scalars::formats::range_text;
use crate::shared::{Errors, driver_name};
use crate::{FieldError, Path};

const METADATA_BYTES_MAX: usize = 256 * 1024;
const MESSAGE_BYTES_MAX: usize = 1024;
const SOURCE: Shape = Shape::Struct(&[
    ("PersistentVolumeName", "persistentVolumeName", Shape::Same),
    ("InlineVolumeSpec", "inlineVolumeSpec", Shape::Same),
]);
const SPEC: Shape = Shape::Struct(&[
    ("Attacher", "attacher", Shape::Text),
    ("Source", "source", SOURCE),
    ("NodeName", "nodeName", Shape::Text),
]);

/// What is wrong with a new VolumeAttachment.
pub(crate) fn create(object: &Value) -> Errors {
    let mut errors = validate(object);
    let spec = Path::Root.child("spec");
    errors.extend(driver_name(text(&object["spec"]["attacher"]), &spec.child("attacher")));
    let source = spec.child("source");
    if let Some(name) = optional_text(&object["spec"]["source"]["persistentVolumeName"]) {
        errors.extend(check(dns_subdomain, name, &source.child("persistentVolumeName")));
    }
    errors
}

/// What is wrong with a VolumeAttachment that replaces another, also by its status; upstream checks it twice.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = validate(new);
    errors.extend(errors.clone());
    if !same(&new["spec"], &old["spec"]) {
        errors.push(gojson::invalid("spec", &SPEC, &new["spec"], "field is immutable"));
    }
    errors
}

/// What is wrong with a status that replaces another.
pub(crate) fn update_status(new: &Value, old: &Value) -> Errors {
    update(new, old)
}

fn validate(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = &object["spec"];
    let path = Path::Root.child("spec");
    if text(&spec["attacher"]).is_empty() {
        errors.push(FieldError::required(path.child("attacher"), ""));
    }
    errors.extend(source(&spec["source"], &path.child("source")));
    errors.extend(check(dns_subdomain, text(&spec["nodeName"]), &path.child("nodeName")));
    errors.extend(status(&object["status"]));
    errors
}

fn source(source: &Value, path: &Path<'_>) -> Errors {
    let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let inline = &source["inlineVolumeSpec"];
    match (given(inline), optional_text(&source["persistentVolumeName"])) {
        (false, None) => vec![FieldError::required(path, detail)],
        (true, Some(_)) => vec![FieldError::forbidden(path, detail)],
        (false, Some("")) => {
            let detail = "must specify non empty persistentVolumeName";
            vec![FieldError::required(path.child("persistentVolumeName"), detail)]
        }
        (false, Some(_)) => Errors::new(),
        (true, None) => {
            let at = path.child("inlineVolumeSpec");
            crate::errors::Errors::of(|errors| inline_spec(inline, &at, errors))
        }
    }
}

fn status(status: &Value) -> Errors {
    let mut errors = Errors::new();
    let path = Path::Root.child("status");
    let metadata = entries(&status["attachmentMetadata"]);
    let bytes: usize = metadata.iter().map(|(key, value)| key.len() + text(value).len()).sum();
    if bytes > METADATA_BYTES_MAX {
        errors.push(FieldError::too_long(
            path.child("attachmentMetadata"),
            METADATA_BYTES_MAX,
        ));
    }
    for key in ["attachError", "detachError"] {
        let at = path.child(key);
        if text(&status[key]["message"]).len() > MESSAGE_BYTES_MAX {
            // The limit in the text is not the limit, upstream too.
            errors.push(FieldError::too_long(at.child("message"), METADATA_BYTES_MAX));
        }
        if optional_int(&status[key]["errorCode"]).is_some_and(|code| code < 0) {
            let code = int(&status[key]["errorCode"]);
            let detail = range_text(0, i64::from(i32::MAX));
            errors.push(FieldError::invalid(at.child("errorCode"), code, &detail));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn attachment(node: &str) -> Value {
        json!({"spec": {"attacher": "a.example.com", "nodeName": node, "source": {"persistentVolumeName": "pv"}}})
    }

    #[test]
    fn the_spec_stays() {
        assert!(create(&attachment("n")).is_empty());
        assert_eq!(
            update(&attachment("z"), &attachment("n"))[0].message,
            r#"Invalid value: {"Attacher":"a.example.com","Source":{"PersistentVolumeName":"pv","InlineVolumeSpec":null},"NodeName":"z"}: field is immutable"#
        );
    }

    #[test]
    fn one_source() {
        let mut both = attachment("n");
        both["spec"]["source"]["inlineVolumeSpec"] = json!({});
        assert_eq!(create(&both).len(), 1);
        let inline = json!({"spec": {"source": {"inlineVolumeSpec": {"capacity": {"a": "1"}}}}});
        let field = "spec.source.inlineVolumeSpec.capacity";
        assert!(create(&inline).iter().any(|error| error.field == field));
    }
}

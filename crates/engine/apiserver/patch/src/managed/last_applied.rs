//! The annotation that client-side `kubectl apply` leaves, where server-side apply by kubectl follows on it.

use super::compare::compare;
use super::node::Node;
use super::set::FieldSet;
use super::typed::to_set;
use crate::meta::{self, LAST_APPLIED_ANNOTATION};
use crate::schema::SchemaNode;
use serde_json::Value;

/// Bytes all annotations of an object may have.
const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

/// The fields that the last client-side apply set and that still are as it set them; `None` if there was none.
pub(super) fn still_applied<S: SchemaNode>(live: &Value, api_version: &str, schema: &S) -> Option<FieldSet> {
    let text = meta::annotation(live, LAST_APPLIED_ANNOTATION).filter(|text| !text.is_empty())?;
    let last = crate::decode::json_untyped(text.as_bytes()).ok()?.value;
    if meta::api_version(&last) != api_version {
        return None;
    }
    let node = Node::root(schema);
    let difference = compare(&node, &last, live).ok()?;
    let set = to_set(&node, &last);
    Some(
        set.difference(&difference.modified)
            .difference(&difference.added)
            .difference(&difference.removed),
    )
}

/// Writes `config` into the annotation if the object has it, so that client-side apply can go on later.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if meta::annotation(object, LAST_APPLIED_ANNOTATION).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED_ANNOTATION);
    }
    meta::set_annotation(
        object,
        LAST_APPLIED_ANNOTATION,
        &format!("{}\n", meta::go_json(&config)),
    );
    let total: usize = meta::annotations(object)
        .into_iter()
        .flatten()
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len))
        .sum();
    if total > ANNOTATIONS_MAX_BYTES
        && let Some(annotations) = object
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED_ANNOTATION);
    }
}

//! Which fields an endpoint leaves as they are whatever a client sends, and that are thus nobody's through it.

use super::set::FieldSet;

/// The fields that the endpoint of a built-in kind resets: `status` at the main one, and what isn't status at `status`.
#[must_use]
pub fn reset_fields(kind: &str, subresource: &str) -> FieldSet {
    match (subresource, kind) {
        ("", _) => FieldSet::of_fields(&[&["status"]]),
        ("status", "Deployment") => FieldSet::of_fields(&[&["spec"], &["metadata", "labels"]]),
        ("status", "Pod") => FieldSet::of_fields(&[
            &["spec"],
            &["metadata", "deletionTimestamp"],
            &["metadata", "ownerReferences"],
        ]),
        ("status", "CustomResourceDefinition") => FieldSet::of_fields(&[&["spec"], &["metadata"]]),
        ("status", _) => FieldSet::of_fields(&[&["spec"]]),
        _ => FieldSet::new(),
    }
}

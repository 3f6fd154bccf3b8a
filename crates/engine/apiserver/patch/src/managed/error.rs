//! Why an apply was refused.

use super::entries::{EntryError, ManagerId};
use super::set::Path;
use super::typed::TypedErrors;
use std::collections::BTreeMap;

/// Another manager owns a field that the apply would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub manager: ManagerId,
    pub path: Path,
}

impl Conflict {
    /// `conflict with "alice" using v1`: the message of the status cause.
    #[must_use]
    pub fn cause(&self) -> String {
        format!("conflict with {}", self.manager)
    }
}

/// An apply that isn't carried out. [`ApplyError::http_status`] gives the status Kubernetes answers with; `Display`
/// gives its message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Other managers own what the apply changes; they are taken over with `force`.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration is of another kind or version than the endpoint.
    #[error("invalid object type: {found}")]
    WrongKind { found: String },
    /// The configuration has `metadata.managedFields`.
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsGiven,
    /// The configuration doesn't fit the schema.
    #[error("failed to create typed patch object ({object}): {errors}")]
    Config { object: String, errors: TypedErrors },
    /// The stored object's managed fields can't be read.
    #[error("failed to decode managed fields: {0}")]
    ManagedFields(#[from] EntryError),
    /// Configuration and stored object can't be merged.
    #[error("failed to merge config: {0}")]
    Merge(TypedErrors),
    /// The stored object and the new one can't be compared.
    #[error("failed to compare objects: {0}")]
    Compare(TypedErrors),
}

impl ApplyError {
    /// The HTTP status code Kubernetes answers with.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Conflicts(_) => 409,
            Self::WrongKind { .. } | Self::ManagedFieldsGiven => 400,
            Self::Config { .. } | Self::ManagedFields(_) | Self::Merge(_) | Self::Compare(_) => 500,
        }
    }
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: {}: {}", only.cause(), only.path);
    }
    let mut by_manager: BTreeMap<String, (&ManagerId, Vec<&Path>)> = BTreeMap::new();
    for conflict in conflicts {
        let entry = by_manager.entry(conflict.manager.sort_key());
        entry.or_insert((&conflict.manager, Vec::new())).1.push(&conflict.path);
    }
    let mut lines = Vec::new();
    for (manager, paths) in by_manager.into_values() {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(paths.into_iter().map(|path| format!("- {path}")));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

//! Server-side apply and managed fields, as structured-merge-diff v6 and the API server's field manager have them.
//!
//! A [`FieldManager`] stands for one endpoint. Its [`FieldManager::apply`] merges a configuration into an object by
//! schema, removes what its manager no longer applies and refuses conflicts; its [`FieldManager::update`] books every
//! other write. Who owns what is kept as [`FieldSet`]s in `metadata.managedFields`.

mod codec;
mod compare;
mod element;
mod entries;
mod error;
mod last_applied;
mod manager;
mod merge;
mod node;
mod reconcile;
mod reset;
mod scale;
mod set;
mod timestamps;
mod typed;
mod updater;

pub use codec::CodecError;
pub use compare::Comparison;
pub use element::{ElementError, PathElement, compare_values, equal_values};
pub use entries::{Entry, EntryError, ManagerId, Managers, Operation, UPDATERS_MAX};
pub use error::{ApplyError, Conflict};
pub use manager::{Applied, FieldManager, validate_managed_fields};
pub use reset::reset_fields;
pub use scale::ScaleFields;
pub use set::{FieldSet, Path};
pub use timestamps::ignore_timestamps;
pub use typed::{TypedError, TypedErrors};
pub use updater::Conversion;

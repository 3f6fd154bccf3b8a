//! Generated table of every Kubernetes 1.34 kind, and the discovery and OpenAPI documents rendered from it.
//!
//! The facts live in `data/*.txt`, written by `cargo xtask forge`. They are embedded in the binary and parsed on demand:
//! discovery touches only the kinds table, and a schema is parsed when it is first walked. A custom resource definition
//! builds the same [`Resource`] and [`schema::Node`] at run time and is added to a [`Catalog`] with [`Catalog::insert`].

pub mod boot;
pub mod catalog;
pub mod discovery;
mod kinds;
pub mod openapi;
#[cfg(test)]
mod reference;
pub mod resource;
pub mod schema;
pub mod table;
pub mod version;

pub use catalog::{Catalog, Group, GroupVersion};
pub use resource::{GroupKind, Resource, Subresource, Verb, VerbSet};
pub use schema::{ListKind, MapKind, Node, PatchStrategy, Schema, SchemaType};

/// A string that is borrowed from the embedded tables, or owned when it came from a custom resource definition.
pub type Str = std::borrow::Cow<'static, str>;

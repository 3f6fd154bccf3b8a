//! CustomResourceDefinitions (`apiextensions.k8s.io/v1`) and their instances: pure functions over JSON.
//!
//! A definition is compiled once ([`Definition::compile`]) and then asked about each request:
//!
//! | what | where | upstream |
//! |---|---|---|
//! | names, conditions, deletion | [`conditions`] | naming, establishing and finalizing controllers |
//! | what is served, for the catalog | [`Definition::resources`] | discovery controller |
//! | reading: pruning, nulls, metadata, defaults | [`Version::decode`], [`Definition::read`] | schema coercing decoder |
//! | what is wrong with an instance | [`instance`] | custom resource strategy |
//! | status, generation | [`strategy`] | custom resource strategy |
//! | what a conversion webhook is asked and answers | [`conversion`] | webhook converter |
//! | scale subresource | [`scale`] | `ScaleREST` |
//! | tables | [`table`] | table convertor |
//! | published schemas | [`publish`] | OpenAPI builder |
//!
//! Rules in CEL are compiled when they are first needed, and evaluated by [`engenho_validation::rules`].

pub mod conditions;
pub mod conversion;
mod definition;
mod go;
pub mod instance;
pub mod jsonpath;
pub mod publish;
pub mod scale;
pub mod schema;
pub mod strategy;
pub mod table;

#[cfg(test)]
mod properties;

pub use definition::{CompileError, Definition, Names, Version};
pub use schema::Schema;

/// The finalizer that holds a definition until its instances are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

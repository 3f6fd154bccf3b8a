//! OpenAPI documents, rendered from the catalog.
//!
//! Version 3 is an index and a document per path (`api/v1`, `apis/apps/v1`, …); version 2 is one document. Schemas are
//! upstream's without descriptions; paths are derived from the resources. Each function renders anew and keeps nothing:
//! a document is asked for rarely and clients cache it by its hash, so callers keep compressed copies or none.

mod document;
mod names;
mod operation;
mod paths;
#[cfg(test)]
mod tests;
mod v2;
mod v3;

use bytes::Bytes;

use crate::catalog::Catalog;

pub use names::{API_VERSION, KIND};
pub use v2::swagger;

/// Paths of all version 3 documents, sorted: `api/v1`, `apis/apps/v1`, `version`, …
pub fn paths(catalog: &Catalog) -> Vec<String> {
    document::paths(catalog)
}

/// The version 3 document of a path such as `apis/apps/v1`; none if nothing is served there.
pub fn document(catalog: &Catalog, path: &str) -> Option<Bytes> {
    document::items(catalog, path).map(|items| v3::render(catalog, path, &items))
}

/// Hash of a document, as it stands in the index and as its entity tag.
pub fn hash(document: &[u8]) -> String {
    blake3::hash(document).to_hex().to_ascii_uppercase()
}

/// The version 3 index (`/openapi/v3`) of documents with these paths and hashes.
pub fn index(documents: impl Iterator<Item = (String, String)>) -> Bytes {
    v3::index(documents)
}

//! Documents about the API itself, rendered once per catalog: OpenAPI is large and asked for by every kubectl.

use std::collections::BTreeMap;

use bytes::Bytes;
use engenho_catalog::{Catalog, openapi};
use parking_lot::Mutex;

/// A rendered document and its hash.
#[derive(Debug, Clone)]
pub struct Document {
    /// The bytes.
    pub bytes: Bytes,
    /// Hash, the entity tag.
    pub hash: String,
}

/// The rendered documents.
#[derive(Debug, Default)]
pub struct Documents {
    rendered: Mutex<BTreeMap<String, Document>>,
    index: Mutex<Option<Document>>,
}

impl Documents {
    /// Forgets all, because the catalog changed.
    pub fn forget(&self) {
        self.rendered.lock().clear();
        *self.index.lock() = None;
    }

    /// The OpenAPI v3 index.
    pub fn index(&self, catalog: &Catalog) -> Document {
        let mut slot = self.index.lock();
        slot.get_or_insert_with(|| document(openapi::index(catalog))).clone()
    }

    /// The OpenAPI v3 document of a path.
    pub fn v3(&self, catalog: &Catalog, path: &str) -> Option<Document> {
        self.cached(path, || openapi::document(catalog, path))
    }

    /// The OpenAPI v2 document.
    pub fn v2(&self, catalog: &Catalog) -> Option<Document> {
        self.cached("/openapi/v2", || Some(openapi::swagger(catalog)))
    }

    fn cached(&self, key: &str, render: impl FnOnce() -> Option<Bytes>) -> Option<Document> {
        if let Some(have) = self.rendered.lock().get(key) {
            return Some(have.clone());
        }
        let rendered = document(render()?);
        self.rendered.lock().insert(key.to_owned(), rendered.clone());
        Some(rendered)
    }
}

fn document(bytes: Bytes) -> Document {
    Document {
        hash: openapi::hash(&bytes),
        bytes,
    }
}

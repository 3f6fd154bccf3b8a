//! Documents about the API itself, rendered once per catalog: OpenAPI is large and asked for by every kubectl.

use std::collections::BTreeMap;

use bytes::Bytes;
use engenho_catalog::{Catalog, openapi};
use parking_lot::Mutex;

const V2: &str = "/openapi/v2";
/// The key of the same in protobuf; no path has a space.
const V2_PROTOBUF: &str = "/openapi/v2 protobuf";

/// A rendered document and its hash.
#[derive(Debug, Clone)]
pub struct Document {
    /// The bytes.
    pub bytes: Bytes,
    /// Hash, the entity tag.
    pub hash: String,
}

/// The rendered documents of one catalog.
#[derive(Debug, Default)]
pub struct Documents {
    known: Mutex<Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    rendered: BTreeMap<String, Document>,
    /// Hashes, also of documents that nobody has asked for.
    hashes: BTreeMap<String, String>,
    index: Option<Document>,
}

impl Documents {
    /// The documents for a catalog that differs at some paths from the one of these: what is of other paths is kept.
    pub fn without(&self, changed: impl Fn(&str) -> bool) -> Self {
        let mut known = self.known.lock().clone();
        known
            .rendered
            .retain(|path, _| path != V2 && path != V2_PROTOBUF && !changed(path));
        known.hashes.retain(|path, _| !changed(path));
        known.index = None;
        Self {
            known: Mutex::new(known),
        }
    }

    /// The OpenAPI v3 index.
    pub fn index(&self, catalog: &Catalog) -> Document {
        if let Some(index) = &self.known.lock().index {
            return index.clone();
        }
        let listed: Vec<(String, String)> = openapi::paths(catalog)
            .into_iter()
            .filter_map(|path| {
                let hash = self.hash(catalog, &path)?;
                Some((path, hash))
            })
            .collect();
        let index = document(openapi::index(listed.into_iter()));
        self.known.lock().index = Some(index.clone());
        index
    }

    fn hash(&self, catalog: &Catalog, path: &str) -> Option<String> {
        if let Some(hash) = self.known.lock().hashes.get(path) {
            return Some(hash.clone());
        }
        let hash = openapi::hash(&openapi::document(catalog, path)?);
        self.known.lock().hashes.insert(path.to_owned(), hash.clone());
        Some(hash)
    }

    /// The OpenAPI v3 document of a path.
    pub fn v3(&self, catalog: &Catalog, path: &str) -> Option<Document> {
        self.cached(path, || openapi::document(catalog, path))
    }

    /// The OpenAPI v2 document.
    pub fn v2(&self, catalog: &Catalog) -> Option<Document> {
        self.cached(V2, || Some(openapi::swagger(catalog)))
    }

    /// The OpenAPI v2 document in protobuf. It has the hash of the other form.
    pub fn v2_protobuf(&self, catalog: &Catalog) -> Option<Document> {
        if let Some(have) = self.known.lock().rendered.get(V2_PROTOBUF) {
            return Some(have.clone());
        }
        let json = self.v2(catalog)?;
        let value = serde_json::from_slice(&json.bytes).ok()?;
        let rendered = Document {
            bytes: engenho_protobuf::openapi_v2(&value).into(),
            hash: json.hash,
        };
        let mut known = self.known.lock();
        known.rendered.insert(V2_PROTOBUF.to_owned(), rendered.clone());
        Some(rendered)
    }

    fn cached(&self, key: &str, render: impl FnOnce() -> Option<Bytes>) -> Option<Document> {
        if let Some(have) = self.known.lock().rendered.get(key) {
            return Some(have.clone());
        }
        let rendered = document(render()?);
        let mut known = self.known.lock();
        known.hashes.insert(key.to_owned(), rendered.hash.clone());
        known.rendered.insert(key.to_owned(), rendered.clone());
        Some(rendered)
    }
}

fn document(bytes: Bytes) -> Document {
    Document {
        hash: openapi::hash(&bytes),
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_changed_is_kept() {
        let catalog = Catalog::builtin();
        let documents = Documents::default();
        let first = documents.v3(catalog, "apis/apps/v1").expect("a document");
        let index = documents.index(catalog);
        assert!(String::from_utf8_lossy(&index.bytes).contains(&first.hash));
        let (json, protobuf) = (documents.v2(catalog), documents.v2_protobuf(catalog));
        assert_eq!(json.map(|d| d.hash), protobuf.map(|d| d.hash));
        let next = documents.without(|path| path == "apis/batch/v1");
        let known = next.known.lock();
        assert!(known.index.is_none() && known.rendered.contains_key("apis/apps/v1"));
        assert!(!known.rendered.keys().any(|key| key.starts_with(V2)));
        assert!(!known.hashes.contains_key("apis/batch/v1") && known.hashes.contains_key("version"));
    }
}

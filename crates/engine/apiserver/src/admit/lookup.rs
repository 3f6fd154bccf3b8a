//! Objects as admission plugins read them: from this replica's store.

use engenho_admission::Lookup;
use serde_json::Value;

use crate::context::{Context, parse_stored};
use crate::status::Status;

/// The version in which plugins know all kinds that they read.
const VERSION: &str = "v1";

/// This replica's store.
pub(super) struct Stored<'a>(pub &'a Context);

impl Lookup for Stored<'_> {
    type Error = Status;

    fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Result<Option<Value>, Status> {
        let Some(resource) = self.0.catalog.resource(group, VERSION, plural) else {
            return Ok(None);
        };
        let stored = self.0.storage().get(&resource.storage_key(namespace, name))?;
        stored.map(|stored| parse_stored(&stored.bytes)).transpose()
    }

    fn list(&self, group: &str, plural: &str, namespace: &str) -> Result<Vec<Value>, Status> {
        let Some(resource) = self.0.catalog.resource(group, VERSION, plural) else {
            return Ok(Vec::new());
        };
        let prefix = if resource.namespaced {
            resource.storage_namespace_prefix(namespace)
        } else {
            resource.storage_prefix()
        };
        let storage = self.0.storage();
        let found = storage.list(&prefix)?.kvs;
        found.iter().map(|kv| parse_stored(&storage.open(kv)?.bytes)).collect()
    }
}

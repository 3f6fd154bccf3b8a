//! The objects that tokens are bound to, from this replica's store.

use engenho_authn::Objects;
use serde_json::Value;

use crate::context::parse_stored;
use crate::server::Inner;
use crate::status::Status;

/// Objects of the core group in this replica's store.
pub(super) struct StoredObjects<'a> {
    server: &'a Inner,
}

impl<'a> StoredObjects<'a> {
    pub fn new(server: &'a Inner) -> Self {
        Self { server }
    }
}

impl Objects for StoredObjects<'_> {
    type Error = Status;

    fn get(&self, plural: &str, namespace: &str, name: &str) -> Result<Option<Value>, Status> {
        let catalog = self.server.catalog();
        let Some(resource) = catalog.resource("", "v1", plural) else {
            return Ok(None);
        };
        // What no object may be called would be another object's key.
        if name.is_empty()
            || name.contains('/')
            || namespace.contains('/')
            || resource.namespaced == namespace.is_empty()
        {
            return Ok(None);
        }
        let stored = self.server.storage.get(&resource.storage_key(namespace, name))?;
        stored.map(|stored| parse_stored(&stored.bytes)).transpose()
    }
}

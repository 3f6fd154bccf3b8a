//! Deleting everything in a Namespace, whatever its kind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use engenho_catalog::{Catalog, Resource, Verb};
use engenho_store::{KeyRange, RangeRequest};
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::Value;

use super::plan::Remains;
use crate::client::{Client, segment};
use crate::error::ControlError;

/// Deletions at once.
const CONCURRENCY: usize = 16;
/// Objects that are read at once.
const PAGE: usize = 500;
/// Most errors that are kept of one pass.
const ERRORS_MAX: usize = 8;
/// Deadline of bringing this replica up to date.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Finalizers of the propagation policy, which a deletion in the background takes away.
const PROPAGATION: [&str; 2] = ["orphan", "foregroundDeletion"];

/// What a pass over a Namespace did.
#[derive(Default)]
pub(super) struct Content {
    /// What is still there, and no longer than to be finalised if there are no errors.
    pub remains: Remains,
    /// Where it is.
    pub ranges: Vec<KeyRange>,
    /// Number of deletions.
    pub deletions: usize,
    /// What could not be deleted.
    pub errors: Vec<ControlError>,
}

/// The resources whose objects fill Namespaces: one for each set of stored objects.
pub(super) fn resources(catalog: &Catalog) -> Vec<Arc<Resource>> {
    let mut prefixes = BTreeSet::new();
    let of = |r: &&Arc<Resource>| r.namespaced && r.is_stored() && r.verbs.contains(Verb::Delete);
    let all = catalog.resources().filter(of);
    all.filter(|r| prefixes.insert(r.storage_prefix())).cloned().collect()
}

/// Deletes what can be deleted in the Namespace, and says what remains.
pub(super) async fn delete(client: &Client, namespace: &str) -> Result<Content, ControlError> {
    let mut content = Content::default();
    let resources = resources(&client.api().catalog());
    for resource in &resources {
        let mut after = None;
        while let Some(page) = page(client, resource, namespace, after.as_deref())? {
            delete_page(client, resource, namespace, &page, &mut content).await;
            after = page.last().map(|(key, _)| key.clone());
        }
    }
    if content.deletions > 0 {
        client.api().storage().client().linearizable(CATCH_UP).await?;
    }
    for resource in &resources {
        let name = format!("{}.{}", resource.plural, resource.group);
        let prefix = resource.storage_namespace_prefix(namespace);
        let mut after = None;
        while let Some(page) = page(client, resource, namespace, after.as_deref())? {
            page.iter().for_each(|(_, object)| content.remains.note(&name, object));
            after = page.last().map(|(key, _)| key.clone());
        }
        if content.remains.resources.contains_key(&name) {
            content.ranges.push(KeyRange::prefix(prefix));
        }
    }
    Ok(content)
}

/// The next objects with their keys, `None` if there are no more.
fn page(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    after: Option<&[u8]>,
) -> Result<Option<Vec<(Vec<u8>, Value)>>, ControlError> {
    let mut range = KeyRange::prefix(resource.storage_namespace_prefix(namespace));
    if let Some(after) = after {
        range.start = [after, b"\0"].concat().into();
    }
    let storage = client.api().storage();
    let read = storage
        .client()
        .store
        .range_page(&RangeRequest::new(range).limit(PAGE))?;
    let mut objects = Vec::with_capacity(read.kvs.len());
    for kv in &read.kvs {
        // One that cannot be read can still be deleted by its name.
        let opened = storage.open(kv).ok();
        let object = opened
            .and_then(|stored| serde_json::from_slice(&stored.bytes).ok())
            .unwrap_or_default();
        objects.push((kv.key.to_vec(), object));
    }
    Ok((!objects.is_empty()).then_some(objects))
}

async fn delete_page(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    page: &[(Vec<u8>, Value)],
    content: &mut Content,
) {
    let (api, plural) = (resource.api_path(), &resource.plural);
    let requests: Vec<(String, String)> = page
        .iter()
        .filter(|(_, object)| is_to_delete(object))
        .map(|(key, object)| {
            let name = String::from_utf8_lossy(key.rsplit(|b| *b == b'/').next().unwrap_or_default()).into_owned();
            let path = format!("{api}/namespaces/{}/{plural}/{}", segment(namespace), segment(&name));
            (path, object["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    content.deletions += requests.len();
    let mut results = iter(requests)
        .map(|(path, uid)| {
            let client = client.clone();
            async move { client.delete(&path, &uid).await }
        })
        .buffer_unordered(CONCURRENCY);
    while let Some(result) = results.next().await {
        if let Err(error) = result
            && content.errors.len() < ERRORS_MAX
        {
            content.errors.push(error);
        }
    }
}

/// Whether a deletion would change anything.
fn is_to_delete(object: &Value) -> bool {
    let mut finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    !object["metadata"]["deletionTimestamp"].is_string()
        || finalizers.any(|f| f.as_str().is_some_and(|f| PROPAGATION.contains(&f)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_of_objects_is_met_once() {
        let resources = resources(Catalog::builtin());
        let count = |plural: &str| resources.iter().filter(|r| r.plural == plural).count();
        assert_eq!(
            (count("pods"), count("events"), count("deployments"), count("secrets")),
            (1, 1, 1, 1)
        );
        assert_eq!(
            (count("bindings"), count("nodes"), count("localsubjectaccessreviews")),
            (0, 0, 0)
        );
    }
}

//! Custom resources: the catalog as the stored CustomResourceDefinitions extend it, and what is theirs in the pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use engenho_catalog::{Catalog, Resource};
use engenho_crd::{Definition, Version};
use engenho_store::{KeyRange, KeyValue, RangeRequest, Store, Watcher};
use parking_lot::Mutex;
use serde_json::Value;

use crate::context::Context;
use crate::documents::Documents;
use crate::{convert, kinds};

const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";

/// One served version of a definition.
#[derive(Debug, Clone)]
pub(crate) struct Custom {
    /// The definition.
    pub definition: Arc<Definition>,
    version: usize,
    form: blake3::Hash,
}

impl Custom {
    /// The version.
    pub fn version(&self) -> Option<&Version> {
        self.definition.versions.get(self.version)
    }
}

/// What is served: the catalog, and the definitions behind its custom resources.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// Built-in and custom resources.
    pub catalog: Arc<Catalog>,
    /// Documents about them.
    pub documents: Documents,
    customs: BTreeMap<String, Custom>,
}

fn key(group: &str, version: &str, plural: &str) -> String {
    format!("{group}/{version}/{plural}")
}

impl Served {
    /// The built-in resources and those of definitions. A definition never takes the place of a built-in resource.
    /// What `before` has rendered is kept where nothing has changed.
    fn of<'a>(definitions: impl IntoIterator<Item = &'a Compiled>, before: Option<&Served>) -> Served {
        let builtin = Catalog::builtin();
        let mut catalog = builtin.clone();
        let mut customs = BTreeMap::new();
        for Compiled { definition, form, .. } in definitions {
            let Some(definition) = definition else { continue };
            for resource in definition.resources() {
                let (group, version, plural) = (&*resource.group, &*resource.version, &*resource.plural);
                if builtin.resource(group, version, plural).is_some() {
                    continue;
                }
                if let Some(at) = definition.versions.iter().position(|have| have.name == version) {
                    let custom = Custom {
                        definition: definition.clone(),
                        version: at,
                        form: *form,
                    };
                    customs.insert(key(group, version, plural), custom);
                }
                catalog.insert(Arc::new(resource));
            }
        }
        let documents = before.map(|before| {
            let changed = before.changed(&customs);
            before.documents.without(|path| changed.contains(path))
        });
        Served {
            catalog: Arc::new(catalog),
            documents: documents.unwrap_or_default(),
            customs,
        }
    }

    /// The documents about resources that are others now.
    fn changed(&self, now: &BTreeMap<String, Custom>) -> BTreeSet<String> {
        let same = |a: Option<&Custom>, b: Option<&Custom>| {
            a.zip(b).is_some_and(|(a, b)| Arc::ptr_eq(&a.definition, &b.definition))
        };
        let keys = self.customs.keys().chain(now.keys());
        keys.filter(|key| !same(self.customs.get(*key), now.get(*key)))
            .filter_map(|key| Some(format!("apis/{}", key.rsplit_once('/')?.0)))
            .collect()
    }

    /// Whether a custom resource is served here in the same form as there: streams of it may go on.
    pub fn same_form(&self, other: &Served, resource: &Resource) -> bool {
        let form = |served: &Served| Some(served.custom(resource)?.form);
        form(self) == form(other)
    }

    /// The definition behind a custom resource.
    pub fn custom(&self, resource: &Resource) -> Option<&Custom> {
        if !kinds::is_custom(resource) {
            return None;
        }
        self.customs
            .get(&key(&resource.group, &resource.version, &resource.plural))
    }
}

/// The served resources, as the store's definitions say. They are compiled when they are first needed and again when
/// one has changed, before the next request.
#[derive(Default)]
pub(crate) struct CustomResources {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    served: Option<Arc<Served>>,
    /// The definitions by key.
    compiled: BTreeMap<Bytes, Compiled>,
    watcher: Option<Watcher>,
}

/// A definition as of a revision.
struct Compiled {
    revision: u64,
    /// None if it cannot be served yet.
    definition: Option<Arc<Definition>>,
    /// Hash of all that says what instances are like.
    form: blake3::Hash,
}

impl Compiled {
    fn of(kv: &KeyValue) -> Self {
        let crd: Value = serde_json::from_slice(&kv.value).unwrap_or_default();
        let form = format!("{}{}", crd["spec"], crd["status"]["acceptedNames"]);
        Self {
            revision: kv.mod_revision,
            // One whose names are not accepted yet is not served.
            definition: Definition::compile(&crd).ok().map(Arc::new),
            form: blake3::hash(form.as_bytes()),
        }
    }
}

impl CustomResources {
    /// What is served as of this replica's newest revision.
    pub fn served(&self, store: &Arc<Store>) -> Arc<Served> {
        let mut state = self.state.lock();
        let unchanged = match &mut state.watcher {
            Some(watcher) => match watcher.progress() {
                // Without events and without having come along, the watch lies behind what memory holds.
                Ok(batch) => batch.events.is_empty() && batch.revision >= store.revision(),
                Err(_) => false,
            },
            None => false,
        };
        match state.served.as_ref().filter(|_| unchanged) {
            Some(served) => served.clone(),
            None => compile(&mut state, store),
        }
    }
}

fn compile(state: &mut State, store: &Arc<Store>) -> Arc<Served> {
    let read = match store.range(&RangeRequest::new(KeyRange::prefix(PREFIX))) {
        Ok(read) => read,
        Err(error) => {
            tracing::error!(%error, "definitions of custom resources cannot be read: what is served stays as it was");
            return state
                .served
                .get_or_insert_with(|| Arc::new(Served::of([], None)))
                .clone();
        }
    };
    let mut before = std::mem::take(&mut state.compiled);
    for kv in &read.kvs {
        let known = before.remove(&kv.key).filter(|of| of.revision == kv.mod_revision);
        let compiled = known.unwrap_or_else(|| Compiled::of(kv));
        state.compiled.insert(kv.key.clone(), compiled);
    }
    let served = Arc::new(Served::of(state.compiled.values(), state.served.as_deref()));
    state.served = Some(served.clone());
    state.watcher = store.watch(KeyRange::prefix(PREFIX), read.revision).ok();
    served
}

/// The key of the definition behind a resource, if there is one.
pub(crate) fn definition_key(context: &Context) -> Option<KeyRange> {
    let custom = context.served.custom(&context.resource)?;
    Some(KeyRange::key(format!("{PREFIX}{}", custom.definition.name)))
}

/// A stored object in the form that the request's resource serves.
pub(crate) fn from_storage(context: &Context, mut object: Value) -> Value {
    match context.custom_version() {
        Some((custom, version)) => {
            custom.definition.read(version, &mut object);
            object
        }
        None => convert::from_storage(&context.resource, object),
    }
}

/// The form in which an object is stored.
pub(crate) fn to_storage(context: &Context, mut object: Value) -> Value {
    match context.custom_version() {
        Some((custom, _)) => {
            custom.definition.write(&mut object);
            object
        }
        None => convert::to_storage(&context.resource, object),
    }
}

/// Whether what is stored differs from what is served.
pub(crate) fn is_converted(context: &Context) -> bool {
    kinds::is_custom(&context.resource) || convert::is_converted(&context.resource)
}

//! Custom resources: the catalog as the stored CustomResourceDefinitions extend it, and what is theirs in the pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;

use engenho_catalog::{Catalog, Resource};
use engenho_crd::{Definition, Version};
use engenho_store::{KeyRange, RangeRequest, Store, Watcher};
use parking_lot::Mutex;
use serde_json::Value;

use crate::context::Context;
use crate::status::Status;
use crate::{convert, kinds};

const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";

/// One served version of a definition.
#[derive(Debug, Clone)]
pub(crate) struct Custom {
    /// The definition.
    pub definition: Arc<Definition>,
    version: usize,
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
    customs: BTreeMap<String, Custom>,
}

fn key(group: &str, version: &str, plural: &str) -> String {
    format!("{group}/{version}/{plural}")
}

impl Served {
    /// The built-in resources and those of definitions. A definition never takes the place of a built-in resource.
    fn of(definitions: impl IntoIterator<Item = Definition>) -> Served {
        let builtin = Catalog::builtin();
        let mut catalog = builtin.clone();
        let mut customs = BTreeMap::new();
        for definition in definitions {
            let definition = Arc::new(definition);
            for resource in definition.resources() {
                let (group, version, plural) = (&*resource.group, &*resource.version, &*resource.plural);
                if builtin.resource(group, version, plural).is_some() {
                    continue;
                }
                if let Some(at) = definition.versions.iter().position(|have| have.name == version) {
                    let custom = Custom {
                        definition: definition.clone(),
                        version: at,
                    };
                    customs.insert(key(group, version, plural), custom);
                }
                catalog.insert(Arc::new(resource));
            }
        }
        Served {
            catalog: Arc::new(catalog),
            customs,
        }
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
    watcher: Option<Watcher>,
}

impl CustomResources {
    /// What is served as of this replica's newest revision; `changed` is called if it is not what it was before.
    pub fn served(&self, store: &Arc<Store>, changed: impl FnOnce()) -> Arc<Served> {
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
            None => {
                let served = compile(&mut state, store);
                changed();
                served
            }
        }
    }
}

fn compile(state: &mut State, store: &Arc<Store>) -> Arc<Served> {
    let read = match store.range(&RangeRequest::new(KeyRange::prefix(PREFIX))) {
        Ok(read) => read,
        Err(error) => {
            tracing::error!(%error, "definitions of custom resources cannot be read: what is served stays as it was");
            return state.served.get_or_insert_with(|| Arc::new(Served::of([]))).clone();
        }
    };
    let definitions = read.kvs.iter().filter_map(|kv| {
        let crd: Value = serde_json::from_slice(&kv.value).ok()?;
        // One whose names are not accepted yet is not served.
        Definition::compile(&crd).ok()
    });
    let served = Arc::new(Served::of(definitions));
    state.served = Some(served.clone());
    state.watcher = store.watch(KeyRange::prefix(PREFIX), read.revision).ok();
    served
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

/// An object of one resource as another serves it that stores the same objects.
pub(crate) async fn between(context: &Context, from: &Resource, to: &Resource, object: Value) -> Result<Value, Status> {
    if !object.is_object() || (from.group == to.group && from.version == to.version) {
        return Ok(object);
    }
    let mut converted = match context.served.custom(from) {
        Some(_) => object,
        None => convert::from_storage(to, convert::to_storage(from, object)),
    };
    converted["apiVersion"] = to.api_version().into();
    Ok(converted)
}

/// Whether what is stored differs from what is served.
pub(crate) fn is_converted(context: &Context) -> bool {
    kinds::is_custom(&context.resource) || convert::is_converted(&context.resource)
}

//! Custom resources: the catalog as the stored CustomResourceDefinitions extend it, and what is theirs in the pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engenho_catalog::{Catalog, Resource};
use engenho_crd::conversion::{self, ReviewVersion};
use engenho_crd::{Definition, Version};
use engenho_store::{KeyRange, KeyValue, RangeRequest, Store};
use engenho_validation::get::text;
use parking_lot::Mutex;
use serde_json::Value;

use crate::context::Context;
use crate::documents::Documents;
use crate::outbound::hooks::Hook;
use crate::server::Inner;
use crate::status::Status;
use crate::watched::Watched;
use crate::{convert, kinds, random};

const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
/// Objects that a webhook converts at once.
const BATCH: usize = 500;
/// How long it may take for them.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer of it.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// One served version of a definition.
#[derive(Debug, Clone)]
pub(crate) struct Custom {
    /// The definition.
    pub definition: Arc<Definition>,
    version: usize,
    form: blake3::Hash,
    /// Who converts between its versions, if they differ by more than their name.
    converter: Option<Arc<Converter>>,
}

/// The webhook that converts between the versions of a definition.
#[derive(Debug)]
struct Converter {
    hook: Hook,
    versions: Vec<String>,
}

impl Converter {
    fn of(definition: &Definition) -> Option<Arc<Self>> {
        let webhook = definition.conversion_webhook.as_ref()?;
        Some(Arc::new(Self {
            hook: Hook::new(&webhook["clientConfig"]),
            versions: conversion::review_versions(webhook).map(str::to_owned).collect(),
        }))
    }

    /// Objects in the version `desired`, in their order. Those that are so already are not shown to the webhook.
    async fn convert(&self, server: &Inner, desired: &str, objects: Vec<Value>) -> Result<Vec<Value>, String> {
        let versions = self.versions.iter().map(String::as_str);
        let version = ReviewVersion::choose(versions)?;
        let mut converted = Vec::with_capacity(objects.len());
        for batch in objects.chunks(BATCH) {
            let other = |object: &&Value| object["apiVersion"] != desired;
            let asked: Vec<&Value> = batch.iter().filter(other).collect();
            let Some(first) = asked.first() else {
                converted.extend_from_slice(batch);
                continue;
            };
            let uid = random::uuid(&*server.deps.entropy);
            let review = conversion::review(version, &uid, desired, &asked);
            let answer = self.hook.post(server, &review, TIMEOUT, ANSWER_BYTES_MAX).await;
            let answer = answer.map_err(|why| {
                let (version, kind) = (text(&first["apiVersion"]), text(&first["kind"]));
                format!("conversion webhook for {version}, Kind={kind} failed: {why}")
            })?;
            let mut given = conversion::converted(version, &uid, desired, &asked, answer)?.into_iter();
            for object in batch {
                if other(&object) {
                    converted.extend(given.next());
                } else {
                    converted.push(object.clone());
                }
            }
        }
        Ok(converted)
    }
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
            let converter = Converter::of(definition);
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
                        converter: converter.clone(),
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
    watched: Watched,
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
        let unchanged = state.watched.is_unchanged(store);
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
    state.watched.follow(store, PREFIX, read.revision);
    served
}

/// The key of the definition behind a resource, if there is one.
pub(crate) fn definition_key(context: &Context) -> Option<KeyRange> {
    let custom = context.served.custom(&context.resource)?;
    Some(KeyRange::key(format!("{PREFIX}{}", custom.definition.name)))
}

/// Objects in another version, which the webhook gives if there is one.
async fn convert(
    server: &Inner,
    custom: &Custom,
    version: &Version,
    mut objects: Vec<Value>,
) -> Result<Vec<Value>, Status> {
    if let Some(converter) = &custom.converter {
        let desired = custom.definition.api_version(version);
        let converted = converter.convert(server, &desired, objects).await;
        objects = converted.map_err(Status::untyped)?;
    }
    for object in &mut objects {
        custom.definition.convert(version, object);
    }
    Ok(objects)
}

/// Stored objects in the form that the request's resource serves.
pub(crate) async fn read_all(context: &Context, mut objects: Vec<Value>) -> Result<Vec<Value>, Status> {
    match context.custom_version() {
        Some((custom, version)) if custom.converter.is_some() => {
            for object in &mut objects {
                custom.definition.read_stored(version, object);
            }
            Box::pin(convert(&context.server, custom, version, objects)).await
        }
        _ => Ok(objects
            .into_iter()
            .map(|object| from_storage(context, object))
            .collect()),
    }
}

/// A stored object in the form that the request's resource serves.
pub(crate) async fn read(context: &Context, object: Value) -> Result<Value, Status> {
    let read = read_all(context, vec![object]).await?;
    read.into_iter()
        .next()
        .ok_or_else(|| Status::internal("an object was lost in conversion"))
}

/// The form in which an object is stored.
pub(crate) async fn stored(context: &Context, mut object: Value) -> Result<Value, Status> {
    let Some((custom, _)) = context.custom_version() else {
        return Ok(convert::to_storage(&context.resource, object));
    };
    if let (Some(_), Some(version)) = (&custom.converter, custom.definition.storage_version()) {
        let converted = Box::pin(convert(&context.server, custom, version, vec![object])).await?;
        object = converted.into_iter().next().unwrap_or_default();
    }
    custom.definition.write(&mut object);
    Ok(object)
}

/// A stored object in the form that the request's resource serves, if no webhook is needed for that.
pub(crate) fn from_storage(context: &Context, mut object: Value) -> Value {
    match context.custom_version() {
        Some((custom, version)) => {
            custom.definition.read(version, &mut object);
            object
        }
        None => convert::from_storage(&context.resource, object),
    }
}

/// Whether a webhook may be needed to read what is stored.
pub(crate) fn is_read_by_webhook(context: &Context) -> bool {
    let custom = context.custom_version();
    custom.is_some_and(|(custom, _)| custom.converter.is_some())
}

/// An object of one resource as another serves it that stores the same objects.
pub(crate) async fn between(context: &Context, from: &Resource, to: &Resource, object: Value) -> Result<Value, Status> {
    if !object.is_object() || (from.group == to.group && from.version == to.version) {
        return Ok(object);
    }
    let custom = context.served.custom(from);
    if let Some((custom, version)) = custom.and_then(|custom| Some((custom, custom.definition.version(&to.version)?))) {
        let converted = Box::pin(convert(&context.server, custom, version, vec![object])).await?;
        return Ok(converted.into_iter().next().unwrap_or_default());
    }
    let mut converted = convert::from_storage(to, convert::to_storage(from, object));
    converted["apiVersion"] = to.api_version().into();
    Ok(converted)
}

/// Whether what is stored differs from what is served.
pub(crate) fn is_converted(context: &Context) -> bool {
    kinds::is_custom(&context.resource) || convert::is_converted(&context.resource)
}

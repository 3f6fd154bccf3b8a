//! The admission plugins around a write: what they change, what they refuse, what is written with it.

use engenho_admission::{Gates, Lookup, Operation, Refusal, Request, quota};
use engenho_authz::Attributes;
use engenho_catalog::resource::api_version;
use engenho_catalog::{SchemaType, Subresource};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::lookup::Stored;
use super::webhooks::Rounds;
use super::{policies, security, webhooks};
use crate::context::Context;
use crate::status::{GroupResource, Status};
use crate::storage::Along;
use crate::write::now;
use crate::{fields, object, random};

/// Field manager of what plugins write.
const MANAGER: &str = "kube-apiserver";

/// One write, as the plugins see it.
#[derive(Clone, Copy)]
pub(crate) struct Admission<'a> {
    context: &'a Context,
    operation: Operation,
    subresource: &'a str,
    name: &'a str,
    dry_run: bool,
    /// Whether the name was made here.
    generated: bool,
}

/// Judges by policies and webhooks whether somebody may connect to an object through one of its subresources.
pub(crate) async fn connect(context: &Context, subresource: &Subresource) -> Result<(), Status> {
    let query = &context.info.query;
    let mut object = json!({"kind": subresource.kind.kind, "apiVersion": subresource_version(context, subresource)});
    for (name, of) in &subresource.parameters {
        let Some(value) = query.find(name) else { continue };
        object[&**name] = match of {
            SchemaType::Boolean => query.bool(name).unwrap_or_default().into(),
            SchemaType::Integer => value.parse::<i64>().unwrap_or_default().into(),
            SchemaType::Array => query.all(name).collect(),
            _ => value.into(),
        };
    }
    let attributes = policies::Attributes {
        context,
        operation: policies::Operation::Connect,
        subresource: &context.info.subresource,
        name: &context.info.path_name,
        object: &Value::Null,
        old: &Value::Null,
        dry_run: false,
        options: &Value::Null,
    };
    let mut rounds = Rounds::default();
    Box::pin(webhooks::mutate(&attributes, &mut object, &mut rounds)).await?;
    if rounds.is_changed() {
        rounds.again(&object);
        Box::pin(webhooks::mutate(&attributes, &mut object, &mut rounds)).await?;
    }
    let attributes = policies::Attributes {
        object: &object,
        ..attributes
    };
    policies::check(&attributes).await?;
    Box::pin(webhooks::validate(&attributes)).await
}

/// What a new object has that the server gave it: webhooks see it without.
struct Given(Vec<(&'static str, Value)>);

impl Given {
    fn take(object: &mut Value, generated: bool) -> Self {
        let fields = ["uid", "creationTimestamp", "name"];
        let hidden = &fields[..if generated { 3 } else { 2 }];
        let taken = hidden
            .iter()
            .filter_map(|field| Some((*field, object::remove_meta(object, field)?)));
        Self(taken.collect())
    }

    fn put(&self, object: &mut Value) {
        for (field, value) in &self.0 {
            object::set_meta(object, field, value.clone());
        }
    }
}

fn subresource_version(context: &Context, subresource: &Subresource) -> String {
    match (&*subresource.kind.group, &*subresource.kind.version) {
        ("", "") => context.resource.api_version(),
        (group, version) => api_version(group, version),
    }
}

impl<'a> Admission<'a> {
    /// A creation, of an object that may have no name yet.
    pub fn create(context: &'a Context, name: &'a str, dry_run: bool) -> Self {
        Self::of(context, Operation::Create, "", name, dry_run)
    }

    /// The replacement of an object, or of a part of it.
    pub fn update(context: &'a Context, subresource: &'a str, name: &'a str, dry_run: bool) -> Self {
        Self::of(context, Operation::Update, subresource, name, dry_run)
    }

    /// What is posted to a subresource.
    pub fn post(context: &'a Context, subresource: &'a str, name: &'a str, dry_run: bool) -> Self {
        Self::of(context, Operation::Create, subresource, name, dry_run)
    }

    /// A deletion.
    pub fn delete(context: &'a Context, name: &'a str, dry_run: bool) -> Self {
        Self::of(context, Operation::Delete, "", name, dry_run)
    }

    fn of(context: &'a Context, operation: Operation, subresource: &'a str, name: &'a str, dry_run: bool) -> Self {
        Self {
            context,
            operation,
            subresource,
            name,
            dry_run,
            generated: false,
        }
    }

    /// The same of an object whose name is made here.
    pub fn generated(self, generated: bool) -> Self {
        Self { generated, ..self }
    }

    fn request(&self) -> Request<'a> {
        let context = self.context;
        let namespace = if context.resource.namespaced {
            context.info.namespace.as_str()
        } else {
            ""
        };
        Request {
            operation: self.operation,
            group: &context.resource.group,
            version: &context.resource.version,
            resource: &context.resource.plural,
            subresource: self.subresource,
            namespace,
            name: self.name,
            user: &context.identity.user,
            groups: &context.identity.groups,
            dry_run: self.dry_run,
            gates: Gates::default(),
        }
    }

    fn refused(&self, refusal: Refusal<Status>, object: &Value) -> Status {
        match refusal {
            Refusal::Forbidden { message } => {
                Status::forbidden(self.context.gr(), &self.request().shown_name(object), &message)
            }
            Refusal::NotFound { group, resource, name } => Status::not_found(
                GroupResource {
                    group: &group,
                    resource: &resource,
                },
                &name,
            ),
            Refusal::Lookup(status) => status,
        }
    }

    /// What is done, as policies and webhooks call it.
    fn operation(&self) -> policies::Operation {
        match self.operation {
            Operation::Create => policies::Operation::Create,
            Operation::Update => policies::Operation::Update,
            Operation::Delete => policies::Operation::Delete,
        }
    }

    fn attributes<'b>(
        &'b self,
        object: &'b Value,
        old: Option<&'b Value>,
        options: &'b Value,
    ) -> policies::Attributes<'b> {
        policies::Attributes {
            context: self.context,
            operation: self.operation(),
            subresource: self.subresource,
            name: self.name,
            object,
            old: old.unwrap_or(&Value::Null),
            dry_run: self.dry_run,
            options,
        }
    }

    fn options(&self) -> Value {
        policies::options(self.context, self.operation())
    }

    /// Lets plugins and webhooks complete the object.
    pub async fn mutate(&self, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        let begun = Instant::now();
        let mutated = self.mutate_all(object, old).await;
        let metrics = &self.context.server.metrics;
        metrics.admission_step("admit", self.operation_name(), mutated.is_err(), begun.elapsed());
        mutated
    }

    async fn mutate_all(&self, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        self.plugins(object, old)?;
        if webhooks::concern(self.context)? {
            let options = self.options();
            Box::pin(self.webhooks(object, old, &options, true)).await?;
        }
        Ok(())
    }

    fn plugins(&self, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        let entropy = &*self.context.server.deps.entropy;
        let mut suffix = || random::name(entropy, "");
        engenho_admission::mutate(&self.request(), object, old, &Stored(self.context), &mut suffix)
            .map_err(|refusal| self.refused(refusal, object))
    }

    /// Lets webhooks complete the object: twice, if they changed it, with the plugins between.
    async fn webhooks(
        &self,
        object: &mut Value,
        old: Option<&Value>,
        options: &Value,
        plugins: bool,
    ) -> Result<(), Status> {
        let is_new = self.operation == Operation::Create && self.subresource.is_empty();
        let name = if self.generated { "" } else { self.name };
        let shown = Self { name, ..*self };
        let nothing = Value::Null;
        let attributes = shown.attributes(&nothing, old, options);
        let given = is_new.then(|| Given::take(object, self.generated));
        let give = |object: &mut Value| given.iter().for_each(|given| given.put(object));
        let booked = object.pointer("/metadata/managedFields").cloned();
        let mut rounds = Rounds::default();
        webhooks::mutate(&attributes, object, &mut rounds).await?;
        if rounds.is_changed() {
            if plugins {
                give(object);
                self.plugins(object, old)?;
                if is_new {
                    Given::take(object, self.generated);
                }
            }
            rounds.again(object);
            webhooks::mutate(&attributes, object, &mut rounds).await?;
        }
        give(object);
        if object.is_object() {
            self.check_bookkeeping(object, booked);
            if let Some(warning) = engenho_warnings::dedup_owner_references(object, true) {
                self.context.warn(warning);
            }
        }
        Ok(())
    }

    /// Webhooks that spoil managed fields do not get their way.
    fn check_bookkeeping(&self, object: &mut Value, before: Option<Value>) {
        let now = object.pointer("/metadata/managedFields").and_then(Value::as_array);
        let Some(error) = now.and_then(|list| engenho_patch::managed::validate_managed_fields(list).err()) else {
            return;
        };
        self.context.warn(format!(
            ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: {error}"
        ));
        match before {
            Some(before) => object::set_meta(object, "managedFields", before),
            None => drop(object::remove_meta(object, "managedFields")),
        }
    }

    /// Lets plugins check the object as it would be stored. Gives what is written with it.
    pub async fn validate(&self, object: &Value, old: Option<&Value>) -> Result<Along, Status> {
        let begun = Instant::now();
        let validated = self.validate_all(object, old).await;
        let metrics = &self.context.server.metrics;
        metrics.admission_step("validate", self.operation_name(), validated.is_err(), begun.elapsed());
        validated
    }

    async fn validate_all(&self, object: &Value, old: Option<&Value>) -> Result<Along, Status> {
        self.check(object, old).await?;
        let options = self.options();
        self.judge(object, old, &options).await?;
        self.timed("ResourceQuota", || {
            let (request, lookup) = (self.request(), Stored(self.context));
            let mut along = Along::default();
            let updates = quota::plan(&request, object, old, &lookup);
            for update in updates.map_err(|refusal| self.refused(refusal, object))? {
                along.and(self.count(&update)?);
            }
            Ok(along)
        })
    }

    fn operation_name(&self) -> &'static str {
        match self.operation {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
        }
    }

    /// Runs a plugin whose time is told on its own.
    fn timed<T>(&self, plugin: &str, run: impl FnOnce() -> Result<T, Status>) -> Result<T, Status> {
        let begun = Instant::now();
        let done = run();
        self.tell(plugin, done.is_err(), begun);
        done
    }

    fn tell(&self, plugin: &str, refused: bool, begun: Instant) {
        let metrics = &self.context.server.metrics;
        metrics.admission_plugin(plugin, "validate", self.operation_name(), refused, begun.elapsed());
    }

    async fn check(&self, object: &Value, old: Option<&Value>) -> Result<(), Status> {
        let (request, lookup) = (self.request(), Stored(self.context));
        let refused = |refusal| self.refused(refusal, object);
        let wanted = engenho_admission::authorization(&request, object, old, &lookup).map_err(refused)?;
        if let Some(wanted) = wanted
            && !self.is_any_allowed(&wanted.any_of).await
        {
            return Err(refused(Refusal::Forbidden {
                message: wanted.refusal,
            }));
        }
        engenho_admission::validate(&request, object, old, &lookup).map_err(refused)?;
        self.timed("PodSecurity", || {
            security::check(self.context, self.operation, self.subresource, object, old)
        })
    }

    /// Admits an object by webhooks and policies only. Those that stand for parts of others, such as a Scale, have no
    /// further plugins.
    pub async fn review(&self, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        let options = self.options();
        if webhooks::concern(self.context)? {
            Box::pin(self.webhooks(object, old, &options, false)).await?;
        }
        self.judge(object, old, &options).await
    }

    /// Admits a deletion. `judged` if policies and webhooks are asked.
    pub async fn deletion(&self, old: &Value, options: &Value, judged: bool) -> Result<(), Status> {
        let mut nothing = Value::Null;
        self.plugins(&mut nothing, Some(old))?;
        if !judged {
            return Ok(());
        }
        if webhooks::concern(self.context)? {
            Box::pin(self.webhooks(&mut nothing, Some(old), options, true)).await?;
        }
        self.judge(&Value::Null, Some(old), options).await
    }

    /// Judges by policies, then by webhooks.
    async fn judge(&self, object: &Value, old: Option<&Value>, options: &Value) -> Result<(), Status> {
        let attributes = self.attributes(object, old, options);
        let begun = Instant::now();
        let judged = policies::check(&attributes).await;
        self.tell("ValidatingAdmissionPolicy", judged.is_err(), begun);
        judged?;
        let begun = Instant::now();
        let validated = Box::pin(webhooks::validate(&attributes)).await;
        self.tell("ValidatingAdmissionWebhook", validated.is_err(), begun);
        validated
    }

    async fn is_any_allowed(&self, any_of: &[engenho_admission::Attributes]) -> bool {
        for wanted in any_of {
            let attributes = Attributes {
                identity: self.context.identity.clone(),
                resource_request: true,
                verb: wanted.verb.clone(),
                group: wanted.group.clone(),
                version: "*".to_owned(),
                resource: wanted.resource.clone(),
                namespace: wanted.namespace.clone(),
                name: wanted.name.clone(),
                ..Attributes::default()
            };
            if self
                .context
                .server
                .deps
                .authorizer
                .authorize(&attributes)
                .await
                .allowed()
            {
                return true;
            }
        }
        false
    }

    /// A quota's new status, written with the object that it counts: what is used is never more than is written.
    fn count(&self, update: &quota::QuotaUpdate) -> Result<Along, Status> {
        let context = self.context;
        let mut along = Along::default();
        let (Some(resource), namespace) = (
            context.catalog.resource("", "v1", "resourcequotas"),
            context.info.namespace.as_str(),
        ) else {
            return Ok(along);
        };
        let Some(live) = Stored(context).get("", "resourcequotas", namespace, &update.name)? else {
            return Ok(along);
        };
        let mut new = live.clone();
        new["status"] = update.new_status.clone();
        let new = fields::update(&**resource, "status", Some(&live), new, MANAGER, &now(context));
        let revision = update.resource_version.parse().unwrap_or_default();
        let key = resource.storage_key(namespace, &update.name);
        let encoded = object::encode(&new, &resource.kind, &resource.api_version());
        along.replace(context.storage().put(resource, &key, &encoded)?, key, revision);
        Ok(along)
    }
}

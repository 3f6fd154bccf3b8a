//! The admission plugins around a write: what they change, what they refuse, what is written with it.

use engenho_admission::{Gates, Lookup, Operation, Refusal, Request, quota};
use engenho_authz::{Attributes, Verdict};
use engenho_catalog::resource::api_version;
use engenho_catalog::{SchemaType, Subresource};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::lookup::Stored;
use super::{policies, security};
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
}

/// Judges by admission policies whether somebody may connect to an object through one of its subresources.
pub(crate) fn connect(context: &Context, subresource: &Subresource) -> Result<(), Status> {
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
    policies::check(&policies::Attributes {
        context,
        operation: policies::Operation::Connect,
        subresource: &context.info.subresource,
        name: &context.info.path_name,
        object: &object,
        old: &Value::Null,
        dry_run: false,
        options: &Value::Null,
    })
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
        }
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

    /// Lets plugins complete the object.
    pub fn mutate(&self, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        let begun = Instant::now();
        let entropy = &*self.context.server.deps.entropy;
        let mut suffix = || random::name(entropy, "");
        let mutated = engenho_admission::mutate(&self.request(), object, old, &Stored(self.context), &mut suffix)
            .map_err(|refusal| self.refused(refusal, object));
        let metrics = &self.context.server.metrics;
        metrics.admission_step("admit", self.operation_name(), mutated.is_err(), begun.elapsed());
        mutated
    }

    /// Lets plugins check the object as it would be stored. Gives what is written with it.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Result<Along, Status> {
        let begun = Instant::now();
        let validated = self.validate_all(object, old);
        let metrics = &self.context.server.metrics;
        metrics.admission_step("validate", self.operation_name(), validated.is_err(), begun.elapsed());
        validated
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
        let metrics = &self.context.server.metrics;
        metrics.admission_plugin(
            plugin,
            "validate",
            self.operation_name(),
            done.is_err(),
            begun.elapsed(),
        );
        done
    }

    fn validate_all(&self, object: &Value, old: Option<&Value>) -> Result<Along, Status> {
        let (request, lookup) = (self.request(), Stored(self.context));
        let refused = |refusal| self.refused(refusal, object);
        let wanted = engenho_admission::authorization(&request, object, old, &lookup).map_err(refused)?;
        if let Some(wanted) = wanted
            && !wanted.any_of.iter().any(|attributes| self.is_allowed(attributes))
        {
            return Err(refused(Refusal::Forbidden {
                message: wanted.refusal,
            }));
        }
        engenho_admission::validate(&request, object, old, &lookup).map_err(refused)?;
        self.timed("PodSecurity", || {
            security::check(self.context, self.operation, self.subresource, object, old)
        })?;
        self.timed("ValidatingAdmissionPolicy", || self.policies(object, old))?;
        self.timed("ResourceQuota", || {
            let mut along = Along::default();
            for update in quota::plan(&request, object, old, &lookup).map_err(refused)? {
                along.and(self.count(&update)?);
            }
            Ok(along)
        })
    }

    /// Judges the object by admission policies only. Those that stand for parts of others, such as a Scale, have no
    /// further plugins.
    pub fn policies(&self, object: &Value, old: Option<&Value>) -> Result<(), Status> {
        let operation = match self.operation {
            Operation::Create => policies::Operation::Create,
            Operation::Update => policies::Operation::Update,
            Operation::Delete => policies::Operation::Delete,
        };
        let options = policies::options(self.context, operation);
        self.judge(operation, object, old, &options)
    }

    /// Judges a deletion by admission policies.
    pub fn policies_of_deletion(&self, old: &Value, options: &Value) -> Result<(), Status> {
        self.judge(policies::Operation::Delete, &Value::Null, Some(old), options)
    }

    fn judge(
        &self,
        operation: policies::Operation,
        object: &Value,
        old: Option<&Value>,
        options: &Value,
    ) -> Result<(), Status> {
        policies::check(&policies::Attributes {
            context: self.context,
            operation,
            subresource: self.subresource,
            name: self.name,
            object,
            old: old.unwrap_or(&Value::Null),
            dry_run: self.dry_run,
            options,
        })
    }

    fn is_allowed(&self, wanted: &engenho_admission::Attributes) -> bool {
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
        self.context.server.deps.authorizer.authorize(&attributes).verdict == Verdict::Allow
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
        let new = fields::update(resource, "status", Some(&live), new, MANAGER, &now(context));
        let revision = update.resource_version.parse().unwrap_or_default();
        let key = resource.storage_key(namespace, &update.name);
        let encoded = object::encode(&new, &resource.kind, &resource.api_version());
        along.replace(context.storage().put(resource, &key, &encoded)?, key, revision);
        Ok(along)
    }
}

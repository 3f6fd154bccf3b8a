//! The admission plugins around a write: what they change, what they refuse, what is written with it.

use engenho_admission::{Gates, Lookup, Operation, Refusal, Request, quota};
use engenho_authz::{Attributes, Verdict};
use serde_json::Value;

use super::lookup::Stored;
use super::security;
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
        let entropy = &*self.context.server.deps.entropy;
        let mut suffix = || random::name(entropy, "");
        engenho_admission::mutate(&self.request(), object, old, &Stored(self.context), &mut suffix)
            .map_err(|refusal| self.refused(refusal, object))
    }

    /// Lets plugins check the object as it would be stored. Gives what is written with it.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Result<Along, Status> {
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
        security::check(self.context, self.operation, self.subresource, object, old)?;
        let mut along = Along::default();
        for update in quota::plan(&request, object, old, &lookup).map_err(refused)? {
            along.and(self.count(&update)?);
        }
        Ok(along)
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

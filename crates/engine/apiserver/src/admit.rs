//! Admission: objects live only in namespaces that exist and stay, and go through the built-in plugins,
//! policies and webhooks.

mod lookup;
mod plugins;
mod policies;
mod security;
mod webhooks;

pub(crate) use plugins::{Admission, connect};
pub(crate) use policies::Policies;
use serde_json::Value;
pub(crate) use webhooks::{Webhooks, concern};

use crate::authorizer::{EscalationError, RbacWrite};
use crate::context::{Context, parse_stored};
use crate::status::{Cause, GroupResource, Status};
use crate::storage::Along;

/// Namespaces that cannot be deleted.
pub(crate) const IMMORTAL_NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

const NAMESPACES: GroupResource<'static> = GroupResource {
    group: "",
    resource: "namespaces",
};

/// Checks that an object may be created in the request's namespace, and gives the condition under which that stays true.
pub(crate) fn create(context: &Context, name: &str) -> Result<Along, Status> {
    let namespace = &context.info.namespace;
    let mut along = Along::default();
    if !context.resource.namespaced {
        return Ok(along);
    }
    let key = format!("/registry/core/namespaces/{namespace}");
    let Some(stored) = context.storage().get(&key)? else {
        return Err(Status::not_found(NAMESPACES, namespace));
    };
    let object: Value = parse_stored(&stored.bytes)?;
    if crate::object::is_terminating(&object) {
        let text = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".into(),
        };
        return Err(Status::forbidden(context.gr(), name, &text).with_causes(vec![cause]));
    }
    along.guard(key, stored.revision);
    Ok(along)
}

/// Refuses a role or binding that would give its writer rights.
pub(crate) async fn rbac(context: &Context, name: &str, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    if context.resource.group != "rbac.authorization.k8s.io" {
        return Ok(());
    }
    let write = RbacWrite {
        identity: &context.identity,
        resource: &context.resource.plural,
        namespace: &context.info.namespace,
        name: &context.info.path_name,
        new,
        old,
    };
    let refused = match context.server.deps.authorizer.check_escalation(&write).await {
        Ok(()) => return Ok(()),
        Err(refused) => refused,
    };
    Err(match refused {
        EscalationError::Forbidden { message } => Status::forbidden(context.gr(), name, &message),
        EscalationError::RoleNotFound { name, .. } => Status::not_found(context.gr(), &name),
        EscalationError::RoleKind { .. } | EscalationError::Object { .. } => Status::bad_request(refused.to_string()),
    })
}

/// Refuses the deletion of objects that the system stands on.
pub(crate) fn delete(context: &Context, name: &str) -> Result<(), Status> {
    let (group, plural) = (&*context.resource.group, &*context.resource.plural);
    if group.is_empty() && plural == "namespaces" && IMMORTAL_NAMESPACES.contains(&name) {
        return Err(Status::forbidden(
            context.gr(),
            name,
            "this namespace may not be deleted",
        ));
    }
    if plural == "priorityclasses" && group == "scheduling.k8s.io" && name.starts_with("system-") {
        return Err(Status::forbidden(
            context.gr(),
            name,
            "this is a system priority class and cannot be deleted",
        ));
    }
    Ok(())
}

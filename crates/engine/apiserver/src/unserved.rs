//! Requests to what is not served: paths that are unknown, and verbs that custom resources don't have.

use engenho_catalog::{Catalog, Resource};
use http::Response;

use crate::body::Body;
use crate::context::Context;
use crate::nonresource::not_found;
use crate::request::RequestInfo;
use crate::status::Status;

/// The answer to a request for a resource that isn't there. Groups that are always served say so in a Status.
pub(crate) fn unknown(info: &RequestInfo) -> Result<Response<Body>, Status> {
    if is_builtin(&info.group) {
        Err(Status::no_such_resource())
    } else {
        Ok(not_found())
    }
}

/// Whether a group is there without any definition of custom resources.
pub(crate) fn is_builtin(group: &str) -> bool {
    Catalog::builtin().group(group).is_some()
}

/// Whether the path has a scope that the resource has not: a namespaced resource outside a namespace can only be listed
/// and watched; a cluster's has no namespace.
pub(crate) fn wrong_scope(resource: &Resource, info: &RequestInfo) -> bool {
    if resource.namespaced && info.namespace.is_empty() {
        let listed = matches!(info.verb.as_str(), "list" | "watch");
        let named = !info.path_name.is_empty() || !info.subresource.is_empty();
        return if resource.is_custom() { !listed } else { named };
    }
    let is_namespace = info.group.is_empty() && info.resource == "namespaces";
    !resource.namespaced && !info.namespace.is_empty() && !is_namespace
}

/// What keeps a request to a custom resource from being served, as its own handler says it.
pub(crate) fn custom(context: &Context) -> Option<Status> {
    let info = &context.info;
    let verb = info.verb.as_str();
    if !info.subresource.is_empty() {
        if context.resource.subresource(&info.subresource).is_none() {
            return Some(context.not_found(&info.path_name));
        }
        let served = matches!(verb, "get" | "update" | "patch");
        return (!served).then(|| Status::method_not_supported(context.gr(), verb));
    }
    match verb {
        "get" | "list" | "watch" | "create" | "delete" | "deletecollection" => None,
        "update" | "patch" if info.path_name.is_empty() => Some(Status::bad_request("name must be provided")),
        "update" | "patch" => None,
        verb => Some(Status::method_not_supported(context.gr(), verb)),
    }
}

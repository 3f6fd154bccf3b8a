//! The objects that policies take their parameters from.

use engenho_catalog::Resource;
use engenho_validation::get::text;
use serde_json::Value;

use super::attributes::Attributes;
use super::compiled::Binding;
use crate::context::{Context, parse_stored};
use crate::status::Status;
use crate::{convert, selector};

/// What a policy is evaluated with, once each. `kind` is the resource of its parameters, if it has any; null stands for
/// no parameters.
///
/// # Errors
/// Why the binding cannot be used.
pub(super) fn collect(
    kind: Option<&Resource>,
    binding: &Binding,
    attributes: &Attributes<'_>,
) -> Result<Vec<Value>, String> {
    let (Some(kind), Some(reference)) = (kind, &binding.param_ref) else {
        return Ok(vec![Value::Null]);
    };
    let context = attributes.context;
    let namespace = match (kind.namespaced, text(&reference["namespace"])) {
        (true, "") => attributes.namespace(),
        (_, given) => given,
    };
    if kind.namespaced && namespace.is_empty() {
        return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
    }
    if !kind.namespaced && !namespace.is_empty() {
        return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
    }
    let read = match text(&reference["name"]) {
        "" => select(context, kind, namespace, &reference["selector"]),
        name => named(context, kind, namespace, name),
    };
    let params = read.map_err(|status| status.message)?;
    if params.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    Ok(params)
}

fn named(context: &Context, kind: &Resource, namespace: &str, name: &str) -> Result<Vec<Value>, Status> {
    let found = context.server.storage.get(&kind.storage_key(namespace, name))?;
    let found = found.map(|stored| parse_stored(&stored.bytes)).transpose()?;
    Ok(found
        .map(|object| convert::from_storage(kind, object))
        .into_iter()
        .collect())
}

fn select(context: &Context, kind: &Resource, namespace: &str, wanted: &Value) -> Result<Vec<Value>, Status> {
    let storage = &context.server.storage;
    let mut selected = Vec::new();
    for kv in &storage.list(&kind.storage_namespace_prefix(namespace))?.kvs {
        let object = parse_stored(&storage.open(kv)?.bytes)?;
        if selector::selects(wanted, &object) {
            selected.push(convert::from_storage(kind, object));
        }
    }
    Ok(selected)
}

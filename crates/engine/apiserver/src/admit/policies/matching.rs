//! Which requests a policy or binding is about.

use engenho_catalog::Resource;
use engenho_validation::get::{items, text, texts};
use serde_json::Value;

use super::attributes::{Attributes, Operation, Qualified};
use crate::selector;

/// The request as the rules of a policy name it.
pub(in crate::admit) struct Matched<'a> {
    /// The resource.
    pub resource: Qualified,
    /// The kind of the object.
    pub kind: Qualified,
    /// The resource whose version the policy wants the object in, if not the request's.
    pub version: Option<&'a Resource>,
}

/// Whether a request is of those that `matchConstraints` or `matchResources` are about. `namespace` gives the labels
/// of the request's namespace.
///
/// # Errors
/// It is, as far as rules tell, but the namespace cannot be looked at.
pub(super) fn matches<'a>(
    criteria: &Value,
    attributes: &Attributes<'a>,
    namespace: &impl Fn() -> Result<Value, String>,
) -> Result<Option<Matched<'a>>, String> {
    let in_namespace = in_namespace(&criteria["namespaceSelector"], attributes, namespace);
    if in_namespace == Ok(false) || !selects_object(&criteria["objectSelector"], attributes) {
        return Ok(None);
    }
    let exact = text(&criteria["matchPolicy"]) != "Equivalent";
    if by_rules(items(&criteria["excludeResourceRules"]), exact, attributes).is_some() {
        return Ok(None);
    }
    let rules = items(&criteria["resourceRules"]);
    let matched = if rules.is_empty() {
        Some(as_requested(attributes))
    } else {
        by_rules(rules, exact, attributes)
    };
    match in_namespace {
        Err(error) if matched.is_some() => Err(error),
        _ => Ok(matched),
    }
}

fn as_requested<'a>(attributes: &Attributes<'a>) -> Matched<'a> {
    Matched {
        resource: Qualified::resource(&attributes.context.resource),
        kind: attributes.kind(),
        version: None,
    }
}

/// How one of the rules names the request; with another version or group if `exact` does not forbid that.
pub(in crate::admit) fn by_rules<'a>(rules: &[Value], exact: bool, attributes: &Attributes<'a>) -> Option<Matched<'a>> {
    let requested = &*attributes.context.resource;
    let about = |resource: &Resource| rules.iter().any(|rule| is_about(rule, attributes, resource));
    if about(requested) {
        return Some(as_requested(attributes));
    }
    if exact || rules.is_empty() {
        return None;
    }
    // The same objects as other versions, or other groups, serve them.
    let prefix = requested.storage_prefix();
    let others = attributes.context.catalog.resources().filter(|other| {
        other.plural == requested.plural
            && (&other.group, &other.version) != (&requested.group, &requested.version)
            && other.is_stored()
            && other.storage_prefix() == prefix
    });
    let mut others = others.map(|other| &**other).filter(|other| about(other));
    others.next().map(|other| Matched {
        resource: Qualified::resource(other),
        kind: Qualified::kind(other, attributes.subresource),
        version: Some(other),
    })
}

fn is_about(rule: &Value, attributes: &Attributes<'_>, resource: &Resource) -> bool {
    let listed = |key: &str, wanted: &str| texts(&rule[key]).any(|item| item == "*" || item == wanted);
    let scoped = match text(&rule["scope"]) {
        "Namespaced" => !attributes.is_namespace() && !attributes.namespace().is_empty(),
        "Cluster" => attributes.is_namespace() || attributes.namespace().is_empty(),
        _ => true,
    };
    let named = || {
        let mut names = texts(&rule["resourceNames"]).peekable();
        names.peek().is_none() || names.any(|name| name == attributes.name)
    };
    let part = |written: &str| {
        let (plural, subresource) = written.split_once('/').unwrap_or((written, ""));
        (plural == "*" || plural == resource.plural) && (subresource == "*" || subresource == attributes.subresource)
    };
    scoped
        && listed("operations", attributes.operation.word())
        && listed("apiGroups", &resource.group)
        && listed("apiVersions", &resource.version)
        && texts(&rule["resources"]).any(part)
        && named()
}

fn is_everything(selector: &Value) -> bool {
    let labels = selector["matchLabels"].as_object();
    labels.is_none_or(serde_json::Map::is_empty) && items(&selector["matchExpressions"]).is_empty()
}

/// Whether the labels of the request's namespace are selected.
pub(in crate::admit) fn in_namespace<E>(
    selector: &Value,
    attributes: &Attributes<'_>,
    namespace: &impl Fn() -> Result<Value, E>,
) -> Result<bool, E> {
    let about_namespaces = attributes.context.resource.plural == "namespaces";
    if is_everything(selector) || attributes.namespace().is_empty() && !about_namespaces {
        return Ok(true);
    }
    // A namespace that is written is looked at as it will be.
    let written = matches!(attributes.operation, Operation::Create | Operation::Update);
    if about_namespaces && attributes.subresource.is_empty() && written {
        return Ok(selector::selects(selector, attributes.object));
    }
    Ok(selector::selects(selector, &namespace()?))
}

/// Whether the labels of the object are selected, as they are or as they were.
pub(in crate::admit) fn selects_object(selector: &Value, attributes: &Attributes<'_>) -> bool {
    let selects = |object: &Value| object.is_object() && selector::selects(selector, object);
    is_everything(selector) || selects(attributes.object) || selects(attributes.old)
}

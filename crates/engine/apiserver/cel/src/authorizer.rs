//! Questions to the authorizer (`authorizer.group('').resource('pods').check('create').allowed()`).

use std::fmt;
use std::sync::Arc;

use crate::error::EvalError;
use crate::formats::NamedFormat;
use crate::value::Value;

/// Answers the questions of expressions. The server implements it with its own authorizers; it decides within the
/// call and so must not wait.
pub trait Authorizer {
    /// Whether someone may do something.
    fn authorize(&self, question: &Question<'_>) -> Decision;
}

/// Whose permissions are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Whoever sent the request.
    Requester,
    /// A service account.
    ServiceAccount {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'q> {
    /// Whose permissions.
    pub identity: &'q Identity,
    /// What is to be done.
    pub verb: &'q str,
    /// What it is to be done to.
    pub target: Target<'q>,
}

/// What something is to be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'q> {
    /// A path that is not of a resource.
    Path(&'q str),
    /// Objects of a resource.
    Resource(&'q ResourceCheck),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong when it was decided, if something did.
    pub error: Option<String>,
}

/// A question about a path, without the verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathCheck {
    identity: Identity,
    path: String,
}

/// A question about a group of resources, without the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCheck {
    identity: Identity,
    group: String,
}

/// A question about a resource, without the verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceCheck {
    /// Whose permissions.
    pub identity: Identity,
    /// The group; empty for the core's.
    pub group: String,
    /// The resource, such as `pods`.
    pub resource: String,
    /// The subresource; empty for none.
    pub subresource: String,
    /// The namespace; empty for all.
    pub namespace: String,
    /// The name of the object; empty for all.
    pub name: String,
    /// Which objects, by their fields, as it was written.
    pub field_selector: String,
    /// Which objects, by their labels, as it was written.
    pub label_selector: String,
}

impl ResourceCheck {
    /// A question about all objects of a resource.
    pub fn new(group: &str, resource: &str) -> Self {
        Self {
            identity: Identity::Requester,
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            field_selector: String::new(),
            label_selector: String::new(),
        }
    }
}

impl fmt::Debug for dyn Authorizer + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorizer")
    }
}

/// A function that asks, or adds to what is asked; none if there is no such function for these values.
pub(crate) fn call<'a>(
    authorizer: Option<&dyn Authorizer>,
    function: &str,
    arguments: &[Value<'a>],
) -> Option<Result<Value<'a>, EvalError>> {
    let (on, rest) = arguments.split_first()?;
    let first = rest.first().and_then(Value::as_str);
    let second = rest.get(1).and_then(Value::as_str);
    let given = |text: &str, what: &str| {
        if text.trim().is_empty() {
            return Err(EvalError::failed(format!("{what} must not be empty")));
        }
        Ok(text.to_owned())
    };
    let ask = |question: Question<'_>| match authorizer {
        Some(authorizer) => Ok(Value::Decision(Arc::new(authorizer.authorize(&question)))),
        None => Err(EvalError::failed("no such attribute(s): authorizer")),
    };
    Some(match (on, function, first, second) {
        (Value::Authorizer(identity), "path", Some(path), None) => given(path, "path").map(|path| {
            let identity = identity.clone();
            Value::PathCheck(Arc::new(PathCheck { identity, path }))
        }),
        (Value::Authorizer(identity), "group", Some(group), None) => Ok(Value::GroupCheck(Arc::new(GroupCheck {
            identity: identity.clone(),
            group: group.to_owned(),
        }))),
        (Value::Authorizer(_), "serviceAccount", Some(namespace), Some(name)) => service_account(namespace, name),
        (Value::GroupCheck(check), "resource", Some(resource), None) => given(resource, "resource").map(|resource| {
            let mut asked = ResourceCheck::new(&check.group, &resource);
            asked.identity = check.identity.clone();
            Value::ResourceCheck(Arc::new(asked))
        }),
        (Value::ResourceCheck(check), "check", Some(verb), None) => ask(Question {
            identity: &check.identity,
            verb,
            target: Target::Resource(check),
        }),
        (Value::PathCheck(check), "check", Some(verb), None) => ask(Question {
            identity: &check.identity,
            verb,
            target: Target::Path(&check.path),
        }),
        (Value::ResourceCheck(check), _, Some(text), None) => {
            let mut asked = (**check).clone();
            let part = match function {
                "subresource" => &mut asked.subresource,
                "namespace" => &mut asked.namespace,
                "name" => &mut asked.name,
                "fieldSelector" => &mut asked.field_selector,
                "labelSelector" => &mut asked.label_selector,
                _ => return None,
            };
            *part = text.to_owned();
            Ok(Value::ResourceCheck(Arc::new(asked)))
        }
        (Value::Decision(decision), _, None, None) => Ok(match function {
            "allowed" => Value::Bool(decision.allowed),
            "errored" => Value::Bool(decision.error.is_some()),
            "reason" => Value::text(decision.reason.as_str()),
            "error" => Value::text(decision.error.as_deref().unwrap_or_default()),
            _ => return None,
        }),
        _ => return None,
    })
}

fn service_account<'a>(namespace: &str, name: &str) -> Result<Value<'a>, EvalError> {
    let fits = |format: &str, text: &str| NamedFormat::named(format).is_some_and(|of| of.validate(text).is_empty());
    if !fits("dns1123Subdomain", name) {
        return Err(EvalError::failed("Invalid service account name"));
    }
    if !fits("dns1123Label", namespace) {
        return Err(EvalError::failed("Invalid service account namespace"));
    }
    Ok(Value::Authorizer(Identity::ServiceAccount {
        namespace: Arc::from(namespace),
        name: Arc::from(name),
    }))
}

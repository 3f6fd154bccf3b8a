//! A request as policies see it.

use engenho_catalog::Resource;
use engenho_cel::ResourceCheck;
use engenho_validation::get::text;
use serde_json::{Map, Value, json};

use crate::context::Context;

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It is made, or something is posted to it.
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
    /// Somebody connects to it.
    Connect,
}

impl Operation {
    /// The word for it in rules and expressions.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// Group, version, and a kind or resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admit) struct Qualified {
    pub group: String,
    pub version: String,
    pub name: String,
}

impl Qualified {
    fn new(group: &str, version: &str, name: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The resource that a rule names.
    pub fn resource(of: &Resource) -> Self {
        Self::new(&of.group, &of.version, &of.plural)
    }

    /// The kind of what is written to a resource, or to a part of it.
    pub fn kind(of: &Resource, subresource: &str) -> Self {
        let part = Some(subresource).filter(|name| !name.is_empty());
        match part.and_then(|name| of.subresource(name)).map(|part| &part.kind) {
            Some(kind) if !(kind.group.is_empty() && kind.version.is_empty()) => {
                Self::new(&kind.group, &kind.version, &kind.kind)
            }
            Some(kind) => Self::new(&of.group, &of.version, &kind.kind),
            None => Self::new(&of.group, &of.version, &of.kind),
        }
    }

    fn json(&self, last: &str) -> Value {
        json!({"group": self.group, "version": self.version, last: self.name})
    }
}

/// A request.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    /// Where it came in.
    pub context: &'a Context,
    /// What is done.
    pub operation: Operation,
    /// The part of the object that is written, empty for the object itself.
    pub subresource: &'a str,
    /// The name of the object.
    pub name: &'a str,
    /// The object as it is to be, null if it goes.
    pub object: &'a Value,
    /// The object as it was, null if it wasn't there.
    pub old: &'a Value,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    /// The options of the request.
    pub options: &'a Value,
}

impl<'a> Attributes<'a> {
    /// Whether it is about Namespaces.
    pub fn is_namespace(&self) -> bool {
        self.context.resource.group.is_empty() && self.context.resource.plural == "namespaces"
    }

    /// The namespace of the object. A Namespace is in itself.
    pub fn namespace(&self) -> &'a str {
        if self.is_namespace() {
            self.name
        } else if self.context.resource.namespaced {
            &self.context.info.namespace
        } else {
            ""
        }
    }

    /// The name that a refusal shows.
    pub fn shown_name(&self) -> &'a str {
        let metadata = &self.object["metadata"];
        let names = [self.name, text(&metadata["name"]), text(&metadata["generateName"])];
        names.into_iter().find(|name| !name.is_empty()).unwrap_or("Unknown")
    }

    /// The kind of what is written.
    pub(in crate::admit) fn kind(&self) -> Qualified {
        Qualified::kind(&self.context.resource, self.subresource)
    }

    /// The resource of the request.
    pub(in crate::admit) fn requested(&self) -> Qualified {
        Qualified::resource(&self.context.resource)
    }

    /// What the authorizer is asked of the request itself.
    pub fn check(&self) -> ResourceCheck {
        let mut check = ResourceCheck::new(&self.context.resource.group, &self.context.resource.plural);
        check.subresource = self.subresource.to_owned();
        check.namespace = self.namespace().to_owned();
        check.name = self.name.to_owned();
        check
    }

    /// The variable `request`, for a policy whose rules name this resource and kind.
    pub(in crate::admit) fn request(&self, resource: &Qualified, kind: &Qualified) -> Value {
        let identity = &self.context.identity;
        let mut user = Map::new();
        let mut put = |key: &str, value: Value| {
            user.insert(key.to_owned(), value);
        };
        put("username", identity.user.as_str().into());
        if !identity.uid.is_empty() {
            put("uid", identity.uid.as_str().into());
        }
        if !identity.groups.is_empty() {
            put("groups", identity.groups.clone().into());
        }
        if !identity.extra.is_empty() {
            put("extra", json!(identity.extra));
        }
        let requested = Qualified::resource(&self.context.resource);
        let mut request = json!({
            "uid": "",
            "kind": kind.json("kind"),
            "resource": resource.json("resource"),
            "requestKind": self.kind().json("kind"),
            "requestResource": requested.json("resource"),
            "operation": self.operation.word(),
            "userInfo": user,
            "dryRun": self.dry_run,
            "options": self.options,
        });
        for (key, text) in [
            ("subResource", self.subresource),
            ("requestSubResource", self.subresource),
            ("name", self.name),
            ("namespace", self.namespace()),
        ] {
            if !text.is_empty() {
                request[key] = text.into();
            }
        }
        request
    }
}

/// The options of a creation or update, as its query has them.
pub(crate) fn options(context: &Context, operation: Operation) -> Value {
    let kind = match operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    let query = &context.info.query;
    let dry_run: Vec<&str> = query.all("dryRun").filter(|value| !value.is_empty()).collect();
    if !dry_run.is_empty() {
        options["dryRun"] = json!(dry_run);
    }
    for key in ["fieldManager", "fieldValidation"] {
        if let Some(value) = query.find(key).filter(|value| !value.is_empty()) {
            options[key] = value.into();
        }
    }
    options
}

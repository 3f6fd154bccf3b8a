//! A write as the plugins see it.

use serde_json::Value;

use crate::get::text;

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is written for the first time; also what is posted to a subresource.
    Create,
    /// It is replaced or patched.
    Update,
    /// It is removed, alone or with others.
    Delete,
}

impl Operation {
    /// The word for it in messages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// Behaviour of plugins that this release of Kubernetes has turned off unless asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gates {
    /// Pods get the zone and region of their node as labels (`PodTopologyLabelsAdmission`).
    pub pod_topology_labels: bool,
}

/// A write and who wants it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is done.
    pub operation: Operation,
    /// API group of the resource; empty for the core group.
    pub group: &'a str,
    /// Version the object is of.
    pub version: &'a str,
    /// Plural name of the resource.
    pub resource: &'a str,
    /// Part of the object that is written, empty for the object itself.
    pub subresource: &'a str,
    /// Namespace of the object, empty where there is none.
    pub namespace: &'a str,
    /// Name of the object in the request's path, or in the object if it is created.
    pub name: &'a str,
    /// User name of the author.
    pub user: &'a str,
    /// Groups of the author.
    pub groups: &'a [String],
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    /// What is turned on.
    pub gates: Gates,
}

impl Request<'_> {
    /// Whether the write is to this resource, whatever part of it.
    pub(crate) fn concerns(&self, group: &str, resource: &str) -> bool {
        self.group == group && self.resource == resource
    }

    /// Whether the write is to objects of this resource themselves.
    pub(crate) fn is_to(&self, group: &str, resource: &str) -> bool {
        self.concerns(group, resource) && self.subresource.is_empty()
    }

    /// Whether an object of this resource is created.
    pub(crate) fn creates(&self, group: &str, resource: &str) -> bool {
        self.operation == Operation::Create && self.is_to(group, resource)
    }

    /// The name that a refusal of this write shows: of the request or else of the object, which may not have its own
    /// yet.
    pub fn shown_name(&self, object: &Value) -> String {
        let metadata = &object["metadata"];
        [self.name, text(&metadata["name"]), text(&metadata["generateName"])]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or("Unknown")
            .to_owned()
    }
}

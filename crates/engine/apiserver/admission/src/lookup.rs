//! How plugins read other objects.

use serde_json::Value;

/// Objects that are stored now, in the version that clients write them in.
pub trait Lookup {
    /// Why an object could not be read.
    type Error;

    /// One object; the namespace is empty for resources without one.
    ///
    /// # Errors
    /// It could not be told whether there is one.
    fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Result<Option<Value>, Self::Error>;

    /// All objects in a namespace, or all of a resource without namespaces.
    ///
    /// # Errors
    /// They could not be read.
    fn list(&self, group: &str, plural: &str, namespace: &str) -> Result<Vec<Value>, Self::Error>;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::get::text;
    use crate::{Gates, Operation, Refusal, Request};

    /// Stored objects by group and plural.
    #[derive(Default)]
    pub(crate) struct Stored(pub Vec<(&'static str, &'static str, Value)>);

    /// What cannot be read, in tests that try it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Unreadable;

    impl Stored {
        pub fn of(objects: &[(&'static str, &'static str, Value)]) -> Self {
            Self(objects.to_vec())
        }
    }

    impl Lookup for Stored {
        type Error = Unreadable;

        fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Result<Option<Value>, Unreadable> {
            let all = self.list(group, plural, namespace)?;
            Ok(all.into_iter().find(|object| text(&object["metadata"]["name"]) == name))
        }

        fn list(&self, group: &str, plural: &str, namespace: &str) -> Result<Vec<Value>, Unreadable> {
            if plural == "unreadable" {
                return Err(Unreadable);
            }
            let of_kind = self.0.iter().filter(|(g, p, _)| *g == group && *p == plural);
            let here = of_kind.filter(|(_, _, object)| text(&object["metadata"]["namespace"]) == namespace);
            Ok(here.map(|(_, _, object)| object.clone()).collect())
        }
    }

    /// A write by an ordinary user.
    pub(crate) fn request<'a>(operation: Operation, group: &'a str, resource: &'a str) -> Request<'a> {
        Request {
            operation,
            group,
            version: "v1",
            resource,
            subresource: "",
            namespace: "",
            name: "",
            user: "someone",
            groups: &[],
            dry_run: false,
            gates: Gates::default(),
        }
    }

    /// A write to pods of the namespace `n`.
    pub(crate) fn pods<'a>(operation: Operation, subresource: &'a str) -> Request<'a> {
        Request {
            namespace: "n",
            name: "p",
            subresource,
            ..request(operation, "", "pods")
        }
    }

    /// The text of a refusal; empty if there is none.
    pub(crate) fn refused<T>(outcome: Result<T, Refusal<Unreadable>>) -> String {
        match outcome {
            Ok(_) => String::new(),
            Err(Refusal::Forbidden { message }) => message,
            Err(Refusal::NotFound { group, resource, name }) => format!("no {group}/{resource} {name}"),
            Err(Refusal::Lookup(Unreadable)) => "unreadable".to_owned(),
        }
    }
}

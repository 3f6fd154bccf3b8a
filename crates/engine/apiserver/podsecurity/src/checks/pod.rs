//! Reading of a pod, and the words that name parts of it.

use std::collections::BTreeSet;

use engenho_validation::get::{items, text};
use serde_json::Value;

/// The pod, or template, that is checked.
pub struct Pod<'a> {
    pub metadata: &'a Value,
    pub spec: &'a Value,
}

/// A container of any sort.
pub struct Container<'a> {
    pub name: &'a str,
    pub fields: &'a Value,
    /// Its `securityContext`.
    pub security: &'a Value,
}

impl<'a> Pod<'a> {
    /// All containers: those that initialise first, the ephemeral ones last.
    pub fn containers(&self) -> impl Iterator<Item = Container<'a>> + use<'a> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| items(&spec[list]))
            .map(|fields| Container {
                name: text(&fields["name"]),
                fields,
                security: &fields["securityContext"],
            })
    }

    /// The names of the containers that a rule finds bad.
    pub fn containers_where(&self, bad: impl Fn(&Container<'a>) -> bool) -> Vec<&'a str> {
        self.containers().filter(bad).map(|container| container.name).collect()
    }

    /// The pod's own `securityContext`.
    pub fn security(&self) -> &'a Value {
        &self.spec["securityContext"]
    }

    pub fn annotations(&self) -> &'a Value {
        &self.metadata["annotations"]
    }

    pub fn is_windows(&self) -> bool {
        text(&self.spec["os"]["name"]) == "windows"
    }
}

/// A noun in the number of what it counts.
pub fn plural(singular: &'static str, plural: &'static str, count: usize) -> &'static str {
    if count == 1 { singular } else { plural }
}

/// `"a", "b"`, the items as they are.
pub fn quoted<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect();
    items.join(", ")
}

/// `container "a"` or `containers "a", "b"`.
pub fn containers_named(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// `pod`, `container "a"` or `pod and container "a"`; none if it is neither.
pub fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    match (pod, containers) {
        (false, []) => None,
        (true, []) => Some("pod".to_owned()),
        (false, names) => Some(containers_named(names)),
        (true, names) => Some(format!("pod and {}", containers_named(names))),
    }
}

/// Values, sorted, each once.
pub type Set<'a> = BTreeSet<&'a str>;

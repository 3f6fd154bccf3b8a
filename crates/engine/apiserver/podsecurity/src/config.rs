//! How the plugin is configured: defaults, and who is exempt.

use crate::level::Policy;

/// What holds in every namespace. By default nothing is forbidden and nobody is exempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// What holds where labels say nothing.
    pub defaults: Policy,
    /// Whom no policy holds for.
    pub exemptions: Exemptions,
}

/// Whom no policy holds for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exemptions {
    /// Users whose requests are not looked at.
    pub usernames: Vec<String>,
    /// Runtime classes whose pods are not looked at.
    pub runtime_classes: Vec<String>,
    /// Namespaces whose pods are not looked at.
    pub namespaces: Vec<String>,
}

impl Exemptions {
    pub(crate) fn user(&self, name: &str) -> bool {
        holds(&self.usernames, name)
    }

    pub(crate) fn runtime_class(&self, name: &str) -> bool {
        holds(&self.runtime_classes, name)
    }

    pub(crate) fn namespace(&self, name: &str) -> bool {
        holds(&self.namespaces, name)
    }
}

fn holds(names: &[String], name: &str) -> bool {
    !name.is_empty() && names.iter().any(|exempt| exempt == name)
}

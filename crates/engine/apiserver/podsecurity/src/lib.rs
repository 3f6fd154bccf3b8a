//! Pod Security Standards as the PodSecurity admission plugin of Kubernetes 1.34 evaluates them: pure functions over
//! JSON. Objects are read as they are after defaulting, in their v1 form.
//!
//! The caller asks [`Target::of`] what a request is to the plugin. Pods go to [`evaluate_pod`], templates of workloads
//! to [`evaluate_template`], namespaces to [`create_namespace`] or [`update_namespace`] and, if that says so, on to
//! [`check_pods`]. Only creations and updates are looked at, after everything that mutates and after validation.

mod checks;
mod config;
mod level;
mod namespaces;
mod outcome;
mod pods;

#[cfg(test)]
mod properties;

pub use checks::{NEWEST_MINOR, Violation, Violations, evaluate};
pub use config::{Config, Exemptions};
pub use engenho_validation::FieldError;
pub use level::{Level, LevelVersion, Policy, Version};
pub use namespaces::{
    NAMESPACE_MAX_PODS_TO_CHECK, NAMESPACE_POD_CHECK_TIMEOUT_MS, NamespaceUpdate, PODS_NOT_LISTED, check_pods,
    create_namespace, update_namespace,
};
pub use outcome::{Outcome, audit};
pub use pods::{Request, Target, evaluate_pod, evaluate_template, is_significant_update};

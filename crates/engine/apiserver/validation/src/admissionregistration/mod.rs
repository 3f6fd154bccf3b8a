//! Kinds of `admissionregistration.k8s.io`.

mod conditions;
mod expressions;
pub(crate) mod policies;
mod rules;
pub(crate) mod webhooks;

/// What to do when it cannot be decided, sorted.
const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
/// How rules match requests of other versions, sorted.
const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];

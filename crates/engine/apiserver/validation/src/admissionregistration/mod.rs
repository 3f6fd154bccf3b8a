//! Kinds of `admissionregistration.k8s.io`. Whether expressions compile is not looked at here.

mod conditions;
pub(crate) mod policies;
mod rules;
pub(crate) mod webhooks;

/// What to do when it cannot be decided, sorted.
const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
/// How rules match requests of other versions, sorted.
const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];

//! What the plugin says to a request about a pod or a workload.

/// Keys of audit annotations, whole.
pub mod audit {
    /// What a user, a namespace or a runtime class is exempt by: `user`, `namespace` or `runtimeClass`.
    pub const EXEMPT: &str = "pod-security.kubernetes.io/exempt";
    /// The level and version that was enforced.
    pub const ENFORCE_POLICY: &str = "pod-security.kubernetes.io/enforce-policy";
    /// What violates the policy of mode audit.
    pub const AUDIT_VIOLATIONS: &str = "pod-security.kubernetes.io/audit-violations";
    /// Why a policy could not be read.
    pub const ERROR: &str = "pod-security.kubernetes.io/error";
}

/// What the plugin says to a request. The default allows it in silence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Why the request is refused, as it stands after `pods "name" is forbidden: `.
    pub denied: Option<String>,
    /// Warnings to the client.
    pub warnings: Vec<String>,
    /// Annotations of the audit event: whole keys, and values.
    pub audit: Vec<(&'static str, String)>,
}

impl Outcome {
    /// Allowed, with one audit annotation.
    pub(crate) fn noted(key: &'static str, value: impl Into<String>) -> Self {
        Self {
            audit: vec![(key, value.into())],
            ..Self::default()
        }
    }

    /// Whether the request may go on.
    pub fn allowed(&self) -> bool {
        self.denied.is_none()
    }
}

//! What is let pass because the object had it before (upstream `PodValidationOptions`).

use serde_json::Value;

use super::{resources, security};
use crate::get::{flag, given, items, optional_text, text};
use crate::scalars::paths;
use crate::{Path, labels};

/// How leniently a pod's spec is checked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// The spec is that of a pod and not of a template.
    pub is_pod: bool,
    /// Selectors of affinities may hold values that labels cannot have.
    pub lenient_selectors: bool,
    /// Required node affinities may hold values that labels cannot have.
    pub lenient_node_affinity: bool,
    /// Spread constraints may have invalid selectors.
    pub lenient_spread_selectors: bool,
    /// Amounts of huge pages need not be multiples of the page.
    pub indivisible_huge_pages: bool,
    /// Paths of projected tokens may leave the volume.
    pub non_local_token_paths: bool,
    /// Sysctls of a namespace may be set though the pod uses the host's.
    pub host_sysctls: bool,
    /// Any policy of changing SELinux labels will do.
    pub any_selinux_change_policy: bool,
    /// The deletion cost may be no number.
    pub invalid_deletion_cost: bool,
}

impl Options {
    /// For an object that is new.
    pub fn new(is_pod: bool) -> Self {
        Self {
            is_pod,
            ..Self::default()
        }
    }

    /// For an object that replaces one with this metadata and pod spec.
    pub fn replacing(is_pod: bool, old_metadata: &Value, old: &Value) -> Self {
        let cost = optional_text(&old_metadata["annotations"][DELETION_COST]);
        Self {
            is_pod,
            lenient_selectors: affinity_terms(old).any(|term| {
                ["labelSelector", "namespaceSelector"]
                    .iter()
                    .any(|s| labels::has_invalid_value(&term[*s]))
            }),
            lenient_node_affinity: has_invalid_value(
                &old["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"],
            ),
            lenient_spread_selectors: items(&old["topologySpreadConstraints"])
                .iter()
                .any(|c| !labels::selector(&c["labelSelector"], false, &Path::Root).is_empty()),
            indivisible_huge_pages: containers(old).any(|c| resources::has_indivisible_huge_pages(&c["resources"])),
            non_local_token_paths: tokens(old)
                .any(|t| !paths::local_non_reserved(text(&t["path"]), &Path::Root).is_empty()),
            host_sysctls: items(&old["securityContext"]["sysctls"]).iter().any(|s| {
                security::host_sysctl(text(&s["name"]), flag(&old["hostNetwork"]), flag(&old["hostIPC"])).is_some()
            }),
            any_selinux_change_policy: given(&old["securityContext"]["seLinuxChangePolicy"]),
            invalid_deletion_cost: cost.is_some_and(|c| !is_deletion_cost(c)),
        }
    }
}

/// The annotation that says how much it costs to delete a pod.
pub(crate) const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// A number of 32 bits written without a sign of plus or leading zeros.
pub(crate) fn is_deletion_cost(cost: &str) -> bool {
    let padded = cost.starts_with('+') || (cost.starts_with('0') && cost != "0");
    cost.is_empty() || !padded && cost.parse::<i32>().is_ok()
}

/// All containers of a pod's spec, of all three kinds.
pub(crate) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| items(&spec[list]))
}

fn affinity_terms(spec: &Value) -> impl Iterator<Item = &Value> {
    ["podAffinity", "podAntiAffinity"].into_iter().flat_map(|kind| {
        let affinity = &spec["affinity"][kind];
        let required = items(&affinity["requiredDuringSchedulingIgnoredDuringExecution"]).iter();
        let preferred = items(&affinity["preferredDuringSchedulingIgnoredDuringExecution"]).iter();
        required.chain(preferred.map(|p| &p["podAffinityTerm"]))
    })
}

/// Whether a node selector holds values that labels cannot have.
pub(crate) fn has_invalid_value(selector: &Value) -> bool {
    items(&selector["nodeSelectorTerms"])
        .iter()
        .any(labels::has_invalid_value)
}

fn tokens(spec: &Value) -> impl Iterator<Item = &Value> {
    items(&spec["volumes"])
        .iter()
        .flat_map(|v| items(&v["projected"]["sources"]))
        .map(|s| &s["serviceAccountToken"])
        .filter(|t| given(t))
}

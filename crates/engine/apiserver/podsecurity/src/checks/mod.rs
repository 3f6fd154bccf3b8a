//! The checks of the levels, and which of them hold at a version.

mod host;
mod pod;
mod privileges;
mod profiles;
mod sysctls;
mod users;
mod volumes;

use serde_json::Value;

use crate::level::{Level, LevelVersion, Version};
use pod::Pod;

/// The newest minor release whose rules are known; newer versions, and `latest`, mean its rules.
pub const NEWEST_MINOR: u64 = 34;

/// What a pod does that a level forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What is forbidden, in few words.
    pub reason: &'static str,
    /// Where and how the pod does it.
    pub detail: String,
}

/// All that a pod does that a level forbids, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Violations(pub Vec<Violation>);

impl Violations {
    /// Whether nothing is violated.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The reasons alone: `host namespaces, privileged`.
    pub fn reasons(&self) -> String {
        let reasons: Vec<&str> = self.0.iter().map(|violation| violation.reason).collect();
        reasons.join(", ")
    }

    /// Each reason with its detail: `host namespaces (hostPID=true), privileged (container "c" must not ...)`.
    pub fn details(&self) -> String {
        let details: Vec<String> = self
            .0
            .iter()
            .map(|violation| match violation.detail.as_str() {
                "" => violation.reason.to_owned(),
                detail => format!("{} ({detail})", violation.reason),
            })
            .collect();
        details.join(", ")
    }
}

type Rule = fn(&Pod<'_>) -> Option<Violation>;

/// A check: its rules, each with the minor release it holds from.
struct Check {
    id: &'static str,
    rules: &'static [(u64, Rule)],
    /// The check of level baseline that this one stands in for, from its first rule on.
    overrides: Option<&'static str>,
}

const fn check(id: &'static str, rules: &'static [(u64, Rule)]) -> Check {
    Check {
        id,
        rules,
        overrides: None,
    }
}

const fn instead_of(overridden: &'static str, id: &'static str, rules: &'static [(u64, Rule)]) -> Check {
    Check {
        id,
        rules,
        overrides: Some(overridden),
    }
}

/// Checks of level baseline, by id: that is the order clients see.
const BASELINE: [Check; 12] = [
    check("appArmorProfile", &[(0, profiles::app_armor)]),
    check("capabilities_baseline", &[(0, privileges::added_capabilities)]),
    check("hostNamespaces", &[(0, host::namespaces)]),
    check("hostPathVolumes", &[(0, volumes::host_path)]),
    check("hostPorts", &[(0, host::ports)]),
    check("hostProbesAndHostLifecycle", &[(34, host::probes_and_lifecycle)]),
    check("privileged", &[(0, privileges::privileged)]),
    check("procMount", &[(0, profiles::proc_mount)]),
    check(
        "seLinuxOptions",
        &[(0, profiles::se_linux_1_0), (31, profiles::se_linux_1_31)],
    ),
    check(
        "seccompProfile_baseline",
        &[(0, profiles::seccomp_annotations), (19, profiles::seccomp_fields)],
    ),
    check(
        "sysctls",
        &[
            (0, sysctls::allowed_1_0),
            (27, sysctls::allowed_1_27),
            (29, sysctls::allowed_1_29),
            (32, sysctls::allowed_1_32),
        ],
    ),
    check("windowsHostProcess", &[(0, host::windows_process)]),
];

/// Checks of level restricted, by id.
const RESTRICTED: [Check; 6] = [
    check(
        "allowPrivilegeEscalation",
        &[
            (8, privileges::escalation),
            (25, |pod| unless_windows(pod, privileges::escalation)),
        ],
    ),
    instead_of(
        "capabilities_baseline",
        "capabilities_restricted",
        &[
            (22, privileges::dropped_capabilities),
            (25, |pod| unless_windows(pod, privileges::dropped_capabilities)),
        ],
    ),
    instead_of("hostPathVolumes", "restrictedVolumes", &[(0, volumes::restricted)]),
    check("runAsNonRoot", &[(0, users::non_root)]),
    check("runAsUser", &[(23, users::user)]),
    instead_of(
        "seccompProfile_baseline",
        "seccompProfile_restricted",
        &[
            (19, profiles::seccomp_required),
            (25, |pod| unless_windows(pod, profiles::seccomp_required)),
        ],
    ),
];

/// Pods for Windows cannot set what only Linux knows, so they need not.
fn unless_windows(pod: &Pod<'_>, rule: Rule) -> Option<Violation> {
    if pod.is_windows() { None } else { rule(pod) }
}

impl Check {
    /// The rule that holds at a minor release.
    fn rule(&self, minor: u64) -> Option<Rule> {
        let mut held = self.rules.iter().rev();
        held.find(|(since, _)| *since <= minor).map(|(_, rule)| *rule)
    }
}

/// What a pod, or the template of one, does that a level forbids.
pub fn evaluate(policy: LevelVersion, metadata: &Value, spec: &Value) -> Violations {
    let minor = match policy.version {
        Version::Latest => NEWEST_MINOR,
        Version::Minor(minor) => minor.min(NEWEST_MINOR),
    };
    let restricted: &[Check] = match policy.level {
        Level::Privileged => return Violations::default(),
        Level::Baseline => &[],
        Level::Restricted => &RESTRICTED,
    };
    let overridden = |id: &str| {
        restricted
            .iter()
            .any(|check| check.overrides == Some(id) && check.rule(minor).is_some())
    };
    let pod = Pod { metadata, spec };
    let baseline = BASELINE.iter().filter(|check| !overridden(check.id));
    let rules = baseline.chain(restricted).filter_map(|check| check.rule(minor));
    Violations(rules.filter_map(|rule| rule(&pod)).collect())
}

#[cfg(test)]
mod tests;

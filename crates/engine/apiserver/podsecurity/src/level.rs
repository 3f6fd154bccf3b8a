//! Levels, versions, and the policy that the labels of a namespace ask for.

use std::fmt;

use engenho_validation::{FieldError, Path};
use serde_json::Value;

/// What all labels of the plugin start with, and its audit annotations too.
pub(crate) const PREFIX: &str = "pod-security.kubernetes.io/";

const LEVEL_DETAIL: &str = "must be one of privileged, baseline, restricted";
const VERSION_DETAIL: &str = "must be \"latest\" or \"v1.x\"";

/// How strict a policy is. The order is that of strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// Nothing is forbidden.
    #[default]
    Privileged,
    /// Known ways out of a pod are forbidden.
    Baseline,
    /// Pods have to be hardened.
    Restricted,
}

impl Level {
    /// The level of a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }

    /// The name of the level.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The release of Kubernetes whose rules are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Version {
    /// The newest rules known.
    #[default]
    Latest,
    /// Those of release 1.N; releases not known yet have the newest rules.
    Minor(u64),
}

impl Version {
    /// The version of a name: `latest` or `v1.N`, N without leading zeros.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "latest" {
            return Some(Self::Latest);
        }
        let digits = name.strip_prefix("v1.")?;
        let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !decimal || (digits.len() > 1 && digits.starts_with('0')) {
            return None;
        }
        // Numbers are signed upstream, so half of what could be read is refused.
        digits.parse::<i64>().ok()?.try_into().ok().map(Self::Minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Minor(minor) => write!(f, "v1.{minor}"),
        }
    }
}

/// A level as it was at a version, written `baseline:v1.30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LevelVersion {
    /// How strict.
    pub level: Level,
    /// By the rules of which release.
    pub version: Version,
}

impl LevelVersion {
    /// Whether both forbid the same: the version of `privileged` means nothing.
    pub fn equivalent(&self, other: &Self) -> bool {
        self == other || (self.level == Level::Privileged && other.level == Level::Privileged)
    }
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What a namespace asks for in each mode. The default forbids nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Policy {
    /// Violations are refused.
    pub enforce: LevelVersion,
    /// Violations are written to the audit log.
    pub audit: LevelVersion,
    /// Violations are told to the client.
    pub warn: LevelVersion,
}

impl Policy {
    /// The policy of a namespace with these `metadata.labels`, and what is wrong with them. There is always a policy:
    /// an unknown level enforces `restricted` but audits and warns of nothing, an unknown version is `latest`.
    pub fn from_labels(labels: &Value) -> (Self, Vec<FieldError>) {
        Self::from_labels_over(labels, &Self::default())
    }

    /// The same, where `defaults` holds for what the labels do not say.
    pub fn from_labels_over(labels: &Value, defaults: &Self) -> (Self, Vec<FieldError>) {
        let mut policy = *defaults;
        let mut errors = Vec::new();
        let enforce_known = read_mode(labels, "enforce", &mut policy.enforce, Level::Restricted, &mut errors);
        read_mode(labels, "audit", &mut policy.audit, Level::Privileged, &mut errors);
        read_mode(labels, "warn", &mut policy.warn, Level::Privileged, &mut errors);

        let warn_given = label(labels, "warn").is_some();
        if !warn_given && enforce_known && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if label(labels, "warn-version").is_none() {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }

    /// Whether both forbid the same in all modes.
    pub fn equivalent(&self, other: &Self) -> bool {
        self.enforce.equivalent(&other.enforce)
            && self.audit.equivalent(&other.audit)
            && self.warn.equivalent(&other.warn)
    }

    /// Whether nothing is forbidden in any mode.
    pub fn fully_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn]
            .iter()
            .all(|mode| mode.level == Level::Privileged)
    }
}

/// The value of the label of a mode (`enforce`) or of its version (`enforce-version`).
pub(crate) fn label<'a>(labels: &'a Value, mode: &str) -> Option<&'a str> {
    labels.get(format!("{PREFIX}{mode}"))?.as_str()
}

/// Reads the two labels of a mode; whether its level is given and known.
fn read_mode(
    labels: &Value,
    mode: &str,
    into: &mut LevelVersion,
    unknown: Level,
    errors: &mut Vec<FieldError>,
) -> bool {
    let mut known = false;
    if let Some(value) = label(labels, mode) {
        let level = Level::parse(value);
        known = level.is_some();
        if level.is_none() {
            errors.push(invalid(mode, value, LEVEL_DETAIL));
        }
        into.level = level.unwrap_or(unknown);
    }
    let mode = format!("{mode}-version");
    if let Some(value) = label(labels, &mode) {
        let version = Version::parse(value);
        if version.is_none() {
            errors.push(invalid(&mode, value, VERSION_DETAIL));
        }
        into.version = version.unwrap_or_default();
    }
    known
}

fn invalid(mode: &str, value: &str, detail: &str) -> FieldError {
    let key = format!("{PREFIX}{mode}");
    let metadata = Path::Root.child("metadata");
    let labels = metadata.child("labels");
    FieldError::invalid(labels.key(&key), value, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(policy: &Policy) -> String {
        format!("{} {} {}", policy.enforce, policy.audit, policy.warn)
    }

    #[test]
    fn versions_are_latest_or_a_minor_release() {
        for (name, version) in [
            ("latest", Some(Version::Latest)),
            ("v1.0", Some(Version::Minor(0))),
            ("v1.34", Some(Version::Minor(34))),
            (
                "v1.9223372036854775807",
                Some(Version::Minor(9_223_372_036_854_775_807)),
            ),
            ("v1.9223372036854775808", None),
            ("v1.034", None),
            ("v1.", None),
            ("v1.+3", None),
            ("v1.3 ", None),
            ("1.34", None),
            ("v2.0", None),
            ("Latest", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(name), version, "{name}");
        }
    }

    #[test]
    fn labels_say_level_and_version_of_each_mode() {
        for (labels, policy) in [
            (Value::Null, "privileged:latest privileged:latest privileged:latest"),
            (
                json!({"a": "b"}),
                "privileged:latest privileged:latest privileged:latest",
            ),
            (
                json!({"enforce": "baseline"}),
                "baseline:latest privileged:latest baseline:latest",
            ),
            (
                json!({"enforce": "restricted", "enforce-version": "v1.20"}),
                "restricted:v1.20 privileged:latest restricted:v1.20",
            ),
            (
                json!({"enforce": "restricted", "enforce-version": "v1.20", "warn-version": "v1.21"}),
                "restricted:v1.20 privileged:latest restricted:v1.21",
            ),
            (
                json!({"enforce": "restricted", "warn": "privileged"}),
                "restricted:latest privileged:latest privileged:latest",
            ),
            (
                json!({"enforce": "baseline", "warn": "restricted", "audit": "baseline", "audit-version": "v1.5"}),
                "baseline:latest baseline:v1.5 restricted:latest",
            ),
        ] {
            let (found, errors) = Policy::from_labels(&prefixed(&labels));
            assert_eq!(named(&found), policy, "{labels}");
            assert_eq!(errors, []);
        }
    }

    #[test]
    fn unknown_levels_close_enforcement_and_open_the_rest() {
        let labels = prefixed(&json!({
            "enforce": "all", "enforce-version": "1.2", "audit": "", "audit-version": "v1.01", "warn": "x",
            "warn-version": "newest",
        }));
        let (policy, errors) = Policy::from_labels(&labels);
        assert_eq!(named(&policy), "restricted:latest privileged:latest privileged:latest");
        let told: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
        let level = "must be one of privileged, baseline, restricted";
        let version = "must be \"latest\" or \"v1.x\"";
        let at = "metadata.labels[pod-security.kubernetes.io/";
        assert_eq!(
            told,
            [
                format!("{at}enforce]: Invalid value: \"all\": {level}"),
                format!("{at}enforce-version]: Invalid value: \"1.2\": {version}"),
                format!("{at}audit]: Invalid value: \"\": {level}"),
                format!("{at}audit-version]: Invalid value: \"v1.01\": {version}"),
                format!("{at}warn]: Invalid value: \"x\": {level}"),
                format!("{at}warn-version]: Invalid value: \"newest\": {version}"),
            ]
        );
    }

    #[test]
    fn an_unknown_level_to_enforce_does_not_warn() {
        let (policy, errors) = Policy::from_labels(&prefixed(&json!({"enforce": "strict"})));
        assert_eq!(named(&policy), "restricted:latest privileged:latest privileged:latest");
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn defaults_hold_for_what_labels_do_not_say() {
        let (defaults, _) = Policy::from_labels(&prefixed(&json!({"enforce": "baseline", "audit": "restricted"})));
        let (policy, _) = Policy::from_labels_over(&prefixed(&json!({"enforce": "privileged"})), &defaults);
        assert_eq!(named(&policy), "privileged:latest restricted:latest baseline:latest");
        assert!(!policy.equivalent(&defaults));
        assert!(!policy.fully_privileged());
    }

    #[test]
    fn versions_of_privileged_mean_nothing() {
        let old = LevelVersion {
            level: Level::Privileged,
            version: Version::Minor(3),
        };
        assert!(old.equivalent(&LevelVersion::default()));
        let baseline = LevelVersion {
            level: Level::Baseline,
            ..old
        };
        assert!(!baseline.equivalent(&LevelVersion {
            version: Version::Latest,
            ..baseline
        }));
    }

    fn prefixed(labels: &Value) -> Value {
        let labels = labels.as_object().cloned().unwrap_or_default();
        labels
            .into_iter()
            .map(|(key, value)| (format!("{PREFIX}{key}"), value))
            .collect()
    }
}

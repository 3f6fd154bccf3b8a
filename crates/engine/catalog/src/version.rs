//! What `/version` answers (`k8s.io/apimachinery/pkg/version.Info`).

use serde::Serialize;

/// Major version of the Kubernetes API that the catalog describes.
pub const MAJOR: &str = "1";
/// Minor version of the Kubernetes API that the catalog describes.
pub const MINOR: &str = "34";
/// Oldest minor version whose behaviour this one is compatible with.
pub const MIN_COMPATIBILITY_MINOR: &str = "33";

/// The document. Fields are in upstream's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    pub major: &'static str,
    pub minor: &'static str,
    pub emulation_major: &'static str,
    pub emulation_minor: &'static str,
    pub min_compatibility_major: &'static str,
    pub min_compatibility_minor: &'static str,
    /// Semantic version that clients parse, e.g. `v1.34.0+engenho`.
    pub git_version: String,
    pub git_commit: String,
    pub git_tree_state: String,
    /// RFC 3339.
    pub build_date: String,
    /// Upstream names its Go version here; this is the compiler's.
    pub go_version: String,
    pub compiler: String,
    /// `os/architecture` in Go's names, e.g. `linux/amd64`.
    pub platform: String,
}

impl VersionInfo {
    /// The document for a build.
    ///
    /// `git_version` is what clients compare, `v1.34.x` with a suffix after `+`; `tree_state` is `clean` or `dirty`;
    /// `compiler_version` is the Rust version.
    pub fn new(
        git_version: String,
        git_commit: String,
        tree_state: &str,
        build_date: String,
        compiler_version: String,
    ) -> VersionInfo {
        VersionInfo {
            major: MAJOR,
            minor: MINOR,
            emulation_major: MAJOR,
            emulation_minor: MINOR,
            min_compatibility_major: MAJOR,
            min_compatibility_minor: MIN_COMPATIBILITY_MINOR,
            git_version,
            git_commit,
            git_tree_state: tree_state.to_owned(),
            build_date,
            go_version: compiler_version,
            compiler: "rustc".to_owned(),
            platform: platform(),
        }
    }
}

/// `os/architecture` of this build in Go's names.
pub fn platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("{}/{arch}", std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::reference;

    #[test]
    fn members_are_those_of_upstream() {
        let text = |text: &str| text.to_owned();
        let info = VersionInfo::new(
            text("v1.34.0+engenho"),
            text("abc"),
            "clean",
            text("1970-01-01T00:00:00Z"),
            text("rust1.95"),
        );
        let got = serde_json::to_value(&info).expect("serialises");
        assert_eq!((&got["major"], &got["minor"]), (&Value::from("1"), &Value::from("34")));
        if let Some(recorded) = reference::json("texts/version.json") {
            let want: Value = serde_json::from_str(recorded["body"].as_str().expect("body")).expect("JSON");
            let members = |of: &Value| of.as_object().expect("object").keys().cloned().collect::<Vec<_>>();
            assert_eq!(members(&got), members(&want));
            assert_eq!(got["minCompatibilityMinor"], want["minCompatibilityMinor"]);
        }
    }
}

//! Which profiles confine a container: AppArmor, SELinux, seccomp, and the mask of /proc.

use std::collections::BTreeSet;

use engenho_validation::get::{entries, given, text};
use engenho_validation::go_quoted;
use serde_json::Value;

use super::Violation;
use super::pod::{Pod, Set, containers_named, plural, quoted, setters};

const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD_ANNOTATION: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER_ANNOTATION: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// The type of a profile that is given, if it is not one that confines.
fn bad_type(profile: &Value) -> Option<&str> {
    let kind = text(&profile["type"]);
    (given(profile) && !matches!(kind, "RuntimeDefault" | "Localhost")).then_some(kind)
}

/// Who sets a profile of a bad type, and the types.
fn bad_profiles<'a>(pod: &Pod<'a>, field: &str) -> (bool, Vec<&'a str>, Set<'a>) {
    let of_pod = bad_type(&pod.security()[field]);
    let bad = pod.containers_where(|container| bad_type(&container.security[field]).is_some());
    let of_containers = pod
        .containers()
        .filter_map(|container| bad_type(&container.security[field]));
    (of_pod.is_some(), bad, of_pod.into_iter().chain(of_containers).collect())
}

pub fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    let (of_pod, bad, types) = bad_profiles(pod, "appArmorProfile");
    let confines =
        |profile: &str| profile.is_empty() || profile == "runtime/default" || profile.starts_with("localhost/");
    let mut annotations: Vec<String> = entries(pod.annotations())
        .into_iter()
        .map(|(key, value)| (key, text(value)))
        .filter(|(key, profile)| key.starts_with(APP_ARMOR_ANNOTATION) && !confines(profile))
        .map(|(key, profile)| format!("{key}={}", go_quoted(profile)))
        .collect();
    annotations.sort();

    let annotated =
        (!annotations.is_empty()).then(|| plural("annotation", "annotations", annotations.len()).to_owned());
    let setters: Vec<String> = setters(of_pod, &bad).into_iter().chain(annotated).collect();
    let values: Vec<&str> = types
        .into_iter()
        .chain(annotations.iter().map(String::as_str))
        .collect();
    (!setters.is_empty()).then(|| Violation {
        reason: plural(
            "forbidden AppArmor profile",
            "forbidden AppArmor profiles",
            values.len(),
        ),
        detail: format!(
            "{} must not set AppArmor profile type to {}",
            setters.join(" and "),
            quoted(&values)
        ),
    })
}

pub fn se_linux_1_0(pod: &Pod<'_>) -> Option<Violation> {
    se_linux(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

pub fn se_linux_1_31(pod: &Pod<'_>) -> Option<Violation> {
    se_linux(
        pod,
        &[
            "",
            "container_t",
            "container_init_t",
            "container_kvm_t",
            "container_engine_t",
        ],
    )
}

fn se_linux(pod: &Pod<'_>, allowed_types: &[&str]) -> Option<Violation> {
    let bad_kind = |options: &Value| !allowed_types.contains(&text(&options["type"]));
    let sets = |options: &Value, field: &str| !text(&options[field]).is_empty();
    let is_bad = |options: &Value| bad_kind(options) || sets(options, "user") || sets(options, "role");

    let of_pod = &pod.security()["seLinuxOptions"];
    let bad = pod.containers_where(|container| is_bad(&container.security["seLinuxOptions"]));
    let setters = setters(is_bad(of_pod), &bad)?;

    let of_containers = pod.containers().map(|container| &container.security["seLinuxOptions"]);
    let all: Vec<&Value> = [of_pod].into_iter().chain(of_containers).collect();
    let bad_options = all.iter().filter(|options| bad_kind(options));
    let types: Set<'_> = bad_options.map(|options| text(&options["type"])).collect();
    let mut data = Vec::new();
    if !types.is_empty() {
        data.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    for field in ["user", "role"] {
        if all.iter().any(|options| sets(options, field)) {
            data.push(format!("{field} may not be set"));
        }
    }
    Some(Violation {
        reason: "seLinuxOptions",
        detail: format!(
            "{setters} set forbidden securityContext.seLinuxOptions: {}",
            data.join("; ")
        ),
    })
}

/// Before there were fields, profiles of seccomp were annotations.
pub fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let confines =
        |profile: &str| matches!(profile, "runtime/default" | "docker/default") || profile.starts_with("localhost/");
    let of_containers = pod
        .containers()
        .map(|container| format!("{SECCOMP_CONTAINER_ANNOTATION}{}", container.name));
    let forbidden: BTreeSet<String> = [SECCOMP_POD_ANNOTATION.to_owned()]
        .into_iter()
        .chain(of_containers)
        .filter_map(|key| {
            let profile = pod.annotations().get(&key)?.as_str()?;
            (!confines(profile)).then(|| format!("{key}={}", go_quoted(profile)))
        })
        .collect();
    (!forbidden.is_empty()).then(|| Violation {
        reason: "seccompProfile",
        detail: format!(
            "forbidden {} {}",
            plural("annotation", "annotations", forbidden.len()),
            forbidden.into_iter().collect::<Vec<_>>().join(", ")
        ),
    })
}

/// Level baseline: a profile that is given confines.
pub fn seccomp_fields(pod: &Pod<'_>) -> Option<Violation> {
    let (of_pod, bad, types) = bad_profiles(pod, "seccompProfile");
    setters(of_pod, &bad).map(|setters| Violation {
        reason: "seccompProfile",
        detail: format!(
            "{setters} must not set securityContext.seccompProfile.type to {}",
            quoted(&types)
        ),
    })
}

/// Level restricted: a profile is given and confines.
pub fn seccomp_required(pod: &Pod<'_>) -> Option<Violation> {
    if let Some(bad) = seccomp_fields(pod) {
        return Some(bad);
    }
    if given(&pod.security()["seccompProfile"]) {
        return None;
    }
    let silent = pod.containers_where(|container| !given(&container.security["seccompProfile"]));
    (!silent.is_empty()).then(|| Violation {
        reason: "seccompProfile",
        detail: format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers_named(&silent)
        ),
    })
}

pub fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    fn unmasked(security: &Value) -> Option<&str> {
        security["procMount"].as_str().filter(|kind| *kind != "Default")
    }
    let bad = pod.containers_where(|container| unmasked(container.security).is_some());
    let kinds: Set<'_> = pod
        .containers()
        .filter_map(|container| unmasked(container.security))
        .collect();
    (!bad.is_empty()).then(|| Violation {
        reason: "procMount",
        detail: format!(
            "{} must not set securityContext.procMount to {}",
            containers_named(&bad),
            quoted(&kinds)
        ),
    })
}

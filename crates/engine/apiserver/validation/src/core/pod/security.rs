//! Security contexts of pods and containers.

use serde_json::Value;

use super::options::Options;
use super::windows;
use crate::errors::Errors;
use crate::get::{flag, given, int, items, optional_int, optional_text, text};
use crate::scalars::formats::user_or_group;
use crate::scalars::paths::local_descending;
use crate::{Path, shapes};

const SECCOMP_TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
const SYSCTL_LENGTH_MAX: usize = 253;
const PROFILE_LENGTH_MAX: usize = 4095;

/// A user or a group that may be given.
fn identity(context: &Value, field: &str, path: &Path, errors: &mut Errors) {
    if let Some(id) = optional_int(&context[field]) {
        errors.all(user_or_group(id), id, &path.child(field));
    }
}

/// A text that may be given and is then one of a set.
fn choice(context: &Value, field: &str, supported: &[&str], path: &Path, errors: &mut Errors) {
    if let Some(value) = optional_text(&context[field]) {
        errors.one_of(value, supported, &path.child(field));
    }
}

/// The security context of a pod.
pub(super) fn pod(spec: &Value, options: Options, path: &Path, errors: &mut Errors) {
    let context = &spec["securityContext"];
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        identity(context, field, path, errors);
    }
    let groups = path.child("supplementalGroups");
    for (i, group) in items(&context["supplementalGroups"]).iter().enumerate() {
        errors.all(user_or_group(int(group)), int(group), &groups.index(i));
    }
    if flag(&spec["hostPID"]) && flag(&spec["shareProcessNamespace"]) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(path.child("shareProcessNamespace"), true, detail);
    }
    sysctls(spec, options, &path.child("sysctls"), errors);
    choice(
        context,
        "fsGroupChangePolicy",
        &["Always", "OnRootMismatch"],
        path,
        errors,
    );
    seccomp(&context["seccompProfile"], &path.child("seccompProfile"), errors);
    windows::options(&context["windowsOptions"], &path.child("windowsOptions"), errors);
    app_armor(&context["appArmorProfile"], &path.child("appArmorProfile"), errors);
    choice(context, "supplementalGroupsPolicy", &["Merge", "Strict"], path, errors);
    let policies: &[&str] = match options.any_selinux_change_policy {
        true => &["MountOption", "Recursive"],
        false => &["Recursive"],
    };
    choice(context, "seLinuxChangePolicy", policies, path, errors);
}

/// The security context of a container.
pub(super) fn container(context: &Value, host_users: bool, path: &Path, errors: &mut Errors) {
    if !given(context) {
        return;
    }
    identity(context, "runAsUser", path, errors);
    identity(context, "runAsGroup", path, errors);
    if let Some(mount) = optional_text(&context["procMount"]) {
        let field = path.child("procMount");
        errors.one_of(mount, &["Default", "Unmasked"], &field);
        if host_users && mount == "Unmasked" {
            errors.invalid(field, mount, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(&context["seccompProfile"], &path.child("seccompProfile"), errors);
    if context["allowPrivilegeEscalation"].as_bool() == Some(false) {
        let mut contradiction = |detail: &str| {
            let printed = shapes::compact("SecurityContext", context);
            errors.push(crate::FieldError::invalid_printed(path, &printed, detail));
        };
        if flag(&context["privileged"]) {
            contradiction("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        for capability in items(&context["capabilities"]["add"]) {
            if text(capability) == "CAP_SYS_ADMIN" {
                contradiction("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
            }
        }
    }
    windows::options(&context["windowsOptions"], &path.child("windowsOptions"), errors);
    app_armor(&context["appArmorProfile"], &path.child("appArmorProfile"), errors);
}

fn seccomp(profile: &Value, path: &Path, errors: &mut Errors) {
    if !given(profile) {
        return;
    }
    let kind = text(&profile["type"]);
    if kind.is_empty() {
        errors.required(path.child("type"), "type is required when seccompProfile is set");
    } else {
        errors.one_of(kind, &SECCOMP_TYPES, &path.child("type"));
    }
    let field = path.child("localhostProfile");
    match (kind == "Localhost", optional_text(&profile["localhostProfile"])) {
        (true, None) => errors.required(field, "must be set when seccomp type is Localhost"),
        (true, Some(target)) => errors.extend(local_descending(target, &field)),
        (false, Some(_)) => {
            let printed = shapes::compact("SeccompProfile", profile);
            let detail = "can only be set when seccomp type is Localhost";
            errors.push(crate::FieldError::invalid_printed(field, &printed, detail));
        }
        (false, None) => {}
    }
}

fn app_armor(profile: &Value, path: &Path, errors: &mut Errors) {
    if !given(profile) {
        return;
    }
    let field = path.child("localhostProfile");
    let local = optional_text(&profile["localhostProfile"]);
    let unset = "must be set when AppArmor type is Localhost";
    match text(&profile["type"]) {
        "Localhost" => match local {
            None => errors.required(field, unset),
            Some(name) => {
                if name.trim() != name {
                    errors.invalid(field, name, "must not be padded with whitespace");
                } else if name.is_empty() {
                    errors.required(field, unset);
                }
                if name.len() > PROFILE_LENGTH_MAX {
                    errors.push(crate::FieldError::too_long(field, PROFILE_LENGTH_MAX));
                }
            }
        },
        "RuntimeDefault" | "Unconfined" => {
            if let Some(name) = local {
                errors.invalid(field, name, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(path.child("type"), "type is required when appArmorProfile is set"),
        other => errors.not_supported(path.child("type"), other, &SECCOMP_TYPES),
    }
}

fn is_sysctl(name: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    name.len() <= SYSCTL_LENGTH_MAX
        && name
            .split(['.', '/'])
            .all(|part| edge(part.bytes().next()) && edge(part.bytes().last()) && part.bytes().all(inner))
}

fn sysctls(spec: &Value, options: Options, path: &Path, errors: &mut Errors) {
    let (network, ipc) = (flag(&spec["hostNetwork"]), flag(&spec["hostIPC"]));
    let mut names = Vec::new();
    for (i, sysctl) in items(&spec["securityContext"]["sysctls"]).iter().enumerate() {
        let (name, item) = (text(&sysctl["name"]), path.index(i));
        let field = item.child("name");
        if name.is_empty() {
            errors.required(field, "");
        } else if !is_sysctl(name) {
            let detail = format!(
                "must have at most {SYSCTL_LENGTH_MAX} characters and match regex \
                 ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            );
            errors.invalid(field, name, &detail);
        } else if names.contains(&name) {
            errors.duplicate(field, name);
        }
        if !options.host_sysctls
            && let Some(detail) = host_sysctl(name, network, ipc)
        {
            errors.invalid(field, name, detail);
        }
        names.push(name);
    }
}

/// Why a sysctl would change the host: it belongs to a namespace the pod shares with it.
pub(super) fn host_sysctl(name: &str, network: bool, ipc: bool) -> Option<&'static str> {
    let dotted: String = match name.find(['.', '/']) {
        Some(first) if name[first..].starts_with('/') => name
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                c => c,
            })
            .collect(),
        _ => name.to_owned(),
    };
    let of_ipc = dotted == "kernel.sem"
        || ["kernel.shm", "kernel.msg", "fs.mqueue."]
            .iter()
            .any(|p| dotted.starts_with(p));
    if network && dotted.starts_with("net.") {
        return Some("may not be specified when 'hostNetwork' is true");
    }
    (ipc && of_ipc).then_some("may not be specified when 'hostIPC' is true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sysctls_of_the_host_are_refused() {
        assert!(host_sysctl("net/ipv4/ip_forward", true, false).is_some());
        assert!(host_sysctl("kernel.shm_rmid_forced", false, true).is_some());
        assert!(host_sysctl("kernel.shm_rmid_forced", true, false).is_none());
        assert!(is_sysctl("net.ipv4.tcp_syncookies") && !is_sysctl("net..a") && !is_sysctl("A"));
    }

    #[test]
    fn contradictions_print_the_whole_context() {
        let context = json!({"privileged": true, "allowPrivilegeEscalation": false});
        let path = Path::Root.child("sc");
        let errors = Errors::of(|e| container(&context, true, &path, e));
        assert!(
            errors[0]
                .message
                .starts_with("Invalid value: {\"Capabilities\":null,\"Privileged\":true,")
        );
    }
}

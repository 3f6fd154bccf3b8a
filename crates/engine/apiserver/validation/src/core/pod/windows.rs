//! What holds for pods and containers of Windows.

use serde_json::Value;

use super::containers::visit;
use crate::Path;
use crate::errors::Errors;
use crate::get::{flag, given, optional_text};
use crate::names::dns_subdomain;

const CREDENTIAL_KIB_MAX: usize = 64;
const DOMAIN_LENGTH_MAX: usize = 256;
const USER_LENGTH_MAX: usize = 104;

/// Options of a security context that only Windows knows.
pub(super) fn options(options: &Value, path: &Path, errors: &mut Errors) {
    if let Some(name) = optional_text(&options["gmsaCredentialSpecName"]) {
        errors.check(dns_subdomain, name, &path.child("gmsaCredentialSpecName"));
    }
    if let Some(spec) = optional_text(&options["gmsaCredentialSpec"]) {
        let field = path.child("gmsaCredentialSpec");
        if spec.is_empty() {
            errors.invalid(field, spec, "gmsaCredentialSpec cannot be an empty string");
        } else if spec.len() > CREDENTIAL_KIB_MAX * 1024 {
            let detail = format!("gmsaCredentialSpec size must be under {CREDENTIAL_KIB_MAX} KiB");
            errors.invalid(field, spec, &detail);
        }
    }
    if let Some(name) = optional_text(&options["runAsUserName"]) {
        for detail in user_name(name) {
            errors.invalid(path.child("runAsUserName"), name, &detail);
        }
    }
}

fn user_name(name: &str) -> Vec<String> {
    let one = |text: &str| vec![text.to_owned()];
    if name.is_empty() {
        return one("runAsUserName cannot be an empty string");
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return one("runAsUserName cannot contain control characters");
    }
    let (domain, user) = match name.split_once('\\') {
        Some((_, user)) if user.contains('\\') => {
            return one("runAsUserName cannot contain more than one backslash");
        }
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    let mut wrong = Vec::new();
    if domain.is_some_and(|d| d.len() >= DOMAIN_LENGTH_MAX) {
        wrong.push(format!(
            "runAsUserName's Domain length must be under {DOMAIN_LENGTH_MAX} characters"
        ));
    }
    if domain.is_some_and(|d| !is_netbios(d) && !is_dns(d)) {
        wrong.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format".to_owned());
    }
    if user.is_empty() {
        wrong.push("runAsUserName's User cannot be empty".to_owned());
    } else if user.len() > USER_LENGTH_MAX {
        wrong.push(format!(
            "runAsUserName's User length must not be longer than {USER_LENGTH_MAX} characters"
        ));
    }
    if !user.is_empty() && user.bytes().all(|b| b == b'.' || b == b' ') {
        wrong.push("runAsUserName's User cannot contain only periods or spaces".to_owned());
    }
    if user.bytes().any(|b| br#""/\:;|=,+*?<>@[]"#.contains(&b)) {
        wrong.push(r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#.to_owned());
    }
    wrong
}

fn is_netbios(domain: &str) -> bool {
    let length = domain.chars().count();
    (1..=15).contains(&length) && !domain.starts_with('.') && !domain.contains(|c| r#"\/:*?"<>|"#.contains(c))
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        label.len() <= 63
            && edge(label.bytes().next())
            && edge(label.bytes().last())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// Processes of the host are all or none of a pod's containers, and share its network.
pub(super) fn host_processes(spec: &Value, path: &Path, errors: &mut Errors) {
    let of = |context: &Value| context["windowsOptions"]["hostProcess"].as_bool();
    let pod = of(&spec["securityContext"]);
    let (mut containers, mut of_host) = (0, 0);
    visit(spec, path, |container, path| {
        containers += 1;
        let own = of(&container["securityContext"]);
        if let (Some(pod), Some(own)) = (pod, own)
            && pod != own
        {
            let detail = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            let context = path.child("securityContext");
            errors.invalid(context.child("windowsOptions").child("hostProcess"), own, &detail);
        }
        of_host += usize::from(own.or(pod).unwrap_or_default());
    });
    if of_host == 0 {
        return;
    }
    if of_host != containers {
        let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(path, "", detail);
    }
    if !flag(&spec["hostNetwork"]) {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(path.child("hostNetwork"), false, detail);
    }
}

/// The operating system and what it does not know.
pub(super) fn operating_system(spec: &Value, path: &Path, errors: &mut Errors) {
    if !given(&spec["os"]) {
        return;
    }
    match crate::get::text(&spec["os"]["name"]) {
        "" => errors.required(path.child("os").child("name"), "cannot be empty"),
        "linux" => linux(spec, path, errors),
        "windows" => windows(spec, path, errors),
        other => errors.not_supported(path.child("os"), other, &["linux", "windows"]),
    }
}

fn linux(spec: &Value, path: &Path, errors: &mut Errors) {
    let detail = "windows options cannot be set for a linux pod";
    if given(&spec["securityContext"]["windowsOptions"]) {
        errors.forbidden(path.child("securityContext").child("windowsOptions"), detail);
    }
    visit(spec, path, |container, path| {
        if given(&container["securityContext"]["windowsOptions"]) {
            errors.forbidden(path.child("securityContext").child("windowsOptions"), detail);
        }
    });
}

fn windows(spec: &Value, path: &Path, errors: &mut Errors) {
    /// Where the field stands: in the context, or beside it if so marked.
    const OF_POD: [(&str, bool); 15] = [
        ("appArmorProfile", false),
        ("seLinuxOptions", false),
        ("hostUsers", true),
        ("hostPID", true),
        ("hostIPC", true),
        ("seccompProfile", false),
        ("fsGroup", false),
        ("fsGroupChangePolicy", false),
        ("sysctls", false),
        ("shareProcessNamespace", true),
        ("runAsUser", false),
        ("runAsGroup", false),
        ("supplementalGroups", false),
        ("supplementalGroupsPolicy", false),
        ("seLinuxChangePolicy", false),
    ];
    const OF_CONTAINER: [&str; 10] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    let detail = "cannot be set for a windows pod";
    let context = path.child("securityContext");
    for (name, beside) in OF_POD {
        let value = if beside {
            &spec[name]
        } else {
            &spec["securityContext"][name]
        };
        let set = match name {
            "hostPID" | "hostIPC" => flag(value),
            "sysctls" => !crate::get::items(value).is_empty(),
            _ => given(value),
        };
        if set {
            errors.forbidden(if beside { path.child(name) } else { context.child(name) }, detail);
        }
    }
    visit(spec, path, |container, path| {
        for name in OF_CONTAINER {
            if given(&container["securityContext"][name]) {
                errors.forbidden(path.child("securityContext").child(name), detail);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        assert!(user_name("NT AUTHORITY\\SYSTEM").is_empty() && user_name("user").is_empty());
        assert_eq!(user_name("a\\b\\c").len(), 1);
        assert_eq!(user_name("...").len(), 1);
        assert_eq!(user_name("..x\\a").len(), 1);
    }
}

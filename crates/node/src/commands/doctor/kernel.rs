//! Checks of what pods will need of the kernel. This version runs none, so what is missing is only told.

use std::path::Path;

use super::{Check, Level};

/// All of them.
pub fn checks() -> Vec<Check> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let index = Modules::read(&release);
    let mut checks = vec![cgroups(), namespaces()];
    for (name, module, purpose) in [
        ("overlayfs", "overlay", "images of containers"),
        ("nftables", "nf_tables", "services and network policies"),
        (
            "bridge filter",
            "br_netfilter",
            "network policies between pods of one machine",
        ),
        ("vxlan", "vxlan", "pod traffic between machines"),
    ] {
        checks.push(match index.state(module) {
            Some(state) => Check::ok(name, state),
            None => missing(name, format!("the kernel module {module} was not found"), purpose),
        });
    }
    checks.push(forwarding());
    checks
}

fn missing(name: &'static str, found: impl Into<String>, purpose: &str) -> Check {
    Check::new(
        name,
        Level::Info,
        found,
        format!("later versions need it for {purpose}"),
    )
}

fn cgroups() -> Check {
    let Ok(controllers) = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") else {
        return missing("cgroups", "no version 2 hierarchy at /sys/fs/cgroup", "limits of pods");
    };
    let present: Vec<_> = controllers.split_whitespace().collect();
    let lacking: Vec<_> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|name| !present.contains(name))
        .collect();
    match lacking.is_empty() {
        true => Check::ok("cgroups", format!("version 2 with {}", present.join(", "))),
        false => missing(
            "cgroups",
            format!("version 2 without {}", lacking.join(", ")),
            "limits of pods",
        ),
    }
}

fn namespaces() -> Check {
    let lacking: Vec<_> = ["ipc", "mnt", "net", "pid", "uts"]
        .into_iter()
        .filter(|name| !Path::new("/proc/self/ns").join(name).exists())
        .collect();
    match lacking.is_empty() {
        true => Check::ok("namespaces", "ipc, mnt, net, pid, uts"),
        false => missing(
            "namespaces",
            format!("none of kind {}", lacking.join(", ")),
            "isolation of pods",
        ),
    }
}

fn forwarding() -> Check {
    match std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
        .unwrap_or_default()
        .trim()
    {
        "1" => Check::ok("forwarding", "IPv4 is forwarded"),
        _ => missing(
            "forwarding",
            "IPv4 is not forwarded (net.ipv4.ip_forward)",
            "pod traffic",
        ),
    }
}

/// What the kernel has built in, and what it can load.
#[derive(Debug, Default)]
struct Modules {
    built_in: String,
    loadable: String,
}

impl Modules {
    fn read(release: &str) -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/lib/modules/{release}/{name}")).unwrap_or_default();
        Self {
            built_in: read("modules.builtin"),
            loadable: read("modules.dep"),
        }
    }

    fn state(&self, module: &str) -> Option<&'static str> {
        let loaded = Path::new("/sys/module").join(module).exists();
        let file_system = module == "overlay"
            && std::fs::read_to_string("/proc/filesystems")
                .is_ok_and(|all| all.lines().any(|line| line.ends_with("\toverlay")));
        if loaded || file_system {
            return Some("in the running kernel");
        }
        if lists(&self.built_in, module) {
            return Some("built into the kernel");
        }
        lists(&self.loadable, module).then_some("can be loaded")
    }
}

/// Whether a list of module files, as `modules.builtin` and `modules.dep` are, has the module.
fn lists(list: &str, module: &str) -> bool {
    list.lines().filter_map(|line| line.split(':').next()).any(|path| {
        let file = path.rsplit('/').next().unwrap_or_default();
        let name = file.split(".ko").next().unwrap_or_default();
        name.replace('-', "_") == module
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_in_lists() {
        let dep =
            "kernel/fs/overlayfs/overlay.ko.xz:\nkernel/net/bridge/br-netfilter.ko: kernel/net/bridge/bridge.ko\n";
        assert!(lists(dep, "overlay") && lists(dep, "br_netfilter"));
        assert!(!lists(dep, "bridge") && !lists("", "overlay"));
    }
}

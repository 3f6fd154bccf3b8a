//! What this member tells the others of its machine through gossip; Node objects are made from it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::addresses::Own;
use super::config::{RunConfig, Runtime};

/// The layer above's part of a member's announcement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Extra {
    /// Addresses of the machine.
    pub ips: Vec<IpAddr>,
    /// Host names it was told to advertise.
    pub hosts: Vec<String>,
    /// Host name.
    pub hostname: String,
    /// Node labels.
    pub labels: Vec<(String, String)>,
    /// Node taints: key, value, effect.
    pub taints: Vec<(String, String, String)>,
    /// Processors, in thousandths.
    pub cpu_milli: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Space of the data directory's file system, bytes.
    pub disk_bytes: u64,
    /// Kernel release.
    pub kernel: String,
    /// Name of the operating system's release.
    pub os_image: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// Kernel's id of this boot.
    pub boot_id: String,
    /// Architecture in Go's words.
    pub architecture: String,
    /// Version of the pod runtime; empty while this member runs no pods.
    pub runtime: String,
}

impl Extra {
    /// Looks at this machine.
    pub fn find(config: &RunConfig, own: &Own) -> Self {
        let uname = rustix::system::uname();
        let disk_bytes =
            rustix::fs::statvfs(&config.data_dir).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize));
        Self {
            ips: own.ips.clone(),
            hosts: own.hosts.clone(),
            hostname: uname.nodename().to_string_lossy().to_lowercase(),
            labels: config.labels.clone(),
            taints: config
                .taints
                .iter()
                .map(|taint| (taint.key.clone(), taint.value.clone(), taint.effect.clone()))
                .collect(),
            cpu_milli: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64) * 1000,
            memory_bytes: memory_bytes(),
            disk_bytes,
            kernel: uname.release().to_string_lossy().into_owned(),
            os_image: os_image(),
            machine_id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            architecture: go_architecture(std::env::consts::ARCH).to_owned(),
            runtime: match config.runtime {
                Runtime::None => String::new(),
            },
        }
    }
}

fn line(path: &str) -> String {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn memory_bytes() -> u64 {
    let info = line("/proc/meminfo");
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

fn os_image() -> String {
    let release = line("/etc/os-release");
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Kubernetes names architectures as Go does.
fn go_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

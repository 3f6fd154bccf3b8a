//! Checks of ports and of the network's settings.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use super::{Check, Level};
use crate::admin::is_answered;
use crate::cli::DoctorArgs;

/// Below this the kernel drops datagrams of a busy mesh.
const RECEIVE_BUFFER_WARN_BYTES: u64 = 200_000;

/// Whether a member runs with that data directory: then its ports are taken, and rightly so.
pub fn member_runs(data_dir: &Path) -> bool {
    is_answered(data_dir)
}

/// All of them.
pub fn checks(args: &DoctorArgs, running: bool) -> Vec<Check> {
    let mut checks = vec![
        port(
            "api port",
            "TCP",
            args.api,
            "--api",
            TcpListener::bind(args.api).map(drop),
            running,
        ),
        port(
            "mesh port",
            "UDP",
            args.mesh,
            "--mesh",
            UdpSocket::bind(args.mesh).map(drop),
            running,
        ),
    ];
    if let Some(metrics) = args.metrics.0 {
        let mut check = port(
            "metrics port",
            "TCP",
            metrics,
            "--metrics",
            TcpListener::bind(metrics).map(drop),
            running,
        );
        // The member goes on without.
        check.level = check.level.min(Level::Warn);
        checks.push(check);
    }
    checks.push(addresses());
    checks.push(receive_buffer());
    checks
}

fn port(
    name: &'static str,
    protocol: &str,
    address: SocketAddr,
    flag: &str,
    bound: std::io::Result<()>,
    running: bool,
) -> Check {
    match bound {
        Ok(()) => Check::ok(name, format!("{protocol} {address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && running => Check::ok(
            name,
            format!("{protocol} {address} is taken, and a member runs with this data directory"),
        ),
        Err(error) => {
            let found = format!("{protocol} {address} cannot be used: {error}");
            Check::new(
                name,
                Level::Fail,
                found,
                format!("choose another with {flag} ADDR:PORT"),
            )
        }
    }
}

fn addresses() -> Check {
    let mut found: Vec<String> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| format!("{} ({})", interface.ip(), interface.name))
        .collect();
    found.sort();
    found.truncate(16);
    match found.is_empty() {
        false => Check::ok("addresses", found.join(", ")),
        true => Check::new(
            "addresses",
            Level::Warn,
            "none but loopback",
            "other machines cannot reach this one until it has a network",
        ),
    }
}

fn receive_buffer() -> Check {
    let text = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap_or_default();
    match text.trim().parse::<u64>() {
        Ok(bytes) if bytes >= RECEIVE_BUFFER_WARN_BYTES => {
            Check::ok("receive buffer", format!("up to {}", crate::output::bytes(bytes)))
        }
        Ok(bytes) => Check::new(
            "receive buffer",
            Level::Warn,
            format!("up to {}", crate::output::bytes(bytes)),
            "set net.core.rmem_max to 2500000 or more with sysctl",
        ),
        // A network namespace of its own does not show it.
        Err(_) => Check::ok("receive buffer", "not shown here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_a_failure_unless_our_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let check = |running| {
            port(
                "api port",
                "TCP",
                address,
                "--api",
                TcpListener::bind(address).map(drop),
                running,
            )
            .level
        };
        assert_eq!((check(false), check(true)), (Level::Fail, Level::Ok));
        drop(listener);
        assert_eq!(check(false), Level::Ok);
    }
}

//! Where this member can be reached: what it was told, else what its interfaces say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};

use super::config::RunConfig;

/// Most addresses that are told to others.
const ADDRESSES_MAX: usize = 8;

/// This member's own addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Addresses others use for the mesh, best first.
    pub mesh: Vec<SocketAddr>,
    /// Addresses of this machine for Node objects and certificates, best first.
    pub ips: Vec<IpAddr>,
    /// Host names it was told to advertise.
    pub hosts: Vec<String>,
    /// Host part of its API URL.
    pub api_host: IpAddr,
}

/// Finds them. `mesh` and `api` are the addresses really bound.
pub fn find(config: &RunConfig, mesh: SocketAddr, api: SocketAddr) -> Result<Own> {
    let mut ips: Vec<IpAddr> = Vec::new();
    let mut hosts = Vec::new();
    for advertised in &config.advertise {
        match advertised.parse::<IpAddr>() {
            Ok(ip) => ips.push(ip),
            Err(_) => hosts.push(advertised.clone()),
        }
    }
    if ips.is_empty() {
        ips = if mesh.ip().is_unspecified() {
            interfaces()?
        } else {
            vec![mesh.ip()]
        };
    }
    if !api.ip().is_unspecified() && !ips.contains(&api.ip()) {
        ips.push(api.ip());
    }
    ips.truncate(ADDRESSES_MAX);
    let api_host = if api.ip().is_unspecified() {
        ips.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    } else {
        api.ip()
    };
    let mesh = if mesh.ip().is_unspecified() {
        ips.iter().map(|ip| SocketAddr::new(*ip, mesh.port())).collect()
    } else {
        let told = config.advertise.iter().filter_map(|told| told.parse::<IpAddr>().ok());
        let mut all: Vec<SocketAddr> = told.map(|ip| SocketAddr::new(ip, mesh.port())).collect();
        if !all.contains(&mesh) {
            all.push(mesh);
        }
        all
    };
    Ok(Own {
        mesh,
        ips,
        hosts,
        api_host,
    })
}

/// Addresses of this machine's interfaces that others may reach, IPv4 first; loopback only if there is nothing else.
fn interfaces() -> Result<Vec<IpAddr>> {
    let all = if_addrs::get_if_addrs().context("the network interfaces cannot be listed: give --advertise ADDR")?;
    let mut found: Vec<IpAddr> = all
        .iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| interface.ip())
        .collect();
    found.sort_by_key(|ip| (ip.is_ipv6(), *ip));
    found.dedup();
    if found.is_empty() {
        found.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Ok(found)
}

//! Interfaces of this machine and multicast sockets on them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use if_addrs::{IfAddr, IfOperStatus};
use socket2::{Domain, Protocol, Socket, Type};

use crate::wire::ADDRESSES_MAX;

/// One address of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InterfaceAddress {
    pub(crate) ip: IpAddr,
    pub(crate) index: u32,
    pub(crate) loopback: bool,
}

/// The addresses of all interfaces that are up; none if the system doesn't tell.
pub(crate) fn interfaces() -> Vec<InterfaceAddress> {
    let Ok(interfaces) = if_addrs::get_if_addrs() else {
        return Vec::new();
    };
    interfaces
        .into_iter()
        .filter(|interface| interface.is_oper_up() || interface.oper_status == IfOperStatus::Unknown)
        .map(|interface| InterfaceAddress {
            ip: match &interface.addr {
                IfAddr::V4(v4) => IpAddr::V4(v4.ip),
                IfAddr::V6(v6) => IpAddr::V6(v6.ip),
            },
            index: interface.index.unwrap_or(0),
            loopback: interface.is_loopback(),
        })
        .collect()
}

/// Where others reach a socket that is bound to `local`: that address, or all of this machine's if it is a
/// wildcard; loopback only if there is nothing else.
pub(crate) fn addresses_of(local: SocketAddr) -> Vec<SocketAddr> {
    if !local.ip().is_unspecified() {
        return vec![SocketAddr::new(local.ip().to_canonical(), local.port())];
    }
    let reachable = |address: &InterfaceAddress| match address.ip {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => local.is_ipv6() && !v6.is_unicast_link_local(),
    };
    let (loopback, mut others): (Vec<_>, Vec<_>) = interfaces()
        .into_iter()
        .filter(reachable)
        .partition(|address| address.loopback);
    if others.is_empty() {
        others = loopback;
    }
    // IPv4 first: where both work it is the one that is routed everywhere.
    others.sort_by_key(|address| address.ip.is_ipv6());
    others.dedup();
    others
        .into_iter()
        .take(ADDRESSES_MAX)
        .map(|address| SocketAddr::new(address.ip, local.port()))
        .collect()
}

/// A socket that receives what is sent to an IPv4 group; several processes may have one each.
pub(crate) fn group_socket_v4(group: Ipv4Addr, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Bound to the group, so that nothing else sent to the port arrives.
    socket.bind(&SocketAddr::new(group.into(), port).into())?;
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    Ok(socket)
}

/// The same for an IPv6 group.
pub(crate) fn group_socket_v6(port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port).into())?;
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v6(false)?;
    Ok(socket)
}

/// Sends one datagram to an IPv4 group out of the interface that has the address `from`; it crosses no router and
/// is heard on this machine too.
pub(crate) fn send_to_group_v4(from: Ipv4Addr, group: Ipv4Addr, port: u16, datagram: &[u8]) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_if_v4(&from)?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.send_to(datagram, &SocketAddr::new(group.into(), port).into())?;
    Ok(())
}

/// The same for an IPv6 group and an interface index.
pub(crate) fn send_to_group_v6(index: u32, group: Ipv6Addr, port: u16, datagram: &[u8]) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_loop_v6(true)?;
    socket.set_multicast_hops_v6(1)?;
    socket.send_to(datagram, &SocketAddr::new(group.into(), port).into())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_replaced_by_real_addresses() {
        let bound: SocketAddr = "127.0.0.2:5000".parse().unwrap();
        assert_eq!(addresses_of(bound), [bound]);
        let addresses = addresses_of("0.0.0.0:5000".parse().unwrap());
        assert!(!addresses.is_empty());
        assert!(
            addresses
                .iter()
                .all(|a| a.is_ipv4() && !a.ip().is_unspecified() && a.port() == 5000)
        );
    }
}

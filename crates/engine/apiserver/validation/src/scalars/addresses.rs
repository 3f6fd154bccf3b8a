//! IP addresses and networks.

use std::net::{IpAddr, Ipv6Addr};

const NOT_AN_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const NOT_A_NETWORK: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An address, also with leading zeros in the parts of an IPv4 address, as fields of old take it.
pub fn parse_legacy_ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| without_leading_zeros(text)?.parse().ok())
}

fn without_leading_zeros(text: &str) -> Option<String> {
    let parts: Vec<String> = text
        .split('.')
        .map(|part| part.parse::<u8>().map(|n| n.to_string()))
        .collect::<Result<_, _>>()
        .ok()?;
    let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (parts.len() == 4 && digits).then(|| parts.join("."))
}

/// Whether an address is of version 6 as Go sees it: a mapped one is of version 4.
pub fn is_ipv6(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(six) if six.to_ipv4_mapped().is_none())
}

/// What is wrong with an address of a field of old.
pub fn legacy_ip(text: &str) -> Vec<String> {
    match parse_legacy_ip(text) {
        Some(_) => Vec::new(),
        None => vec![NOT_AN_ADDRESS.to_owned()],
    }
}

/// What is wrong with an address that must be in canonical form.
pub fn ip(text: &str) -> Vec<String> {
    let Some(address) = parse_legacy_ip(text) else {
        return vec![NOT_AN_ADDRESS.to_owned()];
    };
    let Ok(strict) = text.parse::<IpAddr>() else {
        return vec!["must not have leading 0s".to_owned()];
    };
    if matches!(strict, IpAddr::V6(six) if six.to_ipv4_mapped().is_some()) {
        return vec!["must not be an IPv4-mapped IPv6 address".to_owned()];
    }
    match address.to_string() {
        canonical if canonical == text => Vec::new(),
        canonical => vec![format!("must be in canonical form (\"{canonical}\")")],
    }
}

/// A network: its address as written and the length of its prefix.
pub fn parse_legacy_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address = parse_legacy_ip(address)?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let length: u8 = length.parse().ok()?;
    (length <= bits).then_some((address, length))
}

/// An address with all bits after the prefix cleared.
pub fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(four) & mask).into())
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(six) & mask))
        }
    }
}

/// What is wrong with a network of a field of old.
pub fn legacy_cidr(text: &str) -> Vec<String> {
    match parse_legacy_cidr(text) {
        Some(_) => Vec::new(),
        None => vec![NOT_A_NETWORK.to_owned()],
    }
}

/// What is wrong with a network that must be in canonical form.
pub fn cidr(text: &str) -> Vec<String> {
    let Some((address, length)) = parse_legacy_cidr(text) else {
        return vec![NOT_A_NETWORK.to_owned()];
    };
    let (written, digits) = text.split_once('/').unwrap_or((text, ""));
    if written.parse::<IpAddr>().is_err() || (digits.len() > 1 && digits.starts_with('0')) {
        return vec!["must not have leading 0s in IP or prefix length".to_owned()];
    }
    if matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some()) {
        return vec!["must not have an IPv4-mapped IPv6 address".to_owned()];
    }
    if masked(address, length) != address {
        return vec!["must not have bits set beyond the prefix length".to_owned()];
    }
    match format!("{address}/{length}") {
        canonical if canonical == text => Vec::new(),
        canonical => vec![format!("must be in canonical form (\"{canonical}\")")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_and_legacy_forms() {
        assert!(legacy_ip("010.1.2.3").is_empty() && ip("fd00::1").is_empty() && cidr("10.0.0.0/8").is_empty());
        assert_eq!(ip("010.1.2.3"), ["must not have leading 0s"]);
        assert_eq!(ip("FD00::1"), ["must be in canonical form (\"fd00::1\")"]);
        assert_eq!(ip("1.2.3"), [NOT_AN_ADDRESS]);
        assert_eq!(cidr("10.0.0.1/8"), ["must not have bits set beyond the prefix length"]);
        assert_eq!(cidr("10.0.0.0/33"), [NOT_A_NETWORK]);
        assert!(legacy_cidr("10.0.0.1/8").is_empty());
        assert_eq!(masked("10.1.2.3".parse().unwrap(), 0).to_string(), "0.0.0.0");
    }
}

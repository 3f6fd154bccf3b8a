//! Lists that hold addresses or networks of both versions of IP.

use crate::scalars::addresses::{is_ipv6, parse_legacy_cidr, parse_legacy_ip};

/// Whether addresses of both versions are among these; the error is upstream's text.
pub(crate) fn of_addresses(addresses: &[&str]) -> Result<bool, String> {
    let mut versions = Vec::new();
    for (i, text) in addresses.iter().enumerate() {
        let ip = parse_legacy_ip(text).ok_or_else(|| format!("invalid ip[{i}]: {text}"))?;
        versions.push(is_ipv6(ip));
    }
    Ok(versions.contains(&true) && versions.contains(&false))
}

/// Whether networks of both versions are among these; the error is upstream's text.
pub(crate) fn of_networks(networks: &[&str]) -> Result<bool, String> {
    let mut versions = Vec::new();
    for (i, text) in networks.iter().enumerate() {
        let (ip, _) = parse_legacy_cidr(text)
            .ok_or_else(|| format!("failed to parse cidr[{i}]:\"{text}\" with error: invalid CIDR address: {text}"))?;
        versions.push(is_ipv6(ip));
    }
    Ok(versions.contains(&true) && versions.contains(&false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions() {
        assert_eq!(of_addresses(&["10.0.0.1", "fd00::1"]), Ok(true));
        assert_eq!(of_addresses(&["10.0.0.1", "10.0.0.2"]), Ok(false));
        assert!(of_addresses(&["x"]).is_err());
        assert_eq!(of_networks(&["10.0.0.0/8", "fd00::/64"]), Ok(true));
    }
}

//! Addresses and networks in forms that are taken, but not the standard ones (upstream `GetWarningsForIP`,
//! `GetWarningsForCIDR`).

use std::fmt::Display;
use std::net::IpAddr;

use engenho_validation::go_quoted;
use engenho_validation::scalars::addresses::{masked, parse_legacy_cidr, parse_legacy_ip};

/// What is odd about an address. What is no address at all is validation's to refuse.
pub(crate) fn ip(at: impl Display, text: &str, warnings: &mut Vec<String>) {
    let Some(address) = parse_legacy_ip(text) else {
        return;
    };
    let quoted = go_quoted(text);
    if text.parse::<IpAddr>().is_err() || is_mapped(address) {
        warnings.push(format!(
            "{at}: non-standard IP address {quoted} will be considered invalid in a future Kubernetes release: use \"{}\"",
            plain(address)
        ));
    } else if address.is_ipv6() && address.to_string() != text {
        warnings.push(format!(
            "{at}: IPv6 address {quoted} should be in RFC 5952 canonical format (\"{address}\")"
        ));
    }
}

/// What is odd about a network.
pub(crate) fn cidr(at: impl Display, text: &str, warnings: &mut Vec<String>) {
    let Some((address, length)) = parse_legacy_cidr(text) else {
        return;
    };
    let quoted = go_quoted(text);
    let network = network_text(masked(address, length), length);
    let ambiguous = masked(address, length) != address;
    if ambiguous {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        warnings.push(format!(
            "{at}: CIDR value {quoted} is ambiguous in this context (should be \"{network}\" or \"{}/{bits}\"?)",
            plain(address)
        ));
    }
    let (written, digits) = text.split_once('/').unwrap_or((text, ""));
    let zeros = written.parse::<IpAddr>().is_err() || (digits.len() > 1 && digits.starts_with('0'));
    if zeros || is_mapped(address) {
        warnings.push(format!(
            "{at}: non-standard CIDR value {quoted} will be considered invalid in a future Kubernetes release: use \"{network}\""
        ));
    } else if !ambiguous && address.is_ipv6() && network != text {
        warnings.push(format!(
            "{at}: IPv6 CIDR value {quoted} should be in RFC 5952 canonical format (\"{network}\")"
        ));
    }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some())
}

/// An address as Go prints it: a mapped one as the address of version 4 that it is.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn network_text(network: IpAddr, length: u8) -> String {
    // The 96 bits that say that an address is a mapped one are no part of its network of version 4.
    let length = if is_mapped(network) {
        length.saturating_sub(96)
    } else {
        length
    };
    format!("{}/{length}", plain(network))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(check: fn(&'static str, &str, &mut Vec<String>), text: &str) -> Vec<String> {
        let mut warnings = Vec::new();
        check("f", text, &mut warnings);
        warnings
    }

    #[test]
    fn addresses() {
        let future = "will be considered invalid in a future Kubernetes release";
        let table = [
            ("10.1.2.3", None),
            ("fd00::1", None),
            ("no address", None),
            (
                "010.1.02.3",
                Some(format!(
                    "f: non-standard IP address \"010.1.02.3\" {future}: use \"10.1.2.3\""
                )),
            ),
            (
                "::ffff:1.2.3.4",
                Some(format!(
                    "f: non-standard IP address \"::ffff:1.2.3.4\" {future}: use \"1.2.3.4\""
                )),
            ),
            (
                "FD00:0::1",
                Some("f: IPv6 address \"FD00:0::1\" should be in RFC 5952 canonical format (\"fd00::1\")".into()),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(of(ip, text), Vec::from_iter(expected), "{text}");
        }
    }

    #[test]
    fn networks() {
        let future = "will be considered invalid in a future Kubernetes release";
        let table: [(&str, Vec<String>); 7] = [
            ("10.0.0.0/8", vec![]),
            ("fd00::/64", vec![]),
            (
                "10.0.0.7/8",
                vec!["f: CIDR value \"10.0.0.7/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.7/32\"?)".into()],
            ),
            ("10.0.0.0/08", vec![format!("f: non-standard CIDR value \"10.0.0.0/08\" {future}: use \"10.0.0.0/8\"")]),
            (
                "010.0.0.7/8",
                vec![
                    "f: CIDR value \"010.0.0.7/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.7/32\"?)".into(),
                    format!("f: non-standard CIDR value \"010.0.0.7/8\" {future}: use \"10.0.0.0/8\""),
                ],
            ),
            (
                "::ffff:1.2.3.0/120",
                vec![format!("f: non-standard CIDR value \"::ffff:1.2.3.0/120\" {future}: use \"1.2.3.0/24\"")],
            ),
            (
                "FD00::/64",
                vec!["f: IPv6 CIDR value \"FD00::/64\" should be in RFC 5952 canonical format (\"fd00::/64\")".into()],
            ),
        ];
        for (text, expected) in table {
            assert_eq!(of(cidr, text), expected, "{text}");
        }
    }
}

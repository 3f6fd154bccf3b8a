//! Addresses and networks of the Internet Protocol.

use std::fmt;
use std::net::IpAddr;

/// A network, or an address in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address as it was written.
    pub address: IpAddr,
    /// How many bits of it are the network.
    pub bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(of) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4((of.to_bits() & mask).into())
        }
        IpAddr::V6(of) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6((of.to_bits() & mask).into())
        }
    }
}

impl Cidr {
    /// The network without the part of the address that is not of it.
    pub fn masked(self) -> Self {
        Self {
            address: mask(self.address, self.bits),
            bits: self.bits,
        }
    }

    /// Whether an address is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && mask(address, self.bits) == mask(self.address, self.bits)
    }

    /// Whether all of another network is in the network.
    pub fn contains_network(self, other: Self) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }
}

/// Reads an address, or says as upstream does why it cannot be used.
pub(crate) fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let fails = |why: &str| {
        format!(
            "IP Address {} parse error during conversion from string: ParseAddr({}): {why}",
            crate::text::quote_go(text),
            crate::text::quote_go(text)
        )
    };
    if let Some((address, zone)) = text.split_once('%') {
        let readable = address.parse::<std::net::Ipv6Addr>().is_ok();
        return Err(match (readable, zone) {
            (true, "") => fails("zone must be a non-empty string"),
            (true, _) => format!(
                "IP address {} with zone value is not allowed",
                crate::text::quote_go(text)
            ),
            (false, _) => fails("unable to parse IP"),
        });
    }
    let address = text.parse::<IpAddr>().map_err(|_| fails(&reason(text)))?;
    if matches!(address, IpAddr::V6(of) if of.to_ipv4_mapped().is_some()) {
        return Err(format!(
            "IPv4-mapped IPv6 address {} is not allowed",
            crate::text::quote_go(text)
        ));
    }
    Ok(address)
}

/// Why a text is no address.
fn reason(text: &str) -> String {
    let first = text.find(['.', ':']).and_then(|at| text[at..].chars().next());
    if first != Some('.') {
        return "unable to parse IP".to_owned();
    }
    let mut fields = 0;
    for field in text.split('.') {
        if let Some(odd) = field.find(|c: char| !c.is_ascii_digit()) {
            let at = text.find(field).unwrap_or_default() + odd;
            return format!("unexpected character (at {})", crate::text::quote_go(&text[at..]));
        }
        if field.is_empty() {
            return format!(
                "IPv4 field must have at least one digit (at {})",
                crate::text::quote_go(text)
            );
        }
        if field.len() > 1 && field.starts_with('0') {
            return "IPv4 field has octet with leading zero".to_owned();
        }
        if field.parse::<u8>().is_err() {
            return "IPv4 field has value >255".to_owned();
        }
        fields += 1;
    }
    if fields > 4 {
        "IPv4 address too long"
    } else {
        "IPv4 address too short"
    }
    .to_owned()
}

/// Reads a network, or says as upstream does why it cannot be used.
pub(crate) fn parse_cidr(text: &str) -> Result<Cidr, String> {
    let fails = |why: String| {
        format!(
            "network address parse error during conversion from string: netip.ParsePrefix({}): {why}",
            crate::text::quote_go(text)
        )
    };
    let (address, bits) = text.rsplit_once('/').ok_or_else(|| fails("no '/'".to_owned()))?;
    let parsed = address.parse::<IpAddr>().map_err(|_| {
        let zoned = address
            .split_once('%')
            .is_some_and(|(plain, _)| plain.parse::<IpAddr>().is_ok());
        fails(if zoned {
            "IPv6 zones cannot be present in a prefix".to_owned()
        } else {
            format!("ParseAddr({}): {}", crate::text::quote_go(address), reason(address))
        })
    })?;
    let plain = bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let length = plain.then(|| bits.parse::<u32>().ok()).flatten();
    let length = length.ok_or_else(|| fails(format!("bad bits after slash: {}", crate::text::quote_go(bits))))?;
    let longest = if parsed.is_ipv4() { 32 } else { 128 };
    let bits = u8::try_from(length).ok().filter(|length| *length <= longest);
    let bits = bits.ok_or_else(|| fails("prefix length out of range".to_owned()))?;
    if matches!(parsed, IpAddr::V6(of) if of.to_ipv4_mapped().is_some()) {
        return Err(format!(
            "IPv4-mapped IPv6 address {} is not allowed",
            crate::text::quote_go(text)
        ));
    }
    Ok(Cidr { address: parsed, bits })
}

/// Whether an address is of the local link only.
pub(crate) fn is_link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(of) => of.is_link_local(),
        IpAddr::V6(of) => of.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// Whether an address is of a group on the local link.
pub(crate) fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(of) => of.octets()[..3] == [224, 0, 0],
        IpAddr::V6(of) => of.segments()[0] & 0xff0f == 0xff02,
    }
}

/// Whether an address may be reached beyond the local link.
pub(crate) fn is_global_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(of) if of.is_broadcast());
    !broadcast
        && !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !is_link_local_unicast(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let of = |text: &str| parse_cidr(text).unwrap();
        assert_eq!(of("192.168.0.1/24").masked().to_string(), "192.168.0.0/24");
        assert!(of("192.168.0.0/24").contains("192.168.0.9".parse().unwrap()));
        assert!(!of("192.168.0.0/24").contains("192.168.1.9".parse().unwrap()));
        assert!(of("0.0.0.0/0").contains("1.2.3.4".parse().unwrap()));
        assert!(of("192.168.0.0/16").contains_network(of("192.168.10.0/24")));
        assert!(!of("192.168.1.0/24").contains_network(of("192.168.2.0/24")));
        assert!(!of("192.168.1.0/24").contains_network(of("192.168.0.0/16")));
        for bad in [
            "1.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/024",
            "1.2.3.4/-1",
            "::ffff:1.2.3.4/112",
            "x/1",
        ] {
            assert!(parse_cidr(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses() {
        assert!(parse_ip("::1").is_ok());
        assert_eq!(
            parse_ip("1.2.3").unwrap_err(),
            "IP Address \"1.2.3\" parse error during conversion from string: ParseAddr(\"1.2.3\"): IPv4 address too short"
        );
        assert_eq!(
            parse_ip("::ffff:1.2.3.4").unwrap_err(),
            "IPv4-mapped IPv6 address \"::ffff:1.2.3.4\" is not allowed"
        );
        assert_eq!(
            parse_ip("fe80::1%en0").unwrap_err(),
            "IP address \"fe80::1%en0\" with zone value is not allowed"
        );
    }
}

//! Values of flags: what they look like, and what is said of one that looks wrong.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::run::config::{Runtime, Taint};

/// `ADDR:PORT` with an IP address.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "want an IP address and a port, as 0.0.0.0:6443 or [::]:6443 (host names are not resolved here)".to_owned()
    })
}

/// An IP address or a DNS name, without a port.
pub fn host(text: &str) -> Result<String, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return match ip.is_unspecified() {
            true => Err(format!("{ip} is every address and none: others cannot reach it")),
            false => Ok(ip.to_string()),
        };
    }
    // What looks like an IPv4 address with a part too many or too large is no host name either.
    let numeric = text
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    match !numeric && is_subdomain(&text.to_ascii_lowercase()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("want an IP address or a host name, without a port".to_owned()),
    }
}

/// A member's name: a DNS label (RFC 1123) in lower case.
pub fn member_name(text: &str) -> Result<String, String> {
    match revoada_core::chain::is_member_name(text) {
        true => Ok(text.to_owned()),
        false => Err("want a DNS label: 1 to 63 lower-case letters, digits and inner hyphens".to_owned()),
    }
}

/// The part of a host name before the first dot as a member name, with what a DNS label cannot hold replaced.
pub fn name_of_host(hostname: &str) -> String {
    let first = hostname.split('.').next().unwrap_or_default();
    let label: String = first
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| match c.is_ascii_lowercase() || c.is_ascii_digit() {
            true => c,
            false => '-',
        })
        .take(63)
        .collect();
    match label.trim_matches('-') {
        "" => "member".to_owned(),
        label => label.to_owned(),
    }
}

/// `KEY=VALUE`, a label as Kubernetes has it.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("want KEY=VALUE, as disk=ssd")?;
    check_label_key(key)?;
    if key.starts_with("node-role.kubernetes.io/") {
        return Err(format!("{key} follows the member's role and cannot be set here"));
    }
    check_label_value(value)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `KEY=VALUE:EFFECT` or `KEY:EFFECT`.
pub fn taint(text: &str) -> Result<Taint, String> {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let (rest, effect) = text
        .rsplit_once(':')
        .ok_or("want KEY=VALUE:EFFECT, as dedicated=db:NoSchedule")?;
    if !EFFECTS.contains(&effect) {
        return Err(format!("{effect:?} is no effect: want one of {}", EFFECTS.join(", ")));
    }
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    check_label_key(key)?;
    check_label_value(value)?;
    Ok(Taint {
        key: key.to_owned(),
        value: value.to_owned(),
        effect: effect.to_owned(),
    })
}

/// A failure domain: it becomes a label's value.
pub fn zone(text: &str) -> Result<String, String> {
    check_label_value(text)?;
    Ok(text.to_owned())
}

fn check_label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(prefix) = prefix.filter(|prefix| !is_subdomain(prefix)) {
        return Err(format!("the prefix {prefix:?} of the key is no DNS subdomain"));
    }
    match !name.is_empty() && is_qualified(name) {
        true => Ok(()),
        false => Err(format!(
            "{name:?} is no key: want 1 to 63 letters, digits, '-', '_' and '.', first and last a letter or digit"
        )),
    }
}

fn check_label_value(value: &str) -> Result<(), String> {
    match value.is_empty() || is_qualified(value) {
        true => Ok(()),
        false => Err(format!(
            "{value:?} is no value: want at most 63 letters, digits, '-', '_' and '.', first and last a letter or digit"
        )),
    }
}

fn is_qualified(text: &str) -> bool {
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && outer(bytes.first())
        && outer(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(revoada_core::chain::is_member_name)
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The first address.
    pub first: IpAddr,
    /// Length of the prefix, bits.
    pub prefix: u8,
}

impl Cidr {
    /// Whether any address is in both.
    pub fn overlaps(&self, other: &Cidr) -> bool {
        let shorter = self.prefix.min(other.prefix);
        match (self.first, other.first) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                prefix_of(a.to_bits().into(), 32, shorter) == prefix_of(b.to_bits().into(), 32, shorter)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                prefix_of(a.to_bits(), 128, shorter) == prefix_of(b.to_bits(), 128, shorter)
            }
            _ => false,
        }
    }
}

/// `bits` with all but its first `prefix` bits cleared.
fn prefix_of(bits: u128, width: u32, prefix: u8) -> u128 {
    let free = width - u32::from(prefix);
    bits.checked_shr(free)
        .and_then(|bits| bits.checked_shl(free))
        .unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || "want a range of addresses, as 10.244.0.0/16".to_owned();
        let (first, prefix) = text.split_once('/').ok_or_else(refuse)?;
        let first: IpAddr = first.parse().map_err(|_| refuse())?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let number: u8 = prefix.parse().map_err(|_| refuse())?;
        if u32::from(number) > width || prefix.starts_with(['+', '0']) && prefix != "0" {
            return Err(refuse());
        }
        let start = match first {
            IpAddr::V4(v4) => IpAddr::V4((prefix_of(v4.to_bits().into(), 32, number) as u32).into()),
            IpAddr::V6(v6) => IpAddr::V6(prefix_of(v6.to_bits(), 128, number).into()),
        };
        match start == first {
            true => Ok(Self { first, prefix: number }),
            false => Err(format!("{text} begins inside a range: do you mean {start}/{number}?")),
        }
    }
}

/// A range that can be cut into one block of pod addresses a node.
pub fn pod_cidr(text: &str) -> Result<Cidr, String> {
    let cidr: Cidr = text.parse()?;
    let range = if cidr.first.is_ipv4() { 8..=28 } else { 32..=120 };
    match range.contains(&cidr.prefix) {
        true => Ok(cidr),
        false => Err(format!("want a prefix of {} to {}", range.start(), range.end())),
    }
}

/// A range of service addresses, bounded as upstream bounds it: at most 2^20 addresses, at least 8.
pub fn service_cidr(text: &str) -> Result<Cidr, String> {
    let cidr: Cidr = text.parse()?;
    let range = if cidr.first.is_ipv4() { 12..=29 } else { 108..=125 };
    match range.contains(&cidr.prefix) {
        true => Ok(cidr),
        false => Err(format!("want a prefix of {} to {}", range.start(), range.end())),
    }
}

/// How pods run.
pub fn runtime(text: &str) -> Result<Runtime, String> {
    match text {
        "none" => Ok(Runtime::None),
        text if text == "embedded" || text.starts_with("cri:") => Err(format!(
            "this version runs no pods yet, so `{text}` comes in a later one: use `none`"
        )),
        _ => Err("want `none`".to_owned()),
    }
}

/// Where metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsAddress(pub Option<SocketAddr>);

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            text => socket_address(text)
                .map(|address| Self(Some(address)))
                .map_err(|problem| format!("{problem}, or `off`")),
        }
    }
}

/// A length of time in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u64);

/// The longest time that can be asked for: ten years.
const SECONDS_MAX: u64 = 10 * 365 * 86_400;

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || "want a duration, as 90s, 30m, 24h, 30d or 1h30m".to_owned();
        let mut rest = text;
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| refuse())?;
            rest = &rest[digits..];
            let unit = rest.chars().next().ok_or_else(refuse)?;
            let seconds = match unit {
                's' => 1,
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                'w' => 7 * 86_400,
                _ => return Err(refuse()),
            };
            rest = &rest[1..];
            total = number
                .checked_mul(seconds)
                .and_then(|part| total.checked_add(part))
                .filter(|total| *total <= SECONDS_MAX)
                .ok_or("it is longer than ten years")?;
        }
        match total {
            0 => Err(refuse()),
            total => Ok(Self(total)),
        }
    }
}

/// The lifetime of certificates: long enough that a renewal at two thirds of it can happen.
pub fn certificate_lifetime(text: &str) -> Result<Seconds, String> {
    match text.parse()? {
        Seconds(0..3) => Err("certificates need to live for 3 s at least".to_owned()),
        seconds => Ok(seconds),
    }
}

/// A wanted number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted(pub Option<u8>);

/// `auto`, 1, 3, 5 or 7.
pub fn voters(text: &str) -> Result<Wanted, String> {
    match text {
        "auto" => Ok(Wanted(None)),
        "1" | "3" | "5" | "7" => Ok(Wanted(text.parse().ok())),
        _ => Err("want 1, 3, 5, 7 or `auto` (an even number costs a vote and survives no further loss)".to_owned()),
    }
}

/// `auto` or 0 to 7.
pub fn standbys(text: &str) -> Result<Wanted, String> {
    match text.parse::<u8>() {
        Ok(number @ 0..=7) => Ok(Wanted(Some(number))),
        _ if text == "auto" => Ok(Wanted(None)),
        _ => Err("want 0 to 7, or `auto`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(socket_address("[::1]:1").unwrap().to_string(), "[::1]:1");
        for wrong in ["", "localhost:1", "1.2.3.4", "1.2.3.4:99999", ":6443"] {
            assert!(socket_address(wrong).is_err(), "{wrong}");
        }
        assert_eq!(host("[fd00::1]").unwrap(), "fd00::1");
        assert_eq!(host("Node-1.Example.org").unwrap(), "node-1.example.org");
        for wrong in ["", "1.2.3.4:7443", "0.0.0.0", "a b", "10.0.0.300", "-a", "a..b"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
        assert_eq!("off".parse(), Ok(MetricsAddress(None)));
        assert!("on".parse::<MetricsAddress>().is_err());
    }

    #[test]
    fn names_of_hosts() {
        for (hostname, name) in [
            ("web-1", "web-1"),
            ("Web_1.example.org", "web-1"),
            ("_x_", "x"),
            ("", "member"),
            ("...", "member"),
            ("é", "member"),
            (&"a".repeat(70), &"a".repeat(63)),
        ] {
            assert_eq!(name_of_host(hostname), name, "{hostname}");
            assert!(member_name(&name_of_host(hostname)).is_ok());
        }
    }

    #[test]
    fn labels_and_taints() {
        assert_eq!(
            label("example.org/disk=ssd").unwrap(),
            ("example.org/disk".into(), "ssd".into())
        );
        assert_eq!(label("a=").unwrap(), ("a".into(), String::new()));
        for wrong in [
            "a",
            "=b",
            "a=b c",
            "a/b/c=d",
            "A_/b=c",
            "-a=b",
            "a=b-",
            "node-role.kubernetes.io/x=y",
        ] {
            assert!(label(wrong).is_err(), "{wrong}");
        }
        let want = |value: &str| Taint {
            key: "a".into(),
            value: value.into(),
            effect: "NoSchedule".into(),
        };
        assert_eq!(taint("a=b:NoSchedule"), Ok(want("b")));
        assert_eq!(taint("a:NoSchedule"), Ok(want("")));
        for wrong in ["a", "a=b", "a=b:Never", ":NoSchedule", "a=b=c:NoExecute"] {
            assert!(taint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges() {
        assert_eq!("10.96.0.0/12".parse::<Cidr>().unwrap().to_string(), "10.96.0.0/12");
        assert!(
            "10.96.0.1/12"
                .parse::<Cidr>()
                .unwrap_err()
                .contains("do you mean 10.96.0.0/12?")
        );
        for wrong in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/016",
            "x/8",
            "10.0.0.0/8/8",
        ] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
        let overlap = |a: &str, b: &str| a.parse::<Cidr>().unwrap().overlaps(&b.parse().unwrap());
        assert!(overlap("10.0.0.0/8", "10.96.0.0/12") && overlap("10.96.0.0/12", "10.0.0.0/8"));
        assert!(!overlap("10.244.0.0/16", "10.96.0.0/12") && !overlap("::/0", "0.0.0.0/0"));
        assert!(overlap("0.0.0.0/0", "1.0.0.0/8") && overlap("fd00::/8", "fd00:1::/32"));
        assert!(service_cidr("10.0.0.0/8").is_err() && service_cidr("10.0.0.0/16").is_ok());
        assert!(pod_cidr("10.0.0.0/30").is_err() && pod_cidr("fd00::/48").is_ok());
    }

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("90s", 90),
            ("30m", 1_800),
            ("24h", 86_400),
            ("30d", 2_592_000),
            ("1h30m", 5_400),
        ] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)));
        }
        for wrong in [
            "",
            "0s",
            "24",
            "h",
            "1.5h",
            "-1s",
            "1é",
            "99999999999999999999s",
            "600w",
            "1 h",
        ] {
            assert!(wrong.parse::<Seconds>().is_err(), "{wrong}");
        }
        assert!(certificate_lifetime("2s").is_err() && certificate_lifetime("3s").is_ok());
    }

    #[test]
    fn runtimes_of_later_versions_are_named() {
        assert!(runtime("embedded").unwrap_err().contains("later"));
        assert!(runtime("cri:/run/x.sock").unwrap_err().contains("later"));
        assert_eq!(runtime("docker"), Err("want `none`".into()));
        assert_eq!(
            voters("2").map(|_| ()),
            Err("want 1, 3, 5, 7 or `auto` (an even number costs a vote and survives no further loss)".into())
        );
        assert_eq!((voters("auto"), standbys("0")), (Ok(Wanted(None)), Ok(Wanted(Some(0)))));
    }
}

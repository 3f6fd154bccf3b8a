//! What certificates are about: names and addresses of a server, user and groups of a client.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest user or group name in a certificate, bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Most groups in a certificate.
pub const GROUPS_MAX: usize = 64;
/// Most names and addresses in a serving certificate.
pub const SERVING_NAMES_MAX: usize = 256;

/// Why a name cannot stand in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No DNS name.
    #[error("{name:?} is not a DNS name; use labels of letters, digits, '-' and '_', joined by dots")]
    Dns {
        /// What was given.
        name: String,
    },
    /// A user or group name is empty or too long.
    #[error("a {what} name in a certificate has 1 to {NAME_BYTES_MAX} bytes and no NUL; {name:?} hasn't")]
    Text {
        /// `user` or `group`.
        what: &'static str,
        /// What was given.
        name: String,
    },
    /// Too many of something.
    #[error("a certificate holds at most {max} {what}; {count} were given")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// No range of addresses.
    #[error("{cidr:?} is not a range of addresses; write it like 10.96.0.0/12")]
    Cidr {
        /// What was given.
        cidr: String,
    },
}

/// Names and addresses that a serving certificate is valid for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServingNames {
    /// Lower-case DNS names.
    dns: BTreeSet<String>,
    ips: BTreeSet<IpAddr>,
}

impl ServingNames {
    /// No names.
    pub fn new() -> Self {
        Self::default()
    }

    /// The names under which every API server is reached: `localhost` and loopback addresses, and the names and
    /// addresses of the Service `kubernetes` in `cluster_domain` (usually `cluster.local`).
    pub fn api_server(cluster_domain: &str, service_addresses: &[IpAddr]) -> Result<Self, NameError> {
        let mut names = Self::new();
        for name in [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
        ] {
            names.add_dns(name)?;
        }
        names.add_dns(&format!("kubernetes.default.svc.{cluster_domain}"))?;
        names.add_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        names.add_ip(IpAddr::V6(Ipv6Addr::LOCALHOST));
        for address in service_addresses {
            names.add_ip(*address);
        }
        Ok(names)
    }

    /// Adds a DNS name; one leading `*` label is allowed.
    pub fn add_dns(&mut self, name: &str) -> Result<(), NameError> {
        let lower = name.trim_end_matches('.').to_ascii_lowercase();
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        let labels = lower.strip_prefix("*.").unwrap_or(&lower);
        if lower.len() > 253 || !labels.split('.').all(label) {
            return Err(NameError::Dns { name: name.to_owned() });
        }
        self.dns.insert(lower);
        Ok(())
    }

    /// Adds an address. Wildcards (`0.0.0.0`, `::`) are nobody's address and are left out.
    pub fn add_ip(&mut self, ip: IpAddr) {
        if !ip.is_unspecified() {
            self.ips.insert(ip.to_canonical());
        }
    }

    /// Adds what a user writes as a host: an address or a DNS name.
    pub fn add_host(&mut self, host: &str) -> Result<(), NameError> {
        match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(ip) => {
                self.add_ip(ip);
                Ok(())
            }
            Err(_) => self.add_dns(host),
        }
    }

    /// DNS names, in order.
    pub fn dns(&self) -> impl Iterator<Item = &str> {
        self.dns.iter().map(String::as_str)
    }

    /// Addresses, in order.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.ips.iter().copied()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.ips.is_empty()
    }

    /// Whether all of `other` is here: a certificate for these names serves those.
    pub fn covers(&self, other: &Self) -> bool {
        other.dns.is_subset(&self.dns) && other.ips.is_subset(&self.ips)
    }

    /// What is here and in `other`, and what is here only.
    pub(crate) fn split(&self, other: &Self) -> (Self, Self) {
        let both = Self {
            dns: self.dns.intersection(&other.dns).cloned().collect(),
            ips: self.ips.intersection(&other.ips).copied().collect(),
        };
        let rest = Self {
            dns: self.dns.difference(&other.dns).cloned().collect(),
            ips: self.ips.difference(&other.ips).copied().collect(),
        };
        (both, rest)
    }

    pub(crate) fn check(&self) -> Result<(), NameError> {
        let count = self.dns.len() + self.ips.len();
        if count > SERVING_NAMES_MAX {
            return Err(NameError::TooMany {
                what: "names and addresses",
                count,
                max: SERVING_NAMES_MAX,
            });
        }
        Ok(())
    }

    pub(crate) fn to_sans(&self) -> Result<Vec<rcgen::SanType>, rcgen::Error> {
        let mut sans = Vec::with_capacity(self.dns.len() + self.ips.len());
        for name in &self.dns {
            sans.push(rcgen::SanType::DnsName(name.as_str().try_into()?));
        }
        sans.extend(self.ips().map(rcgen::SanType::IpAddress));
        Ok(sans)
    }
}

/// Whom a client certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSubject {
    /// The user: common name.
    pub user: String,
    /// The groups: an organisation each.
    pub groups: Vec<String>,
}

impl ClientSubject {
    /// A user in groups.
    pub fn new(user: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            user: user.into(),
            groups: groups.into_iter().map(Into::into).collect(),
        }
    }

    /// The administrator, who may do everything.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", ["system:masters"])
    }

    /// The API server, when it passes requests on to others.
    pub fn front_proxy() -> Self {
        Self::new("front-proxy-client", [] as [&str; 0])
    }

    /// The kubelet of a node.
    pub fn node(name: &str) -> Self {
        Self::new(format!("system:node:{name}"), ["system:nodes"])
    }

    pub(crate) fn check(&self) -> Result<(), NameError> {
        let text = |what, name: &str| {
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
                return Err(NameError::Text {
                    what,
                    name: name.chars().take(NAME_BYTES_MAX).collect(),
                });
            }
            Ok(())
        };
        text("user", &self.user)?;
        for group in &self.groups {
            text("group", group)?;
        }
        if self.groups.len() > GROUPS_MAX {
            return Err(NameError::TooMany {
                what: "groups",
                count: self.groups.len(),
                max: GROUPS_MAX,
            });
        }
        Ok(())
    }
}

/// The first address of a service range, which the Service `kubernetes` has: 10.96.0.1 of 10.96.0.0/12.
pub fn first_service_address(cidr: &str) -> Result<IpAddr, NameError> {
    let wrong = || NameError::Cidr { cidr: cidr.to_owned() };
    let (address, prefix) = cidr.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let prefix: u32 = prefix.parse().map_err(|_| wrong())?;
    match address {
        // The range must have a second address.
        IpAddr::V4(v4) if prefix < 32 => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Ok(IpAddr::V4(Ipv4Addr::from((u32::from(v4) & mask) + 1)))
        }
        IpAddr::V6(v6) if prefix < 128 => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Ok(IpAddr::V6(Ipv6Addr::from((u128::from(v6) & mask) + 1)))
        }
        _ => Err(wrong()),
    }
}

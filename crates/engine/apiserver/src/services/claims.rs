//! Addresses and node ports that Services have: each is a key of its own in the store, written and deleted in the same
//! transaction as its Service. So no two Services ever have the same, and none is lost with a request that fails.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use engenho_catalog::{Catalog, Resource};
use engenho_store::Op;
use revoada_core::env::Entropy;
use serde_json::{Value, json};

use super::families::family_of;
use crate::fields;
use crate::object;
use crate::random;
use crate::status::Status;
use crate::storage::{Along, Storage};

/// The numbers of node ports.
pub(crate) const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;
/// Node ports below this are for Services that name theirs: automatic ones come from above, as long as there are any.
const NODE_PORTS_NAMED_BELOW: u16 = 30_086;
/// Prefix of the keys of node ports.
const NODE_PORT_KEYS: &str = "/registry/ranges/servicenodeports/";
/// Field manager of IPAddress objects.
const MANAGER: &str = "kube-apiserver";
/// Of a large range, so many addresses are looked at before it counts as full.
const TRIES_MAX: u128 = 1 << 20;

/// Why an address or a port cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimError {
    /// Another Service has the address.
    #[error("provided IP is already allocated")]
    AddressTaken,
    /// The address is in no service range.
    #[error("the provided network does not match the current range")]
    ForeignAddress,
    /// The address is the network's own, or its broadcast address.
    #[error("the provided IP is not in the valid range. The range of valid IPs is {0}")]
    ReservedAddress(String),
    /// Another Service has the port.
    #[error("provided port is already allocated")]
    PortTaken,
    /// The port is no node port.
    #[error("provided port is not in the valid range. The range of valid ports is {}-{}", NODE_PORTS.start(), NODE_PORTS.end())]
    ForeignPort,
    /// There is no free one.
    #[error("range is full")]
    Full,
}

/// A range of addresses for Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    first: u128,
    size: u128,
    v6: bool,
}

impl Range {
    /// Reads `10.96.0.0/16`.
    pub fn parse(cidr: &str) -> Option<Self> {
        let (address, bits) = cidr.trim().split_once('/')?;
        let (address, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
        let (number, width, v6): (u128, u32, bool) = match address {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32, false),
            IpAddr::V6(v6) => (u128::from(v6), 128, true),
        };
        let host_bits = width.checked_sub(bits).filter(|bits| *bits < 128)?;
        let size = 1_u128 << host_bits;
        Some(Self {
            first: number & !(size - 1),
            size,
            v6,
        })
    }

    pub fn family(&self) -> &'static str {
        if self.v6 { "IPv6" } else { "IPv4" }
    }

    fn address(&self, offset: u128) -> IpAddr {
        let number = self.first + offset;
        if self.v6 {
            Ipv6Addr::from(number).into()
        } else {
            Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into()
        }
    }

    /// Place of an address in the range.
    fn offset(&self, address: IpAddr) -> Option<u128> {
        let number = match address {
            IpAddr::V4(v4) if !self.v6 => u128::from(u32::from(v4)),
            IpAddr::V6(v6) if self.v6 => u128::from(v6),
            _ => return None,
        };
        number.checked_sub(self.first).filter(|offset| *offset < self.size)
    }

    /// Places that Services can have: neither the first nor, of IPv4, the last.
    fn usable(&self) -> std::ops::Range<u128> {
        1..if self.v6 {
            self.size
        } else {
            self.size.saturating_sub(1)
        }
    }

    /// The lower part of the range, kept for Services that name their address (KEP-3070): a sixteenth, 16 to 256.
    fn named_below(&self) -> u128 {
        let reserved = (self.size / 16).clamp(16, 256);
        if reserved < self.size { reserved } else { 0 }
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = if self.v6 { 128 } else { 32 } - self.size.ilog2();
        write!(f, "{}/{bits}", self.address(0))
    }
}

/// Takes and gives up what Services have, as a list of what goes along with the Service's own write.
pub(crate) struct Claims<'a> {
    storage: &'a Storage,
    catalog: &'a Catalog,
    entropy: &'a dyn Entropy,
    ranges: &'a [Range],
    owner: (&'a str, &'a str),
    now: String,
    along: Along,
    /// What this request has taken or given up already.
    taken: Vec<String>,
    freed: Vec<String>,
}

impl<'a> Claims<'a> {
    pub fn new(
        storage: &'a Storage,
        catalog: &'a Catalog,
        entropy: &'a dyn Entropy,
        ranges: &'a [Range],
        owner: (&'a str, &'a str),
        now: String,
    ) -> Self {
        Self {
            storage,
            catalog,
            entropy,
            ranges,
            owner,
            now,
            along: Along::default(),
            taken: Vec::new(),
            freed: Vec::new(),
        }
    }

    /// What is to be done with the Service's own write.
    pub fn into_along(self) -> Along {
        self.along
    }

    fn addresses(&self) -> Result<&'a Resource, Status> {
        let resource = self.catalog.resource("networking.k8s.io", "v1", "ipaddresses");
        Ok(resource.ok_or_else(|| Status::internal("there are no IPAddress objects"))?)
    }

    fn is_free(&self, key: &str) -> bool {
        !self.taken.iter().any(|taken| taken == key) && self.storage.revision_of(key).is_none()
    }

    /// Takes an address that the client named.
    pub fn address(&mut self, ip: &str) -> Result<Result<(), ClaimError>, Status> {
        let Ok(address) = canonical(ip).ok_or(()) else {
            return Ok(Err(ClaimError::ForeignAddress));
        };
        let Some((range, offset)) = self
            .ranges
            .iter()
            .find_map(|range| Some((range, range.offset(address)?)))
        else {
            return Ok(Err(ClaimError::ForeignAddress));
        };
        if !range.usable().contains(&offset) {
            return Ok(Err(ClaimError::ReservedAddress(range.to_string())));
        }
        let key = self.addresses()?.storage_key("", &address.to_string());
        if !self.is_free(&key) {
            return Ok(Err(ClaimError::AddressTaken));
        }
        self.take_address(key, address)?;
        Ok(Ok(()))
    }

    /// Takes a free address of a family.
    pub fn any_address(&mut self, family: &str) -> Result<Result<String, ClaimError>, Status> {
        let Some(range) = self.ranges.iter().find(|range| range.family() == family) else {
            return Ok(Err(ClaimError::ForeignAddress));
        };
        let resource = self.addresses()?;
        let (usable, middle) = (range.usable(), range.named_below().max(1));
        for part in [middle..usable.end, usable.start..middle.min(usable.end)] {
            let free = from_anywhere(part, self.entropy).find_map(|offset| {
                let address = range.address(offset);
                let key = resource.storage_key("", &address.to_string());
                self.is_free(&key).then_some((key, address))
            });
            if let Some((key, address)) = free {
                self.take_address(key, address)?;
                return Ok(Ok(address.to_string()));
            }
        }
        Ok(Err(ClaimError::Full))
    }

    fn take_address(&mut self, key: String, address: IpAddr) -> Result<(), Status> {
        let resource = self.addresses()?;
        let (namespace, name) = self.owner;
        let bare = json!({
            "apiVersion": resource.api_version(),
            "kind": &*resource.kind,
            "metadata": {
                "name": address.to_string(),
                "labels": {
                    "ipaddress.kubernetes.io/ip-family": family_of(&address.to_string()),
                    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                },
            },
            "spec": {"parentRef": {"resource": "services", "namespace": namespace, "name": name}},
        });
        let mut object = fields::update(resource, "", None, bare, MANAGER, &self.now);
        object::set_meta(&mut object, "uid", random::uuid(self.entropy));
        object::set_meta(&mut object, "creationTimestamp", self.now.as_str());
        let encoded = object::encode(&object, &resource.kind, &resource.api_version());
        self.along
            .create(self.storage.put(resource, &key, &encoded)?, key.clone());
        self.taken.push(key);
        Ok(())
    }

    /// Gives an address up.
    pub fn free_address(&mut self, ip: &str) -> Result<(), Status> {
        if let Some(address) = canonical(ip) {
            let key = self.addresses()?.storage_key("", &address.to_string());
            self.free(key, |value| {
                let parent = &value["spec"]["parentRef"];
                (parent["namespace"].as_str(), parent["name"].as_str())
            })?;
        }
        Ok(())
    }

    /// Takes a node port that the client named.
    pub fn port(&mut self, port: u16) -> Result<(), ClaimError> {
        if !NODE_PORTS.contains(&port) {
            return Err(ClaimError::ForeignPort);
        }
        let key = format!("{NODE_PORT_KEYS}{port}");
        if !self.is_free(&key) {
            return Err(ClaimError::PortTaken);
        }
        self.take_port(key);
        Ok(())
    }

    /// Takes a free node port.
    pub fn any_port(&mut self) -> Result<u16, ClaimError> {
        let (start, middle) = (u128::from(*NODE_PORTS.start()), u128::from(NODE_PORTS_NAMED_BELOW));
        let end = u128::from(*NODE_PORTS.end()) + 1;
        for part in [middle..end, start..middle] {
            let free = from_anywhere(part, self.entropy)
                .filter_map(|port| u16::try_from(port).ok())
                .find(|port| self.is_free(&format!("{NODE_PORT_KEYS}{port}")));
            if let Some(port) = free {
                self.take_port(format!("{NODE_PORT_KEYS}{port}"));
                return Ok(port);
            }
        }
        Err(ClaimError::Full)
    }

    fn take_port(&mut self, key: String) {
        let (namespace, name) = self.owner;
        let value = json!({"namespace": namespace, "name": name}).to_string();
        self.along.create(Op::put(key.clone(), value), key.clone());
        self.taken.push(key);
    }

    /// Gives a node port up.
    pub fn free_port(&mut self, port: u16) -> Result<(), Status> {
        self.free(format!("{NODE_PORT_KEYS}{port}"), |value| {
            (value["namespace"].as_str(), value["name"].as_str())
        })
    }

    /// Deletes a key, if it is this Service's.
    fn free(&mut self, key: String, owner: impl Fn(&Value) -> (Option<&str>, Option<&str>)) -> Result<(), Status> {
        if self.freed.contains(&key) {
            return Ok(());
        }
        let Some(stored) = self.storage.get(&key)? else {
            return Ok(());
        };
        let value: Value = serde_json::from_slice(&stored.bytes).unwrap_or_default();
        if owner(&value) == (Some(self.owner.0), Some(self.owner.1)) {
            self.along.delete(key.clone(), stored.revision);
            self.freed.push(key);
        }
        Ok(())
    }
}

/// An address without the leading zeros that old clients write.
fn canonical(ip: &str) -> Option<IpAddr> {
    ip.parse().ok().or_else(|| {
        let parts: Vec<u8> = ip.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [a, b, c, d] = parts.try_into().ok()?;
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    })
}

/// All numbers of a range, from a random one on; of a large range, some.
fn from_anywhere(range: std::ops::Range<u128>, entropy: &dyn Entropy) -> impl Iterator<Item = u128> + use<> {
    let size = range.end.saturating_sub(range.start);
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    let begin = u128::from_le_bytes(bytes).checked_rem(size).unwrap_or(0);
    (0..size.min(TRIES_MAX)).map(move |i| range.start + (begin + i) % size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_and_what_is_in_them() {
        let range = Range::parse("10.96.0.0/16").unwrap();
        assert_eq!((range.to_string().as_str(), range.family()), ("10.96.0.0/16", "IPv4"));
        let offset = |ip: &str| range.offset(ip.parse().unwrap());
        assert_eq!(
            (offset("10.96.1.2"), offset("10.97.0.0"), offset("::1")),
            (Some(258), None, None)
        );
        assert_eq!((range.named_below(), range.usable()), (256, 1..65_535));
        let small = Range::parse("10.0.0.0/30").unwrap();
        assert_eq!((small.named_below(), small.usable()), (0, 1..3));
        let v6 = Range::parse("fd00:10::/112").unwrap();
        assert_eq!(
            (v6.to_string().as_str(), v6.address(7).to_string().as_str()),
            ("fd00:10::/112", "fd00:10::7")
        );
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "::/0"] {
            assert_eq!(Range::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn leading_zeros_are_read_as_decimal() {
        assert_eq!(canonical("10.096.0.9").unwrap().to_string(), "10.96.0.9");
        assert_eq!(canonical("10.96.0"), None);
        assert_eq!(canonical("x"), None);
    }

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    proptest! {
        #[test]
        fn each_number_comes_once(start in 0_u128..1000, size in 0_u128..300, seed: u8) {
            let mut all: Vec<u128> = from_anywhere(start..start + size, &Fixed(seed)).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (start..start + size).collect::<Vec<_>>());
        }
    }
}

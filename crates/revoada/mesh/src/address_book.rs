//! Where members may be reached: hints, each with its source and when it last worked.
//!
//! An address in the book is never trusted: the key is checked in the handshake. The book is bounded in members
//! and in addresses a member, and the oldest hints make room.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use revoada_core::MemberId;
use serde::{Deserialize, Serialize};

/// Most addresses kept for one member.
pub const ADDRESSES_PER_MEMBER_MAX: usize = 16;
/// Most members.
pub const MEMBERS_MAX: usize = 4096;
/// Largest JSON that is read.
pub const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Who said that a member can be reached at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AddressSource {
    /// A ticket or the configuration.
    Given,
    /// The member itself, when a connection began.
    Hello,
    /// Gossip or replicated state.
    Gossip,
    /// A multicast beacon.
    Beacon,
    /// A connection came from there.
    Observed,
}

/// One hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressEntry {
    /// The address.
    pub address: SocketAddr,
    /// Who said so last.
    pub source: AddressSource,
    /// When it was said last, milliseconds since the Unix epoch; 0 after another key answered there.
    pub seen: u64,
    /// When a connection to it last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<u64>,
}

impl AddressEntry {
    fn rank(&self) -> u64 {
        self.seen.max(self.last_success.unwrap_or(0))
    }
}

/// Why a stored book is refused.
#[derive(Debug, thiserror::Error)]
pub enum AddressBookError {
    /// Too large.
    #[error("an address book of {bytes} bytes, at most {JSON_BYTES_MAX} are read: delete it, peers are found again")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not an address book.
    #[error("not an address book: {0}")]
    Json(#[from] serde_json::Error),
    /// Of a later version.
    #[error("address book of version {version}, want 1")]
    Version {
        /// Its version.
        version: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    members: BTreeMap<MemberId, Vec<AddressEntry>>,
}

/// Known addresses by member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressBook {
    members: BTreeMap<MemberId, Vec<AddressEntry>>,
}

impl AddressBook {
    /// Adds or refreshes a hint. Says whether the address is new. Addresses nobody can connect to are ignored.
    pub fn add(&mut self, member: MemberId, address: SocketAddr, source: AddressSource, now_ms: u64) -> bool {
        let Some(address) = usable(address) else { return false };
        if !self.members.contains_key(&member) && self.members.len() >= MEMBERS_MAX {
            self.drop_oldest_member();
        }
        let entries = self.members.entry(member).or_default();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.address == address) {
            // A connection seen from an address doesn't make weaker what the member itself said.
            if source != AddressSource::Observed {
                entry.source = source;
            }
            entry.seen = now_ms;
            return false;
        }
        if entries.len() >= ADDRESSES_PER_MEMBER_MAX
            && let Some(oldest) = entries
                .iter()
                .enumerate()
                .min_by_key(|(_, entry)| entry.rank())
                .map(|(index, _)| index)
        {
            entries.swap_remove(oldest);
        }
        entries.push(AddressEntry {
            address,
            source,
            seen: now_ms,
            last_success: None,
        });
        true
    }

    /// Notes that a connection to the address succeeded.
    pub fn succeeded(&mut self, member: MemberId, address: SocketAddr, now_ms: u64) {
        self.add(member, address, AddressSource::Observed, now_ms);
        if let Some(entry) = self.find(member, address) {
            entry.last_success = Some(now_ms);
        }
    }

    /// Notes that another key answered at the address: it is tried last from now on.
    pub fn wrong_key(&mut self, member: MemberId, address: SocketAddr) {
        if let Some(entry) = self.find(member, address) {
            entry.seen = 0;
            entry.last_success = None;
        }
    }

    /// The addresses of a member, best first: most recently seen or successful.
    pub fn candidates(&self, member: MemberId) -> Vec<SocketAddr> {
        let mut entries: Vec<&AddressEntry> = self.members.get(&member).into_iter().flatten().collect();
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.rank()), entry.address));
        entries.into_iter().map(|entry| entry.address).collect()
    }

    /// All hints of a member.
    pub fn entries(&self, member: MemberId) -> &[AddressEntry] {
        self.members.get(&member).map(Vec::as_slice).unwrap_or_default()
    }

    /// Members in the book, by id.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.members.keys().copied()
    }

    /// Forgets members for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(MemberId) -> bool) {
        self.members.retain(|member, _| keep(*member));
    }

    /// The book as JSON, to be written to disk by the caller.
    pub fn to_json(&self) -> String {
        let stored = Stored {
            version: 1,
            members: self.members.clone(),
        };
        serde_json::to_string(&stored).unwrap_or_else(|_| String::from("{\"version\":1,\"members\":{}}"))
    }

    /// Reads what [`AddressBook::to_json`] wrote. What exceeds the bounds is left out.
    pub fn from_json(json: &[u8]) -> Result<Self, AddressBookError> {
        if json.len() > JSON_BYTES_MAX {
            return Err(AddressBookError::TooLarge { bytes: json.len() });
        }
        let stored: Stored = serde_json::from_slice(json)?;
        if stored.version != 1 {
            return Err(AddressBookError::Version {
                version: stored.version,
            });
        }
        let mut members = BTreeMap::new();
        for (member, entries) in stored.members.into_iter().take(MEMBERS_MAX) {
            let mut kept: Vec<AddressEntry> = Vec::new();
            for entry in entries {
                let Some(address) = usable(entry.address) else { continue };
                if kept.len() < ADDRESSES_PER_MEMBER_MAX && !kept.iter().any(|other| other.address == address) {
                    kept.push(AddressEntry { address, ..entry });
                }
            }
            members.insert(member, kept);
        }
        Ok(Self { members })
    }

    fn find(&mut self, member: MemberId, address: SocketAddr) -> Option<&mut AddressEntry> {
        let address = usable(address)?;
        self.members
            .get_mut(&member)?
            .iter_mut()
            .find(|entry| entry.address == address)
    }

    fn drop_oldest_member(&mut self) {
        let oldest = self
            .members
            .iter()
            .min_by_key(|(_, entries)| entries.iter().map(AddressEntry::rank).max().unwrap_or(0))
            .map(|(member, _)| *member);
        if let Some(oldest) = oldest {
            self.members.remove(&oldest);
        }
    }
}

/// The address in canonical form (IPv4 never mapped into IPv6), if one can connect to it at all.
pub fn usable(address: SocketAddr) -> Option<SocketAddr> {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast {
        return None;
    }
    match (ip, address) {
        // A link-local address means nothing without its scope.
        (IpAddr::V6(v6), SocketAddr::V6(scoped)) if v6.is_unicast_link_local() => {
            (scoped.scope_id() != 0).then_some(address)
        }
        _ => Some(SocketAddr::new(ip, address.port())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const A: MemberId = MemberId([1; 32]);

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn newest_or_last_successful_first() {
        let mut book = AddressBook::default();
        assert!(book.add(A, address(1), AddressSource::Given, 10));
        assert!(book.add(A, address(2), AddressSource::Gossip, 20));
        assert!(!book.add(A, address(2), AddressSource::Beacon, 21));
        book.succeeded(A, address(1), 30);
        assert_eq!(book.candidates(A), [address(1), address(2)]);
        book.add(A, address(3), AddressSource::Beacon, 40);
        assert_eq!(book.candidates(A)[0], address(3));
        book.wrong_key(A, address(3));
        assert_eq!(book.candidates(A), [address(1), address(2), address(3)]);
    }

    #[test]
    fn bounded_and_only_usable_addresses() {
        let mut book = AddressBook::default();
        for port in 0..100 {
            book.add(A, address(port), AddressSource::Gossip, u64::from(port));
        }
        assert_eq!(book.candidates(A).len(), ADDRESSES_PER_MEMBER_MAX);
        assert_eq!(book.candidates(A)[0], address(99));
        for useless in [
            "0.0.0.0:5",
            "127.0.0.1:0",
            "239.1.1.1:5",
            "255.255.255.255:5",
            "[fe80::1]:5",
        ] {
            assert!(
                !book.add(A, useless.parse().unwrap(), AddressSource::Gossip, 1000),
                "{useless}"
            );
        }
        book.add(A, "[::ffff:127.0.0.1]:99".parse().unwrap(), AddressSource::Gossip, 1000);
        assert_eq!(book.candidates(A).len(), ADDRESSES_PER_MEMBER_MAX);
    }

    #[test]
    fn hostile_json_is_refused() {
        for json in [
            "",
            "[]",
            "{\"version\":2,\"members\":{}}",
            "{\"version\":1,\"members\":{\"xy\":[]}}",
        ] {
            assert!(AddressBook::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn json_round_trips(hints in vec((0u8..4, 1u16.., 0u64..1000, any::<bool>()), 0..80)) {
            let mut book = AddressBook::default();
            for (member, port, now, success) in hints {
                book.add(MemberId([member; 32]), address(port), AddressSource::Hello, now);
                if success {
                    book.succeeded(MemberId([member; 32]), address(port), now);
                }
            }
            prop_assert_eq!(AddressBook::from_json(book.to_json().as_bytes()).unwrap(), book);
        }

        #[test]
        fn arbitrary_json_never_panics(bytes in vec(any::<u8>(), 0..200)) {
            let _ = AddressBook::from_json(&bytes);
        }
    }
}

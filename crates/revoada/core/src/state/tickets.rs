//! Valid tickets: the hashes of their secrets, with expiry and use count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Hash32;

use super::outcome::MeshRefusal;

/// The most tickets that can be valid at once.
pub const TICKETS_MAX: usize = 1024;

/// How long a worthless ticket is remembered, so that whoever shows it is told why it is refused.
const REMEMBERED_MS: u64 = 24 * 3600 * 1000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    expires_ms: u64,
    uses: u32,
    used: u32,
    witness: bool,
}

impl Entry {
    fn is_valid(&self, at_ms: u64) -> bool {
        at_ms < self.expires_ms && self.used < self.uses
    }
}

/// Tickets by the hash of their secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tickets {
    entries: BTreeMap<Hash32, Entry>,
}

impl Tickets {
    /// Makes a ticket valid. The same one again changes nothing.
    pub(super) fn issue(
        &mut self,
        at_ms: u64,
        secret_hash: Hash32,
        expires_ms: u64,
        uses: u32,
        witness: bool,
    ) -> Result<(), MeshRefusal> {
        if uses == 0 || expires_ms <= at_ms {
            return Err(MeshRefusal::TicketUseless);
        }
        if self.entries.contains_key(&secret_hash) {
            return Ok(());
        }
        if self.entries.len() >= TICKETS_MAX {
            let worthless: Vec<_> = self.worthless(at_ms).collect();
            if worthless.is_empty() {
                return Err(MeshRefusal::TooManyTickets {
                    count: self.entries.len() as u32,
                });
            }
            for hash in worthless {
                self.entries.remove(&hash);
            }
        }
        self.entries.insert(
            secret_hash,
            Entry {
                expires_ms,
                uses,
                used: 0,
                witness,
            },
        );
        Ok(())
    }

    /// Whether the ticket admits another member now; gives whether it admits witnesses only.
    pub(super) fn check(&self, at_ms: u64, secret_hash: &Hash32) -> Result<bool, MeshRefusal> {
        let entry = self.entries.get(secret_hash).ok_or(MeshRefusal::TicketUnknown)?;
        if at_ms >= entry.expires_ms {
            return Err(MeshRefusal::TicketExpired {
                expired_ms: entry.expires_ms,
                now_ms: at_ms,
            });
        }
        if entry.used >= entry.uses {
            return Err(MeshRefusal::TicketUsedUp { uses: entry.uses });
        }
        Ok(entry.witness)
    }

    /// Spends one use.
    pub(super) fn spend(&mut self, secret_hash: &Hash32) {
        if let Some(entry) = self.entries.get_mut(secret_hash) {
            entry.used = entry.used.saturating_add(1).min(entry.uses);
        }
    }

    /// Forgets all; gives how many were valid.
    pub(super) fn revoke(&mut self, at_ms: u64) -> u32 {
        let valid = self.valid(at_ms);
        self.entries.clear();
        valid
    }

    /// How many are valid.
    pub(super) fn valid(&self, at_ms: u64) -> u32 {
        self.entries.values().filter(|entry| entry.is_valid(at_ms)).count() as u32
    }

    /// Drops tickets that expired long ago.
    pub(super) fn expire(&mut self, at_ms: u64) {
        self.entries
            .retain(|_, entry| at_ms < entry.expires_ms.saturating_add(REMEMBERED_MS));
    }

    fn worthless(&self, at_ms: u64) -> impl Iterator<Item = Hash32> {
        self.entries
            .iter()
            .filter(move |(_, entry)| !entry.is_valid(at_ms))
            .map(|(hash, _)| *hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_of_valid_tickets_refuses_and_worthless_ones_make_room() {
        let mut tickets = Tickets::default();
        let hash = |n: usize| Hash32([(n >> 8) as u8, n as u8].repeat(16).try_into().unwrap());
        for n in 0..TICKETS_MAX {
            tickets.issue(0, hash(n), 100, 1, false).unwrap();
        }
        assert_eq!(
            tickets.issue(0, hash(5000), 100, 1, false),
            Err(MeshRefusal::TooManyTickets { count: 1024 })
        );
        tickets.spend(&hash(7));
        assert_eq!(tickets.check(0, &hash(7)), Err(MeshRefusal::TicketUsedUp { uses: 1 }));
        tickets.issue(0, hash(5000), 100, 1, true).unwrap();
        assert_eq!(tickets.check(0, &hash(7)), Err(MeshRefusal::TicketUnknown));
        assert_eq!(tickets.check(0, &hash(5000)), Ok(true));
        assert_eq!(
            tickets.check(100, &hash(5000)),
            Err(MeshRefusal::TicketExpired {
                expired_ms: 100,
                now_ms: 100
            })
        );
        tickets.expire(100 + REMEMBERED_MS);
        assert_eq!(tickets.valid(0), 0);
    }
}

//! What the outside world gives to deterministic code: wall-clock time and randomness.
//!
//! Production passes the operating system's; a simulation passes seeded ones. Monotonic time is the
//! runtime's (tokio's, which turmoil replaces); disks are `revoada_log::disk`, networks `revoada_mesh::Mesh`.

/// Wall-clock time. Used for certificates, tickets and labels; never for leases or elections.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;
}

/// A source of random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);
}

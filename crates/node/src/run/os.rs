//! The operating system's clock and randomness.

use anyhow::Result;
use revoada_core::env::{Clock, Entropy};

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsClock;

impl Clock for OsClock {
    fn unix_ms(&self) -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |since| since.as_millis() as u64)
    }
}

/// The system's random bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl OsEntropy {
    /// Fills `out`, or says that the system has no randomness to give.
    pub fn fill_checked(&self, out: &mut [u8]) -> Result<()> {
        getrandom::fill(out).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))
    }
}

impl Entropy for OsEntropy {
    fn fill(&self, out: &mut [u8]) {
        // Once the system has answered at all it does not stop to: the key was made with it at start.
        getrandom::fill(out).expect("the system's random source failed after it had worked");
    }
}

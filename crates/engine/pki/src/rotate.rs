//! Rotation without a restart: when a certificate is due, and holders that TLS servers read at each handshake.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::leaf::{IssuedCertificate, LeafError};

/// When a certificate is due for renewal, milliseconds since the Unix epoch: after two thirds of its life, earlier
/// by `jitter_ms` so that a fleet doesn't ask at once. The jitter is cut to a tenth of the life.
pub fn renewal_due_at_ms(not_before_ms: u64, not_after_ms: u64, jitter_ms: u64) -> u64 {
    let life = not_after_ms.saturating_sub(not_before_ms);
    let two_thirds = life - life / 3;
    not_before_ms
        .saturating_add(two_thirds)
        .saturating_sub(jitter_ms.min(life / 10))
}

/// Whether a certificate is due for renewal. One that isn't valid yet is due too: the clock was wrong when it was
/// issued, or is wrong now.
pub fn renewal_due(not_before_ms: u64, not_after_ms: u64, jitter_ms: u64, now_ms: u64) -> bool {
    now_ms < not_before_ms || now_ms >= renewal_due_at_ms(not_before_ms, not_after_ms, jitter_ms)
}

/// The serving certificate of a TLS server. Replace it at any time: handshakes from then on use the new one,
/// connections that are open stay.
pub struct ServingCertificate {
    current: RwLock<Arc<CertifiedKey>>,
}

impl fmt::Debug for ServingCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServingCertificate").finish_non_exhaustive()
    }
}

impl ServingCertificate {
    /// Serves `certificate`.
    pub fn new(certificate: &IssuedCertificate) -> Result<Self, LeafError> {
        Ok(Self {
            current: RwLock::new(certificate.certified_key()?),
        })
    }

    /// Serves `certificate` from now on. On an error the old one stays.
    pub fn replace(&self, certificate: &IssuedCertificate) -> Result<(), LeafError> {
        let new = certificate.certified_key()?;
        *self.current.write() = new;
        Ok(())
    }

    /// What is served now.
    pub fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().clone()
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

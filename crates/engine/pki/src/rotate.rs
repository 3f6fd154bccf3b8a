//! Rotation without a restart: when a certificate is due, and holders that TLS servers read at each handshake.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

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

/// Why authorities are unusable.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A certificate is not one of an authority.
    #[error("a client authority's certificate is unusable: {0}")]
    Authority(#[source] Error),
    /// The verifier cannot be built.
    #[error("the client authorities are unusable: {0}")]
    Verifier(#[source] VerifierBuilderError),
}

/// Verifies client certificates in the handshake, for listeners that don't judge them at each request.
/// A client need not show one; one that no authority signed ends the handshake. Replace the authorities at any time.
pub struct ClientTrust {
    algorithms: WebPkiSupportedAlgorithms,
    /// `None`: no authority, every certificate is refused.
    current: RwLock<Option<Arc<dyn ClientCertVerifier>>>,
}

impl fmt::Debug for ClientTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTrust").finish_non_exhaustive()
    }
}

impl ClientTrust {
    /// Trusts the given authorities.
    pub fn new<'a>(authorities: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Result<Self, TrustError> {
        let trust = Self {
            algorithms: ring::default_provider().signature_verification_algorithms,
            current: RwLock::new(None),
        };
        trust.replace(authorities)?;
        Ok(trust)
    }

    /// Trusts the given authorities from now on. On an error the old ones stay.
    pub fn replace<'a>(
        &self,
        authorities: impl IntoIterator<Item = &'a CertificateDer<'static>>,
    ) -> Result<(), TrustError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone()).map_err(TrustError::Authority)?;
        }
        let new = if roots.is_empty() {
            None
        } else {
            let provider = Arc::new(ring::default_provider());
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            Some(builder.build().map_err(TrustError::Verifier)?)
        };
        *self.current.write() = new;
        Ok(())
    }
}

impl ClientCertVerifier for ClientTrust {
    /// No hints: the authorities may change while a handshake goes on.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.current.read().clone() {
            Some(verifier) => verifier.verify_client_cert(end_entity, intermediates, now),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

//! TLS of the door: our certificate by SNI, the client's certificate if it shows one.
//!
//! As upstream, the handshake accepts any client certificate whose key the peer holds; whether an authority of
//! ours signed it is judged at the request, so that a wrong one gets a readable 401 instead of a TLS alert, and
//! so that authorities can change while connections stay.

use std::fmt;
use std::sync::Arc;

use engenho_authz::identity_from_certificate;
use parking_lot::{Mutex, RwLock};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme};

use crate::authorizer::Identity;

/// For how long a judgement about a client certificate is reused on its connection, milliseconds.
const JUDGEMENT_MS: u64 = 10_000;

/// Why client authorities or TLS settings are unusable.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A certificate of an authority is not one.
    #[error("a client authority's certificate is unusable: {0}")]
    Certificate(#[source] rustls::Error),
    /// The set of authorities is unusable.
    #[error("the client authorities are unusable: {0}")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// No protocol version is left.
    #[error("TLS cannot be set up: {0}")]
    Protocol(#[source] rustls::Error),
}

/// The authorities that may sign client certificates; can be replaced at any time.
pub struct ClientRoots {
    verifier: RwLock<(u64, Option<Arc<dyn ClientCertVerifier>>)>,
}

impl fmt::Debug for ClientRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRoots").finish_non_exhaustive()
    }
}

impl ClientRoots {
    /// The given authorities (DER); with none, every client certificate is refused.
    pub fn new<'a>(authorities: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, RootsError> {
        let roots = Self {
            verifier: RwLock::new((0, None)),
        };
        roots.replace(authorities)?;
        Ok(roots)
    }

    /// Replaces the authorities, for new and open connections alike.
    pub fn replace<'a>(&self, authorities: impl IntoIterator<Item = &'a [u8]>) -> Result<(), RootsError> {
        let mut store = RootCertStore::empty();
        for der in authorities {
            store
                .add(CertificateDer::from(der.to_vec()))
                .map_err(RootsError::Certificate)?;
        }
        let verifier = if store.is_empty() {
            None
        } else {
            let builder =
                WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::new(ring::default_provider()));
            Some(builder.build().map_err(RootsError::Verifier)?)
        };
        let mut slot = self.verifier.write();
        *slot = (slot.0 + 1, verifier);
        Ok(())
    }

    fn current(&self) -> (u64, Option<Arc<dyn ClientCertVerifier>>) {
        self.verifier.read().clone()
    }
}

/// The certificate chain a peer showed, and what was last thought of it.
pub struct PeerCertificate {
    chain: Vec<CertificateDer<'static>>,
    judged: Mutex<Option<Judgement>>,
    /// The same of the certificate of a proxy.
    judged_as_proxy: Mutex<Option<Judgement>>,
}

struct Judgement {
    generation: u64,
    at_ms: u64,
    result: Result<Identity, String>,
}

impl PeerCertificate {
    /// A chain, leaf first.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self {
            chain,
            judged: Mutex::new(None),
            judged_as_proxy: Mutex::new(None),
        }
    }

    /// Who the certificate says the peer is (common name and organisations), if an authority vouches for it now.
    pub fn identity(&self, roots: &ClientRoots, now_ms: u64) -> Result<Identity, String> {
        self.judged_by(roots, now_ms, &self.judged)
    }

    /// Which proxy the certificate says the peer is, if an authority of proxies vouches for it now.
    pub(super) fn proxy(&self, roots: &ClientRoots, now_ms: u64) -> Result<Identity, String> {
        self.judged_by(roots, now_ms, &self.judged_as_proxy)
    }

    fn judged_by(
        &self,
        roots: &ClientRoots,
        now_ms: u64,
        judged: &Mutex<Option<Judgement>>,
    ) -> Result<Identity, String> {
        let (generation, verifier) = roots.current();
        let mut judged = judged.lock();
        if let Some(j) = &*judged
            && j.generation == generation
            && now_ms.abs_diff(j.at_ms) < JUDGEMENT_MS
        {
            return j.result.clone();
        }
        let result = judge(&self.chain, verifier.as_deref(), now_ms);
        *judged = Some(Judgement {
            generation,
            at_ms: now_ms,
            result: result.clone(),
        });
        result
    }
}

fn judge(
    chain: &[CertificateDer<'static>],
    verifier: Option<&dyn ClientCertVerifier>,
    now_ms: u64,
) -> Result<Identity, String> {
    let verifier = verifier.ok_or("no client authority is configured")?;
    let (leaf, intermediates) = chain.split_first().ok_or("an empty certificate chain")?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_millis(now_ms));
    verifier
        .verify_client_cert(leaf, intermediates, now)
        .map_err(|e| e.to_string())?;
    identity_from_certificate(leaf).map_err(|e| e.to_string())
}

/// Lets any client certificate through whose key the peer proves to hold.
#[derive(Debug)]
struct RequestAnyCertificate(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for RequestAnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, a client certificate asked for and not required.
pub fn server_config(certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, RootsError> {
    let provider: CryptoProvider = ring::default_provider();
    let verifier = Arc::new(RequestAnyCertificate(provider.signature_verification_algorithms));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(RootsError::Protocol)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would skip nothing we need, but would carry the old certificate past its rotation.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

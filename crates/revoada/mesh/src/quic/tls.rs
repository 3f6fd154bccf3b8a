//! TLS 1.3 with raw ed25519 public keys on both sides (RFC 7250), no certificates.
//!
//! The dialler pins the expected key inside the handshake. The acceptor takes any key, so that the handshake
//! proves possession, and decides afterwards what the key may do.

use std::sync::{Arc, OnceLock};

use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use revoada_core::MemberId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};

use crate::error::BindError;
use crate::identity::Identity;

/// Protocol of connections between members.
pub(crate) const ALPN_MESH: &[u8] = b"engenho-mesh/1";
/// Protocol of connections of newcomers.
pub(crate) const ALPN_JOIN: &[u8] = b"engenho-join/1";
/// Never sent: names mean nothing here.
pub(crate) const SERVER_NAME: &str = "engenho.invalid";

/// DER of an ed25519 SubjectPublicKeyInfo up to the key (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

fn spki(id: MemberId) -> Vec<u8> {
    [&SPKI_PREFIX[..], id.as_bytes()].concat()
}

fn member_of(spki: &[u8]) -> Option<MemberId> {
    let key: [u8; 32] = spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
    // A point of small order has signatures that anyone can make.
    let point = ed25519_dalek::VerifyingKey::from_bytes(&key).ok()?;
    (!point.is_weak()).then_some(MemberId(key))
}

/// The key that the other side proved to have.
pub(crate) fn peer_of(connection: &quinn::Connection) -> Option<MemberId> {
    let identity = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    member_of(identity.first()?)
}

/// The negotiated protocol.
pub(crate) fn protocol_of(connection: &quinn::Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

/// What TLS needs of this member, made once.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
}

impl Tls {
    pub(crate) fn new(identity: &Identity) -> Result<Self, BindError> {
        let refuse = |error: Error| BindError::Key {
            detail: error.to_string(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let signing =
            rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(identity.pkcs8())).map_err(refuse)?;
        let key = Arc::new(CertifiedKey::new(
            vec![CertificateDer::from(spki(identity.id()))],
            signing,
        ));
        Ok(Self { provider, key })
    }

    pub(crate) fn server(&self) -> Result<QuicServerConfig, BindError> {
        let refuse = |detail: String| BindError::Key { detail };
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| refuse(error.to_string()))?
            .with_client_cert_verifier(Arc::new(AnyKey {
                provider: self.provider.clone(),
            }))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = vec![ALPN_MESH.to_vec(), ALPN_JOIN.to_vec()];
        // No resumption: a resumed session would skip the proof of the key.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        QuicServerConfig::try_from(config).map_err(|error| refuse(error.to_string()))
    }

    /// A client that accepts only `expected`, or any key; `found` tells afterwards which key was offered.
    pub(crate) fn client(
        &self,
        expected: Option<MemberId>,
        alpn: &[u8],
    ) -> Result<(QuicClientConfig, Arc<OnceLock<MemberId>>), BindError> {
        let refuse = |detail: String| BindError::Key { detail };
        let found = Arc::new(OnceLock::new());
        let verifier = PinnedKey {
            provider: self.provider.clone(),
            expected,
            found: found.clone(),
        };
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| refuse(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        let config = QuicClientConfig::try_from(config).map_err(|error| refuse(error.to_string()))?;
        Ok((config, found))
    }
}

fn check_signature(
    provider: &CryptoProvider,
    message: &[u8],
    spki: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if signature.scheme != SignatureScheme::ED25519 {
        return Err(Error::InvalidCertificate(CertificateError::BadSignature));
    }
    let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
    verify_tls13_signature_with_raw_key(message, &spki, signature, &provider.signature_verification_algorithms)
}

fn refuse_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
}

#[derive(Debug)]
struct PinnedKey {
    provider: Arc<CryptoProvider>,
    expected: Option<MemberId>,
    found: Arc<OnceLock<MemberId>>,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = member_of(end_entity).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let _ = self.found.set(key);
        match self.expected {
            Some(expected) if expected != key => Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(&self.provider, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct AnyKey {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match member_of(end_entity) {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(&self.provider, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spki_round_trips_and_weak_keys_are_refused() {
        let id = Identity::from_secret(&[7; 32]).id();
        assert_eq!(member_of(&spki(id)), Some(id));
        assert_eq!(member_of(&spki(id)[1..]), None);
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        assert_eq!(member_of(&spki(MemberId(identity_point))), None);
    }

    #[test]
    fn tls_takes_the_key() {
        let identity = Identity::from_secret(&[7; 32]);
        let tls = Tls::new(&identity).unwrap();
        tls.server().unwrap();
        tls.client(None, ALPN_JOIN).unwrap();
        let public = tls.key.key.public_key().unwrap();
        assert_eq!(public.as_ref(), spki(identity.id()));
    }
}

//! A certificate with its key, as it is stored and served.

use std::fmt;
use std::sync::Arc;

use rcgen::KeyPair;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// Why a certificate with its key is unusable.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// It is not PEM, or parts are missing.
    #[error("the {part} cannot be read from PEM: {reason}")]
    Pem {
        /// `certificate` or `private key`.
        part: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// It is no X.509 certificate.
    #[error("the certificate cannot be read: {reason}")]
    Certificate {
        /// What is wrong.
        reason: String,
    },
    /// The key isn't the certificate's, or of no known kind.
    #[error("the private key does not fit the certificate: {0}")]
    Key(#[source] rustls::Error),
    /// Making or encoding a key failed.
    #[error("a private key cannot be made: {0}")]
    Generate(#[source] rcgen::Error),
}

/// A certificate and its private key.
#[derive(Clone)]
pub struct IssuedCertificate {
    certificate: CertificateDer<'static>,
    /// PKCS #8.
    key: Zeroizing<Vec<u8>>,
    not_before_ms: u64,
    not_after_ms: u64,
}

impl fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCertificate")
            .field("not_before_ms", &self.not_before_ms)
            .field("not_after_ms", &self.not_after_ms)
            .finish_non_exhaustive()
    }
}

/// First and last moment of a certificate, milliseconds since the Unix epoch.
pub(crate) fn validity(certificate: &[u8]) -> Result<(u64, u64), LeafError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|e| LeafError::Certificate { reason: e.to_string() })?;
    let ms = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
    let validity = parsed.validity();
    Ok((ms(validity.not_before.timestamp()), ms(validity.not_after.timestamp())))
}

impl IssuedCertificate {
    /// A certificate with the key (PKCS #8 DER) it was issued for.
    pub fn new(certificate: CertificateDer<'static>, key: Zeroizing<Vec<u8>>) -> Result<Self, LeafError> {
        let (not_before_ms, not_after_ms) = validity(&certificate)?;
        let this = Self {
            certificate,
            key,
            not_before_ms,
            not_after_ms,
        };
        this.certified_key()?;
        Ok(this)
    }

    pub(crate) fn of(certificate: CertificateDer<'static>, key: &KeyPair) -> Result<Self, LeafError> {
        Self::new(certificate, Zeroizing::new(key.serialize_der()))
    }

    /// Reads what [`IssuedCertificate::to_pem`] wrote.
    pub fn from_pem(pem: &str) -> Result<Self, LeafError> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| LeafError::Pem {
            part: "certificate",
            reason: e.to_string(),
        })?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| LeafError::Pem {
            part: "private key",
            reason: e.to_string(),
        })?;
        Self::new(certificate, Zeroizing::new(key.secret_pkcs8_der().to_vec()))
    }

    /// Certificate and key in one text. Secret: store it with [`crate::write_private`].
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(self.certificate_pem());
        text.push_str(&self.key_pem());
        text
    }

    /// The certificate, PEM.
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// The key, PKCS #8 in PEM. Secret.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem("PRIVATE KEY", &self.key))
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The key, as TLS clients take it.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_vec()))
    }

    /// What a TLS server or client shows. Fails if the key isn't the certificate's.
    pub fn certified_key(&self) -> Result<Arc<CertifiedKey>, LeafError> {
        let key = rustls::crypto::ring::sign::any_supported_type(&self.private_key()).map_err(LeafError::Key)?;
        let certified = CertifiedKey::new(vec![self.certificate.clone()], key);
        certified.keys_match().map_err(LeafError::Key)?;
        Ok(Arc::new(certified))
    }

    /// From when it is valid, milliseconds since the Unix epoch.
    pub fn not_before_ms(&self) -> u64 {
        self.not_before_ms
    }

    /// Until when it is valid, milliseconds since the Unix epoch.
    pub fn not_after_ms(&self) -> u64 {
        self.not_after_ms
    }

    /// Whether it is time for a new one: [`crate::renewal_due`].
    pub fn renewal_due(&self, jitter_ms: u64, now_ms: u64) -> bool {
        crate::rotate::renewal_due(self.not_before_ms, self.not_after_ms, jitter_ms, now_ms)
    }

    /// Whether it is good for every one of `names`; if not, a new one is needed before its time.
    pub fn serves(&self, names: &crate::ServingNames) -> bool {
        crate::request::names_of(&self.certificate).is_ok_and(|own| own.covers(names))
    }

    /// Whether `ca` signed it; if not (the authority was replaced), a new one is needed.
    pub fn is_from(&self, ca_certificate: &CertificateDer<'_>) -> bool {
        signed_by(&self.certificate, ca_certificate)
    }
}

/// Whether one certificate signed another.
pub(crate) fn signed_by(certificate: &[u8], ca_certificate: &[u8]) -> bool {
    let (Ok((_, leaf)), Ok((_, ca))) = (
        X509Certificate::from_der(certificate),
        X509Certificate::from_der(ca_certificate),
    ) else {
        return false;
    };
    leaf.issuer().as_raw() == ca.subject().as_raw() && leaf.verify_signature(Some(ca.public_key())).is_ok()
}

/// PEM (RFC 7468) of one section.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let encoded = data_encoding::BASE64.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

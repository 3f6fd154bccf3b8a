//! The cluster's X.509 authority.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::der;
use crate::leaf::{IssuedCertificate, LeafError, validity};
use crate::names::{ClientSubject, NameError, ServingNames};
use crate::request::Usage;

/// For how long an authority is valid.
pub const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// For how long serving certificates are valid, unless told otherwise.
pub const SERVING_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// For how long client certificates are valid, unless told otherwise. Kubernetes cannot revoke them.
pub const CLIENT_LIFETIME: Duration = Duration::from_secs(90 * 86_400);
/// How far certificates are dated back, for peers whose clocks are behind; a tenth of their life if that is less.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// Why the authority is unusable, or didn't sign.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Keys or certificates could not be made.
    #[error("the cluster authority could not make a certificate: {0}")]
    Make(#[source] rcgen::Error),
    /// The system gave no randomness.
    #[error("the operating system gave no random bytes for a certificate's serial number")]
    Random,
    /// What was issued isn't usable.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// A name doesn't belong into a certificate.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The stored authority is unusable.
    #[error("the cluster authority cannot be read: {reason}")]
    Read {
        /// What is wrong.
        reason: String,
    },
    /// The authority is not valid now.
    #[error(
        "the cluster authority is not valid now (it is from {not_before_ms} to {not_after_ms}, now is {now_ms}, Unix milliseconds); set this machine's clock"
    )]
    NotValidNow {
        /// From when it is.
        not_before_ms: u64,
        /// Until when it is.
        not_after_ms: u64,
        /// What time it is here.
        now_ms: u64,
    },
    /// A moment is out of range.
    #[error("{ms} is no moment that a certificate can hold (Unix milliseconds)")]
    Time {
        /// The moment.
        ms: u64,
    },
    /// A certificate signing request is damaged or its signature is wrong.
    #[error("the certificate signing request is not valid: {0}")]
    Request(#[source] rcgen::Error),
    /// A request asks for a subject it may not have.
    #[error("the certificate signing request is for {requested:?}, and its sender may only be {allowed:?}")]
    Subject {
        /// The common name in the request.
        requested: String,
        /// The one that is allowed.
        allowed: String,
    },
    /// A request asks for no name that its sender may have.
    #[error("the certificate signing request asks for no name or address that its sender has; refused: {refused}")]
    NoNames {
        /// What was refused, for people.
        refused: String,
    },
}

/// The cluster's authority: certificate and key. Cheap to clone.
#[derive(Clone)]
pub struct ClusterCa {
    certificate: CertificateDer<'static>,
    key: Arc<KeyPair>,
    not_before_ms: u64,
    not_after_ms: u64,
}

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterCa")
            .field("not_before_ms", &self.not_before_ms)
            .field("not_after_ms", &self.not_after_ms)
            .finish_non_exhaustive()
    }
}

/// What a leaf will say, but for its key.
pub(crate) struct Leaf<'a> {
    pub(crate) subject: &'a ClientSubject,
    pub(crate) names: &'a ServingNames,
    pub(crate) usage: Usage,
    pub(crate) lifetime: Duration,
}

impl ClusterCa {
    /// Makes an authority: ECDSA P-256, ten years, `CN=engenho-ca@<seconds>, OU=<cluster>`.
    pub fn generate(cluster: &str, now_ms: u64) -> Result<Self, CaError> {
        Self::named("engenho-ca", cluster, now_ms)
    }

    /// Makes the authority of those who pass requests on for others (`--requestheader-client-ca-file`). It must sign
    /// nobody else: whom it signed may say who sends a request.
    pub fn generate_front_proxy(cluster: &str, now_ms: u64) -> Result<Self, CaError> {
        Self::named("engenho-front-proxy-ca", cluster, now_ms)
    }

    fn named(name: &str, cluster: &str, now_ms: u64) -> Result<Self, CaError> {
        let key = new_key()?;
        let mut params = params(now_ms, CA_LIFETIME, u64::MAX)?;
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{name}@{}", now_ms / 1000));
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, cluster.to_owned());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let certificate = params.self_signed(&key).map_err(CaError::Make)?;
        Self::new(certificate.into(), key)
    }

    fn new(certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, CaError> {
        let read = |reason: String| CaError::Read { reason };
        if !key.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Err(read("its key is not ECDSA P-256".into()));
        }
        let (not_before_ms, not_after_ms) = validity(&certificate)?;
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|e| read(e.to_string()))?;
        if !parsed.is_ca() {
            return Err(read("its certificate is not one of an authority".into()));
        }
        if *parsed.public_key().subject_public_key.data != *key.der_bytes() {
            return Err(read("its key is not the certificate's".into()));
        }
        Ok(Self {
            certificate,
            key: Arc::new(key),
            not_before_ms,
            not_after_ms,
        })
    }

    /// Reads what [`ClusterCa::to_pem`] wrote.
    pub fn from_pem(pem: &str) -> Result<Self, CaError> {
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| CaError::Read { reason: e.to_string() })?;
        let key =
            PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| CaError::Read { reason: e.to_string() })?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
            .map_err(|e| CaError::Read { reason: e.to_string() })?;
        Self::new(certificate, key)
    }

    /// Certificate and key in one text. Secret: store it with [`crate::write_private`].
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(self.certificate_pem());
        let key = Zeroizing::new(self.key.serialize_der());
        let key = Zeroizing::new(crate::leaf::pem("PRIVATE KEY", &key));
        text.push_str(&key);
        text
    }

    /// The certificate, PEM: what clients trust.
    pub fn certificate_pem(&self) -> String {
        crate::leaf::pem("CERTIFICATE", &self.certificate)
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Until when it is valid, milliseconds since the Unix epoch.
    pub fn not_after_ms(&self) -> u64 {
        self.not_after_ms
    }

    /// Issues a serving certificate with a new key.
    pub fn issue_serving(
        &self,
        common_name: &str,
        names: &ServingNames,
        lifetime: Duration,
        now_ms: u64,
    ) -> Result<IssuedCertificate, CaError> {
        let subject = ClientSubject::new(common_name, [] as [&str; 0]);
        self.issue(
            &Leaf {
                subject: &subject,
                names,
                usage: Usage::Serving,
                lifetime,
            },
            now_ms,
        )
    }

    /// Issues a client certificate with a new key.
    pub fn issue_client(
        &self,
        subject: &ClientSubject,
        lifetime: Duration,
        now_ms: u64,
    ) -> Result<IssuedCertificate, CaError> {
        self.issue(
            &Leaf {
                subject,
                names: &ServingNames::new(),
                usage: Usage::Client,
                lifetime,
            },
            now_ms,
        )
    }

    fn issue(&self, leaf: &Leaf<'_>, now_ms: u64) -> Result<IssuedCertificate, CaError> {
        let key = new_key()?;
        let certificate = self.sign(leaf, &key, now_ms)?;
        Ok(IssuedCertificate::of(certificate, &key)?)
    }

    /// Signs a leaf for a public key. It never outlives the authority.
    pub(crate) fn sign(
        &self,
        leaf: &Leaf<'_>,
        key: &impl PublicKeyData,
        now_ms: u64,
    ) -> Result<CertificateDer<'static>, CaError> {
        leaf.subject.check()?;
        leaf.names.check()?;
        if now_ms < self.not_before_ms || now_ms >= self.not_after_ms {
            return Err(CaError::NotValidNow {
                not_before_ms: self.not_before_ms,
                not_after_ms: self.not_after_ms,
                now_ms,
            });
        }
        let mut params = params(now_ms, leaf.lifetime, self.not_after_ms)?;
        let subject = leaf.subject;
        if let [group] = subject.groups.as_slice() {
            params.distinguished_name.push(DnType::OrganizationName, group.clone());
        }
        params.distinguished_name.push(DnType::CommonName, subject.user.clone());
        params.subject_alt_names = leaf.names.to_sans().map_err(CaError::Make)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match leaf.usage {
            Usage::Serving => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &*self.key).map_err(CaError::Make)?;
        let certificate = params.signed_by(key, &issuer).map_err(CaError::Make)?;
        if subject.groups.len() < 2 {
            return Ok(certificate.into());
        }
        der::with_subject(certificate.der(), subject, &*self.key)
            .ok_or(CaError::Make(rcgen::Error::CouldNotParseCertificate))
    }
}

/// A new ECDSA P-256 key.
pub(crate) fn new_key() -> Result<KeyPair, CaError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Make)
}

fn moment(ms: u64) -> Result<OffsetDateTime, CaError> {
    i64::try_from(ms / 1000)
        .ok()
        .and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok())
        .ok_or(CaError::Time { ms })
}

/// Validity and serial number, nothing else.
fn params(now_ms: u64, lifetime: Duration, not_after_max_ms: u64) -> Result<CertificateParams, CaError> {
    let backdate = BACKDATE.min(lifetime / 10);
    let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let mut params = CertificateParams::default();
    params.not_before = moment(now_ms.saturating_sub(ms(backdate)))?;
    // Certificates count whole seconds: don't lose the last one.
    let not_after = now_ms.saturating_add(ms(lifetime)).saturating_add(999);
    params.not_after = moment(not_after.min(not_after_max_ms))?;
    params.distinguished_name = DistinguishedName::new();
    let mut serial = [0u8; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| CaError::Random)?;
    // Positive, and of full length.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

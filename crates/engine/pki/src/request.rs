//! Certificates for members that don't hold the authority's key: the member makes a key and a request (PKCS #10),
//! a replica signs what the member is allowed to be.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DnType, DnValue, KeyPair, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::ca::{CaError, ClusterCa, Leaf, new_key};
use crate::leaf::{IssuedCertificate, LeafError};
use crate::names::{ClientSubject, ServingNames};

/// Longest request that is read, bytes.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// TLS server.
    Serving,
    /// TLS client.
    Client,
}

/// A new key and a request for a certificate of it.
pub struct CertificateRequest {
    key: KeyPair,
    request: Vec<u8>,
}

impl fmt::Debug for CertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateRequest").finish_non_exhaustive()
    }
}

impl CertificateRequest {
    /// Makes a key and a request for `common_name` that serves `names`.
    pub fn generate(common_name: &str, names: &ServingNames) -> Result<Self, CaError> {
        names.check()?;
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name.to_owned());
        params.subject_alt_names = names.to_sans().map_err(CaError::Make)?;
        let request = params.serialize_request(&key).map_err(CaError::Make)?;
        Ok(Self {
            request: request.der().to_vec(),
            key,
        })
    }

    /// The request, DER: what is sent.
    pub fn der(&self) -> &[u8] {
        &self.request
    }

    /// Joins the signed certificate with the key. Fails if it is for another key.
    pub fn complete(self, certificate: CertificateDer<'static>) -> Result<IssuedCertificate, LeafError> {
        IssuedCertificate::new(certificate, Zeroizing::new(self.key.serialize_der()))
    }
}

/// What the sender of a request may have.
#[derive(Debug, Clone)]
pub struct RequestPolicy {
    /// The subject that the certificate gets. The request's common name must be its user, or absent.
    pub subject: ClientSubject,
    /// Names and addresses it may serve.
    pub names: ServingNames,
    /// What the certificate is for.
    pub usage: Usage,
    /// For how long.
    pub lifetime: Duration,
}

/// A signed request.
#[derive(Debug, Clone)]
pub struct SignedCertificate {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Names that were asked for and refused, for people; worth a warning.
    pub refused: Vec<String>,
}

impl ClusterCa {
    /// Signs a request (DER), restricted to what the policy allows: names outside it are left out. Extensions and
    /// the validity that a request asks for are never copied.
    pub fn sign_request(
        &self,
        request: &[u8],
        policy: &RequestPolicy,
        now_ms: u64,
    ) -> Result<SignedCertificate, CaError> {
        if request.len() > REQUEST_BYTES_MAX {
            return Err(CaError::Request(rcgen::Error::CouldNotParseCertificationRequest));
        }
        let parsed = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(CaError::Request)?;
        if *parsed.public_key.algorithm() != PKCS_ECDSA_P256_SHA256 {
            return Err(CaError::Request(rcgen::Error::UnsupportedSignatureAlgorithm));
        }
        let requested = match parsed.params.distinguished_name.get(&DnType::CommonName) {
            None => "",
            Some(DnValue::Utf8String(text)) => text,
            Some(DnValue::PrintableString(text)) => text.as_str(),
            Some(DnValue::Ia5String(text)) => text.as_str(),
            Some(_) => "(not a common string)",
        };
        if !requested.is_empty() && requested != policy.subject.user {
            return Err(CaError::Subject {
                requested: requested.to_owned(),
                allowed: policy.subject.user.clone(),
            });
        }
        let mut refused = Vec::new();
        let mut asked = ServingNames::new();
        for san in &parsed.params.subject_alt_names {
            match san {
                SanType::DnsName(name) if asked.add_dns(name.as_str()).is_ok() => {}
                SanType::IpAddress(ip) => asked.add_ip(*ip),
                other => refused.push(format!("{other:?}")),
            }
        }
        let (names, rest) = asked.split(&policy.names);
        refused.extend(rest.dns().map(str::to_owned));
        refused.extend(rest.ips().map(|ip| ip.to_string()));
        if policy.usage == Usage::Serving && names.is_empty() {
            return Err(CaError::NoNames {
                refused: refused.join(", "),
            });
        }
        let leaf = Leaf {
            subject: &policy.subject,
            names: &names,
            usage: policy.usage,
            lifetime: policy.lifetime,
        };
        Ok(SignedCertificate {
            certificate: self.sign(&leaf, &parsed.public_key, now_ms)?,
            refused,
        })
    }
}

/// The names and addresses of a certificate.
pub(crate) fn names_of(certificate: &[u8]) -> Result<ServingNames, LeafError> {
    let malformed = |reason: String| LeafError::Certificate { reason };
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| malformed(e.to_string()))?;
    let mut names = ServingNames::new();
    let sans = parsed
        .subject_alternative_name()
        .map_err(|e| malformed(e.to_string()))?;
    for name in sans.iter().flat_map(|s| &s.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.add_dns(name).map_err(|e| malformed(e.to_string()))?,
            GeneralName::IPAddress(bytes) => {
                let ip = <[u8; 4]>::try_from(*bytes)
                    .map(IpAddr::from)
                    .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
                    .map_err(|_| malformed("an address has a wrong length".into()))?;
                names.add_ip(ip);
            }
            _ => {}
        }
    }
    Ok(names)
}

//! A certificate's subject with several organisations.
//!
//! rcgen writes at most one attribute of each type, and Kubernetes takes every organisation for a group. So the
//! subject is replaced in the encoded certificate, and that is signed anew. X.690 DER, RFC 5280.

use rcgen::SigningKey;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::names::ClientSubject;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const BIT_STRING: u8 = 0x03;
/// OBJECT IDENTIFIER 2.5.4.3, commonName.
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
/// OBJECT IDENTIFIER 2.5.4.10, organizationName.
const ORGANIZATION: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x0a];
/// AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758), the only one our authorities sign with.
const ECDSA_SHA256: [u8; 12] = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// One tagged value.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(significant);
    }
    out.extend_from_slice(content);
    out
}

/// RDNSequence of organisations, then the common name.
fn subject_name(subject: &ClientSubject) -> Vec<u8> {
    let attribute = |oid: &[u8], text: &str| {
        let mut pair = oid.to_vec();
        pair.extend(tlv(UTF8_STRING, text.as_bytes()));
        tlv(SET, &tlv(SEQUENCE, &pair))
    };
    let mut names = Vec::new();
    for group in &subject.groups {
        names.extend(attribute(&ORGANIZATION, group));
    }
    names.extend(attribute(&COMMON_NAME, &subject.user));
    tlv(SEQUENCE, &names)
}

/// The certificate with another subject, signed by `key`. `None` if it isn't a certificate, or can't be signed.
pub(crate) fn with_subject(
    certificate: &CertificateDer<'_>,
    subject: &ClientSubject,
    key: &impl SigningKey,
) -> Option<CertificateDer<'static>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let tbs: &[u8] = parsed.tbs_certificate.as_ref();
    let old = parsed.subject().as_raw();
    // Both are slices of the certificate: their distance is where the subject stands.
    let at = (old.as_ptr() as usize).checked_sub(tbs.as_ptr() as usize)?;
    let content_at = tbs.len() - content_of(tbs)?.len();
    let mut content = tbs.get(content_at..at)?.to_vec();
    content.extend(subject_name(subject));
    content.extend_from_slice(tbs.get(at + old.len()..)?);
    let tbs = tlv(SEQUENCE, &content);
    let mut signature = vec![0];
    signature.extend(key.sign(&tbs).ok()?);
    let mut whole = tbs;
    whole.extend_from_slice(&ECDSA_SHA256);
    whole.extend(tlv(BIT_STRING, &signature));
    Some(CertificateDer::from(tlv(SEQUENCE, &whole)))
}

/// The content of a tagged value.
fn content_of(tlv: &[u8]) -> Option<&[u8]> {
    let first = *tlv.get(1)?;
    let head = if first < 0x80 { 2 } else { 2 + usize::from(first & 0x7f) };
    tlv.get(head..)
}

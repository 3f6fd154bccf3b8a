//! Secrets that are to hold a certificate and its key, but hold none that fit (Go's `tls.X509KeyPair`).

use engenho_validation::get::text;
use engenho_validation::pem::{Block, base64, blocks};
use serde_json::Value;

use crate::keys::{self, Key};

/// A Secret.
pub(crate) fn warnings(secret: &Value) -> Vec<String> {
    if text(&secret["type"]) != "kubernetes.io/tls" {
        return Vec::new();
    }
    let bytes = |key: &str| base64(text(&secret["data"][key])).unwrap_or_default();
    Vec::from_iter(pair(&bytes("tls.crt"), &bytes("tls.key")).err())
}

fn is_key(label: &str) -> bool {
    label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY")
}

fn labels(blocks: &[Block]) -> Vec<&str> {
    blocks.iter().map(|block| block.label.as_str()).collect()
}

/// Whether both are PEM, the first certificate can be read, and the key is the certificate's.
fn pair(certificates: &[u8], key: &[u8]) -> Result<(), String> {
    let blocks_of_certificates = blocks(certificates);
    let Some(certificate) = blocks_of_certificates.iter().find(|block| block.label == "CERTIFICATE") else {
        return Err(match labels(&blocks_of_certificates).as_slice() {
            [] => "tls: failed to find any PEM data in certificate input".to_owned(),
            [one] if one.ends_with("PRIVATE KEY") => "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".to_owned(),
            skipped => format!(
                "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
                skipped.join(" ")
            ),
        });
    };
    let blocks_of_key = blocks(key);
    let Some(key) = blocks_of_key.iter().find(|block| is_key(&block.label)) else {
        return Err(match labels(&blocks_of_key).as_slice() {
            [] => "tls: failed to find any PEM data in key input".to_owned(),
            ["CERTIFICATE"] => "tls: found a certificate rather than a key in the PEM for the private key".to_owned(),
            skipped => format!(
                "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
                skipped.join(" ")
            ),
        });
    };
    let public = keys::of_certificate(&certificate.bytes)?;
    let private = keys::private(&key.bytes)?;
    match (public, private) {
        (Key::Other, _) => Err("tls: unknown public key algorithm".to_owned()),
        (Key::Rsa(of_certificate), Key::Rsa(own)) => same(of_certificate == own),
        // A key of an elliptic curve may come without its public half.
        (Key::Curve(Some(of_certificate)), Key::Curve(own)) => same(own.is_none_or(|own| own == of_certificate)),
        (Key::Edwards(of_certificate), Key::Edwards(own)) => same(of_certificate == own),
        _ => Err("tls: private key type does not match public key type".to_owned()),
    }
}

fn same(fits: bool) -> Result<(), String> {
    match fits {
        true => Ok(()),
        false => Err("tls: private key does not match public key".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
    use serde_json::json;

    fn of(certificate: &str, key: &str) -> Vec<String> {
        let data = json!({"tls.crt": BASE64.encode(certificate.as_bytes()), "tls.key": BASE64.encode(key.as_bytes())});
        warnings(&json!({"type": "kubernetes.io/tls", "data": data}))
    }

    fn signed(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn what_is_no_pem() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAEC\n-----END {label}-----\n");
        let certificate = block("CERTIFICATE");
        let table = [
            (
                String::new(),
                String::new(),
                "tls: failed to find any PEM data in certificate input",
            ),
            (
                block("EC PRIVATE KEY"),
                certificate.clone(),
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
            ),
            (
                block("A") + &block("B"),
                String::new(),
                "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [A B]",
            ),
            (
                certificate.clone(),
                "x".into(),
                "tls: failed to find any PEM data in key input",
            ),
            (
                certificate.clone(),
                certificate.clone(),
                "tls: found a certificate rather than a key in the PEM for the private key",
            ),
            (
                certificate.clone(),
                block("A"),
                "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [A]",
            ),
            (certificate, block("PRIVATE KEY"), "x509: malformed certificate"),
        ];
        for (certificate, key, expected) in table {
            assert_eq!(of(&certificate, &key), [expected]);
        }
    }

    #[test]
    fn pairs() {
        let (one, one_key) = signed(&PKCS_ECDSA_P256_SHA256);
        let (two, two_key) = signed(&PKCS_ECDSA_P256_SHA256);
        let (edwards, edwards_key) = signed(&PKCS_ED25519);
        let (_, other_edwards_key) = signed(&PKCS_ED25519);
        assert!(of(&one, &one_key).is_empty() && of(&edwards, &edwards_key).is_empty());
        assert!(
            of(&(one.clone() + &two), &one_key).is_empty(),
            "the first certificate counts"
        );
        let differs = ["tls: private key does not match public key"];
        assert_eq!(of(&one, &two_key), differs);
        assert_eq!(of(&edwards, &other_edwards_key), differs);
        let kind = ["tls: private key type does not match public key type"];
        assert_eq!(of(&one, &edwards_key), kind);
        assert_eq!(of(&edwards, &one_key), kind);
        let broken = "-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n";
        assert_eq!(of(&one, broken), ["tls: failed to parse private key"]);
    }

    #[test]
    fn other_secrets_are_not_looked_into() {
        assert!(warnings(&json!({"type": "Opaque", "data": {"tls.crt": ""}})).is_empty());
    }
}

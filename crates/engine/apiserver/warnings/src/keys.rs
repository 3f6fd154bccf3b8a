//! The public keys that certificates and private keys hold, read from DER: as much as tells whether two belong together.

use engenho_validation::pem::element;
use ring::signature::{Ed25519KeyPair, KeyPair};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// The field of that number, of a structure that has optional fields.
const FIELD_0: u8 = 0xa0;
const FIELD_1: u8 = 0xa1;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const CURVE: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const EDWARDS: &[u8] = &[0x2b, 0x65, 0x70];

/// A public key, or that of a private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// RSA: the modulus.
    Rsa(Vec<u8>),
    /// An elliptic curve: the point; private keys may come without.
    Curve(Option<Vec<u8>>),
    /// Ed25519.
    Edwards(Vec<u8>),
    /// Anything else.
    Other,
}

/// Reads the elements of a structure in turn.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next element, if it has that tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content, rest) = element(self.0)?;
        (found == tag).then(|| {
            self.0 = rest;
            content
        })
    }

    /// A structure within.
    fn sequence(&mut self) -> Option<Reader<'a>> {
        self.take(SEQUENCE).map(Reader)
    }

    /// What a bit string holds, if it is whole bytes.
    fn bits(&mut self) -> Option<&'a [u8]> {
        self.take(BIT_STRING)?.strip_prefix(&[0])
    }
}

/// A whole number without the zero that tells that it is not negative.
fn number(digits: &[u8]) -> Vec<u8> {
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    digits[zeros..].to_vec()
}

/// The key in a certificate.
///
/// # Errors
/// What Go's parser says of bytes that are no certificate, as far as the key.
pub(crate) fn of_certificate(der: &[u8]) -> Result<Key, String> {
    let malformed = |what: &str| format!("x509: malformed {what}");
    let mut outer = Reader(der);
    let mut certificate = outer.sequence().ok_or_else(|| malformed("certificate"))?;
    if !outer.0.is_empty() {
        return Err("x509: trailing data".to_owned());
    }
    let mut signed = certificate.sequence().ok_or_else(|| malformed("tbs certificate"))?;
    if let Some(version) = signed.take(FIELD_0) {
        Reader(version).take(INTEGER).ok_or_else(|| malformed("version"))?;
    }
    signed.take(INTEGER).ok_or_else(|| malformed("serial number"))?;
    for what in ["signature algorithm identifier", "issuer", "validity", "issuer"] {
        signed.sequence().ok_or_else(|| malformed(what))?;
    }
    let mut key = signed.sequence().ok_or_else(|| malformed("spki"))?;
    let mut algorithm = key
        .sequence()
        .ok_or_else(|| malformed("public key algorithm identifier"))?;
    let object = algorithm
        .take(OBJECT)
        .ok_or_else(|| malformed("public key algorithm identifier"))?;
    let bits = key.bits().ok_or_else(|| malformed("subjectPublicKey"))?;
    Ok(match object {
        RSA => {
            let modulus = Reader(bits).sequence().and_then(|mut key| key.take(INTEGER));
            Key::Rsa(number(
                modulus.ok_or_else(|| "x509: invalid RSA public key".to_owned())?,
            ))
        }
        CURVE => Key::Curve(Some(bits.to_vec())),
        EDWARDS => Key::Edwards(bits.to_vec()),
        _ => Key::Other,
    })
}

/// The public half of a private key in PKCS #1, PKCS #8 or SEC 1.
///
/// # Errors
/// What Go says of bytes that are none of them.
pub(crate) fn private(der: &[u8]) -> Result<Key, String> {
    match rsa(der).or_else(|| wrapped(der)).or_else(|| curve(der)) {
        None => Err("tls: failed to parse private key".to_owned()),
        Some(Key::Other) => Err("tls: found unknown private key type in PKCS#8 wrapping".to_owned()),
        Some(key) => Ok(key),
    }
}

fn rsa(der: &[u8]) -> Option<Key> {
    let mut key = Reader(der).sequence()?;
    key.take(INTEGER)?;
    let modulus = key.take(INTEGER)?;
    // The exponents and the primes; a key without them is none.
    for _ in 0..4 {
        key.take(INTEGER)?;
    }
    Some(Key::Rsa(number(modulus)))
}

fn wrapped(der: &[u8]) -> Option<Key> {
    let mut key = Reader(der).sequence()?;
    key.take(INTEGER)?;
    let object = key.sequence()?.take(OBJECT)?;
    let inner = key.take(OCTET_STRING)?;
    match object {
        RSA => rsa(inner),
        CURVE => curve(inner),
        EDWARDS => {
            let seed = Reader(inner).take(OCTET_STRING)?;
            let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
            Some(Key::Edwards(pair.public_key().as_ref().to_vec()))
        }
        _ => Some(Key::Other),
    }
}

fn curve(der: &[u8]) -> Option<Key> {
    let mut key = Reader(der).sequence()?;
    if key.take(INTEGER)? != [1] {
        return None;
    }
    key.take(OCTET_STRING)?;
    key.take(FIELD_0);
    let point = key.take(FIELD_1).and_then(|field| Reader(field).bits());
    Some(Key::Curve(point.map(<[u8]>::to_vec)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn der(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
        let content = parts.concat();
        let mut bytes = vec![tag, 0x82];
        bytes.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        bytes.extend(content);
        bytes
    }

    fn int(digits: &[u8]) -> Vec<u8> {
        der(INTEGER, &[digits.to_vec()])
    }

    fn certificate(object: &[u8], bits: &[u8]) -> Vec<u8> {
        let empty = || der(SEQUENCE, &[]);
        let algorithm = der(SEQUENCE, &[der(OBJECT, &[object.to_vec()])]);
        let key = der(SEQUENCE, &[algorithm, der(BIT_STRING, &[[&[0], bits].concat()])]);
        let version = der(FIELD_0, &[int(&[2])]);
        let signed = der(SEQUENCE, &[version, int(&[1]), empty(), empty(), empty(), empty(), key]);
        der(SEQUENCE, &[signed, empty(), der(BIT_STRING, &[vec![0]])])
    }

    fn rsa_key(modulus: &[u8]) -> Vec<u8> {
        let numbers = [&[0], modulus, &[3], &[5], &[7], &[11]];
        der(SEQUENCE, &numbers.map(int))
    }

    #[test]
    fn keys_of_certificates() {
        let public = der(SEQUENCE, &[int(&[0, 0x91]), int(&[3])]);
        assert_eq!(of_certificate(&certificate(RSA, &public)), Ok(Key::Rsa(vec![0x91])));
        assert_eq!(
            of_certificate(&certificate(CURVE, &[4, 1])),
            Ok(Key::Curve(Some(vec![4, 1])))
        );
        assert_eq!(of_certificate(&certificate(EDWARDS, &[1])), Ok(Key::Edwards(vec![1])));
        assert_eq!(of_certificate(&certificate(&[0x2a], &[1])), Ok(Key::Other));
        let said = |der: &[u8]| of_certificate(der).unwrap_err();
        assert_eq!(said(&[1, 2]), "x509: malformed certificate");
        assert_eq!(
            said(&[certificate(RSA, &public), vec![0]].concat()),
            "x509: trailing data"
        );
        assert_eq!(said(&der(SEQUENCE, &[])), "x509: malformed tbs certificate");
        let empty = der(SEQUENCE, &[der(SEQUENCE, &[])]);
        assert_eq!(said(&empty), "x509: malformed serial number");
        assert_eq!(said(&certificate(RSA, &[])), "x509: invalid RSA public key");
    }

    #[test]
    fn private_keys() {
        let modulus = Ok(Key::Rsa(vec![0x91]));
        assert_eq!(private(&rsa_key(&[0, 0x91])), modulus);
        let wrap = |object: &[u8], inner: Vec<u8>| {
            let algorithm = der(SEQUENCE, &[der(OBJECT, &[object.to_vec()])]);
            der(SEQUENCE, &[int(&[0]), algorithm, der(OCTET_STRING, &[inner])])
        };
        assert_eq!(private(&wrap(RSA, rsa_key(&[0, 0x91]))), modulus);
        let point = der(FIELD_1, &[der(BIT_STRING, &[vec![0, 4, 1]])]);
        let sec1 = |more: Vec<u8>| der(SEQUENCE, &[int(&[1]), der(OCTET_STRING, &[vec![9]]), more]);
        assert_eq!(private(&sec1(point)), Ok(Key::Curve(Some(vec![4, 1]))));
        assert_eq!(private(&wrap(CURVE, sec1(Vec::new()))), Ok(Key::Curve(None)));
        assert!(matches!(
            private(&wrap(EDWARDS, der(OCTET_STRING, &[vec![7; 32]]))),
            Ok(Key::Edwards(public)) if public.len() == 32
        ));
        assert_eq!(
            private(&wrap(&[0x2a], vec![])),
            Err("tls: found unknown private key type in PKCS#8 wrapping".to_owned())
        );
        assert_eq!(private(&[]), Err("tls: failed to parse private key".to_owned()));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (of_certificate(&bytes), private(&bytes));
        }

        #[test]
        fn nothing_panics_on_what_is_nearly_right(at in 0_usize..80, byte in any::<u8>()) {
            let mut bytes = certificate(CURVE, &[4, 1]);
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
            let _ = of_certificate(&bytes);
        }
    }
}

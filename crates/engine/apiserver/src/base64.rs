//! Base64 (RFC 4648): for URLs without padding, as Go's `base64.RawURLEncoding`.

use std::fmt::Write as _;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Encodes without padding.
pub fn encode_url(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = u32::from(chunk[0]) << 16
            | chunk.get(1).map_or(0, |b| u32::from(*b) << 8)
            | chunk.get(2).map_or(0, |b| u32::from(*b));
        for i in 0..=chunk.len() {
            let index = (word >> (18 - 6 * i)) & 63;
            let _ = write!(out, "{}", char::from(ALPHABET[index as usize]));
        }
    }
    out
}

/// Decodes with or without padding; the error is the offset of the first wrong byte.
pub fn decode_url(text: &str) -> Result<Vec<u8>, usize> {
    let bytes = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(bytes.len() * 3 / 4);
    let (mut word, mut bits) = (0_u32, 0);
    for (at, byte) in bytes.iter().enumerate() {
        let digit = ALPHABET.iter().position(|a| a == byte).ok_or(at)?;
        word = (word << 6) | digit as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    if bytes.len() % 4 == 1 {
        Err(bytes.len())
    } else {
        Ok(out)
    }
}

/// Decodes the standard alphabet with its padding; the error is the offset of the first wrong byte.
pub fn decode_standard(text: &str) -> Result<Vec<u8>, usize> {
    if let Some(at) = text.find(['-', '_']) {
        return Err(at);
    }
    if !text.len().is_multiple_of(4) {
        return Err(text.len());
    }
    decode_url(&text.replace('+', "-").replace('/', "_"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_decodes(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            prop_assert_eq!(decode_url(&encode_url(&bytes)), Ok(bytes));
        }
    }

    #[test]
    fn garbage_is_told_where() {
        assert_eq!(decode_url("!!"), Err(0));
        assert_eq!(decode_url("abc").map(|b| b[0]), Ok(b'i'));
        assert_eq!(decode_standard("+/+/").as_deref(), Ok(&[251, 255, 191][..]));
        assert_eq!(decode_standard("YQ=="), Ok(vec![b'a']));
        assert_eq!(decode_standard("YW-_"), Err(2));
        assert_eq!(decode_standard("YQ"), Err(2));
    }
}

//! PEM and the outermost structure of what it holds: enough to tell certificates and requests from other bytes.

/// A block of PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What the block says it holds.
    pub label: String,
    /// Whether there are headers before the bytes.
    pub has_headers: bool,
    /// What the block holds.
    pub bytes: Vec<u8>,
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// The bytes of a base64 text; line breaks do not matter.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')).collect();
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let padding = digits.iter().rev().take_while(|b| **b == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    let (mut buffer, mut bits) = (0_u32, 0);
    for digit in &digits[..digits.len() - padding] {
        buffer = (buffer << 6) | sextet(*digit)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
            buffer &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

/// The blocks in a text; what is malformed or between blocks is passed over.
pub fn blocks(bytes: &[u8]) -> Vec<Block> {
    let text = String::from_utf8_lossy(bytes);
    let mut blocks = Vec::new();
    let mut open: Option<(String, bool, String)> = None;
    for line in text.lines().map(str::trim_end) {
        if let Some(label) = marker(line, "-----BEGIN ") {
            open = Some((label.to_owned(), false, String::new()));
        } else if let Some(label) = marker(line, "-----END ") {
            if let Some((begun, has_headers, body)) = open.take()
                && begun == label
                && let Some(bytes) = base64(&body)
            {
                blocks.push(Block {
                    label: begun,
                    has_headers,
                    bytes,
                });
            }
        } else if let Some((_, has_headers, body)) = &mut open {
            match line.contains(':') {
                true => *has_headers = true,
                false => body.push_str(line),
            }
        }
    }
    blocks
}

fn marker<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix("-----")
}

/// Whether bytes are, in DER, a sequence of two sequences and a bit string: what is signed, how, and the signature.
pub fn is_signed_structure(bytes: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let Some((SEQUENCE, mut inner, [])) = element(bytes) else {
        return false;
    };
    for expected in [SEQUENCE, SEQUENCE, BIT_STRING] {
        match element(inner) {
            Some((tag, _, rest)) if tag == expected => inner = rest,
            _ => return false,
        }
    }
    inner.is_empty()
}

/// Tag, content and rest of what an element of DER begins.
pub fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(*short), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0_usize, |n, b| (n << 8) | usize::from(*b));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_are_found() {
        let text = b"x\n-----BEGIN A-----\nAAEC\n-----END A-----\n-----BEGIN B-----\nk: v\n\n/w==\n-----END B-----\n";
        let found = blocks(text);
        assert_eq!(
            (found[0].label.as_str(), found[0].bytes.as_slice()),
            ("A", &[0, 1, 2][..])
        );
        assert!(found[1].has_headers && found[1].bytes == [0xff]);
        assert!(blocks(b"-----BEGIN A-----\n!\n-----END A-----").is_empty());
    }

    #[test]
    fn signed_structures() {
        assert!(is_signed_structure(&[0x30, 7, 0x30, 0, 0x30, 0, 3, 1, 0]));
        assert!(!is_signed_structure(&[0x30, 8, 0x30, 0, 0x30, 0, 3, 1, 0]));
        assert!(!is_signed_structure(b"x") && !is_signed_structure(&[]));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in ".*") {
            let _ = (blocks(&bytes), is_signed_structure(&bytes), base64(&text));
        }
    }
}

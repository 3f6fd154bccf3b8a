//! Random names and ids.

use revoada_core::env::Entropy;

/// Letters of generated name suffixes: no vowels and nothing that looks alike, as upstream.
const SUFFIX_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LEN: usize = 5;
/// Longest prefix of a generated name.
const PREFIX_LEN_MAX: usize = 58;

/// A random UUID (RFC 9562, version 4).
pub fn uuid(entropy: &dyn Entropy) -> String {
    let mut b = [0_u8; 16];
    entropy.fill(&mut b);
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let mut out = String::with_capacity(36);
    for (i, byte) in b.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// A random number below `bound`, which is not zero.
pub fn below(entropy: &dyn Entropy, bound: usize) -> usize {
    let mut bytes = [0_u8; 8];
    entropy.fill(&mut bytes);
    (u64::from_le_bytes(bytes) % bound.max(1) as u64) as usize
}

/// `prefix` with five random letters.
pub fn name(entropy: &dyn Entropy, prefix: &str) -> String {
    let cut = prefix
        .char_indices()
        .map(|(i, c)| i + c.len_utf8())
        .take_while(|end| *end <= PREFIX_LEN_MAX)
        .last();
    let mut out = prefix[..cut.unwrap_or(0)].to_owned();
    let mut bytes = [0_u8; 4 * SUFFIX_LEN];
    entropy.fill(&mut bytes);
    for chunk in bytes.chunks_exact(4) {
        let number = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]) as usize;
        out.push(char::from(SUFFIX_LETTERS[number % SUFFIX_LETTERS.len()]));
    }
    out
}

//! Lines that are linked: each tells its number, the hash of the line before and its own, so that a line that was
//! changed, removed or put elsewhere shows.
//!
//! A line is a JSON object, an event whose last member is `link`:
//! `{…,"link":{"seq":7,"prev":"<64 hex digits>","hash":"<64 hex digits>"}}`. `hash` is BLAKE3 in the mode that derives
//! keys, with the context [`CONTEXT`], over the number (8 bytes, little endian), the 32 bytes of `prev`, and the event
//! without `link`. The first line ever has number 1 and a `prev` of zeros.
//!
//! Whoever can write all files can make a new chain, and nobody misses lines at the end: the head that [`Verifier`]
//! tells has to be kept elsewhere for that.

use std::fmt;

/// Context of the hashes.
pub const CONTEXT: &str = "engenho audit log line v1";

const MARK: &[u8] = br#","link":{"seq":"#;

/// Where a chain stands: number and hash of its last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Number of the last line, 0 before the first.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.hash))
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(seq: u64, prev: &[u8; 32], event: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&seq.to_le_bytes());
    hasher.update(prev);
    hasher.update(event);
    *hasher.finalize().as_bytes()
}

/// Appends `event`, a JSON object, to `out` as the line that follows `head`, and moves the head on.
pub fn append(head: &mut Head, event: &[u8], out: &mut Vec<u8>) {
    let (seq, prev) = (head.seq + 1, head.hash);
    *head = Head {
        seq,
        hash: hash(seq, &prev, event),
    };
    let open = event.strip_suffix(b"}").unwrap_or(event);
    out.extend_from_slice(open);
    out.extend_from_slice(MARK);
    out.extend_from_slice(link(seq, &prev, &head.hash).as_bytes());
    out.push(b'\n');
}

/// What follows the mark.
fn link(seq: u64, prev: &[u8; 32], hash: &[u8; 32]) -> String {
    format!("{seq},\"prev\":\"{}\",\"hash\":\"{}\"}}}}", hex(prev), hex(hash))
}

/// A line taken apart.
struct Line {
    event: Vec<u8>,
    seq: u64,
    prev: [u8; 32],
    hash: [u8; 32],
}

fn split(line: &[u8]) -> Option<Line> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    // The link is of a bounded length, and the last thing in the line.
    let tail_at = line.len().saturating_sub(MARK.len() + 200);
    let at = tail_at + line[tail_at..].windows(MARK.len()).rposition(|window| window == MARK)?;
    let whole = std::str::from_utf8(&line[at + MARK.len()..]).ok()?;
    let (seq, tail) = whole.split_once(",\"prev\":\"")?;
    let (prev, tail) = tail.split_once("\",\"hash\":\"")?;
    let own = tail.strip_suffix("\"}}")?;
    let mut event = line[..at].to_vec();
    event.push(b'}');
    let (seq, prev, hash) = (seq.parse().ok()?, unhex(prev)?, unhex(own)?);
    // Only as it is written here: no other digits for the same numbers.
    (whole == link(seq, &prev, &hash)).then_some(Line { event, seq, prev, hash })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let text = text.as_bytes();
    if text.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// The head that a last line tells; `None` if it is no line of a chain.
pub fn head_of(line: &[u8]) -> Option<Head> {
    let line = split(line)?;
    (hash(line.seq, &line.prev, &line.event) == line.hash).then_some(Head {
        seq: line.seq,
        hash: line.hash,
    })
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no line of a chain.
    #[error("it is not a line of an audit log")]
    Foreign,
    /// It is not what was written.
    #[error("it was changed (number {seq})")]
    Changed {
        /// Its number.
        seq: u64,
    },
    /// The line before is not the one that was there when it was written.
    #[error("the line before it, number {seq}, was replaced")]
    Replaced {
        /// Number of the line before.
        seq: u64,
    },
    /// Lines are missing before it.
    #[error("numbers {first} to {last} were removed before it")]
    Removed {
        /// The first that is missing.
        first: u64,
        /// The last that is missing.
        last: u64,
    },
    /// It was here before, or belongs elsewhere.
    #[error("number {seq} does not belong here, number {wanted} does")]
    Displaced {
        /// Its number.
        seq: u64,
        /// The number that belongs here.
        wanted: u64,
    },
}

/// Looks at the lines of a log, in the order in which they were written.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    first: Option<u64>,
    head: Head,
    lines: u64,
}

impl Verifier {
    /// Looks at the next line.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let line = split(line).ok_or(Fault::Foreign)?;
        let seq = line.seq;
        if hash(seq, &line.prev, &line.event) != line.hash {
            return Err(Fault::Changed { seq });
        }
        match self.first {
            None => {
                if seq == 0 || (seq == 1 && line.prev != [0; 32]) {
                    return Err(Fault::Changed { seq });
                }
                self.first = Some(seq);
            }
            Some(_) => {
                let wanted = self.head.seq + 1;
                if seq > wanted {
                    return Err(Fault::Removed {
                        first: wanted,
                        last: seq - 1,
                    });
                }
                if seq < wanted {
                    return Err(Fault::Displaced { seq, wanted });
                }
                if line.prev != self.head.hash {
                    return Err(Fault::Replaced { seq: self.head.seq });
                }
            }
        }
        self.head = Head { seq, hash: line.hash };
        self.lines += 1;
        Ok(())
    }

    /// Number of the first line that was seen.
    pub fn first(&self) -> Option<u64> {
        self.first
    }

    /// Where the chain stands.
    pub fn head(&self) -> Head {
        self.head
    }

    /// How many lines were seen.
    pub fn lines(&self) -> u64 {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(events: usize) -> Vec<Vec<u8>> {
        let mut head = Head::default();
        let line = |i: usize| {
            let mut out = Vec::new();
            append(
                &mut head,
                format!("{{\"auditID\":\"{i}\",\"link\":\"no\"}}").as_bytes(),
                &mut out,
            );
            out
        };
        (0..events).map(line).collect()
    }

    fn verify(lines: &[Vec<u8>]) -> Result<Head, (usize, Fault)> {
        let mut verifier = Verifier::default();
        for (i, line) in lines.iter().enumerate() {
            verifier.line(line).map_err(|fault| (i, fault))?;
        }
        Ok(verifier.head())
    }

    #[test]
    fn lines_are_json_and_verify() {
        let lines = log(5);
        assert_eq!(verify(&lines).map(|head| head.seq), Ok(5));
        let last: serde_json::Value = serde_json::from_slice(&lines[4]).expect("JSON");
        assert_eq!(last["link"]["seq"], 5);
        assert_eq!(head_of(&lines[4]), verify(&lines).ok());
        // A log whose oldest files are gone begins later.
        assert_eq!(verify(&lines[2..]).map(|head| head.seq), Ok(5));
    }

    #[test]
    fn what_was_done_to_a_log_is_named() {
        let lines = log(6);
        let mut removed = lines.clone();
        removed.drain(2..4);
        assert_eq!(verify(&removed), Err((2, Fault::Removed { first: 3, last: 4 })));
        let mut swapped = lines.clone();
        swapped.swap(1, 2);
        assert_eq!(verify(&swapped), Err((1, Fault::Removed { first: 2, last: 2 })));
        let mut twice = lines.clone();
        twice.insert(3, lines[2].clone());
        assert_eq!(verify(&twice), Err((3, Fault::Displaced { seq: 3, wanted: 4 })));
        // A line that was written anew, with a hash of its own, does not fit the one after it.
        let mut head = head_of(&lines[1]).expect("a head");
        let mut forged = lines.clone();
        forged[2].clear();
        append(&mut head, b"{\"auditID\":\"x\"}", &mut forged[2]);
        assert_eq!(verify(&forged), Err((3, Fault::Replaced { seq: 3 })));
        assert_eq!(verify(&[b"{}\n".to_vec()]), Err((0, Fault::Foreign)));
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unseen(at in 0_usize..6, offset: proptest::sample::Index, byte: u8) {
            let mut lines = log(6);
            let index = offset.index(lines[at].len() - 1);
            prop_assume!(lines[at][index] != byte);
            lines[at][index] = byte;
            let found = verify(&lines);
            prop_assert!(matches!(found, Err((i, _)) if i == at || i == at + 1), "{found:?}");
        }

        #[test]
        fn any_bytes_are_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(verify(&[bytes]).is_ok(), false);
        }
    }
}

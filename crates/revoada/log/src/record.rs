//! Records: what a frame's payload is a sequence of.
//!
//! Layout, integers little-endian, first byte the kind:
//! 1 entry: crc u32 (of index and data), index u64, length u32, data; 2 truncate: flag u8, last kept index u64;
//! 3 purge: index u64, length u32, marker; 4 state: slot u8, length u32, value;
//! 5 base: end of the previous segment u64, first live index u64, next index u64.

/// Bytes of an entry record before its data.
pub(crate) const ENTRY_HEADER: usize = 17;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Entry {
        index: u64,
        data: &'a [u8],
    },
    TruncateAfter {
        last_kept: Option<u64>,
    },
    PurgeTo {
        index: u64,
        marker: &'a [u8],
    },
    State {
        slot: u8,
        value: &'a [u8],
    },
    /// First record of each segment: what the segments before it hold.
    Base {
        /// Where the frames of the previous segment end; 0 in the first.
        prev_end: u64,
        first: u64,
        next: u64,
    },
}

fn entry_crc(index: u64, data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&index.to_le_bytes()), data)
}

impl Record<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Record::Entry { index, data } => {
                out.push(1);
                out.extend_from_slice(&entry_crc(index, data).to_le_bytes());
                out.extend_from_slice(&index.to_le_bytes());
                put_bytes(out, data);
            }
            Record::TruncateAfter { last_kept } => {
                out.extend_from_slice(&[2, last_kept.is_some().into()]);
                out.extend_from_slice(&last_kept.unwrap_or(0).to_le_bytes());
            }
            Record::PurgeTo { index, marker } => {
                out.push(3);
                out.extend_from_slice(&index.to_le_bytes());
                put_bytes(out, marker);
            }
            Record::State { slot, value } => {
                out.extend_from_slice(&[4, slot]);
                put_bytes(out, value);
            }
            Record::Base { prev_end, first, next } => {
                out.push(5);
                for n in [prev_end, first, next] {
                    out.extend_from_slice(&n.to_le_bytes());
                }
            }
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Reads the records of a payload, each with its offset in it. Ends after the first `Err`, which says what is wrong.
pub(crate) struct Records<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Self { payload, at: 0 }
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let bytes = self.payload.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    fn record(&mut self, kind: u8) -> Option<Result<Record<'a>, String>> {
        Some(Ok(match kind {
            1 => {
                let crc = self.u32()?;
                let (index, data) = (self.u64()?, self.bytes()?);
                if crc != entry_crc(index, data) {
                    return Some(Err(format!("the checksum of entry {index} does not match")));
                }
                Record::Entry { index, data }
            }
            2 => {
                let (some, index) = (self.u8()?, self.u64()?);
                Record::TruncateAfter {
                    last_kept: (some != 0).then_some(index),
                }
            }
            3 => Record::PurgeTo {
                index: self.u64()?,
                marker: self.bytes()?,
            },
            4 => Record::State {
                slot: self.u8()?,
                value: self.bytes()?,
            },
            5 => Record::Base {
                prev_end: self.u64()?,
                first: self.u64()?,
                next: self.u64()?,
            },
            other => return Some(Err(format!("unknown record kind {other}"))),
        }))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(usize, Record<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let kind = self.u8()?;
        let result = self
            .record(kind)
            .unwrap_or_else(|| Err("a record runs past the end of its frame".into()));
        if result.is_err() {
            self.at = self.payload.len();
        }
        Some(result.map(|record| (start, record)))
    }
}

/// The data of the entry record at the start of `bytes`, if it is that of `index` and intact.
pub(crate) fn entry_at(bytes: &[u8], index: u64) -> Option<&[u8]> {
    match Records::new(bytes).next()?.ok()?.1 {
        Record::Entry { index: found, data } if found == index => Some(data),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all() -> Vec<Record<'static>> {
        vec![
            Record::Base {
                prev_end: 1,
                first: 2,
                next: u64::MAX,
            },
            Record::Entry {
                index: 9,
                data: b"data",
            },
            Record::TruncateAfter { last_kept: None },
            Record::TruncateAfter { last_kept: Some(0) },
            Record::PurgeTo { index: 3, marker: b"" },
            Record::State {
                slot: 255,
                value: b"vote",
            },
        ]
    }

    #[test]
    fn records_read_back() {
        let mut payload = Vec::new();
        let mut starts = Vec::new();
        for record in all() {
            starts.push(payload.len());
            record.encode(&mut payload);
        }
        let read: Vec<_> = Records::new(&payload).map(Result::unwrap).collect();
        assert_eq!(read, starts.iter().copied().zip(all()).collect::<Vec<_>>());
        for cut in 1..payload.len() {
            let torn = Records::new(&payload[..cut])
                .last()
                .is_some_and(|record| record.is_err());
            assert_eq!(torn, !starts.contains(&cut), "cut at byte {cut}");
        }
    }

    #[test]
    fn an_entry_is_found_only_under_its_own_index_and_unharmed() {
        let mut bytes = Vec::new();
        Record::Entry { index: 4, data: b"abc" }.encode(&mut bytes);
        assert_eq!(bytes.len(), ENTRY_HEADER + 3);
        assert_eq!(entry_at(&bytes, 4), Some(&b"abc"[..]));
        assert_eq!(entry_at(&bytes, 5), None);
        for at in 0..bytes.len() {
            let mut harmed = bytes.clone();
            harmed[at] ^= 0x10;
            assert_eq!(entry_at(&harmed, 4), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Records::new(&bytes).count();
        }
    }
}

//! Frames: the unit that is written and synced as one, and how a bad one is told from the end of the log.
//!
//! A frame starts at a multiple of 8 bytes: magic, payload length, CRC-32C of the payload, CRC-32C of the header (each
//! a little-endian u32), payload. The header's checksum also covers the segment's number and the frame's offset, so
//! that bytes which merely look like a frame (inside an entry, say) don't pass for one.

pub(crate) const FRAME_HEADER: usize = 16;
const MAGIC: u32 = 0x6d72_6652;

/// A place in a segment where a frame was looked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    Frame {
        payload: &'a [u8],
        /// Where the next frame starts.
        next: usize,
    },
    Bad {
        /// Where to look for what follows: after the frame if its length is trustworthy, else the next place.
        resume: usize,
        why: &'static str,
    },
}

pub(crate) fn align(offset: usize) -> usize {
    offset.next_multiple_of(8)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn header_crc(header: &[u8], seq: u64, offset: u64) -> u32 {
    let crc = crc32c::crc32c(&seq.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
    crc32c::crc32c_append(crc, &header[..12])
}

/// Fills the header of `frame`, whose first [`FRAME_HEADER`] bytes are reserved for it.
pub(crate) fn seal(frame: &mut [u8], seq: u64, offset: u64) {
    let (header, payload) = frame.split_at_mut(FRAME_HEADER);
    header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[8..12].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let crc = header_crc(header, seq, offset);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// Looks for a frame at `offset` of `segment`, the bytes of segment file number `seq`.
pub(crate) fn parse(segment: &[u8], offset: usize, seq: u64) -> Parsed<'_> {
    let bad = |resume, why| Parsed::Bad { resume, why };
    let Some(header) = segment.get(offset..offset.saturating_add(FRAME_HEADER)) else {
        return bad(segment.len(), "the file ends inside a frame header");
    };
    if u32_at(header, 0) != MAGIC || u32_at(header, 12) != header_crc(header, seq, offset as u64) {
        return bad(offset + 8, "frame header is not valid");
    }
    let start = offset + FRAME_HEADER;
    let len = u32_at(header, 4) as usize;
    let Some(payload) = segment.get(start..start.saturating_add(len)) else {
        return bad(segment.len(), "frame runs past the end of the file");
    };
    let next = align(start + len);
    if crc32c::crc32c(payload) != u32_at(header, 8) {
        return bad(next, "frame checksum does not match");
    }
    Parsed::Frame { payload, next }
}

/// The first valid frame at or after `from`.
pub(crate) fn find_valid(segment: &[u8], from: usize, seq: u64) -> Option<usize> {
    let mut at = align(from);
    while at + FRAME_HEADER <= segment.len() {
        if u32_at(segment, at) != MAGIC {
            at += 8;
            continue;
        }
        match parse(segment, at, seq) {
            Parsed::Frame { .. } => return Some(at),
            Parsed::Bad { resume, .. } => at = align(resume),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(payload: &[u8], seq: u64, offset: usize) -> Vec<u8> {
        let mut buf = vec![0; FRAME_HEADER];
        buf.extend_from_slice(payload);
        seal(&mut buf, seq, offset as u64);
        buf
    }

    #[test]
    fn a_frame_is_valid_only_where_it_was_written() {
        let one = frame(b"hello", 7, 8);
        let mut segment = vec![0; 8];
        segment.extend_from_slice(&one);
        segment.resize(64, 0);
        assert_eq!(
            parse(&segment, 8, 7),
            Parsed::Frame {
                payload: b"hello",
                next: 32
            }
        );
        assert!(matches!(parse(&segment, 8, 8), Parsed::Bad { resume: 16, .. }));
        assert_eq!(find_valid(&segment, 0, 7), Some(8));
        let moved: Vec<u8> = [vec![0; 8], segment].concat();
        assert_eq!(find_valid(&moved, 0, 7), None);
    }

    #[test]
    fn the_payload_of_a_torn_frame_is_not_searched() {
        // A valid frame inside the payload of a frame that is torn further on.
        let inner = frame(b"inner", 1, 16);
        let mut outer = frame(&[inner, vec![1; 40]].concat(), 1, 0);
        let len = outer.len();
        outer[len - 1] ^= 1;
        outer.resize(256, 0);
        let Parsed::Bad { resume, .. } = parse(&outer, 0, 1) else {
            panic!("torn frame parsed")
        };
        assert_eq!(find_valid(&outer, resume, 1), None);
        assert_eq!(find_valid(&outer, 8, 1), Some(16));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_seen(payload in proptest::collection::vec(any::<u8>(), 0..200), bit in any::<prop::sample::Index>()) {
            let mut buf = frame(&payload, 3, 0);
            let bits = buf.len() * 8;
            let bit = bit.index(bits);
            buf[bit / 8] ^= 1 << (bit % 8);
            let bad = matches!(parse(&buf, 0, 3), Parsed::Bad { .. });
            prop_assert!(bad);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..320) {
            parse(&bytes, at, 1);
            find_valid(&bytes, at, 1);
        }
    }
}

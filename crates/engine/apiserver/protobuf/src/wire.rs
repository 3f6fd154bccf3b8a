//! Tags, varints and lengths of the protobuf encoding (proto2, protobuf.dev/programming-guides/encoding).

use crate::error::DecodeError;

/// Wire type of integers and booleans.
pub(crate) const VARINT: u8 = 0;
/// Wire type of eight bytes, little endian.
pub(crate) const FIXED64: u8 = 1;
/// Wire type of text, bytes, messages and packed numbers.
pub(crate) const LENGTH: u8 = 2;
const GROUP_START: u8 = 3;
const GROUP_END: u8 = 4;
const FIXED32: u8 = 5;

/// Reads a message front to back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Field number and wire type of the next field.
    pub(crate) fn tag(&mut self) -> Result<(u32, u8), DecodeError> {
        let tag = self.varint()?;
        let wire = (tag & 7) as u8;
        match u32::try_from(tag >> 3) {
            Ok(number) if number > 0 && wire <= FIXED32 => Ok((number, wire)),
            _ => Err(DecodeError::IllegalTag { tag }),
        }
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Overflow)
    }

    /// Bytes with their length before them.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)?;
        self.take(length)
    }

    pub(crate) fn fixed64(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.take(8)?.try_into().map_err(|_| DecodeError::Truncated)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Passes over a field whose tag was read, groups with all that is in them.
    pub(crate) fn skip(&mut self, wire: u8) -> Result<(), DecodeError> {
        let mut open = 0_usize;
        let mut wire = wire;
        loop {
            match wire {
                VARINT => _ = self.varint()?,
                FIXED64 => _ = self.take(8)?,
                LENGTH => _ = self.bytes()?,
                FIXED32 => _ = self.take(4)?,
                GROUP_START => open += 1,
                _ if open > 0 => open -= 1,
                _ => return Err(DecodeError::IllegalTag { tag: GROUP_END.into() }),
            }
            if open == 0 {
                return Ok(());
            }
            wire = self.tag()?.1;
        }
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_tag(out: &mut Vec<u8>, number: u32, wire: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire));
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, LENGTH);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, VARINT);
    put_varint(out, value);
}

/// Writes a field of what `write` appends: its length is put before it when it is known.
pub(crate) fn put_nested<E>(
    out: &mut Vec<u8>,
    number: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_tag(out, number, LENGTH);
    // Most messages are shorter than 128 bytes: room for one byte of length is left in front of them.
    let at = out.len();
    out.push(0);
    write(out)?;
    let mut length = (out.len() - at - 1) as u64;
    let mut head = [0_u8; 10];
    let mut used = 0;
    while length >= 0x80 {
        head[used] = length as u8 | 0x80;
        length >>= 7;
        used += 1;
    }
    head[used] = length as u8;
    if used > 0 {
        let end = out.len();
        out.resize(end + used, 0);
        out.copy_within(at + 1..end, at + 1 + used);
    }
    out[at..=at + used].copy_from_slice(&head[..=used]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_lengths_of_any_size_are_put_before() {
        for length in [0, 1, 127, 128, 300, 20_000] {
            let mut out = vec![9];
            put_nested::<()>(&mut out, 3, |out| {
                out.extend(std::iter::repeat_n(7, length));
                Ok(())
            })
            .unwrap();
            let mut reader = Reader::new(&out[1..]);
            assert_eq!(reader.tag(), Ok((3, LENGTH)));
            assert_eq!(reader.bytes().unwrap(), vec![7; length]);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let mut out = Vec::new();
        put_number(&mut out, 1, u64::MAX);
        put_tag(&mut out, 2, GROUP_START);
        put_tag(&mut out, 3, GROUP_START);
        put_bytes(&mut out, 4, b"abc");
        put_tag(&mut out, 3, GROUP_END);
        put_tag(&mut out, 2, GROUP_END);
        put_tag(&mut out, 5, FIXED32);
        out.extend([0; 4]);
        let mut reader = Reader::new(&out);
        for number in [1, 2, 5] {
            let (found, wire) = reader.tag().unwrap();
            assert_eq!(found, number);
            reader.skip(wire).unwrap();
        }
        assert!(reader.is_empty());
        assert_eq!(
            Reader::new(&[0x0c]).skip(GROUP_END),
            Err(DecodeError::IllegalTag { tag: 4 })
        );
    }

    #[test]
    fn a_varint_is_ten_bytes_at_most() {
        assert_eq!(Reader::new(&[0xff; 11]).varint(), Err(DecodeError::Overflow));
        assert_eq!(Reader::new(&[0xff; 9]).varint(), Err(DecodeError::Truncated));
    }
}

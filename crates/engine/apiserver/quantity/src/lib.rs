//! Amounts of resources (upstream `resource.Quantity`): reading, comparing, adding, rounding, and writing them in the
//! one canonical form.

pub mod amounts;

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// Powers of ten with a letter of their own.
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
/// Powers of 1024, from none to six.
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// The letters suffixes are made of.
const LETTERS: &str = "eEinumkKMGTP";
/// The smallest power of ten an amount can have.
const NANO: i32 = -9;
/// The power of ten resource lists are kept in.
const MILLI: i32 = -3;
/// More digits than any amount needs; each number of so many can be held.
const MAX_DIGITS: usize = 38;
/// More significant digits than this are not read, so that what is written (with up to two zeros more) is readable.
const MAX_SIGNIFICANT: u128 = 10_u128.pow(36);
/// Largest power of ten that is read; the smallest is its negative.
const MAX_EXPONENT: i32 = 1000;

/// Why a text is no amount. The first three read as upstream's do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the form of an amount.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// There is no number.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The letters are none of the suffixes.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// A number of more than 36 significant digits, or a power of ten beyond a thousand.
    #[error("quantities of more than 36 digits cannot be kept")]
    TooLong,
}

/// How an amount was written, which is how it is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `1500m`, `2k`.
    Decimal,
    /// `1500e-3`, `2e3`.
    Exponent,
    /// `512Mi`.
    Binary,
}

/// An amount: `digits` times ten to the power of `exponent`. Amounts compare by what they amount to.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    digits: i128,
    exponent: i32,
    format: Format,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self::whole(0);

    /// A whole number.
    pub const fn whole(number: i64) -> Self {
        Self {
            digits: number as i128,
            exponent: 0,
            format: Format::Decimal,
        }
    }

    /// Reads an amount such as `100m`, `1.5Gi` or `2e3`.
    ///
    /// # Errors
    /// The text is no amount, or one of too many digits.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, unsigned) = match text.as_bytes().first().ok_or(QuantityError::Format)? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, rest) = split_digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
        let power = suffix.trim_start_matches(|c| LETTERS.contains(c));
        let power = power.strip_prefix(['-', '+']).unwrap_or(power);
        if !power.bytes().all(|b| b.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        let (factor, exponent, format) = unit(suffix)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Number);
        }
        Self::scaled(&format!("{whole}{fraction}"), factor, exponent, fraction.len())
            .map(|(digits, exponent)| Self {
                digits: if negative { -digits } else { digits },
                exponent,
                format,
            })
            .map(Self::within_bounds)
            .filter(|amount| amount.reduced().digits.unsigned_abs() < MAX_SIGNIFICANT)
            .ok_or(QuantityError::TooLong)
    }

    /// The digits times `factor`, and the power of ten they are counted in when `fraction` of them are a fraction.
    fn scaled(digits: &str, factor: i128, exponent: i32, fraction: usize) -> Option<(i128, i32)> {
        let digits = digits.trim_start_matches('0');
        if digits.len() > MAX_DIGITS {
            return None;
        }
        let number: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        Some((
            number.checked_mul(factor)?,
            exponent.checked_sub(i32::try_from(fraction).ok()?)?,
        ))
    }

    /// The amount in a field, which is a text or a number.
    ///
    /// # Errors
    /// As [`Quantity::parse`].
    pub fn read(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => Self::parse(text.trim()),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => Err(QuantityError::Format),
        }
    }

    /// The amount in a field, nothing if it cannot be read.
    pub fn of(value: &Value) -> Self {
        Self::read(value).unwrap_or(Self::ZERO)
    }

    /// Something asked for is never rounded to nothing; powers of two end at the largest 64-bit number.
    fn within_bounds(mut self) -> Self {
        self = self.round_up(NANO);
        if self.format == Format::Binary {
            let limit = Self::whole(i64::MAX);
            if self > limit {
                (self.digits, self.exponent) = (limit.digits, limit.exponent);
            }
            if self > Self::ZERO && self < Self::whole(1) {
                self.format = Format::Decimal;
            }
        }
        self
    }

    /// Rounds away from zero to a multiple of ten to the power of `exponent`.
    #[must_use]
    fn round_up(mut self, exponent: i32) -> Self {
        if self.exponent >= exponent {
            return self;
        }
        let excess = u32::try_from(exponent - self.exponent).unwrap_or(u32::MAX);
        self.digits = match 10_i128.checked_pow(excess) {
            Some(unit) => self.digits / unit + (self.digits % unit).signum(),
            None => self.digits.signum(),
        };
        self.exponent = exponent;
        self
    }

    /// Rounded away from zero to thousandths, which resource lists are kept in.
    #[must_use]
    pub fn in_milli(self) -> Self {
        self.round_up(MILLI)
    }

    /// The number of units of ten to the power of `exponent`, rounded away from zero, at most what 64 bits hold.
    fn units(self, exponent: i32) -> i64 {
        let rounded = self.round_up(exponent);
        let most = if self.digits < 0 { i64::MIN } else { i64::MAX };
        u32::try_from(rounded.exponent - exponent)
            .ok()
            .filter(|_| rounded.digits != 0)
            .map_or(Some(0), |shift| {
                10_i128
                    .checked_pow(shift)
                    .and_then(|unit| rounded.digits.checked_mul(unit))
            })
            .and_then(|number| i64::try_from(number).ok())
            .unwrap_or(most)
    }

    /// The whole number, rounded away from zero, at most what 64 bits hold.
    pub fn value(self) -> i64 {
        self.units(0)
    }

    /// Thousandths, rounded away from zero, at most what 64 bits hold.
    pub fn milli_value(self) -> i64 {
        self.units(MILLI)
    }

    /// Both amounts' digits at the power of ten of the finer one; none if they are too far apart.
    fn aligned(self, other: Self) -> Option<(i128, i128, i32)> {
        let (one, two) = (self.reduced(), other.reduced());
        let exponent = one.exponent.min(two.exponent);
        let at = |q: Self| {
            let shift = u32::try_from(q.exponent - exponent).ok()?;
            q.digits.checked_mul(10_i128.checked_pow(shift)?)
        };
        Some((at(one)?, at(two)?, exponent))
    }

    /// The sum, written as the first amount is. Where it has more digits than can be held, the larger of both: what
    /// the smaller would add is beyond the last digit.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.digits == 0 { other.format } else { self.format };
        let sum = self
            .aligned(other)
            .and_then(|(a, b, exponent)| Some((a.checked_add(b)?, exponent)));
        sum.map_or_else(
            || self.max(other),
            |(digits, exponent)| Self {
                digits,
                exponent,
                format,
            },
        )
    }

    /// Whether this is a whole number of times `other`, which is not nothing.
    pub fn is_multiple_of(self, other: Self) -> bool {
        self.aligned(other).is_some_and(|(a, b, _)| a.checked_rem(b) == Some(0))
    }

    /// The amount without trailing zeros in its digits.
    fn reduced(mut self) -> Self {
        if self.digits == 0 {
            self.exponent = 0;
        }
        while self.digits != 0 && self.digits % 10 == 0 {
            self.digits /= 10;
            self.exponent += 1;
        }
        self
    }

    /// The whole number this is, if it is one.
    fn integer(self) -> Option<i128> {
        let reduced = self.reduced();
        let power = u32::try_from(reduced.exponent).ok()?;
        reduced.digits.checked_mul(10_i128.checked_pow(power)?)
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let signs = self.digits.signum().cmp(&other.digits.signum());
        if signs.is_ne() || self.digits == 0 {
            return signs;
        }
        match self.aligned(*other) {
            Some((a, b, _)) => a.cmp(&b),
            // So far apart that the place of the first digit decides.
            None => {
                let place = |q: &Self| i64::from(q.exponent) + i64::from(q.digits.unsigned_abs().ilog10());
                let places = place(self).cmp(&place(other));
                if self.digits < 0 { places.reverse() } else { places }
            }
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Quantity {}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()))
}

/// A suffix as a factor, a power of ten and a format.
fn unit(suffix: &str) -> Result<(i128, i32, Format), QuantityError> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(letter, _)| *letter == suffix) {
        return Ok((1, *exponent, Format::Decimal));
    }
    if let Some(power) = BINARY.iter().position(|letters| *letters == suffix) {
        return Ok((1_i128 << (10 * power), 0, Format::Binary));
    }
    let power = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
    let exponent: i64 = power.parse().map_err(|_| QuantityError::Suffix)?;
    match i32::try_from(exponent) {
        Ok(exponent) if exponent.abs() <= MAX_EXPONENT => Ok((1, exponent, Format::Exponent)),
        _ => Err(QuantityError::TooLong),
    }
}

impl fmt::Display for Quantity {
    /// Writes the canonical form: no fraction, and the largest unit that needs none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.digits == 0 {
            return f.write_str("0");
        }
        // Less than a kibibyte is plainer without a unit.
        if self.format == Format::Binary
            && let Some(mut number) = self.integer().filter(|n| n.abs() >= 1024)
        {
            let mut power = 0;
            while number % 1024 == 0 && power + 1 < BINARY.len() {
                number /= 1024;
                power += 1;
            }
            return write!(f, "{number}{}", BINARY[power]);
        }
        let mut amount = self.reduced();
        let largest = DECIMAL[DECIMAL.len() - 1].1;
        let (shift, exponent) = if self.format != Format::Exponent && amount.exponent > largest {
            (amount.exponent - largest, largest)
        } else {
            let shift = amount.exponent.rem_euclid(3);
            (shift, amount.exponent - shift)
        };
        amount.exponent = exponent;
        write!(f, "{}", amount.digits)?;
        (0..shift).try_for_each(|_| f.write_str("0"))?;
        match DECIMAL.iter().find(|(_, power)| *power == exponent) {
            _ if self.format == Format::Exponent && exponent != 0 => write!(f, "e{exponent}"),
            Some((letter, _)) => f.write_str(letter),
            None => write!(f, "e{exponent}"),
        }
    }
}

/// An amount in its canonical form; none if it cannot be read.
pub fn canonical(text: &str) -> Option<String> {
    Quantity::parse(text).ok().map(|amount| amount.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn q(text: &str) -> Quantity {
        Quantity::parse(text).unwrap()
    }

    #[test]
    fn canonical_forms() {
        let table = [
            ("0", "0"),
            ("0m", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("00.50", "500m"),
            ("1.5M", "1500k"),
            ("100000k", "100M"),
            ("1e3", "1e3"),
            ("1E4", "10e3"),
            ("10", "10"),
            ("1e-3", "1e-3"),
            ("2048", "2048"),
            ("2000", "2k"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("1023Ki", "1023Ki"),
            ("0.5Ki", "512"),
            ("1.5", "1500m"),
            ("1.5n", "2n"),
            ("+1", "1"),
            ("-1.5k", "-1500"),
            (".5", "500m"),
            ("5.", "5"),
            ("007", "7"),
            ("1E", "1E"),
            ("10E", "10E"),
            ("1000E", "1000E"),
            ("9Ei", "9223372036854775807"),
            ("0.0000000001", "1n"),
            ("1u", "1u"),
            ("-1000.0000001Ei", "-1152921504722139126460684697600n"),
        ];
        for (text, expected) in table {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount() {
        let table = [
            ("", QuantityError::Format),
            (" ", QuantityError::Format),
            ("1x", QuantityError::Format),
            ("1Kib", QuantityError::Format),
            ("1.2.3", QuantityError::Format),
            ("1 k", QuantityError::Format),
            ("--1", QuantityError::Suffix),
            ("0x1", QuantityError::Format),
            ("m", QuantityError::Number),
            (".", QuantityError::Number),
            ("ki", QuantityError::Suffix),
            ("1kk", QuantityError::Suffix),
            ("1ii", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
            ("1K", QuantityError::Suffix),
            ("1e9999999999", QuantityError::TooLong),
            ("-999999999999.000000001Ei", QuantityError::TooLong),
            ("100000000000000000000000000000000000001", QuantityError::TooLong),
        ];
        for (text, expected) in table {
            assert_eq!(Quantity::parse(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn fields_hold_texts_and_numbers() {
        let read = |value: Value| Quantity::read(&value).map(|amount| amount.in_milli().to_string());
        assert_eq!(read(json!("0.0001")).as_deref(), Ok("1m"));
        assert_eq!(read(json!(" 1500u ")).as_deref(), Ok("2m"));
        assert_eq!(read(json!(0.5)).as_deref(), Ok("500m"));
        assert_eq!(read(json!([])), Err(QuantityError::Format));
        assert_eq!(Quantity::of(&json!("no")), Quantity::ZERO);
    }

    #[test]
    fn sums_keep_the_first_format() {
        let sum = |a: &str, b: &str| q(a).plus(q(b)).to_string();
        assert_eq!(sum("100m", "1"), "1100m");
        assert_eq!(sum("1Gi", "512Mi"), "1536Mi");
        assert_eq!(sum("0", "512Mi"), "512Mi");
        assert_eq!(sum("1Gi", "1k"), "1073742824");
        assert_eq!(sum("1", "1e900"), sum("1e900", "0"));
    }

    #[test]
    fn amounts_compare_across_forms() {
        assert_eq!(q("1Ki"), q("1024"));
        let ascending = ["-1e900", "-2Gi", "-1n", "0", "1n", "1", "1M", "1Mi", "1e900", "2e900"];
        for pair in ascending.windows(2) {
            assert!(q(pair[0]) < q(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn whole_and_thousandths() {
        assert_eq!((q("1500m").value(), q("1500m").milli_value()), (2, 1500));
        assert_eq!((q("-1500u").value(), q("-1500u").milli_value()), (-1, -2));
        assert_eq!((q("1e999").value(), q("-1e999").milli_value()), (i64::MAX, i64::MIN));
        assert_eq!((q("0e999").value(), q("0").milli_value()), (0, 0));
    }

    #[test]
    fn multiples() {
        assert!(q("4Mi").is_multiple_of(q("2Mi")) && q("0").is_multiple_of(q("2Mi")));
        assert!(!q("3Mi").is_multiple_of(q("2Mi")) && !q("3Mi").is_multiple_of(q("0")));
    }

    proptest! {
        #[test]
        fn a_canonical_form_is_its_own(text in "[+-]?[0-9]{0,12}\\.?[0-9]{0,12}(n|u|m|k|M|G|E|Ki|Mi|Gi|Ei|e[+-]?[0-9]{1,2})?") {
            if let Some(form) = canonical(&text) {
                let again = canonical(&form);
                prop_assert_eq!(again.as_deref(), Some(form.as_str()));
                prop_assert!(q(&form) == q(&text));
            }
        }

        #[test]
        fn any_text_is_read_or_not(text in "\\PC*", like in "[-+]?[0-9.eEinumkKMGTPi]{0,40}") {
            for text in [text, like] {
                if let Ok(amount) = Quantity::parse(&text) {
                    let _ = (amount.to_string(), amount.value(), amount.milli_value(), amount.plus(amount));
                }
            }
        }
    }
}

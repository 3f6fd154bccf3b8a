//! Amounts of resources: reading, rounding, adding and writing them in the one canonical form.

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

/// An amount: `digits` times ten to the power of `exponent`.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    digits: i128,
    exponent: i32,
    format: Format,
}

impl Quantity {
    /// Reads an amount such as `100m`, `1.5Gi` or `2e3`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let all = all.trim_start_matches('0');
        if all.len() > MAX_DIGITS {
            return None;
        }
        let digits: i128 = if all.is_empty() { 0 } else { all.parse().ok()? };
        let digits = if negative { -digits } else { digits };
        let (power, exponent, format) = unit(suffix)?;
        let amount = Self {
            digits: digits.checked_mul(power)?,
            exponent: exponent - i32::try_from(fraction.len()).ok()?,
            format,
        };
        let amount = amount.within_bounds();
        (amount.reduced().digits.unsigned_abs() < MAX_SIGNIFICANT).then_some(amount)
    }

    /// The amount in a field, which is a text or a number.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            Value::Null => Self::parse("0"),
            _ => None,
        }
    }

    /// Something asked for is never rounded to nothing; powers of two end at the largest 64-bit number.
    fn within_bounds(mut self) -> Self {
        self = self.round_up(NANO);
        if self.format == Format::Binary {
            let limit = Self::whole(i64::MAX.into());
            if self.order(limit) == Some(Ordering::Greater) {
                (self.digits, self.exponent) = (limit.digits, limit.exponent);
            }
            if self.digits > 0 && self.order(Self::whole(1)) == Some(Ordering::Less) {
                self.format = Format::Decimal;
            }
        }
        self
    }

    fn whole(digits: i128) -> Self {
        Self {
            digits,
            exponent: 0,
            format: Format::Decimal,
        }
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

    /// Both amounts' digits at the power of ten of the finer one.
    fn aligned(self, other: Self) -> Option<(i128, i128, i32)> {
        let exponent = self.exponent.min(other.exponent);
        let at = |q: Self| {
            let shift = u32::try_from(q.exponent - exponent).ok()?;
            q.digits.checked_mul(10_i128.checked_pow(shift)?)
        };
        Some((at(self)?, at(other)?, exponent))
    }

    /// How two amounts compare; none if they are too far apart to say.
    pub fn order(self, other: Self) -> Option<Ordering> {
        let (a, b, _) = self.aligned(other)?;
        Some(a.cmp(&b))
    }

    /// The sum, written as the first amount is.
    pub fn plus(self, other: Self) -> Option<Self> {
        let (a, b, exponent) = self.aligned(other)?;
        Some(Self {
            digits: a.checked_add(b)?,
            exponent,
            format: if self.digits == 0 { other.format } else { self.format },
        })
    }

    /// The amount without trailing zeros in its digits.
    fn reduced(mut self) -> Self {
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

/// A suffix as a factor, a power of ten and a format.
fn unit(suffix: &str) -> Option<(i128, i32, Format)> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(letter, _)| *letter == suffix) {
        return Some((1, *exponent, Format::Decimal));
    }
    if let Some(power) = BINARY.iter().position(|letters| *letters == suffix) {
        return Some((1_i128 << (10 * power), 0, Format::Binary));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (exponent.abs() <= MAX_EXPONENT).then_some((1, exponent, Format::Exponent))
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
    Quantity::parse(text).map(|amount| amount.to_string())
}

/// An amount as resource lists keep it: canonical, and no finer than a thousandth.
pub(crate) fn in_milli(value: &Value) -> Option<String> {
    Quantity::of(value).map(|amount| amount.round_up(MILLI).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn canonical_forms() {
        let table = [
            ("0", "0"),
            ("0m", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
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
        for text in [
            "",
            " ",
            "m",
            ".",
            "1.2.3",
            "1kk",
            "1 k",
            "1e",
            "ki",
            "0x1",
            "--1",
            "1K",
            "1e9999999999",
            "-999999999999.000000001Ei",
            "100000000000000000000000000000000000001",
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn resource_lists_are_in_thousandths() {
        assert_eq!(in_milli(&json!("0.0001")).as_deref(), Some("1m"));
        assert_eq!(in_milli(&json!("1500u")).as_deref(), Some("2m"));
        assert_eq!(in_milli(&json!(0.5)).as_deref(), Some("500m"));
        assert_eq!(in_milli(&json!(null)).as_deref(), Some("0"));
        assert_eq!(in_milli(&json!([])), None);
    }

    #[test]
    fn sums_keep_the_first_format() {
        let sum = |a: &str, b: &str| Quantity::parse(a)?.plus(Quantity::parse(b)?).map(|q| q.to_string());
        assert_eq!(sum("100m", "1").as_deref(), Some("1100m"));
        assert_eq!(sum("1Gi", "512Mi").as_deref(), Some("1536Mi"));
        assert_eq!(sum("0", "512Mi").as_deref(), Some("512Mi"));
        assert_eq!(sum("1Gi", "1k").as_deref(), Some("1073742824"));
    }

    proptest! {
        #[test]
        fn a_canonical_form_is_its_own(text in "[+-]?[0-9]{0,12}\\.?[0-9]{0,12}(n|u|m|k|M|G|E|Ki|Mi|Gi|Ei|e[+-]?[0-9]{1,2})?") {
            if let Some(form) = canonical(&text) {
                let again = canonical(&form);
                prop_assert_eq!(again.as_deref(), Some(form.as_str()));
            }
        }

        #[test]
        fn any_text_is_read_or_not(text in "\\PC*") {
            let _ = canonical(&text);
        }
    }
}

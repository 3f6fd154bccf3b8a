//! Amounts of resources (upstream `resource.Quantity`): parsing, comparison, canonical text.

use std::cmp::Ordering;

use serde_json::Value;

const FORMAT_WRONG: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const NUMERIC_WRONG: &str = "unable to parse numeric part of quantity";
const SUFFIX_WRONG: &str = "unable to parse quantity's suffix";
/// Billionths in one.
const ONE: i128 = 1_000_000_000;
const DECIMAL_SUFFIXES: [(&str, i32); 10] = [
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
const BINARY_SUFFIXES: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// How an amount is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Decimal,
    Binary,
    Exponent,
}

/// An amount, in billionths; amounts beyond 10^29 are taken for the largest.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    form: Form,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self {
        nanos: 0,
        form: Form::Decimal,
    };

    /// Reads an amount; the error is upstream's text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err(FORMAT_WRONG);
        }
        let (negative, rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let digits_end = |s: &str| s.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(s.len());
        let (whole, rest) = rest.split_at(digits_end(rest));
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(after) => after.split_at(digits_end(after)),
            None => ("", rest),
        };
        let letters = rest
            .bytes()
            .position(|b| !b"eEinumkKMGTP".contains(&b))
            .unwrap_or(rest.len());
        let exponent = rest[letters..].strip_prefix(['-', '+']).unwrap_or(&rest[letters..]);
        if !exponent.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FORMAT_WRONG);
        }
        let (form, tens, twos) = suffix(rest).ok_or(SUFFIX_WRONG)?;
        if whole.is_empty() && fraction.is_empty() && !text.contains('0') {
            return Err(NUMERIC_WRONG);
        }
        let magnitude = scaled(whole, fraction, tens, twos);
        let form = match form {
            Form::Binary if magnitude > 0 && magnitude < ONE => Form::Decimal,
            other => other,
        };
        let nanos = if negative { -magnitude } else { magnitude };
        Ok(Self { nanos, form })
    }

    /// Reads an amount from JSON: a text or a number.
    pub fn read(value: &Value) -> Result<Self, &'static str> {
        match value {
            Value::String(text) => Self::parse(text.trim()),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => Err(FORMAT_WRONG),
        }
    }

    /// Reads an amount, nothing if it is none.
    pub fn of(value: &Value) -> Self {
        Self::read(value).unwrap_or(Self::ZERO)
    }

    /// Billionths.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// Below zero, zero, above zero.
    pub fn sign(self) -> Ordering {
        self.nanos.cmp(&0)
    }

    /// The whole number, rounded away from zero.
    pub fn value(self) -> i64 {
        saturated(rounded_up(self.nanos, ONE))
    }

    /// Thousandths, rounded away from zero.
    pub fn milli_value(self) -> i64 {
        saturated(rounded_up(self.nanos, ONE / 1000))
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        let form = if self.nanos == 0 { other.form } else { self.form };
        Self {
            nanos: self.nanos.saturating_add(other.nanos),
            form,
        }
    }

    /// The text upstream prints.
    pub fn canonical(self) -> String {
        let small = self.nanos.unsigned_abs() < 1024 * ONE as u128;
        match self.form {
            Form::Binary if !small => self.binary(),
            Form::Exponent => self.decimal(true),
            _ => self.decimal(false),
        }
    }

    fn binary(self) -> String {
        let mut whole = rounded_up(self.nanos, ONE);
        let mut times = 0;
        while whole != 0 && whole % 1024 == 0 && times < BINARY_SUFFIXES.len() {
            whole /= 1024;
            times += 1;
        }
        let suffix = times.checked_sub(1).map_or("", |i| BINARY_SUFFIXES[i].0);
        format!("{whole}{suffix}")
    }

    fn decimal(self, exponent_form: bool) -> String {
        let mut number = self.nanos;
        let mut times = 0;
        while number != 0 && number % 1000 == 0 && times + 1 < DECIMAL_SUFFIXES.len() {
            number /= 1000;
            times += 1;
        }
        if number == 0 {
            return "0".to_owned();
        }
        let (suffix, exponent) = DECIMAL_SUFFIXES[times];
        match exponent_form && exponent != 0 {
            true => format!("{number}e{exponent}"),
            false => format!("{number}{suffix}"),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// Form, power of ten, power of two of a suffix.
fn suffix(text: &str) -> Option<(Form, i64, u32)> {
    if let Some((_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(s, _)| *s == text) {
        return Some((Form::Decimal, i64::from(*exponent), 0));
    }
    if let Some((_, exponent)) = BINARY_SUFFIXES.iter().find(|(s, _)| *s == text) {
        return Some((Form::Binary, 0, *exponent));
    }
    let digits = text.strip_prefix(['e', 'E'])?;
    Some((Form::Exponent, digits.parse().ok()?, 0))
}

/// Billionths of a number, rounded up, capped.
fn scaled(whole: &str, fraction: &str, tens: i64, twos: u32) -> i128 {
    let digits: Vec<u8> = whole
        .bytes()
        .chain(fraction.bytes())
        .skip_while(|b| *b == b'0')
        .collect();
    if digits.is_empty() {
        return 0;
    }
    // The place of the last digit, in powers of ten of a billionth.
    let place = tens.saturating_add(9).saturating_sub(fraction.len() as i64);
    let kept = 36.min(digits.len());
    let number = digits[..kept].iter().fold(0_i128, |n, b| n * 10 + i128::from(b - b'0'));
    let lost = digits[kept..].iter().any(|b| *b != b'0');
    let place = place.saturating_add((digits.len() - kept) as i64);
    let Some(number) = number.checked_mul(1_i128 << twos) else {
        return i128::MAX;
    };
    if place >= 0 {
        let factor = u32::try_from(place).ok().and_then(|p| 10_i128.checked_pow(p));
        return factor.and_then(|f| number.checked_mul(f)).unwrap_or(i128::MAX);
    }
    match u32::try_from(-place).ok().and_then(|p| 10_i128.checked_pow(p)) {
        Some(divisor) => number / divisor + i128::from(number % divisor != 0 || lost),
        None => 1,
    }
}

fn rounded_up(number: i128, divisor: i128) -> i128 {
    let away = if number % divisor == 0 { 0 } else { number.signum() };
    number / divisor + away
}

fn saturated(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        Quantity::parse(text).unwrap().canonical()
    }

    #[test]
    fn canonical_texts() {
        let cases = [
            ("0.1", "100m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1500Mi", "1500Mi"),
            ("0.5Gi", "512Mi"),
            ("1e3", "1e3"),
            ("1500", "1500"),
            ("3000", "3k"),
            ("-1", "-1"),
            ("0", "0"),
            ("1.5n", "2n"),
            ("0.5Ki", "512"),
            ("00.50", "500m"),
        ];
        for (given, expected) in cases {
            assert_eq!(canonical(given), expected, "{given}");
        }
    }

    #[test]
    fn malformed_ones_have_upstreams_texts() {
        assert_eq!(Quantity::parse("").unwrap_err(), FORMAT_WRONG);
        assert_eq!(Quantity::parse("1x").unwrap_err(), FORMAT_WRONG);
        assert_eq!(Quantity::parse("1Kib").unwrap_err(), FORMAT_WRONG);
        assert_eq!(Quantity::parse("1ii").unwrap_err(), SUFFIX_WRONG);
    }

    #[test]
    fn amounts_compare_across_forms() {
        assert_eq!(Quantity::parse("1Ki").unwrap(), Quantity::parse("1024").unwrap());
        assert!(Quantity::parse("1M").unwrap() < Quantity::parse("1Mi").unwrap());
        assert_eq!(Quantity::parse("1500m").unwrap().value(), 2);
        assert_eq!(Quantity::parse("1e999").unwrap().value(), i64::MAX);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[-+]?[0-9.eEinumkKMGTPi]{0,40}", any in ".*") {
            for given in [text, any] {
                if let Ok(q) = Quantity::parse(&given) {
                    let _ = (q.canonical(), q.value(), q.milli_value(), q.plus(q));
                }
            }
        }
    }
}

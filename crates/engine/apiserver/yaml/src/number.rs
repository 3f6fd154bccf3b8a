//! Numbers as Go reads and writes them.

/// An integer of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integer {
    Int(i64),
    /// Beyond the greatest `i64`.
    Uint(u64),
}

/// Reads an integer whose prefix says its base: `0x`, `0o` or `0`, `0b`.
pub(crate) fn parse_integer(text: &str) -> Option<Integer> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let Some(magnitude) = parse_magnitude(unsigned) else {
        // A sign after the prefix of binary numbers is read too.
        let signed = text.strip_prefix("0b")?;
        return i64::from_str_radix(signed, 2).ok().map(Integer::Int);
    };
    if negative {
        return 0_i64.checked_sub_unsigned(magnitude).map(Integer::Int);
    }
    match i64::try_from(magnitude) {
        Ok(value) => Some(Integer::Int(value)),
        Err(_) if text.starts_with('+') => None,
        Err(_) => Some(Integer::Uint(magnitude)),
    }
}

fn parse_magnitude(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&text[2..], 16),
        [b'0', b'o' | b'O', _, ..] => (&text[2..], 8),
        [b'0', b'b' | b'B', _, ..] => (&text[2..], 2),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // Rust's own reader takes a sign here.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// Whether a text is a decimal number: `1`, `-1.5`, `.5e-3`, `1.`.
pub(crate) fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = digits(rest);
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if whole == 0 && count == 0 {
            return false;
        }
        rest = &fraction[count..];
    } else if whole == 0 {
        return false;
    }
    let Some(exponent) = rest.strip_prefix(['e', 'E']) else {
        return rest.is_empty();
    };
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}

/// Whether a text is a number in base 60, which is quoted for readers that still know them: `12:30:45`.
pub(crate) fn is_sexagesimal(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (places, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let mut places = places.split(':');
    let first = places.next().unwrap_or_default();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let place = |text: &str| matches!(text.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    let mut count = 0;
    first.starts_with(|c: char| c.is_ascii_digit())
        && digits(first)
        && digits(fraction)
        && places.all(|text| {
            count += 1;
            place(text)
        })
        && count > 0
}

/// The integer that a number becomes on its way through JSON, which writes whole numbers without a fraction.
pub(crate) fn whole(value: f64) -> Option<String> {
    (value.fract() == 0.0 && value.abs() < 1e21).then(|| format!("{value}"))
}

/// The shortest text of a number (`%g` of Go, with a precision of -1), from Rust's own shortest form with an exponent.
pub(crate) fn format_float(scientific: &str) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return match scientific {
            "inf" => ".inf",
            "-inf" => "-.inf",
            _ => ".nan",
        }
        .to_owned();
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    if !(-4..6).contains(&exponent) {
        let mark = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{mark}{:02}", exponent.unsigned_abs());
    }
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    }
    let point = exponent.unsigned_abs() as usize + 1;
    if digits.len() <= point {
        return format!("{sign}{digits}{}", "0".repeat(point - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..point], &digits[point..])
}

//! Which texts are timestamps: they stay texts, and are quoted when written.

/// Whether a text is a date, alone or with a time, in one of the forms that go-yaml reads.
pub(crate) fn is_timestamp(text: &str) -> bool {
    let mut cursor = Cursor(text.as_bytes());
    let Some(years) = cursor.fixed(4) else {
        return false;
    };
    cursor.date(years).is_some() && (cursor.0.is_empty() || cursor.time().is_some())
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == wanted).then(|| self.0 = rest)
    }

    /// A number of exactly so many digits.
    fn fixed(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let value = number.iter().try_fold(0, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0'))
        })?;
        self.0 = rest;
        Some(value)
    }

    /// A number of one digit or two.
    fn short(&mut self) -> Option<u32> {
        self.fixed(2).or_else(|| self.fixed(1))
    }

    fn date(&mut self, year: u32) -> Option<()> {
        self.take(b'-')?;
        let month = self.short()?;
        self.take(b'-')?;
        let day = self.short()?;
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
            2 => 28,
            _ => return None,
        };
        (1..=days).contains(&day).then_some(())
    }

    /// After `T` a time with its zone, after spaces one without.
    fn time(&mut self) -> Option<()> {
        let zoned = matches!(self.0.first(), Some(b'T' | b't'));
        if zoned {
            self.0 = &self.0[1..];
        } else {
            self.take(b' ')?;
            while self.take(b' ').is_some() {}
        }
        let hour = self.short()?;
        self.take(b':')?;
        let minute = self.short()?;
        self.take(b':')?;
        let second = self.short()?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        if let [b'.' | b',', b'0'..=b'9', ..] = self.0 {
            self.0 = &self.0[1..];
            while let [b'0'..=b'9', rest @ ..] = self.0 {
                self.0 = rest;
            }
        }
        if zoned {
            self.zone()?;
        }
        self.0.is_empty().then_some(())
    }

    fn zone(&mut self) -> Option<()> {
        if self.take(b'Z').is_some() {
            return Some(());
        }
        self.take(b'+').or_else(|| self.take(b'-'))?;
        let hours = self.fixed(2)?;
        self.take(b':')?;
        let minutes = self.fixed(2)?;
        (hours <= 24 && minutes <= 60).then_some(())
    }
}

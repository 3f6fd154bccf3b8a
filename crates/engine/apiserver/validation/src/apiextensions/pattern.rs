//! Whether a regular expression is one that upstream's engine (RE2 as Go has it) reads, and its text if it is not.

const REPEAT_MAX: u32 = 1000;
const DEPTH_MAX: usize = 1000;

/// Why an expression cannot be read, if it cannot.
pub(super) fn fault(expression: &str) -> Option<String> {
    let mut reader = Reader {
        whole: expression,
        rest: expression,
    };
    reader.read().err()
}

type Read<T> = Result<T, String>;

struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
}

fn fail<T>(what: &str, at: &str) -> Read<T> {
    Err(format!("{what}: `{at}`"))
}

impl<'a> Reader<'a> {
    /// What was read since `start`.
    fn since(&self, start: &'a str) -> &'a str {
        &start[..start.len() - self.rest.len()]
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn skip(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn read(&mut self) -> Read<()> {
        let mut depth = 0_usize;
        // Whether there is something to repeat, and what repeats it already.
        let (mut repeatable, mut repeated): (bool, Option<&'a str>) = (false, None);
        while let Some(first) = self.rest.chars().next() {
            let start = self.rest;
            match first {
                '(' => {
                    let opened = self.group()?;
                    depth += usize::from(opened);
                    if depth > DEPTH_MAX {
                        return fail("expression nests too deeply", self.whole);
                    }
                    (repeatable, repeated) = (repeatable && !opened, None);
                }
                ')' => {
                    self.next();
                    if depth == 0 {
                        return fail("unexpected )", self.whole);
                    }
                    depth -= 1;
                    (repeatable, repeated) = (true, None);
                }
                '|' => {
                    self.next();
                    (repeatable, repeated) = (false, None);
                }
                '*' | '+' | '?' | '{' => {
                    let is_repetition = if first == '{' {
                        self.counted()?
                    } else {
                        self.next().is_some()
                    };
                    if !is_repetition {
                        self.next();
                        (repeatable, repeated) = (true, None);
                        continue;
                    }
                    self.skip("?");
                    if !repeatable {
                        return fail("missing argument to repetition operator", self.since(start));
                    }
                    if let Some(before) = repeated {
                        return fail("invalid nested repetition operator", self.since(before));
                    }
                    repeated = Some(start);
                }
                '[' => {
                    self.class()?;
                    (repeatable, repeated) = (true, None);
                }
                '\\' if self.rest.starts_with("\\Q") => {
                    let quoted = &self.rest[2..];
                    self.rest = quoted.find("\\E").map_or("", |end| &quoted[end + 2..]);
                    (repeatable, repeated) = (true, None);
                }
                '\\' => {
                    self.escape(true)?;
                    (repeatable, repeated) = (true, None);
                }
                _ => {
                    self.next();
                    (repeatable, repeated) = (true, None);
                }
            }
        }
        match depth {
            0 => Ok(()),
            _ => fail("missing closing )", self.whole),
        }
    }

    /// Reads what opens a group; gives whether one is open, as opposed to flags that stand alone.
    fn group(&mut self) -> Read<bool> {
        let start = self.rest;
        if !self.rest.starts_with("(?") {
            self.next();
            return Ok(true);
        }
        for opening in ["(?P<", "(?<"] {
            let Some(named) = self.rest.strip_prefix(opening) else {
                continue;
            };
            let Some(end) = named.find('>') else {
                return fail("invalid named capture", start);
            };
            let name = &named[..end];
            self.rest = &named[end + 1..];
            let word = |c: char| c == '_' || c.is_alphanumeric();
            if name.is_empty() || !name.chars().all(word) {
                return fail("invalid named capture", self.since(start));
            }
            return Ok(true);
        }
        self.rest = &self.rest[2..];
        let (mut flags, mut negative) = (0, false);
        loop {
            match self.next() {
                Some('i' | 'm' | 's' | 'U') => flags += 1,
                Some('-') if !negative => (negative, flags) = (true, 0),
                Some(end @ (':' | ')')) if !negative || flags > 0 => return Ok(end == ':'),
                None => return fail("missing closing )", self.whole),
                Some(_) => return fail("invalid or unsupported Perl syntax", self.since(start)),
            }
        }
    }

    /// Reads `{n}`, `{n,}`, `{n,m}`; gives whether it is that.
    fn counted(&mut self) -> Read<bool> {
        let start = self.rest;
        let Some((inside, after)) = self.rest[1..].split_once('}') else {
            return Ok(false);
        };
        let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let plain = |s: &str| digits(s) && (s == "0" || !s.starts_with('0'));
        if !plain(least) || !(most.is_empty() || plain(most)) {
            return Ok(false);
        }
        self.rest = after;
        let number = |s: &str| s.parse::<u32>().unwrap_or(u32::MAX);
        let (least, most) = (
            number(least),
            if most.is_empty() { number(least) } else { number(most) },
        );
        if least > REPEAT_MAX || most > REPEAT_MAX || least > most {
            return fail("invalid repeat count", self.since(start));
        }
        Ok(true)
    }

    /// Reads an escape; outside of classes there are more of them. Gives the character meant, if it is one.
    fn escape(&mut self, outside: bool) -> Read<Option<char>> {
        let start = self.rest;
        self.next();
        let invalid = "invalid escape sequence";
        let Some(escaped) = self.next() else {
            return fail("trailing backslash at end of expression", "");
        };
        match escaped {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Ok(None),
            'A' | 'b' | 'B' | 'z' if outside => Ok(None),
            'p' | 'P' => self.unicode(start),
            '1'..='7' if !self.rest.starts_with(|c| matches!(c, '0'..='7')) => fail(invalid, self.since(start)),
            '0'..='7' => {
                let mut value = escaped.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    value = value * 8 + digit;
                    self.next();
                }
                Ok(char::from_u32(value))
            }
            'x' => self.hexadecimal(start),
            'a' => Ok(Some('\x07')),
            'f' => Ok(Some('\x0c')),
            'n' => Ok(Some('\n')),
            'r' => Ok(Some('\r')),
            't' => Ok(Some('\t')),
            'v' => Ok(Some('\x0b')),
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => Ok(Some(other)),
            _ => fail(invalid, self.since(start)),
        }
    }

    fn hexadecimal(&mut self, start: &'a str) -> Read<Option<char>> {
        let invalid = "invalid escape sequence";
        let digits = match self.skip("{") {
            true => {
                let Some((digits, after)) = self.rest.split_once('}') else {
                    return fail(invalid, start);
                };
                self.rest = after;
                digits
            }
            false => {
                let Some((digits, after)) = self.rest.split_at_checked(2) else {
                    return fail(invalid, start);
                };
                self.rest = after;
                digits
            }
        };
        let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        match u32::from_str_radix(digits, 16)
            .ok()
            .filter(|value| all && *value <= 0x10_ffff)
        {
            Some(value) => Ok(char::from_u32(value)),
            None => fail(invalid, self.since(start)),
        }
    }

    /// Reads the name of a class of Unicode.
    fn unicode(&mut self, start: &'a str) -> Read<Option<char>> {
        let range = "invalid character class range";
        if !self.skip("{") {
            return match self.next() {
                Some(_) => Ok(None),
                None => fail(range, self.since(start)),
            };
        }
        let Some((name, after)) = self.rest.split_once('}') else {
            return fail(range, start);
        };
        self.rest = after;
        let name = name.strip_prefix('^').unwrap_or(name);
        match !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
            true => Ok(None),
            false => fail(range, self.since(start)),
        }
    }

    fn class(&mut self) -> Read<()> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
            "word", "xdigit",
        ];
        let start = self.rest;
        self.next();
        self.skip("^");
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            let item = self.rest;
            if self.rest.starts_with("[:")
                && let Some((name, after)) = self.rest[2..].split_once(":]")
            {
                self.rest = after;
                if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                    return fail("invalid character class range", self.since(item));
                }
                continue;
            }
            let Some(low) = self.class_character(start)? else {
                continue;
            };
            if self.rest.len() >= 2 && self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.next();
                let high = self.class_character(start)?;
                if high.is_none_or(|high| high < low) {
                    return fail("invalid character class range", self.since(item));
                }
            }
        }
        self.next();
        Ok(())
    }

    fn class_character(&mut self, class: &'a str) -> Read<Option<char>> {
        match self.rest.chars().next() {
            None => fail("missing closing ]", class),
            Some('\\') => self.escape(false),
            Some(character) => {
                self.next();
                Ok(Some(character))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_upstreams() {
        for (expression, expected) in [
            ("[", "missing closing ]: `[`"),
            ("a[b", "missing closing ]: `[b`"),
            ("(a", "missing closing ): `(a`"),
            ("a)", "unexpected ): `a)`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{2,1}", "invalid repeat count: `{2,1}`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            (r"\", "trailing backslash at end of expression: ``"),
            (r"\1", r"invalid escape sequence: `\1`"),
            (r"\Z", r"invalid escape sequence: `\Z`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("[[:x:]]", "invalid character class range: `[:x:]`"),
        ] {
            assert_eq!(fault(expression).as_deref(), Some(expected), "{expression}");
        }
    }

    #[test]
    fn common_ones_are_read() {
        for expression in [
            "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            r"^\d{1,3}(\.\d+)*?$",
            "(?i)a|b|",
            "(?P<n>x)(?<m>y)(?:z)",
            "[]a]",
            "[^]a-]",
            r"[\w\-.]+@\p{Greek}\pL",
            "a{,2}",
            "x{",
            r"\Qa*+\E*",
            r"[\x00-\x{10FFFF}]",
            "[[:alpha:]_]",
            "()",
        ] {
            assert_eq!(fault(expression), None, "{expression}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(expression in r"[\\()\[\]{}*+?|^$a-c0-9:,<>Pé-]{0,24}", any in ".*") {
            let _ = (fault(&expression), fault(&any));
        }
    }
}

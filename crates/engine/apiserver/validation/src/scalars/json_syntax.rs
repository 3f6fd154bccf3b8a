//! What is wrong with a JSON document, in the words of Go's decoder.

/// How deep documents may nest.
const DEPTH_MAX: usize = 10_000;
const END: &str = "unexpected end of JSON input";

struct Scanner<'a> {
    rest: &'a [u8],
}

type Scan = Result<(), String>;

fn character(b: u8) -> String {
    match b {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b => format!("'{}'", crate::go_quoted(&char::from(b).to_string()).trim_matches('"')),
    }
}

impl Scanner<'_> {
    fn space(&mut self) {
        let blank = self.rest.iter().take_while(|b| b" \t\r\n".contains(b)).count();
        self.rest = &self.rest[blank..];
    }

    fn wrong<T>(&self, context: &str) -> Result<T, String> {
        match self.rest.first() {
            Some(b) => Err(format!("invalid character {} {context}", character(*b))),
            None => Err(END.to_owned()),
        }
    }

    fn take(&mut self, expected: u8) -> bool {
        let found = self.rest.first() == Some(&expected);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// What is open is kept on a stack, so that depth costs no frames.
    fn document(&mut self) -> Scan {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.space();
            let opened = match self.rest.first() {
                Some(b'{') => {
                    self.take(b'{');
                    self.space();
                    if !self.take(b'}') {
                        open.push(b'{');
                        self.key()?;
                        continue;
                    }
                    false
                }
                Some(b'[') => {
                    self.take(b'[');
                    self.space();
                    let empty = self.take(b']');
                    if !empty {
                        open.push(b'[');
                    }
                    !empty
                }
                _ => {
                    self.scalar()?;
                    false
                }
            };
            if open.len() > DEPTH_MAX {
                return Err("exceeded max depth".to_owned());
            }
            if !opened && self.close(&mut open)? {
                return Ok(());
            }
        }
    }

    /// After a value: ends what ends, steps to the next value; whether the document is over.
    fn close(&mut self, open: &mut Vec<u8>) -> Result<bool, String> {
        loop {
            self.space();
            match open.last() {
                None if self.rest.is_empty() => return Ok(true),
                None => return self.wrong("after top-level value"),
                Some(b'{') => {
                    if self.take(b',') {
                        self.space();
                        self.key()?;
                        return Ok(false);
                    }
                    if !self.take(b'}') {
                        return self.wrong("after object key:value pair");
                    }
                }
                Some(_) => {
                    if self.take(b',') {
                        return Ok(false);
                    }
                    if !self.take(b']') {
                        return self.wrong("after array element");
                    }
                }
            }
            open.pop();
        }
    }

    fn key(&mut self) -> Scan {
        if self.rest.first() != Some(&b'"') {
            return self.wrong("looking for beginning of object key string");
        }
        self.string()?;
        self.space();
        match self.take(b':') {
            true => Ok(()),
            false => self.wrong("after object key"),
        }
    }

    fn scalar(&mut self) -> Scan {
        match self.rest.first() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.wrong("looking for beginning of value"),
        }
    }

    fn literal(&mut self, word: &str) -> Scan {
        for b in word.bytes() {
            if !self.take(b) {
                return self.wrong(&format!("in literal {word} (expecting '{}')", char::from(b)));
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Scan {
        self.take(b'"');
        loop {
            match self.rest.first() {
                Some(b'"') => {
                    self.take(b'"');
                    return Ok(());
                }
                Some(b'\\') => {
                    self.take(b'\\');
                    self.escape()?;
                }
                Some(0..=0x1f) | None => return self.wrong("in string literal"),
                Some(_) => self.rest = &self.rest[1..],
            }
        }
    }

    fn escape(&mut self) -> Scan {
        match self.rest.first() {
            Some(b'u') => {
                self.take(b'u');
                for _ in 0..4 {
                    if !self.rest.first().is_some_and(u8::is_ascii_hexdigit) {
                        return self.wrong("in \\u hexadecimal character escape");
                    }
                    self.rest = &self.rest[1..];
                }
                Ok(())
            }
            Some(b) if b"bfnrt\\/\"".contains(b) => {
                self.rest = &self.rest[1..];
                Ok(())
            }
            _ => self.wrong("in string escape code"),
        }
    }

    fn digits(&mut self, context: &str) -> Scan {
        let digits = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return self.wrong(context);
        }
        self.rest = &self.rest[digits..];
        Ok(())
    }

    fn number(&mut self) -> Scan {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits("in numeric literal")?;
        }
        if self.take(b'.') {
            self.digits("after decimal point in numeric literal")?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }
}

/// Why a document cannot be read as a map, if it cannot.
pub fn not_a_map(document: &[u8]) -> Option<String> {
    let mut scanner = Scanner { rest: document };
    if let Err(wrong) = scanner.document() {
        return Some(wrong);
    }
    let kind = match document.iter().find(|b| !b" \t\r\n".contains(b)) {
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "bool",
        Some(b'-' | b'0'..=b'9') => "number",
        _ => return None,
    };
    Some(format!(
        "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_those_of_go() {
        let cases = [
            ("x", "invalid character 'x' looking for beginning of value"),
            ("", END),
            ("{", END),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            (
                "{a}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            ("nul1", "invalid character '1' in literal null (expecting 'l')"),
            (
                "[]",
                "json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
        ];
        for (document, expected) in cases {
            assert_eq!(not_a_map(document.as_bytes()).as_deref(), Some(expected), "{document}");
        }
        assert_eq!(
            not_a_map(b" {\"auths\": {\"a\": [1, -2.5e3, true, null, \"\\u00e9\"]}} "),
            None
        );
    }

    proptest! {
        #[test]
        fn agrees_with_another_decoder(text in "[\\[\\]{}:,\"a1 ntrue-]{0,12}") {
            let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok();
            let null = text.trim() == "null";
            prop_assert_eq!(not_a_map(text.as_bytes()).is_none(), object || null);
        }
    }
}

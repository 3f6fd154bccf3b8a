//! Quoting of strings in texts that upstream prints with `%q`.

use std::fmt::Write;

/// `text` in double quotes, escaped as the Go language writes string literals.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            // Writing to a string cannot fail.
            c if (c as u32) < 0x80 && c.is_control() => drop(write!(out, "\\x{:02x}", c as u32)),
            c if c != ' ' && (c.is_control() || c.is_whitespace()) => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A list of quoted strings: `["a" "b"]`.
pub(crate) fn quote_list<S: AsRef<str>>(list: &[S]) -> String {
    let items: Vec<String> = list.iter().map(|s| quote(s.as_ref())).collect();
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_go_does() {
        assert_eq!(quote("golden-alice"), r#""golden-alice""#);
        assert_eq!(quote("a\"b\\c\n\u{1}é\u{85}"), r#""a\"b\\c\n\x01é\u0085""#);
        assert_eq!(quote_list(&["a", ""]), r#"["a" ""]"#);
        assert_eq!(quote_list::<&str>(&[]), "[]");
    }
}

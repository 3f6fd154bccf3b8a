//! Regular expressions as Go's engine (RE2) reads them, matched by ours.

use regex_lite::{Regex, RegexBuilder};

/// Bytes that a compiled expression may take.
const SIZE_MAX_BYTES: usize = 4 << 20;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    compiled: Option<Regex>,
}

impl Pattern {
    /// Compiles a pattern. One that only Go's engine understands matches everything.
    pub fn new(text: &str) -> Pattern {
        let build = |text: &str| RegexBuilder::new(text).size_limit(SIZE_MAX_BYTES).build().ok();
        Pattern {
            text: text.to_owned(),
            compiled: build(&translated(text)).or_else(|| build(text)),
        }
    }

    /// The pattern as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the pattern is found in a text.
    pub fn matches(&self, text: &str) -> bool {
        self.compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

/// The same expression without what our engine does not know: quoted stretches, escaped punctuation and the usual
/// classes of Unicode.
fn translated(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' if rest.starts_with('Q') => {
                let (quoted, after) = rest[1..].split_once("\\E").unwrap_or((&rest[1..], ""));
                quoted.chars().for_each(|c| literal(c, &mut out));
                rest = after;
            }
            '\\' => {
                let Some(escaped) = rest.chars().next() else {
                    out.push('\\');
                    break;
                };
                rest = &rest[escaped.len_utf8()..];
                match escaped {
                    'p' | 'P' => rest = class(escaped == 'P', rest, in_class, &mut out),
                    'C' => out.push_str("(?s:.)"),
                    c if c.is_ascii() && !c.is_ascii_alphanumeric() => literal(c, &mut out),
                    c => out.extend(['\\', c]),
                }
            }
            '[' if in_class && rest.starts_with(':') => out.push('['),
            '[' if in_class => literal('[', &mut out),
            '[' => {
                in_class = true;
                out.push('[');
                if let Some(after) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = after;
                }
                // A bracket that comes first stands for itself.
                if let Some(after) = rest.strip_prefix(']') {
                    literal(']', &mut out);
                    rest = after;
                }
            }
            ']' if in_class && out.ends_with(':') => {
                out.push(']');
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' | '-' if in_class && rest.starts_with(c) => {
                literal(c, &mut out);
            }
            c => out.push(c),
        }
    }
    out
}

fn literal(c: char, out: &mut String) {
    if c.is_alphanumeric() {
        out.push(c);
    } else {
        out.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
    }
}

/// Writes the class that follows `\p` and gives what is left.
fn class<'a>(negated: bool, rest: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let (name, after) = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some(named) => named,
        None => rest.split_at(rest.chars().next().map_or(0, char::len_utf8)),
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (!negated, name),
        None => (negated, name),
    };
    let holds: fn(char) -> bool = match name {
        "L" | "Letter" => char::is_alphabetic,
        "Lu" => char::is_uppercase,
        "Ll" => char::is_lowercase,
        "N" | "Nd" => char::is_numeric,
        "Z" | "Zs" => |c| c.is_whitespace() && !c.is_ascii_control(),
        "Cc" => char::is_control,
        _ => {
            // Left for the compiler to refuse.
            out.push_str("\\p{");
            out.push_str(name);
            out.push('}');
            return after;
        }
    };
    if !in_class {
        out.push('[');
    }
    for (first, last) in ranges(|c| holds(c) != negated) {
        out.push_str(&format!("\\x{{{:x}}}-\\x{{{:x}}}", u32::from(first), u32::from(last)));
    }
    if !in_class {
        out.push(']');
    }
    after
}

fn ranges(holds: impl Fn(char) -> bool) -> Vec<(char, char)> {
    let mut ranges: Vec<(char, char)> = Vec::new();
    let mut open = false;
    for c in '\0'..=char::MAX {
        match (holds(c), ranges.last_mut().filter(|_| open)) {
            (true, Some(range)) => range.1 = c,
            (true, None) => ranges.push((c, c)),
            (false, _) => {}
        }
        open = holds(c);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_go_match() {
        for (pattern, text, matches) in [
            ("^[a-z]+$", "abc", true),
            ("^[a-z]+$", "Abc", false),
            (r"^\d+\/\d+$", "1/2", true),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^[[:alpha:]]+$", "a1", false),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\pL+$", "äß", true),
            (r"^\p{Lu}$", "a", false),
            (r"^[\p{L}0-9]+$", "ü9", true),
            (r"^[^\s/]+$", "a b", false),
            (r"^[]a]+$", "]a", true),
            (r"^(?i)x$", "X", true),
            (r"^\<a\>$", "<a>", true),
            (r"\p{Greek}", "a", true),
            ("^a{2,3}$", "aaa", true),
            (r"^[a\-b]+$", "a-b", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), matches, "{pattern} on {text}");
        }
    }
}

//! Regular expressions. Patterns are of the language RE2 has, which differs in a few places from that of the `regex`
//! crate.

use regex::{Regex, RegexBuilder};

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 10_000;
/// Most memory a compiled pattern takes.
const COMPILED_BYTES_MAX: usize = 2 << 20;
/// Deepest nesting of groups.
const NESTING_MAX: u32 = 200;
/// Most repetitions a pattern may ask for; upstream's.
const REPEAT_MAX: u32 = 1_000;

/// Compiles a pattern; says what is wrong with it if that fails.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let wrong = |why: &str| format!("error parsing regexp: {why}: `{pattern}`");
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err("error parsing regexp: expression too large".to_owned());
    }
    let translated = translate(pattern).map_err(wrong)?;
    RegexBuilder::new(&translated)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => wrong("expression too large"),
            _ => wrong(reason(pattern)),
        })
}

/// The commonest mistakes, as upstream names them.
fn reason(pattern: &str) -> &'static str {
    let count = |letter: char| pattern.matches(letter).count();
    if pattern.starts_with(['*', '+', '?']) {
        "missing argument to repetition operator"
    } else if count('(') > count(')') {
        "missing closing )"
    } else if count('(') < count(')') {
        "unexpected )"
    } else if count('[') > count(']') {
        "missing closing ]"
    } else if pattern.contains("(?") {
        "invalid or unsupported Perl syntax"
    } else {
        "invalid escape sequence"
    }
}

/// The same pattern in the language of the crate: the letters of Perl's classes are those of ASCII there, and brackets
/// within brackets are only letters.
fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut made = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut class = false;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        match letter {
            '\\' => {
                let escaped = rest.chars().next().ok_or("trailing backslash at end of expression")?;
                rest = &rest[escaped.len_utf8()..];
                match (escaped, class) {
                    ('d', false) => made.push_str("[0-9]"),
                    ('w', false) => made.push_str("[0-9A-Za-z_]"),
                    ('s', false) => made.push_str("[\\t\\n\\f\\r ]"),
                    ('d', true) => made.push_str("0-9"),
                    ('w', true) => made.push_str("0-9A-Za-z_"),
                    ('s', true) => made.push_str("\\t\\n\\f\\r\\x20"),
                    ('D', _) => made.push_str("[^0-9]"),
                    ('W', _) => made.push_str("[^0-9A-Za-z_]"),
                    ('S', _) => made.push_str("[^\\t\\n\\f\\r ]"),
                    ('b', false) => made.push_str("(?-u:\\b)"),
                    ('B', false) => made.push_str("(?-u:\\B)"),
                    ('Q', false) => {
                        let (plain, after) = rest.split_once("\\E").unwrap_or((rest, ""));
                        made.push_str(&regex::escape(plain));
                        rest = after;
                    }
                    ('1'..='9' | 'Z' | 'G' | 'K' | 'R' | 'X' | 'k' | 'u' | 'U' | '<' | '>', _) => {
                        return Err("invalid escape sequence");
                    }
                    ('0', _) => made.push_str("\\x00"),
                    ('p' | 'P' | 'x', _) if rest.starts_with('{') => {
                        let (name, after) = rest.split_once('}').ok_or("invalid character class range")?;
                        made.push_str(&format!("\\{escaped}{name}}}"));
                        rest = after;
                    }
                    _ => {
                        made.push('\\');
                        made.push(escaped);
                    }
                }
            }
            '[' if class => match rest.strip_prefix(':').and_then(|after| after.split_once(":]")) {
                Some((name, after)) if name.trim_start_matches('^').bytes().all(|b| b.is_ascii_alphabetic()) => {
                    made.push_str(&format!("[:{name}:]"));
                    rest = after;
                }
                _ => made.push_str("\\["),
            },
            '[' => {
                class = true;
                made.push('[');
                if let Some(after) = rest.strip_prefix('^') {
                    made.push('^');
                    rest = after;
                }
                if let Some(after) = rest.strip_prefix(']') {
                    made.push_str("\\]");
                    rest = after;
                }
            }
            ']' if class => {
                class = false;
                made.push(']');
            }
            '&' | '~' if class => {
                made.push('\\');
                made.push(letter);
            }
            '-' if class && rest.starts_with('-') => made.push_str("\\-"),
            '{' if !class => match counted(rest) {
                Some(most) if most > REPEAT_MAX => return Err("invalid repeat count"),
                Some(_) => made.push('{'),
                None => made.push_str("\\{"),
            },
            '}' if !class && !made_counts(&made) => made.push_str("\\}"),
            other => made.push(other),
        }
    }
    if class {
        return Err("missing closing ]");
    }
    Ok(made)
}

/// The highest number of `2}`, `2,}` or `2,5}` that a text starts with.
fn counted(text: &str) -> Option<u32> {
    let (inside, _) = text.split_once('}')?;
    let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().unwrap_or(u32::MAX))
    };
    let least = number(least)?;
    if most.is_empty() {
        Some(least)
    } else {
        Some(least.max(number(most)?))
    }
}

/// Whether a brace that closes belongs to one that opened a count, or to the name of a class.
fn made_counts(made: &str) -> bool {
    let open = made.rfind('{').filter(|at| !made[..*at].ends_with('\\'));
    open.is_some_and(|at| !made[at..].contains('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_upstreams() {
        for (pattern, text, fits) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{661}", false),
            (r"^[\w-]+$", "a-b_1", true),
            (r"^[[]a]$", "[a]", true),
            (r"^[a&&b]$", "&", true),
            (r"^[^]]$", "a", true),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"\bx\b", "a x b", true),
            (r"^a{2,3}$", "aaa", true),
            (r"^a{,3}$", "a{,3}", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\p{Greek}+$", "αβ", true),
            (r"^(?P<n>a|b)$", "b", true),
            (r"^.$", "é", true),
            (r"^[\D]$", "x", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), fits, "{pattern}");
        }
        for bad in [
            r"(",
            r")",
            r"[",
            r"a{1001}",
            r"(?=a)",
            r"\1",
            r"*",
            r"\",
            r"(a{1000}){1000}",
        ] {
            assert!(compile(bad).is_err(), "{bad}");
        }
        assert_eq!(
            compile("(").unwrap_err(),
            "error parsing regexp: missing closing ): `(`"
        );
    }
}

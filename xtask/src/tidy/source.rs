//! Rules about source files: length, module lines, leftovers, `unsafe`, purity.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{File, Violation};

/// Longest file, tests at its end aside.
const LINES_MAX: usize = 800;

/// Macros that mark unfinished work.
const LEFTOVERS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Folders whose code follows from its arguments alone.
const PURE: [&str; 16] = [
    "crates/revoada/core/src",
    "crates/engine/catalog/src",
    "crates/engine/apiserver/patch/src",
    "crates/engine/apiserver/authz/src",
    "crates/engine/apiserver/admission/src",
    "crates/engine/apiserver/audit/src",
    "crates/engine/apiserver/crd/src",
    "crates/engine/apiserver/cel/src",
    "crates/engine/apiserver/defaults/src",
    "crates/engine/apiserver/flowcontrol/src",
    "crates/engine/apiserver/podsecurity/src",
    "crates/engine/apiserver/protobuf/src",
    "crates/engine/apiserver/quantity/src",
    "crates/engine/apiserver/validation/src",
    "crates/engine/apiserver/warnings/src",
    "crates/engine/apiserver/yaml/src",
];

/// What pure code doesn't name. `std::time::Duration` is a number and is allowed, and so are addresses.
const IMPURE: [&str; 12] = [
    "std::fs",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "std::thread",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "tokio::",
];

/// Checks every source file.
pub(super) fn check(files: &[File]) -> Vec<Violation> {
    let sources = || {
        files
            .iter()
            .filter(|file| file.path.extension().is_some_and(|of| of == "rs"))
    };
    let test_modules: BTreeSet<PathBuf> = sources().flat_map(test_modules).collect();
    let mut found = Vec::new();
    for file in sources() {
        let test = is_test(&file.path)
            || test_modules.iter().any(|module| file.path.starts_with(module))
            || test_modules.contains(&file.path.with_extension(""));
        check_file(file, test, &mut found);
    }
    found
}

fn check_file(file: &File, test: bool, found: &mut Vec<Violation>) {
    let mut report = |line: usize, message: String| {
        found.push(Violation {
            path: file.path.clone(),
            line: line + 1,
            message,
        });
    };
    // A file of tests beside its module needs no introduction.
    let beside = file.path.file_name().is_some_and(|name| name == "tests.rs");
    if !beside && !file.text.starts_with("//!") {
        report(
            0,
            "the first line isn't a `//!` line that says what the module is for".to_owned(),
        );
    }
    let tests_at = file.text.lines().position(|line| line.trim() == "#[cfg(test)]");
    // A test attribute above an item in the middle isn't the test module at the end.
    let tests_at = tests_at.filter(|at| {
        let next = file
            .text
            .lines()
            .skip(at + 1)
            .find(|line| !line.trim_start().starts_with("#["));
        next.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    });
    let length = tests_at.unwrap_or_else(|| file.text.lines().count());
    if length > LINES_MAX && !test {
        report(
            LINES_MAX,
            format!("{length} lines without tests; split it: at most {LINES_MAX}"),
        );
    }
    let os = file.path.file_name().is_some_and(|name| name == "os.rs");
    let plan = file.path.file_name().is_some_and(|name| name == "plan.rs");
    let pure = plan || PURE.iter().any(|folder| file.path.starts_with(folder));
    let mut code = Code::default();
    for (number, line) in file.text.lines().enumerate() {
        let line = code.without_text(line);
        for leftover in LEFTOVERS {
            if has_word(&line, leftover, "!") {
                report(number, format!("`{leftover}!` is left over"));
            }
        }
        if !os && has_word(&line, "unsafe", "") {
            report(number, "`unsafe` outside of an os.rs file".to_owned());
        }
        if pure && !test && number < length {
            for name in IMPURE.into_iter().filter(|name| line.contains(name)) {
                report(number, format!("`{name}` in code that has to be pure"));
            }
            if plan && line.contains("std::time") && !line.contains("std::time::Duration") {
                report(number, "`std::time` in code that has to be pure".to_owned());
            }
        }
    }
}

/// Whether the path is that of test code.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.file_name().is_some_and(|name| name == "tests.rs")
}

/// Modules in files of their own that a file declares for tests alone, as paths without `.rs`.
fn test_modules(file: &File) -> Vec<PathBuf> {
    let folder = match file.path.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") | None => file.path.parent().map(Path::to_owned).unwrap_or_default(),
        Some(_) => file.path.with_extension(""),
    };
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let names = pairs.filter_map(|pair| {
        let name = pair[1].trim_start_matches("pub(crate) ").strip_prefix("mod ")?;
        name.strip_suffix(';')
    });
    names.map(|name| folder.join(name)).collect()
}

/// Whether the word stands in the line, followed by `then`.
fn has_word(line: &str, word: &str, then: &str) -> bool {
    let in_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        let after = &line[at + word.len()..];
        !line[..at].ends_with(in_word) && after.starts_with(then) && !after.starts_with(in_word)
    })
}

/// Takes comments and the content of string literals out of lines, so that rules see only code. Remembers literals and
/// block comments that go over several lines.
#[derive(Default)]
struct Code {
    inside: Inside,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Inside {
    #[default]
    Code,
    Text,
    /// A raw string that ends with a quote and so many hashes.
    Raw(usize),
    Comment,
}

impl Code {
    fn without_text(&mut self, line: &str) -> String {
        let mut out = String::with_capacity(line.len());
        let mut rest = line;
        while let Some(letter) = rest.chars().next() {
            let step = match self.inside {
                Inside::Code => match self.code(rest) {
                    Some(step) => {
                        if self.inside == Inside::Code && !rest.starts_with('\'') {
                            out.push_str(&rest[..step]);
                        }
                        step
                    }
                    None => return out,
                },
                Inside::Text if rest.starts_with('\\') => rest.chars().take(2).map(char::len_utf8).sum(),
                Inside::Text if letter == '"' => self.end(1),
                Inside::Raw(hashes) if is_end_of_raw(rest, hashes) => self.end(1 + hashes),
                Inside::Comment if rest.starts_with("*/") => self.end(2),
                _ => letter.len_utf8(),
            };
            rest = &rest[step.min(rest.len())..];
        }
        out
    }

    fn end(&mut self, step: usize) -> usize {
        self.inside = Inside::Code;
        step
    }

    /// How far to go in code; none at a comment to the end of the line.
    fn code(&mut self, rest: &str) -> Option<usize> {
        if rest.starts_with("//") {
            return None;
        }
        if rest.starts_with("/*") {
            self.inside = Inside::Comment;
            return Some(2);
        }
        if rest.starts_with('"') {
            self.inside = Inside::Text;
            return Some(1);
        }
        if let Some(hashes) = start_of_raw(rest) {
            self.inside = Inside::Raw(hashes);
            return Some(2 + hashes);
        }
        if rest.starts_with('\'') {
            // A character literal; otherwise it's a lifetime.
            let letters: Vec<char> = rest.chars().take(4).collect();
            return Some(match letters.as_slice() {
                ['\'', '\\', escaped, '\''] => 3 + escaped.len_utf8(),
                ['\'', letter, '\'', ..] => 2 + letter.len_utf8(),
                _ => 1,
            });
        }
        // A word goes as a whole, so that the `r` that ends one doesn't look like a raw string.
        let word = rest
            .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .unwrap_or(rest.len());
        Some(
            word.max(
                rest.chars()
                    .next()
                    .map_or(1, |letter| if word == 0 { letter.len_utf8() } else { word }),
            ),
        )
    }
}

fn start_of_raw(rest: &str) -> Option<usize> {
    let tail = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = tail.bytes().take_while(|byte| *byte == b'#').count();
    tail[hashes..].starts_with('"').then_some(hashes)
}

fn is_end_of_raw(rest: &str, hashes: usize) -> bool {
    let Some(tail) = rest.strip_prefix('"') else {
        return false;
    };
    tail.bytes().take_while(|byte| *byte == b'#').count() >= hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<(usize, String)> {
        let file = File {
            path: path.into(),
            text: text.to_owned(),
        };
        check(&[file]).into_iter().map(|of| (of.line, of.message)).collect()
    }

    #[test]
    fn module_line_and_length() {
        assert_eq!(messages("crates/a/src/lib.rs", "//! Says.\n"), []);
        assert_eq!(messages("crates/a/src/lib.rs", "fn main() {}\n")[0].0, 1);
        let long = format!("//! Says.\n{}", "fn f() {}\n".repeat(800));
        assert_eq!(messages("crates/a/src/lib.rs", &long)[0].0, 801);
        assert_eq!(messages("crates/a/tests/it/main.rs", &long), []);
        let tested = format!(
            "//! Says.\n{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "\n".repeat(790),
            "\n".repeat(100)
        );
        assert_eq!(messages("crates/a/src/lib.rs", &tested), []);
    }

    #[test]
    fn leftovers_are_found_in_code_only() {
        for leftover in LEFTOVERS {
            let text = format!("//! Says.\nfn f() {{ {leftover}!() }}\n");
            assert_eq!(messages("crates/a/src/lib.rs", &text).len(), 1, "{leftover}");
            let text =
                format!("//! Says.\n// {leftover}!()\nconst A: &str = \"{leftover}!\";\nfn my_{leftover}() {{}}\n");
            assert_eq!(messages("crates/a/src/lib.rs", &text), [], "{leftover}");
        }
    }

    #[test]
    fn unsafe_only_in_os_files() {
        let text = "//! Says.\nfn f() { unsafe { g() } }\n";
        assert_eq!(messages("crates/a/src/lib.rs", text).len(), 1);
        assert_eq!(messages("crates/a/src/os.rs", text), []);
        assert_eq!(
            messages("crates/a/src/lib.rs", "//! Says.\n#![forbid(unsafe_code)]\n"),
            []
        );
        let quoted =
            "//! Says.\nconst A: char = '\"';\nconst B: &str = r#\"unsafe \" unsafe\"#;\n/* unsafe\nunsafe */\n";
        assert_eq!(messages("crates/a/src/lib.rs", quoted), []);
    }

    #[test]
    fn pure_code_names_no_clock_and_no_disk() {
        let text =
            "//! Says.\nuse std::fs;\nuse std::time::Duration;\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(messages("crates/engine/network/src/dns/plan.rs", text)[0].0, 2);
        assert_eq!(messages("crates/revoada/core/src/planner.rs", text).len(), 1);
        assert_eq!(messages("crates/revoada/log/src/lib.rs", text), []);
        let clock = "//! Says.\nuse std::time::{Duration, Instant};\n";
        assert_eq!(messages("crates/engine/x/src/plan.rs", clock).len(), 1);
    }

    #[test]
    fn modules_declared_for_tests_are_tests() {
        let files = [
            File {
                path: "crates/engine/catalog/src/lib.rs".into(),
                text: "//! A.\n#[cfg(test)]\nmod data;\n".into(),
            },
            File {
                path: "crates/engine/catalog/src/data.rs".into(),
                text: "//! B.\nuse std::fs;\n".into(),
            },
        ];
        assert_eq!(check(&files), []);
    }
}

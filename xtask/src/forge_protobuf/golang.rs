//! What the Go files of an API package say about its structs: tags, pointers, embedding. A line scanner, no Go parser:
//! these files are formatted by gofmt and every field that matters carries its tags on one line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;

/// One field of a struct that protobuf numbers.
#[derive(Debug, Clone)]
pub struct GoField {
    /// Name in JSON, empty for an inlined struct.
    pub json: String,
    /// `omitempty`
    pub omit: bool,
    /// The struct's members are members of its parent.
    pub inline: bool,
    /// Absence differs from zero.
    pub pointer: bool,
}

/// One Go package.
#[derive(Debug, Default)]
pub struct Package {
    /// API group, if the package declares one.
    pub group: Option<String>,
    /// Struct -> field number -> field.
    pub structs: BTreeMap<String, BTreeMap<i32, GoField>>,
    /// Structs that embed `TypeMeta`: objects, lists and options.
    pub kinds: BTreeSet<String>,
    /// Types that write their own JSON.
    pub custom: BTreeSet<String>,
    /// Types that are slices.
    pub slices: BTreeSet<String>,
    /// What was read: path and hash.
    pub sources: BTreeMap<String, blake3::Hash>,
}

impl Package {
    /// Reads the `.proto` file and the hand-written Go files of one folder.
    pub fn read(root: &Path, folder: &Path) -> anyhow::Result<Package> {
        let mut package = Package::default();
        let mut names: Vec<String> = fs::read_dir(root.join(folder))?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        for name in names {
            let generated =
                name.starts_with("zz_generated") || name == "generated.pb.go" || name.contains("swagger_doc");
            let go = name.ends_with(".go") && !name.ends_with("_test.go") && !generated;
            if !go && name != "generated.proto" {
                continue;
            }
            let path = folder.join(&name);
            let text = fs::read_to_string(root.join(&path)).with_context(|| format!("reading {}", path.display()))?;
            package
                .sources
                .insert(path.display().to_string(), blake3::hash(text.as_bytes()));
            if go {
                package.scan(&text);
            }
        }
        Ok(package)
    }

    fn scan(&mut self, text: &str) {
        let mut open: Option<String> = None;
        for line in text.lines() {
            if let Some(value) = line.trim_start_matches("const ").trim().strip_prefix("GroupName")
                && let Some(group) = value.trim().strip_prefix("= \"")
            {
                self.group = Some(group.trim_end_matches('"').to_owned());
            }
            if let Some(receiver) = line
                .strip_prefix("func (")
                .filter(|rest| rest.contains(") MarshalJSON() ("))
            {
                let receiver = receiver.split(')').next().unwrap_or_default();
                if let Some(name) = receiver.split(' ').nth(1) {
                    self.custom.insert(name.trim_start_matches('*').to_owned());
                }
            }
            if let Some(rest) = line.strip_prefix("type ") {
                let mut words = rest.split_whitespace();
                let (name, what) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                if what == "struct" && rest.ends_with('{') {
                    self.structs.entry(name.to_owned()).or_default();
                    open = Some(name.to_owned());
                } else if what.starts_with("[]") && what != "[]byte" {
                    self.slices.insert(name.to_owned());
                }
                continue;
            }
            if line == "}" {
                open = None;
            }
            if let Some(name) = &open {
                self.field(&name.clone(), line.trim());
            }
        }
    }

    fn field(&mut self, of: &str, line: &str) {
        if line.starts_with("//") {
            return;
        }
        let Some((declared, tags)) = line.split_once('`') else {
            return;
        };
        let words: Vec<&str> = declared.split_whitespace().collect();
        let json = between(tags, "json:", "\"", "\"").unwrap_or_default();
        let mut options = json.split(',');
        let name = options.next().unwrap_or_default();
        let options: Vec<&str> = options.collect();
        let embedded = words.len() == 1;
        if embedded && matches!(words[0], "metav1.TypeMeta" | "TypeMeta" | "v1.TypeMeta") {
            self.kinds.insert(of.to_owned());
        }
        let Some(wire) = between(tags, "protobuf:", "\"", "\"") else {
            return;
        };
        let Some(number) = wire.split(',').nth(1).and_then(|n| n.parse().ok()) else {
            return;
        };
        let field = GoField {
            json: name.to_owned(),
            omit: options.contains(&"omitempty"),
            inline: options.contains(&"inline") || (embedded && name.is_empty()),
            pointer: words.last().is_some_and(|t| t.starts_with('*')),
        };
        self.structs.entry(of.to_owned()).or_default().insert(number, field);
    }
}

/// The text after `key`, between the first `open` and the next `close`.
fn between<'t>(text: &'t str, key: &str, open: &str, close: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(key)?;
    let (_, rest) = rest.split_once(open)?;
    rest.split_once(close).map(|(found, _)| found)
}

//! The reference folder: reads JSON documents and remembers what was read, for the hash in the table's header.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

/// Reads documents below one folder.
pub struct Source {
    root: PathBuf,
    read: BTreeMap<String, blake3::Hash>,
}

impl Source {
    /// Nothing read so far.
    pub fn new(root: &Path) -> Source {
        Source {
            root: root.to_owned(),
            read: BTreeMap::new(),
        }
    }

    /// Reads one document, named by its path below the folder.
    pub fn json(&mut self, path: &str) -> anyhow::Result<Value> {
        let bytes = fs::read(self.root.join(path)).with_context(|| format!("reading {path}"))?;
        self.read.insert(path.to_owned(), blake3::hash(&bytes));
        serde_json::from_slice(&bytes).with_context(|| format!("parsing {path}"))
    }

    /// Names of the files in a folder that begin with `prefix`, sorted, without `.json`.
    pub fn names(&self, folder: &str, prefix: &str) -> anyhow::Result<Vec<String>> {
        let path = self.root.join(folder);
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).with_context(|| format!("listing {}", path.display()))? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if let Some(stem) = name.strip_suffix(".json").filter(|stem| stem.starts_with(prefix)) {
                names.push(stem.to_owned());
            }
        }
        if names.is_empty() {
            bail!("no {prefix}*.json in {}", path.display());
        }
        names.sort();
        Ok(names)
    }

    /// Reads one text, named by its path below the folder.
    pub fn text(&mut self, path: &str) -> anyhow::Result<String> {
        let text = fs::read_to_string(self.root.join(path)).with_context(|| format!("reading {path}"))?;
        self.read.insert(path.to_owned(), blake3::hash(text.as_bytes()));
        Ok(text)
    }

    /// Names of the files in a folder that end in `suffix`, sorted.
    pub fn files(&self, folder: &str, suffix: &str) -> anyhow::Result<Vec<String>> {
        let path = self.root.join(folder);
        let entries = fs::read_dir(&path).with_context(|| format!("listing {}", path.display()))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<anyhow::Result<Vec<_>>>()?;
        names.retain(|name| name.ends_with(suffix));
        names.sort();
        Ok(names)
    }

    /// How many files were read.
    pub fn count(&self) -> usize {
        self.read.len()
    }

    /// Hash over the names and contents of the files that were read.
    pub fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for (path, hash) in &self.read {
            hasher.update(path.as_bytes()).update(&[0]).update(hash.as_bytes());
        }
        hasher.finalize()
    }
}

/// The string member of a JSON object.
pub fn text<'v>(value: &'v Value, member: &str) -> anyhow::Result<&'v str> {
    value
        .get(member)
        .and_then(Value::as_str)
        .with_context(|| format!("`{member}` isn't a string in {}", short(value)))
}

/// The list member of a JSON object.
pub fn list<'v>(value: &'v Value, member: &str) -> anyhow::Result<&'v [Value]> {
    let found = value.get(member).and_then(Value::as_array).map(Vec::as_slice);
    found.with_context(|| format!("`{member}` isn't a list in {}", short(value)))
}

/// The strings of a list member; empty if it's absent.
pub fn texts<'v>(value: &'v Value, member: &str) -> Vec<&'v str> {
    let items = value.get(member).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}

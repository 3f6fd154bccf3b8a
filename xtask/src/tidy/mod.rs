//! `cargo xtask tidy`: the rules of the tree that compiler and clippy don't know.
//!
//! Rules about text are in [`source`], rules about crates and what they depend on in [`manifest`]. A violation names file
//! and line, so that an editor can jump there.

mod manifest;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Arguments of `tidy`.
#[derive(clap::Args)]
pub struct Args {}

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    /// Below the root of the workspace.
    path: PathBuf,
    /// From one.
    line: usize,
    message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.message)
    }
}

/// A file below the root of the workspace.
struct File {
    path: PathBuf,
    text: String,
}

/// Prints each violation with file and line; fails if there is any.
pub fn run(_args: Args) -> anyhow::Result<()> {
    let root = crate::workspace();
    let mut files = Vec::new();
    for folder in ["crates", "sim", "xtask"] {
        collect(&root, Path::new(folder), &mut files)?;
    }
    collect_file(&root, Path::new("Cargo.toml"), &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut violations = source::check(&files);
    violations.extend(manifest::check(&files));
    violations.sort();
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => {
            println!("tidy: {} files, no violation", files.len());
            Ok(())
        }
        count => bail!("tidy: {count} violations in {} files", files.len()),
    }
}

/// Reads every source file and manifest below a folder.
fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) -> anyhow::Result<()> {
    let listed = fs::read_dir(root.join(folder)).with_context(|| format!("listing {}", folder.display()))?;
    for entry in listed {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(root, &path, files)?;
            }
        } else if name == "Cargo.toml" || name.ends_with(".rs") {
            collect_file(root, &path, files)?;
        }
    }
    Ok(())
}

fn collect_file(root: &Path, path: &Path, files: &mut Vec<File>) -> anyhow::Result<()> {
    let text = fs::read_to_string(root.join(path)).with_context(|| format!("reading {}", path.display()))?;
    files.push(File {
        path: path.to_owned(),
        text,
    });
    Ok(())
}

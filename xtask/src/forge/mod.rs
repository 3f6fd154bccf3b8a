//! `cargo xtask forge`: Kubernetes reference data in, the catalog's tables of facts out.
//!
//! The tables hold facts only: names, types, verbs, defaults; never upstream's descriptions. Each begins with the BLAKE3
//! hash of exactly the files it was made from, so that a table always says what it describes.

mod boot;
mod columns;
mod go_types;
mod kinds;
mod schemas;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use source::Source;

/// Arguments of `forge`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder with the reference data (openapi/, discovery/, tables/, boot/).
    #[arg(long)]
    from: Option<PathBuf>,
    /// Folder with sources of the API's Go types (api/, apimachinery/, kube-aggregator/, apiextensions-apiserver/ of one
    /// release): makes the table of encodings, and nothing else.
    #[arg(long, conflicts_with = "from")]
    go_types: Option<PathBuf>,
    /// Write nothing; fail if a table in the tree differs from what would be written.
    #[arg(long)]
    check: bool,
}

/// What makes the lines of a table.
type Make = fn(&mut Source) -> anyhow::Result<String>;

/// Writes or checks every table that can be made of what there is.
pub fn run(args: Args) -> anyhow::Result<()> {
    if let Some(from) = &args.go_types {
        return tables(from, &[("zeros.txt", go_types::table)], args.check);
    }
    let default = crate::workspace().join("../shared/k8s-1.34");
    let from = args.from.unwrap_or(default);
    if !from.is_dir() {
        if args.check {
            println!("forge: skipped, there is no reference data at {}", from.display());
            return Ok(());
        }
        bail!(
            "there is no reference data at {}; name the folder with --from",
            from.display()
        );
    }
    let made: [(&str, Make); 4] = [
        ("kinds.txt", kinds::table),
        ("schemas.txt", schemas::table),
        ("columns.txt", columns::table),
        ("boot.txt", boot::table),
    ];
    tables(&from, &made, args.check)
}

fn tables(from: &Path, made: &[(&str, Make)], check: bool) -> anyhow::Result<()> {
    let data = crate::workspace().join("crates/engine/catalog/data");
    let mut stale = Vec::new();
    for (file, make) in made {
        let mut source = Source::new(from);
        let body = make(&mut source).with_context(|| format!("making {file}"))?;
        let table = format!(
            "# Kubernetes 1.34, facts only. Written by `cargo xtask forge`: edit the generator, not this file.\n\
             # BLAKE3 of the {} source files: {}\n{body}",
            source.count(),
            source.hash(),
        );
        let path = data.join(file);
        let current = fs::read_to_string(&path).unwrap_or_default();
        if current == table {
            println!("forge: {file} is current ({} KiB)", table.len().div_ceil(1024));
        } else if check {
            println!("forge: {file} differs: {}", first_difference(&current, &table));
            stale.push(*file);
        } else {
            fs::write(&path, &table).with_context(|| format!("writing {}", path.display()))?;
            println!("forge: wrote {file} ({} KiB)", table.len().div_ceil(1024));
        }
    }
    if !stale.is_empty() {
        bail!(
            "{} differ from the reference data: run `cargo xtask forge` and commit the result",
            stale.join(", ")
        );
    }
    Ok(())
}

/// Names the first fact that differs, or the header if only that does.
fn first_difference(current: &str, wanted: &str) -> String {
    let facts = |table: &str| {
        table
            .lines()
            .position(|line| !line.starts_with('#'))
            .unwrap_or_default()
    };
    let skipped = facts(wanted);
    let mut have = current.lines().skip(facts(current));
    for (number, line) in wanted.lines().enumerate().skip(skipped) {
        match have.next() {
            Some(same) if same == line => {}
            Some(other) => return format!("line {} is `{}`, not `{}`", number + 1, short(other), short(line)),
            None => return format!("it ends before line {}", number + 1),
        }
    }
    match have.count() {
        0 => "the facts are the same, but its source files aren't".to_owned(),
        more => format!("it has {more} lines too many"),
    }
}

fn short(line: &str) -> String {
    line.chars().take(100).collect()
}

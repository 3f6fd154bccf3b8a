//! `cargo xtask forge-protobuf`: Kubernetes' protobuf definitions in, the table of `engenho-protobuf` out.
//!
//! The folder is laid out as Go import paths are (`k8s.io/api/core/v1/...`). Each `generated.proto` gives names, numbers and
//! types; the struct tags of the Go files beside it give what protobuf has no word for: the JSON name, whether a zero is
//! left out of JSON, whether absence differs from zero, and which structs are inlined.

mod golang;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use golang::Package;

/// Arguments of `forge-protobuf`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder with `k8s.io/api`, `k8s.io/apimachinery`, `k8s.io/apiextensions-apiserver` and `k8s.io/kube-aggregator`.
    #[arg(long)]
    from: PathBuf,
    /// Write nothing; fail if the table in the tree differs from what would be written.
    #[arg(long)]
    check: bool,
}

/// Writes or checks the table.
pub fn run(args: Args) -> anyhow::Result<()> {
    let mut files = Vec::new();
    find(&args.from, &args.from, &mut files)?;
    files.sort();
    if files.is_empty() {
        bail!(
            "there is no generated.proto below {}: name a folder that holds k8s.io/api and its neighbours",
            args.from.display()
        );
    }
    let mut compiler = protox::Compiler::new([&args.from])?;
    compiler.include_imports(true);
    let mut packages = Vec::new();
    let mut hasher = blake3::Hasher::new();
    let mut sources = 0;
    for file in &files {
        compiler
            .open_file(file)
            .with_context(|| format!("reading {}", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let package = Package::read(&args.from, folder)?;
        for (path, hash) in &package.sources {
            hasher.update(path.as_bytes()).update(&[0]).update(hash.as_bytes());
        }
        sources += package.sources.len();
        packages.push((file.clone(), package));
    }
    let body = table::render(&compiler.file_descriptor_set(), &packages)?;
    let table = format!(
        "# Kubernetes 1.34, facts only. Written by `cargo xtask forge-protobuf`: edit the generator, not this file.\n\
         # BLAKE3 of the {sources} source files: {}\n{body}",
        hasher.finalize(),
    );
    let path = crate::workspace().join("crates/engine/apiserver/protobuf/data/messages.txt");
    let current = fs::read_to_string(&path).unwrap_or_default();
    if current == table {
        println!(
            "forge-protobuf: messages.txt is current ({} KiB)",
            table.len().div_ceil(1024)
        );
    } else if args.check {
        bail!("messages.txt differs from its sources: run `cargo xtask forge-protobuf` and commit the result");
    } else {
        fs::write(&path, &table).with_context(|| format!("writing {}", path.display()))?;
        println!(
            "forge-protobuf: wrote messages.txt ({} KiB)",
            table.len().div_ceil(1024)
        );
    }
    Ok(())
}

/// Paths of the `generated.proto` files, below `root`.
fn find(root: &Path, folder: &Path, out: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "vendor" && name != "testdata" {
                find(root, &path, out)?;
            }
        } else if name == "generated.proto" {
            out.push(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(())
}

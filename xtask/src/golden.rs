//! `cargo xtask golden`: replays recorded requests against one member and counts the answers that differ.
//!
//! The recordings are not part of the tree; where they are not at hand the run is skipped. The number of differing
//! steps may only fall: the ceiling is committed, and `--update` lowers it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use engenho_harness::Cluster;

/// A static token of a throw-away member.
const TOKEN: &str = "golden-run";

/// Arguments of `golden`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder with record.py, scenarios/ and recorded/.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// The binary to ask; without it a dev build is made first.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Only scenarios that match, as `crud/*`; the ceiling is not consulted then.
    #[arg(long, value_name = "GLOB")]
    only: Option<String>,
    /// Print at most so many differences in full.
    #[arg(long, value_name = "N")]
    show: Option<usize>,
    /// Lower the ceiling to what was counted.
    #[arg(long)]
    update: bool,
}

/// Replays and compares.
pub fn run(args: Args) -> anyhow::Result<()> {
    let from = args
        .from
        .clone()
        .unwrap_or_else(|| crate::workspace().join("../shared/golden"));
    if !from.join("record.py").is_file() {
        println!("golden: skipped, there are no recordings at {}", from.display());
        return Ok(());
    }
    let binary = match &args.binary {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("{} is not there", path.display()))?,
        None => crate::bench::build("dev")?,
    };
    let (equal, total) = tokio::runtime::Runtime::new()?.block_on(replay(&args, &from, &binary))?;
    let differing = total - equal;
    println!("golden: {equal} of {total} steps equal, {differing} differ");
    if args.only.is_some() {
        return Ok(());
    }
    let path = crate::workspace().join("xtask/golden-ceiling.txt");
    let ceiling = ceiling(&fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?)?;
    if args.update {
        ensure!(
            differing <= ceiling,
            "{differing} steps differ, the ceiling is {ceiling}: it is never raised"
        );
        fs::write(&path, rendered(differing))?;
        println!("golden: the ceiling is {differing} now, it was {ceiling}");
        return Ok(());
    }
    if differing > ceiling {
        bail!("{differing} steps differ, at most {ceiling} may: see `cargo xtask golden --show 20`");
    }
    if differing < ceiling {
        println!("golden: better than the ceiling of {ceiling}: lower it with `cargo xtask golden --update`");
    }
    Ok(())
}

fn ceiling(text: &str) -> anyhow::Result<usize> {
    let number = text
        .lines()
        .find(|line| !line.starts_with('#'))
        .context("the ceiling is empty")?;
    number
        .trim()
        .parse()
        .with_context(|| format!("{number:?} is no ceiling"))
}

fn rendered(ceiling: usize) -> String {
    format!(
        "# Steps of the recorded corpus that may differ. Lowered by `cargo xtask golden --update`, never raised.\n{ceiling}\n"
    )
}

/// Starts a member, replays, compares; gives equal and all steps.
async fn replay(args: &Args, from: &std::path::Path, binary: &std::path::Path) -> anyhow::Result<(usize, usize)> {
    let mut cluster = Cluster::empty(binary)?;
    let tokens = cluster.root().join("tokens.csv");
    fs::write(&tokens, format!("{TOKEN},admin,admin-uid,\"system:masters\"\n"))?;
    let mut member = cluster.next_member();
    member.flags = vec!["--token-auth-file".into(), tokens.to_string_lossy().into_owned()];
    member.flags.extend(["--service-cidr".into(), "10.96.0.0/16".into()]);
    member.up()?;
    member.ready(Duration::from_secs(60)).await?;
    let server = format!("https://{}", member.addresses.api);
    cluster.members.push(member);
    let out = cluster.root().join("actual");
    let mut record = Command::new("python3");
    record
        .arg(from.join("record.py"))
        .args(["run", "--server", &server, "--token", TOKEN]);
    record
        .arg("--scenarios")
        .arg(from.join("scenarios"))
        .arg("--out")
        .arg(&out);
    if let Some(only) = &args.only {
        record.args(["--only", only]);
    }
    let status = tokio::process::Command::from(record)
        .kill_on_drop(true)
        .status()
        .await
        .context("starting python3")?;
    // A scenario that breaks off counts as steps that differ.
    println!("golden: replayed ({status})");
    let mut diff = Command::new("python3");
    diff.arg(from.join("record.py"))
        .arg("diff")
        .arg(from.join("recorded"))
        .arg(&out)
        .arg("--skip-static");
    match args.show {
        Some(_) => diff.args(["--max", "6"]),
        None => diff.arg("--summary"),
    };
    if let Some(only) = &args.only {
        diff.args(["--only", only]);
    }
    let output = diff.output().context("starting python3")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print_differences(&text, args.show);
    cluster.finish().await?;
    counted(&text).with_context(|| format!("no count in: {}{}", text, String::from_utf8_lossy(&output.stderr)))
}

fn print_differences(text: &str, show: Option<usize>) {
    let mut shown = 0;
    for line in text.lines() {
        if line.starts_with("--- ") {
            shown += 1;
        }
        let detail = line.starts_with("--- ") || line.starts_with(' ');
        if !detail || show.is_some_and(|max| shown <= max) {
            println!("{line}");
        }
    }
}

/// Reads `N of M steps equal`.
fn counted(text: &str) -> Option<(usize, usize)> {
    let line = text.lines().rev().find(|line| line.ends_with(" steps equal"))?;
    let mut words = line.split(' ');
    let equal = words.next()?.parse().ok()?;
    let total = words.nth(1)?.parse().ok()?;
    (equal <= total).then_some((equal, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_ceilings_are_read() {
        assert_eq!(counted("crud   3 /  4\n3 of 4 steps equal\n"), Some((3, 4)));
        assert_eq!(counted("5 of 4 steps equal\n"), None);
        assert_eq!(counted("nothing"), None);
        assert_eq!(ceiling(&rendered(812)).ok(), Some(812));
        assert!(ceiling("# only this\n").is_err());
    }
}

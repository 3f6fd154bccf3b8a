//! `audit`: checking the files of an audit log.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use engenho_engine::apiserver::audit_chain::Verifier;
use serde_json::{Value, json};

use super::print_json;
use crate::cli::{AuditCommand, AuditVerifyArgs, Output};
use crate::output::{CommandError, print};

/// Longest line that is read, bytes: far beyond what is written.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Does what was asked of the audit log.
pub fn audit(command: AuditCommand) -> Result<(), CommandError> {
    match command {
        AuditCommand::Verify(args) => verify(&args),
    }
}

/// The first line that is not as it was written.
struct Broken {
    path: PathBuf,
    line: u64,
    why: String,
}

fn verify(args: &AuditVerifyArgs) -> Result<(), CommandError> {
    let mut files = args.files.clone();
    // Their names tell their order, whichever way a shell lists them.
    files.sort();
    let mut verifier = Verifier::default();
    let broken = files.iter().find_map(|path| match read(path, &mut verifier) {
        Ok(broken) => broken.map(Ok),
        Err(error) => Some(Err(error)),
    });
    let broken = broken.transpose()?;
    if args.output.output == Output::Json {
        print_json(&verdict(&verifier, broken.as_ref()))?;
    }
    match broken {
        Some(Broken { path, line, why }) => Err(CommandError::failed(
            format!("{}: line {line}: {why}", path.display()),
            "trust nothing from that line on; compare with a copy of the log that was kept elsewhere",
        )),
        None if args.output.output == Output::Json => Ok(()),
        None => print(&summary(&verifier)),
    }
}

fn read(path: &Path, verifier: &mut Verifier) -> Result<Option<Broken>, CommandError> {
    let unreadable = |error: std::io::Error| {
        CommandError::failed(
            format!("the audit log {} cannot be read: {error}", path.display()),
            "give files out of DATA_DIR/audit; they are their owner's only",
        )
    };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = Read::by_ref(&mut reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(unreadable)?;
        if read == 0 {
            return Ok(None);
        }
        number += 1;
        if let Err(fault) = verifier.line(&line) {
            return Ok(Some(Broken {
                path: path.to_path_buf(),
                line: number,
                why: fault.to_string(),
            }));
        }
    }
}

fn summary(verifier: &Verifier) -> String {
    let Some(first) = verifier.first() else {
        return "ok: no lines".to_owned();
    };
    let head = verifier.head();
    let before = if first > 1 {
        format!(", those before number {first} are not among the files")
    } else {
        String::new()
    };
    format!(
        "ok: {} lines, numbers {first} to {}, head {head}{before}",
        verifier.lines(),
        head.seq
    )
}

fn verdict(verifier: &Verifier, broken: Option<&Broken>) -> Value {
    let mut value = json!({
        "ok": broken.is_none(),
        "lines": verifier.lines(),
        "first": verifier.first(),
        "last": verifier.head().seq,
        "head": verifier.head().to_string(),
    });
    if let Some(broken) = broken {
        value["broken"] = json!({"file": broken.path, "line": broken.line, "reason": broken.why});
    }
    value
}

#[cfg(test)]
mod tests {
    use engenho_engine::apiserver::audit_chain::{Head, append};

    use super::*;

    #[test]
    fn the_first_broken_line_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut head, mut paths) = (Head::default(), Vec::new());
        for file in 0..2 {
            let mut lines = Vec::new();
            for i in 0..3 {
                append(&mut head, format!("{{\"n\":{i}}}").as_bytes(), &mut lines);
            }
            let path = dir.path().join(format!("audit-{file}.log"));
            std::fs::write(&path, lines).expect("written");
            paths.push(path);
        }
        let check = || {
            let mut verifier = Verifier::default();
            let found = paths
                .iter()
                .find_map(|path| read(path, &mut verifier).expect("readable"));
            (found.map(|b| (b.path, b.line, b.why)), summary(&verifier))
        };
        let (found, told) = check();
        assert_eq!(found, None);
        assert!(told.starts_with("ok: 6 lines, numbers 1 to 6, head "), "{told}");
        let text = std::fs::read_to_string(&paths[1]).expect("text");
        std::fs::write(&paths[1], text.replace("\"n\":1", "\"n\":7")).expect("written");
        let (found, _) = check();
        assert_eq!(
            found,
            Some((paths[1].clone(), 2, "it was changed (number 5)".to_owned()))
        );
    }
}

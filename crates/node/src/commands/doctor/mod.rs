//! `doctor`: what this machine lacks, before anything is started. It changes nothing.

mod kernel;
mod network;
mod storage;
mod system;

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::print_json;
use crate::cli::{DoctorArgs, Output};
use crate::output::{CommandError, plural, print, table};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Matters only to what later versions do here.
    Info,
    /// Works, but not well.
    Warn,
    /// Keeps a member from running.
    Fail,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do; empty if nothing.
    pub advice: String,
}

impl Check {
    /// A finding that needs no advice.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Level::Ok, found, "")
    }

    /// Any finding.
    pub fn new(name: &'static str, level: Level, found: impl Into<String>, advice: impl Into<String>) -> Self {
        let (found, advice) = (found.into(), advice.into());
        Self {
            name,
            level,
            found,
            advice,
        }
    }
}

/// Looks at everything and prints it; fails if a member could not run.
pub fn doctor(args: &DoctorArgs, data_dir: &Path) -> Result<(), CommandError> {
    let running = network::member_runs(data_dir);
    let mut checks = system::checks();
    checks.extend(storage::checks(data_dir));
    checks.extend(network::checks(args, running));
    checks.extend(kernel::checks());
    let failed = checks.iter().filter(|check| check.level == Level::Fail).count();
    match args.output.output {
        Output::Json => print_json(&json!({ "ok": failed == 0, "checks": checks }))?,
        _ => print(&report(&checks))?,
    }
    match failed {
        0 => Ok(()),
        failed => Err(CommandError::failed(
            format!("{} would keep a member from running here", plural(failed, "finding")),
            "do what the lines marked `fail` say",
        )),
    }
}

fn report(checks: &[Check]) -> String {
    let rows = checks.iter().map(|check| {
        let advice = if check.advice.is_empty() {
            String::new()
        } else {
            format!("; {}", check.advice)
        };
        vec![
            check.level.word().to_owned(),
            check.name.to_owned(),
            format!("{}{advice}", check.found),
        ]
    });
    table(&["LEVEL", "CHECK", "FOUND"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report() {
        let checks = [
            Check::ok("memory", "12.0 GiB available"),
            Check::new(
                "api port",
                Level::Fail,
                "TCP 0.0.0.0:6443 is taken",
                "choose another with --api",
            ),
        ];
        assert_eq!(
            report(&checks),
            "LEVEL  CHECK     FOUND\n\
             ok     memory    12.0 GiB available\n\
             fail   api port  TCP 0.0.0.0:6443 is taken; choose another with --api"
        );
    }

    #[test]
    fn all_checks_run_here() {
        let dir = tempfile::tempdir().unwrap();
        let mut checks = system::checks();
        checks.extend(storage::checks(&dir.path().join("not/yet/there")));
        checks.extend(kernel::checks());
        assert!(checks.len() > 10);
        for check in &checks {
            assert!(!check.found.is_empty() && !check.found.contains('\n'), "{check:?}");
            assert_eq!(check.advice.is_empty(), check.level == Level::Ok, "{check:?}");
        }
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "nothing is left behind"
        );
    }
}

//! What each command does.

mod audit;
mod chain;
mod dev;
mod doctor;
mod formation;
mod kubeconfig;
mod logging;
mod member;
mod recover;
mod role;
mod status;
mod ticket;

use std::future::Future;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::cli::{Cli, Command, Output, VersionArgs, command};
use crate::output::{CommandError, print};

/// Does what was asked.
pub fn execute(cli: Cli) -> Result<(), CommandError> {
    let data_dir = cli.common.data_dir.as_path();
    match cli.command {
        Command::Up(args) => member::up(args, data_dir),
        Command::Join(args) => member::join(args, data_dir),
        Command::Ticket(args) => wait_for(ticket::ticket(args, data_dir)),
        Command::Status(args) => wait_for(status::status(args, data_dir)),
        Command::Formation { command } => wait_for(formation::formation(command, data_dir)),
        Command::Promote(args) => wait_for(role::promote(args, data_dir)),
        Command::Demote(args) => wait_for(role::demote(args, data_dir)),
        Command::Drain(args) => wait_for(role::drain(args, data_dir)),
        Command::Release(args) => wait_for(role::release(args, data_dir)),
        Command::Leave(args) => wait_for(role::leave(args, data_dir)),
        Command::Expel(args) => wait_for(role::expel(args, data_dir)),
        Command::Audit { command } => audit::audit(command),
        Command::Chain { command } => wait_for(chain::chain(command, data_dir)),
        Command::Kubeconfig(args) => wait_for(kubeconfig::kubeconfig(args, data_dir)),
        Command::Recover(args) => wait_for(recover::recover(args, data_dir)),
        Command::Doctor(args) => doctor::doctor(&args, data_dir),
        Command::Dev(args) => wait_for(dev::dev(args)),
        Command::Completion(args) => print(&completion(args.shell())),
        Command::Version(args) => version(&args),
    }
}

fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "engenho", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn version(args: &VersionArgs) -> Result<(), CommandError> {
    let (version, kubernetes) = (crate::run::VERSION, crate::run::KUBERNETES_VERSION);
    match args.output.output {
        Output::Json => print_json(&json!({ "version": version, "kubernetes": kubernetes })),
        _ => print(&format!("engenho {version} (Kubernetes {kubernetes})")),
    }
}

/// Runs what only waits for others: one thread is plenty.
fn wait_for(command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        CommandError::failed(
            format!("this process cannot start its event loop: {error}"),
            "check `ulimit -n` and free memory",
        )
    })?;
    runtime.block_on(command)
}

fn print_json(value: &Value) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| unencodable(&error))?;
    print(&text)
}

fn unencodable(error: &serde_json::Error) -> CommandError {
    CommandError::failed(
        format!("the answer cannot be written as JSON: {error}"),
        "leave out -o json",
    )
}

/// The present, milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &[&str]) -> Result<(), CommandError> {
        let mut arguments = vec![std::ffi::OsString::from("engenho")];
        arguments.extend(line.iter().map(std::ffi::OsString::from));
        execute(crate::cli::parse(&arguments).unwrap())
    }

    #[test]
    fn nobody_running_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        for line in [
            &["status"][..],
            &["ticket"],
            &["formation", "get"],
            &["formation", "set", "--voters", "3"],
            &["promote", "n1"],
            &["demote", "n1"],
            &["drain", "n1"],
            &["release", "n1"],
            &["leave"],
            &["expel", "n1"],
            &["chain", "log"],
            &["chain", "show", "1"],
            &["chain", "verify"],
            &["chain", "export", "--out", "/nonexistent/x"],
            &["kubeconfig"],
            &["recover", "--yes"],
        ] {
            let error = run(&[line, &["--data-dir", path]].concat()).unwrap_err();
            assert_eq!(
                error.message,
                format!("no engenho runs with the data directory {path}"),
                "{line:?}"
            );
            assert_eq!(error.exit_code(), 1);
        }
    }

    #[test]
    fn what_makes_no_sense_is_usage() {
        for line in [
            &["join", "hello"][..],
            &["formation", "set"],
            &["kubeconfig", "--server", "http://insecure"],
            &["up", "--log-level", "engenho=loud"],
        ] {
            assert_eq!(run(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn completions_know_the_commands() {
        use clap_complete::Shell;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(completion(shell).contains("formation"), "{shell}");
        }
    }
}

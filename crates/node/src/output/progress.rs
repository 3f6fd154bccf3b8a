//! How a starting member tells how far it is: to a person, to a log, to systemd.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use sd_notify::NotifyState;

/// Told of each step until the API answers, and of the end.
pub trait Progress: Send + Sync + 'static {
    /// What is done now, a few words.
    fn step(&self, text: &str);

    /// The API answers at `url`, `elapsed` after the start.
    fn ready(&self, url: &str, elapsed: Duration);

    /// The member stops.
    fn stopping(&self) {
        notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

/// Steps on standard error if somebody looks at it, else in the log; one line on standard output when ready.
#[derive(Debug)]
pub struct TextProgress {
    terminal: bool,
}

impl Default for TextProgress {
    fn default() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
        }
    }
}

impl Progress for TextProgress {
    fn step(&self, text: &str) {
        notify(&[NotifyState::Status(text)]);
        match self.terminal {
            true => drop(writeln!(std::io::stderr(), "... {text}")),
            false => tracing::info!(step = text, "starting"),
        }
    }

    fn ready(&self, url: &str, elapsed: Duration) {
        announce(url, elapsed);
    }
}

/// Steps as log lines; the line of readiness is on standard output here too.
#[derive(Debug, Default)]
pub struct JsonProgress;

impl Progress for JsonProgress {
    fn step(&self, text: &str) {
        notify(&[NotifyState::Status(text)]);
        tracing::info!(step = text, "starting");
    }

    fn ready(&self, url: &str, elapsed: Duration) {
        tracing::info!(url, elapsed_ms = elapsed.as_millis() as u64, "ready");
        announce(url, elapsed);
    }
}

fn announce(url: &str, elapsed: Duration) {
    let line = ready_line(url, elapsed);
    // A member serves on when nobody reads its standard output.
    let _ = writeln!(std::io::stdout(), "{line}").and_then(|()| std::io::stdout().flush());
    notify(&[NotifyState::Ready, NotifyState::Status(&line)]);
}

fn ready_line(url: &str, elapsed: Duration) -> String {
    format!("ready: {url} in {:.1} s", elapsed.as_secs_f64())
}

fn notify(state: &[NotifyState<'_>]) {
    // Without systemd this does nothing; with one that cannot be reached its own timeout says so.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_scripts_wait_for() {
        let line = ready_line("https://127.0.0.1:6443", Duration::from_millis(849));
        assert_eq!(line, "ready: https://127.0.0.1:6443 in 0.8 s");
    }
}

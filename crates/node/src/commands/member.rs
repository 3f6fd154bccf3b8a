//! `up` and `join`: the member itself, from signals to exit code.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use revoada_core::ticket::{TICKET_TEXT_BYTES_MAX, Ticket, TicketError};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::logging;
use crate::cli::{JoinArgs, LogFormat, NodeFlags, UpArgs};
use crate::output::progress::{JsonProgress, Progress, TextProgress};
use crate::output::{CommandError, print};
use crate::run::config::Mode;
use crate::run::{Ended, run};

/// The most worker threads: more would only move the work about.
const WORKERS_MAX: usize = 16;
/// How long tasks that ignored their end may hold up the exit.
const LINGER: Duration = Duration::from_secs(1);

/// Runs a member that may found a cluster.
pub fn up(args: UpArgs, data_dir: &Path) -> Result<(), CommandError> {
    serve(args.node, Mode::Up, data_dir)
}

/// Runs a member of the ticket's cluster.
pub fn join(args: JoinArgs, data_dir: &Path) -> Result<(), CommandError> {
    let ticket = ticket(&args.ticket)?;
    let witness = args.witness || ticket.witness;
    serve(args.node, Mode::Join { ticket, witness }, data_dir)
}

fn ticket(given: &str) -> Result<Ticket, CommandError> {
    let mut text = given.to_owned();
    if given == "-" {
        text.clear();
        // Some more than a ticket, so that too long a text is seen to be too long.
        let limit = TICKET_TEXT_BYTES_MAX as u64 + 64;
        std::io::stdin()
            .take(limit)
            .read_to_string(&mut text)
            .map_err(|error| {
                CommandError::usage(
                    format!("no ticket can be read from standard input: {error}"),
                    "pipe `engenho ticket` into it",
                )
            })?;
    }
    text.parse().map_err(|error: TicketError| {
        let hint = match &error {
            TicketError::UnsupportedVersion { .. } => "run the same version of engenho here as the cluster does",
            TicketError::Damaged => "copy the ticket again, whole, or make a new one with `engenho ticket`",
            _ => "run `engenho ticket` on a member and give what it prints",
        };
        // The error's own advice would say the same twice.
        let text = error.to_string();
        let what = text.split(": ").next().unwrap_or_default().to_owned();
        let message = match error {
            TicketError::Damaged | TicketError::UnsupportedVersion { .. } => what,
            _ => text,
        };
        CommandError::usage(message, hint)
    })
}

fn serve(node: NodeFlags, mode: Mode, data_dir: &Path) -> Result<(), CommandError> {
    logging::start(&node.log)?;
    let format = node.log.log;
    let stop_with_stdin = node.stop_with_stdin;
    let config = node.into_config(mode, data_dir)?;
    let progress: Arc<dyn Progress> = match format {
        LogFormat::Json => Arc::new(JsonProgress),
        LogFormat::Text => Arc::new(TextProgress::default()),
    };
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, WORKERS_MAX))
        .enable_all()
        .build()
        .map_err(|error| {
            CommandError::failed(
                format!("no threads can be started: {error}"),
                "check `ulimit -u` and free memory",
            )
        })?;
    let stop = CancellationToken::new();
    if stop_with_stdin {
        follow_stdin(stop.clone())?;
    }
    let ended = runtime.block_on(async {
        tokio::spawn(follow_signals(Arc::clone(&progress), stop.clone())?);
        // Boxed: the future of a whole member is large.
        Box::pin(run(config, progress, stop)).await.map_err(CommandError::from)
    });
    runtime.shutdown_timeout(LINGER);
    match ended? {
        Ended::Stopped => Ok(()),
        Ended::Left => print("left the cluster"),
    }
}

/// The first SIGTERM or SIGINT stops the member cleanly, a second SIGINT at once.
fn follow_signals(
    progress: Arc<dyn Progress>,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + 'static, CommandError> {
    let listen = |kind| {
        signal(kind).map_err(|error| {
            CommandError::failed(
                format!("signals cannot be received: {error}"),
                "check `ulimit -n` and free memory",
            )
        })
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        progress.stopping();
        stop.cancel();
        interrupt.recv().await;
        std::process::exit(130);
    })
}

/// Stops when the other end of standard input is closed, as it is when the process that holds it dies.
fn follow_stdin(stop: CancellationToken) -> Result<(), CommandError> {
    let watch = move || {
        let mut buffer = [0; 256];
        while std::io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
        stop.cancel();
    };
    let thread = std::thread::Builder::new().name("stdin".into()).spawn(watch);
    thread.map(drop).map_err(|error| {
        CommandError::failed(
            format!("no threads can be started: {error}"),
            "check `ulimit -u` and free memory",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_tickets_are_explained() {
        let refused = |text: &str| ticket(text).unwrap_err();
        let error = refused("hello");
        assert!(error.message.starts_with("this is not a ticket"), "{}", error.message);
        assert_eq!(error.exit_code(), 2);
        let error = refused("engenho1aaaa");
        assert_eq!(error.message, "the ticket is truncated or mistyped");
        assert!(error.hint.starts_with("copy the ticket again"));
        assert!(!refused(&"x".repeat(10_000)).message.contains("xxx"));
    }
}

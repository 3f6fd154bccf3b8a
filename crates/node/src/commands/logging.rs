//! The log of a running member.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{LogFlags, LogFormat};
use crate::output::CommandError;

/// Starts logging to standard error, as text or JSON.
pub fn start(flags: &LogFlags) -> Result<(), CommandError> {
    let filter = filter(&flags.log_level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match flags.log {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| {
        CommandError::failed(
            format!("the log cannot be started: {error}"),
            "this is a bug: please report it",
        )
    })
}

/// A bare level is for our own messages; what libraries say is shown from warnings on. Anything else is a filter as
/// `tracing_subscriber::EnvFilter` has it.
fn filter(text: &str) -> Result<EnvFilter, CommandError> {
    let directives = match text.parse::<LevelFilter>() {
        Ok(LevelFilter::OFF) => "off".to_owned(),
        Ok(LevelFilter::ERROR) => "error".to_owned(),
        Ok(level) => format!("warn,openraft=error,engenho={level},revoada={level}"),
        Err(_) => text.to_owned(),
    };
    EnvFilter::try_new(&directives).map_err(|error| {
        CommandError::usage(
            format!("{text:?} is no log filter: {error}"),
            "give a level (error, warn, info, debug, trace) or a filter as `info,revoada=debug`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters() {
        assert_eq!(filter("debug").unwrap().max_level_hint(), Some(LevelFilter::DEBUG));
        assert_eq!(filter("off").unwrap().max_level_hint(), Some(LevelFilter::OFF));
        assert_eq!(
            filter("info,revoada=trace").unwrap().max_level_hint(),
            Some(LevelFilter::TRACE)
        );
        assert_eq!(filter("revoada=loud").unwrap_err().exit_code(), 2);
    }
}

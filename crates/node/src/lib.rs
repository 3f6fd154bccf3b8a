//! The binary's parts: command line, settings, and the composition of distribution layer and engine.
//!
//! A library only so that the simulation can run the same composition.

pub mod admin;
pub mod cli;
pub mod commands;
pub mod output;
pub mod run;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let result = match cli::parse(&arguments) {
        Ok(cli) => commands::execute(cli),
        Err(cli::Stop::Help(help)) => {
            // A reader that went away does not want the rest.
            let _ = help.print();
            return ExitCode::from(u8::try_from(help.exit_code()).unwrap_or(2));
        }
        Err(cli::Stop::Usage(error)) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            ExitCode::from(error.exit_code())
        }
    }
}

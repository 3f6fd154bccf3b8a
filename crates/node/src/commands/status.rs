//! `status`: who is there, in which role, and what is changing.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use super::{now_ms, print_json, unencodable};
use crate::admin::Client;
use crate::admin::api::FullStatus;
use crate::cli::{Output, StatusArgs};
use crate::output::{CommandError, changes, print, rfc3339, status_json, status_table};

/// How often the member is asked while watching.
const PERIOD: Duration = Duration::from_millis(500);

/// Prints the status, once or until interrupted.
pub async fn status(args: StatusArgs, data_dir: &Path) -> Result<(), CommandError> {
    let client = Client::connect(data_dir).await?;
    let form = args.output.output;
    let first = client.status().await?;
    if !args.watch {
        return match form {
            Output::Json => print_json(&status_json(&first).map_err(|error| unencodable(&error))?),
            _ => print(&status_table(&first, form == Output::Wide, now_ms())),
        };
    }
    match form {
        Output::Json => watch_json(&client, first).await,
        _ if std::io::stdout().is_terminal() => watch_screen(&client, first, form == Output::Wide).await,
        _ => watch_lines(&client, first, form == Output::Wide).await,
    }
}

/// One JSON document a line, whenever something differs.
async fn watch_json(client: &Client, mut status: FullStatus) -> Result<(), CommandError> {
    let mut last = String::new();
    loop {
        let value = status_json(&status).map_err(|error| unencodable(&error))?;
        let line = value.to_string();
        if line != last {
            print(&line)?;
            last = line;
        }
        status = next(client).await?;
    }
}

/// A table, and then a line for each change.
async fn watch_lines(client: &Client, mut status: FullStatus, wide: bool) -> Result<(), CommandError> {
    print(&status_table(&status, wide, now_ms()))?;
    loop {
        let after = next(client).await?;
        for line in changes(&status, &after) {
            print(&format!("{} {line}", rfc3339(now_ms())))?;
        }
        status = after;
    }
}

/// The table, drawn again and again.
async fn watch_screen(client: &Client, mut status: FullStatus, wide: bool) -> Result<(), CommandError> {
    loop {
        print(&format!("\u{1b}[H\u{1b}[2J{}", status_table(&status, wide, now_ms())))?;
        status = next(client).await?;
    }
}

async fn next(client: &Client) -> Result<FullStatus, CommandError> {
    tokio::time::sleep(PERIOD).await;
    Ok(client.status().await?)
}

//! `recover`: the one way out of a lost majority.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use serde_json::json;

use super::print_json;
use crate::admin::Client;
use crate::admin::api::RecoverReply;
use crate::cli::{Output, RecoverArgs};
use crate::output::{CommandError, clean, print};

/// Says what would be given up, asks, and does it.
pub async fn recover(args: RecoverArgs, data_dir: &Path) -> Result<(), CommandError> {
    let client = Client::connect(data_dir).await?;
    let plan = client.recovery_plan(args.force).await?;
    if !args.yes {
        confirm(&plan)?;
    }
    let done = client.recover(args.force).await?;
    if args.output.output == Output::Json {
        return print_json(&json!({ "epoch": done.epoch, "keep": done.keep, "lost": done.lost }));
    }
    let epoch = done
        .epoch
        .map_or_else(String::new, |epoch| format!(" in epoch {epoch}"));
    print(&format!("the cluster goes on{epoch}\n{}", consequences(&done)))
}

fn consequences(plan: &RecoverReply) -> String {
    let list = |names: &[String]| match names.is_empty() {
        true => "nobody".to_owned(),
        false => names.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", "),
    };
    format!("kept:   {}\nfenced: {}", list(&plan.keep), list(&plan.lost))
}

fn confirm(plan: &RecoverReply) -> Result<(), CommandError> {
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::usage(
            "a recovery needs to be confirmed, and standard input is no terminal",
            "run it from a terminal, or give --yes if you are sure",
        ));
    }
    let mut err = std::io::stderr();
    let _ = write!(
        err,
        "This member goes on as the only voter, in a new epoch. Writes that only the lost members hold are given up.\n{}\n\
         Fenced members can never return with their present data. Type `yes` to go on: ",
        consequences(plan)
    );
    let _ = err.flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match read.is_ok() && answer.trim() == "yes" {
        true => Ok(()),
        false => Err(CommandError::failed(
            "nothing was done",
            "type `yes` to recover, or start the lost members again",
        )),
    }
}

//! What an operator asks of single members: `promote`, `demote`, `drain`, `release`, `leave`, `expel`.

use std::path::Path;

use serde_json::{Value, json};

use super::print_json;
use crate::admin::Client;
use crate::admin::api::RoleRequest;
use crate::cli::{ExpelArgs, LeaveArgs, MemberArgs, Output};
use crate::output::{CommandError, clean, print};

/// Prefers a member as a voter.
pub async fn promote(args: MemberArgs, data_dir: &Path) -> Result<(), CommandError> {
    ask(args, RoleRequest::Promote, "is preferred as a voter now", data_dir).await
}

/// Puts a member one role down.
pub async fn demote(args: MemberArgs, data_dir: &Path) -> Result<(), CommandError> {
    ask(args, RoleRequest::Demote, "goes one role down", data_dir).await
}

/// Takes all replica roles off a member.
pub async fn drain(args: MemberArgs, data_dir: &Path) -> Result<(), CommandError> {
    ask(args, RoleRequest::Drain, "gives up its replica roles", data_dir).await
}

/// Lifts what was asked of a member.
pub async fn release(args: MemberArgs, data_dir: &Path) -> Result<(), CommandError> {
    ask(args, RoleRequest::Release, "is free for any role again", data_dir).await
}

async fn ask(args: MemberArgs, request: RoleRequest, done: &str, data_dir: &Path) -> Result<(), CommandError> {
    let client = Client::connect(data_dir).await?;
    client.role(&args.member, request).await?;
    let words = format!(
        "{} {done}; `engenho status --watch` shows it happen",
        clean(&args.member)
    );
    answer(
        args.output.output,
        &json!({ "member": args.member, "request": request }),
        &words,
    )
}

/// Takes this member out of the cluster.
pub async fn leave(args: LeaveArgs, data_dir: &Path) -> Result<(), CommandError> {
    let client = Client::connect(data_dir).await?;
    client.leave().await?;
    answer(
        args.output.output,
        &json!({ "left": true }),
        "this member left the cluster and stops",
    )
}

/// Refuses a member's key for good.
pub async fn expel(args: ExpelArgs, data_dir: &Path) -> Result<(), CommandError> {
    let client = Client::connect(data_dir).await?;
    client.expel(&args.member, &args.reason).await?;
    let words = format!("{} is expelled: its key is refused from now on", clean(&args.member));
    answer(
        args.output.output,
        &json!({ "expelled": args.member, "reason": args.reason }),
        &words,
    )
}

fn answer(output: Output, value: &Value, words: &str) -> Result<(), CommandError> {
    match output {
        Output::Json => print_json(value),
        _ => print(words),
    }
}

//! `ticket`: what another machine needs to join.

use std::io::{IsTerminal, Write};
use std::path::Path;

use serde_json::json;

use super::print_json;
use crate::admin::Client;
use crate::admin::api::TicketRequest;
use crate::cli::{Output, TicketArgs};
use crate::output::{CommandError, plural, print, rfc3339};

/// Makes one and prints it.
pub async fn ticket(args: TicketArgs, data_dir: &Path) -> Result<(), CommandError> {
    let client = Client::connect(data_dir).await?;
    let request = TicketRequest {
        expires_s: args.expires.0,
        uses: args.uses,
        witness: args.witness,
    };
    let reply = client.ticket(&request).await?;
    if args.output.output == Output::Json {
        return print_json(&json!({
            "ticket": reply.ticket,
            "expires": rfc3339(reply.expires_ms),
            "expiresMs": reply.expires_ms,
            "uses": reply.uses,
            "witness": args.witness,
        }));
    }
    print(&reply.ticket)?;
    if std::io::stderr().is_terminal() {
        let uses = plural(reply.uses as usize, "member");
        let _ = writeln!(
            std::io::stderr(),
            "admits {uses} until {}: run `engenho join TICKET` there, and show it to nobody else",
            rfc3339(reply.expires_ms)
        );
    }
    Ok(())
}

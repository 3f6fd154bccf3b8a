//! Tickets that are wrong, expired, used up or of another cluster: each is refused with its reason.

use std::time::Duration;

use anyhow::ensure;
use engenho_harness::{Cluster, MemberProcess, eventually};

use crate::support::{READY, alone, binary, create, value};

/// Starts a join that has to fail; gives what the process said.
async fn refused_join(cluster: &Cluster, name: &str, ticket: &str) -> anyhow::Result<String> {
    let mut member = MemberProcess::new(binary(), cluster.root(), name);
    member.join(ticket, false)?;
    let status = member.exit(Duration::from_secs(30)).await?;
    let said = member.log_tail(20);
    ensure!(!status.success(), "{name} joined:\n{said}");
    ensure!(!said.contains("panicked"), "{said}");
    Ok(said)
}

#[test]
fn tickets_admit_only_whom_they_should() {
    alone(async || {
        let mut cluster = Cluster::found(binary()).await?;
        let first = &cluster.members[0];
        let ticket = first.ticket(1).await?;

        let said = refused_join(&cluster, "wrong", "not-a-ticket").await?;
        ensure!(said.contains("ticket"), "{said}");
        let said = refused_join(&cluster, "truncated", &ticket[..ticket.len() - 5]).await?;
        ensure!(said.contains("truncated"), "{said}");
        let short = first.ticket_with(&["--expires", "1s"]).await?;
        let mut attempt = 0;
        eventually("the ticket expires", Duration::from_secs(20), async || {
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            attempt += 1;
            let said = refused_join(&cluster, &format!("expired-{attempt}"), &short).await?;
            ensure!(said.contains("expired"), "{said}");
            Ok(())
        })
        .await?;

        // One use, by the one that it lets in. A name that is taken does not use it up.
        let mut second = cluster.next_member();
        second.join(&ticket, false)?;
        second.ready(READY).await?;
        cluster.members.push(second);
        let said = refused_join(&cluster, "late", &ticket).await?;
        ensure!(said.contains("ticket"), "{said}");
        ensure!(cluster.status().await?.members.len() == 2);

        // A ticket of another cluster cannot take a data directory over.
        let mut other = Cluster::found(binary()).await?;
        let foreign = other.members[0].ticket(1).await?;
        create(&cluster.members[0].api()?, "kept").await?;
        let second = &mut cluster.members[1];
        second.stop(Duration::from_secs(10)).await?;
        second.join(&foreign, false)?;
        let status = second.exit(Duration::from_secs(30)).await?;
        ensure!(
            !status.success() && second.log_tail(5).contains("cluster"),
            "{}",
            second.log_tail(20)
        );
        second.up()?;
        second.ready(READY).await?;
        ensure!(value(&cluster.members[1].api()?, "kept").await? == "kept");
        ensure!(other.status().await?.members.len() == 1);
        // A ticket outlives the process that made it.
        let later = other.members[0].ticket(1).await?;
        other.members[0].kill().await?;
        other.restart_all().await?;
        let mut joined = other.next_member();
        joined.join(&later, false)?;
        joined.ready(READY).await?;
        other.members.push(joined);
        other.finish().await?;
        cluster.finish().await
    });
}

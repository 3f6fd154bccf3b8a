//! Two machines and a witness: three votes, one of them on a machine that holds nothing a client wants.

use std::time::Instant;

use anyhow::{Context, ensure};
use engenho_harness::{Cluster, Load, prepare};

use crate::support::{RESUME, SETTLED, alone, binary, gentle, require_all};

const LOADS: &str = "loads";

#[test]
fn two_members_and_a_witness_survive_one_death() {
    alone(async || {
        let mut cluster = Cluster::start(binary(), 2).await?;
        let ticket = cluster.running()?.ticket_with(&["--uses", "1"]).await?;
        let mut witness = cluster.next_member();
        witness.join(&ticket, true)?;
        cluster.members.push(witness);
        let status = cluster
            .running()?
            .until("two voters and a witness", SETTLED, |status| {
                match (
                    status.names_of("voter").len(),
                    status.names_of("witness").len(),
                    status.transitions.len(),
                ) {
                    (2, 1, 0) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await
            .with_context(|| cluster.tails(20))?;
        ensure!(status.live_votes() == 3);
        prepare(&cluster.running()?.api()?, LOADS).await?;
        let leader = cluster.leader().await?;
        let serving = if leader == "n1" { "n2" } else { "n1" };
        let load = Load::start(vec![cluster.member(serving)?.api()?], gentle(LOADS, 0));
        load.resumed_after(Instant::now(), RESUME).await?;
        let killed = Instant::now();
        let dead = if leader == "n3" { "n1".to_owned() } else { leader };
        cluster.member_mut(&dead)?.kill().await?;
        load.retarget(vec![
            cluster.members[..2]
                .iter()
                .find(|member| member.is_running())
                .context("nobody")?
                .api()?,
        ]);
        load.resumed_after(killed, RESUME)
            .await
            .with_context(|| cluster.tails(20))?;
        let record = load.stop().await?;
        cluster.member_mut(&dead)?.up()?;
        cluster.settled(SETTLED).await?;
        require_all(&cluster.member(&dead)?.api()?, LOADS, &record).await?;
        cluster.finish().await
    });
}

//! Five voters: two may die at once; with three gone only a recovery helps, and what comes back too late is fenced.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engenho_harness::{Cluster, Load, eventually, prepare};

use crate::support::{RESUME, alone, binary, config_map, config_maps, create, gentle, require_all, value};

const LOADS: &str = "loads";

#[test]
fn five_voters_lose_two_then_their_majority() {
    alone(async || {
        let mut cluster = Cluster::start(binary(), 5).await?;
        ensure!(cluster.status().await?.names_of("voter").len() == 5);
        prepare(&cluster.running()?.api()?, LOADS).await?;

        // Two at once, the leader among them.
        let leader = cluster.leader().await?;
        let other = cluster
            .members
            .iter()
            .map(|member| member.name.clone())
            .find(|name| *name != leader);
        let other = other.context("no other member")?;
        let mut clients = cluster.clients_without(&leader)?;
        clients.truncate(4);
        let load = Load::start(clients, gentle(LOADS, 0));
        load.resumed_after(Instant::now(), RESUME).await?;
        let killed = Instant::now();
        for name in [&leader, &other] {
            cluster.member_mut(name)?.kill().await?;
        }
        load.retarget(cluster.clients_without("")?);
        load.resumed_after(killed, RESUME)
            .await
            .with_context(|| cluster.tails(20))?;
        let record = load.stop().await?;
        require_all(&cluster.running()?.api()?, LOADS, &record).await?;

        // One more: three of five are gone.
        let survivors: Vec<_> = cluster
            .members
            .iter()
            .filter(|member| member.is_running())
            .map(|member| member.name.clone())
            .collect();
        let third = survivors[2].clone();
        cluster.member_mut(&third)?.kill().await?;
        let lost = [leader, other, third];
        let survivor = cluster.member(&survivors[0])?;
        no_writes_without_a_majority(survivor, &lost).await?;

        // Who was heard a moment ago is late, and not lost yet: until then nothing is recovered.
        let said = eventually("a recovery", Duration::from_secs(20), async || {
            survivor.cli(&["recover", "--yes"]).await?.ok()
        })
        .await?;
        let recovered = survivor
            .until("a new epoch with a quorum", Duration::from_secs(40), |status| {
                if status.epoch == 2 && status.quorum {
                    Ok(())
                } else {
                    Err(format!("{status:?}"))
                }
            })
            .await
            .with_context(|| format!("{said}\n{}", cluster.tails(25)))?;
        ensure!(recovered.epoch == 2);
        let api = survivor.api()?;
        create(&api, "after-recovery").await?;
        require_all(&api, LOADS, &record).await?;
        // The other survivor follows into the new epoch.
        let follower = cluster.member(&survivors[1])?;
        eventually(
            "the other survivor serves the new epoch",
            Duration::from_secs(40),
            async || {
                ensure!(follower.status().await?.epoch == 2);
                ensure!(value(&follower.api()?, "after-recovery").await? == "after-recovery");
                Ok(())
            },
        )
        .await
        .with_context(|| cluster.tails(25))?;
        fenced(&mut cluster, &lost[0], &survivors[0]).await?;
        cluster.finish().await
    });
}

/// Writes get an answer that names who is missing; reads that may be stale go on; commands say so by their exit code.
async fn no_writes_without_a_majority(
    survivor: &engenho_harness::MemberProcess,
    lost: &[String; 3],
) -> anyhow::Result<()> {
    let api = survivor.api()?;
    // Until the survivors have noticed, a write waits; then it is refused at once.
    let missing = |text: &str| lost.iter().filter(|name| text.contains(name.as_str())).count();
    let reply = eventually(
        "a refusal that names the missing voters",
        Duration::from_secs(20),
        async || {
            let reply = api.post(&config_maps(""), &config_map("refused", "x")).await?;
            ensure!(reply.status == 503, "status {}: {}", reply.status, reply.text());
            ensure!(missing(&reply.text()) == 3, "{}", reply.text());
            Ok(reply)
        },
    )
    .await?;
    ensure!(reply.retry_after.is_some(), "a 503 without Retry-After");
    ensure!(reply.json()?["kind"] == "Status", "{}", reply.text());
    let asked = Instant::now();
    api.post(&config_maps(""), &config_map("refused", "x"))
        .await?
        .want(503)?;
    ensure!(
        asked.elapsed() < Duration::from_secs(3),
        "the refusal took {:?}",
        asked.elapsed()
    );
    let stale = format!("{}?resourceVersion=0", config_maps(""));
    api.get(&stale).await?.want(200)?;
    survivor
        .until(
            "the status says that there is no quorum",
            Duration::from_secs(5),
            |status| {
                if status.quorum {
                    Err("it says there is one".into())
                } else {
                    Ok(())
                }
            },
        )
        .await?;
    survivor.cli(&["ticket"]).await?.refused(3)?;
    Ok(())
}

/// A member of the old epoch comes back: it learns that it is out, says so, and serves nothing it could be wrong about.
async fn fenced(cluster: &mut Cluster, name: &str, survivor: &str) -> anyhow::Result<()> {
    let member = cluster.member_mut(name)?;
    member.up()?;
    let log = member.log();
    eventually("it says that it is fenced", Duration::from_secs(40), async || {
        let text = std::fs::read_to_string(&log)?;
        ensure!(text.contains("fenced"), "it does not say so");
        Ok(())
    })
    .await
    .with_context(|| cluster.tails(25))?;
    let member = cluster.member(name)?;
    let written = member
        .api()?
        .post(&config_maps(""), &config_map("from-the-past", "x"))
        .await;
    ensure!(
        written.map_or(true, |reply| reply.status != 201),
        "a fenced member accepted a write"
    );
    let seen = cluster
        .member(survivor)?
        .api()?
        .get(&config_maps("from-the-past"))
        .await?;
    seen.want(404).map(|_| ())
}

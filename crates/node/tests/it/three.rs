//! Three voters: every member serves, a leader's death loses nothing, the whole cluster can go away and come back.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engenho_harness::{Addresses, Cluster, Load, Record, prepare};
use serde_json::Value;

use crate::support::{RESUME, SETTLED, alone, binary, config_map, config_maps, create, gentle, require_all, value};

const LOADS: &str = "loads";

#[test]
fn three_members_survive_all_that_a_majority_can() {
    alone(async || {
        let mut cluster = Cluster::start(binary(), 3).await?;
        ensure!(cluster.status().await?.names_of("voter") == ["n1", "n2", "n3"]);
        every_member_serves(&cluster).await?;
        nothing_is_written_while_idle(&cluster).await?;
        prepare(&cluster.running()?.api()?, LOADS).await?;
        let mut written = leader_killed(&mut cluster).await?;
        written.extend(leader_stopped(&mut cluster).await?);
        written.extend(everyone_killed(&mut cluster).await?);
        require_all(&cluster.running()?.api()?, LOADS, &written).await?;
        every_address_changed(&mut cluster).await?;
        require_all(&cluster.running()?.api()?, LOADS, &written).await?;
        chain_is_verified_offline(&cluster).await?;
        cluster.finish().await
    });
}

/// What is written through one member is read at once through each other one, and seen by their watches.
async fn every_member_serves(cluster: &Cluster) -> anyhow::Result<()> {
    let clients = cluster.clients_without("")?;
    for (turn, writer) in clients.iter().enumerate() {
        let name = format!("through-{turn}");
        let list = writer.get(&config_maps("")).await?.want(200)?.json()?;
        let version = list["metadata"]["resourceVersion"]
            .as_str()
            .context("no resourceVersion")?;
        let path = format!("{}?watch=true&resourceVersion={version}", config_maps(""));
        let mut watches = Vec::new();
        for client in &clients {
            watches.push(client.lines(&path).await?);
        }
        writer
            .post(&config_maps(""), &config_map(&name, &name))
            .await?
            .want(201)?;
        writer
            .post(&config_maps(""), &config_map(&name, "again"))
            .await?
            .want(409)?;
        for client in &clients {
            ensure!(value(client, &name).await? == name);
        }
        for watch in &mut watches {
            let event = watch.next(Duration::from_secs(5)).await?.context("the watch ended")?;
            ensure!(
                event["type"] == "ADDED" && event["object"]["metadata"]["name"] == name.as_str(),
                "{event}"
            );
        }
    }
    Ok(())
}

/// An idle cluster appends no entry: nothing in it beats in the log.
async fn nothing_is_written_while_idle(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.settled(SETTLED).await?;
    let mut before = cluster.status().await?;
    // Seals of the last role changes and renewals may still be under way: wait until two looks agree.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = cluster.status().await?;
        let quiet = now.applied() == before.applied() && now.chain.sealed == now.chain.height;
        before = now;
        if quiet {
            break;
        }
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let after = cluster.status().await?;
    ensure!(
        after.applied() == before.applied(),
        "{} entries in 10 idle seconds",
        after.applied().saturating_sub(before.applied())
    );
    Ok(())
}

/// kill -9 of the leader while others are written to.
async fn leader_killed(cluster: &mut Cluster) -> anyhow::Result<Record> {
    let leader = cluster.leader().await?;
    let load = Load::start(cluster.clients_without(&leader)?, gentle(LOADS, 0));
    load.resumed_after(Instant::now(), RESUME).await?;
    let killed = Instant::now();
    cluster.member_mut(&leader)?.kill().await?;
    load.resumed_after(killed, RESUME)
        .await
        .with_context(|| cluster.tails(20))?;
    let next = cluster.leader().await?;
    ensure!(next != leader);
    cluster.member_mut(&leader)?.up()?;
    cluster.settled(SETTLED).await?;
    let record = load.stop().await?;
    require_all(&cluster.member(&leader)?.api()?, LOADS, &record).await?;
    Ok(record)
}

/// SIGTERM to the leader: it hands over and is gone within ten seconds.
async fn leader_stopped(cluster: &mut Cluster) -> anyhow::Result<Record> {
    let leader = cluster.leader().await?;
    let load = Load::start(cluster.clients_without(&leader)?, gentle(LOADS, 100_000));
    load.resumed_after(Instant::now(), RESUME).await?;
    let stopped = Instant::now();
    cluster.member_mut(&leader)?.stop(Duration::from_secs(10)).await?;
    load.resumed_after(stopped, RESUME).await?;
    cluster.member_mut(&leader)?.up()?;
    cluster.settled(SETTLED).await?;
    load.stop().await
}

/// Power cut: every member is killed at once, under load, and started again.
async fn everyone_killed(cluster: &mut Cluster) -> anyhow::Result<Record> {
    let load = Load::start(cluster.clients_without("")?, gentle(LOADS, 200_000));
    load.resumed_after(Instant::now(), RESUME).await?;
    cluster.kill_all().await?;
    cluster.restart_all().await?;
    cluster.settled(SETTLED).await?;
    load.resumed_after(Instant::now(), RESUME).await?;
    load.stop().await
}

/// All members stop and come back with other ports on other addresses. They know each other by key.
async fn every_address_changed(cluster: &mut Cluster) -> anyhow::Result<()> {
    let before = cluster.status().await?;
    cluster.stop_all(Duration::from_secs(15)).await?;
    for (member, last) in cluster.members.iter_mut().zip(2..) {
        member.addresses = Addresses::free_on(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
        member.up()?;
    }
    let after = cluster.settled(SETTLED).await?;
    let ids = |status: &engenho_harness::StatusReport| {
        let mut ids: Vec<_> = status
            .members
            .iter()
            .map(|member| (member.name.clone(), member.id.clone()))
            .collect();
        ids.sort();
        ids
    };
    ensure!(
        ids(&before) == ids(&after) && before.cluster_id == after.cluster_id,
        "{before:?}\n{after:?}"
    );
    for member in &cluster.members {
        create(&member.api()?, &format!("after-the-move-of-{}", member.name)).await?;
    }
    Ok(())
}

/// The exported history needs nothing but the cluster id, and no change of it passes.
async fn chain_is_verified_offline(cluster: &Cluster) -> anyhow::Result<()> {
    let member = cluster.running()?;
    let cluster_id = member.status().await?.cluster_id;
    let path = cluster.root().join("chain.json");
    let file = path.to_string_lossy().into_owned();
    member.cli(&["chain", "export", "--out", &file]).await?.ok()?;
    let verify = async |cluster_id: &str, bundle: &Value| {
        std::fs::write(&path, serde_json::to_vec(bundle)?)?;
        engenho_harness::run_cli(
            binary(),
            &["chain", "verify", "--bundle", &file, "--cluster", cluster_id],
        )
        .await
    };
    let bundle: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    let said = verify(&cluster_id, &bundle).await?.ok()?;
    ensure!(said.starts_with("ok: "), "{said}");
    member.cli(&["chain", "verify"]).await?.ok()?;
    member.cli(&["chain", "log"]).await?.ok()?;
    member.cli(&["chain", "show", "1"]).await?.ok()?;

    let tampered = |change: &dyn Fn(&mut Value)| {
        let mut other = bundle.clone();
        change(&mut other);
        other
    };
    let blocks = bundle["blocks"].as_array().map_or(0, Vec::len);
    ensure!(blocks >= 3, "a short history: {blocks} blocks");
    let flip = |text: &mut Value| {
        let flipped: String = text.as_str().unwrap_or_default().chars().rev().collect();
        *text = Value::from(flipped);
    };
    let changes: [(&str, Value); 7] = [
        (
            "a changed reason",
            tampered(&|it| it["blocks"][1]["reason"] = Value::from("another")),
        ),
        ("a changed hash", tampered(&|it| flip(&mut it["blocks"][2]["prev"]))),
        (
            "a dropped block",
            tampered(&|it| drop(it["blocks"].as_array_mut().map(|all| all.remove(1)))),
        ),
        (
            "a dropped last block",
            tampered(&|it| drop(it["blocks"].as_array_mut().map(Vec::pop))),
        ),
        (
            "swapped blocks",
            tampered(&|it| it["blocks"].as_array_mut().into_iter().for_each(|all| all.swap(0, 1))),
        ),
        (
            "a forged seal",
            tampered(&|it| flip(&mut it["seals"][0]["signatures"][0]["signature"])),
        ),
        ("another genesis", tampered(&|it| flip(&mut it["genesis"]["salt"]))),
    ];
    for (what, bundle) in changes {
        let output = verify(&cluster_id, &bundle).await?;
        ensure!(output.code == Some(1), "{what} passed: {output:?}");
    }
    let stranger: String = cluster_id.chars().rev().collect();
    ensure!(
        verify(&stranger, &bundle).await?.code == Some(1),
        "another cluster's id passed"
    );
    Ok(())
}

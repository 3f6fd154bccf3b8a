//! Nine members: eight join at once; workers forward; members are drained, replaced, expelled, and leave.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engenho_harness::{Cluster, Load, StatusReport, prepare};

use crate::support::{RESUME, SETTLED, alone, binary, config_map, config_maps, create, gentle, require_all, value};

const LOADS: &str = "loads";

#[test]
fn nine_members_come_change_and_go() {
    alone(async || {
        let mut cluster = Cluster::found(binary()).await?;
        cluster.grow(8).await?;
        let status = cluster.settled(Duration::from_secs(120)).await?;
        let count = |role| status.names_of(role).len();
        ensure!(
            (count("voter"), count("standby"), count("worker")) == (5, 2, 2),
            "{status:?}"
        );

        a_worker_serves(&cluster, &status).await?;
        a_dead_voter_is_replaced(&mut cluster).await?;
        roles_can_be_asked_for(&mut cluster).await?;
        an_expelled_member_is_refused(&mut cluster).await?;
        a_member_leaves(&mut cluster).await?;
        cluster.finish().await
    });
}

/// A member without a replica authenticates at its own door and forwards.
async fn a_worker_serves(cluster: &Cluster, status: &StatusReport) -> anyhow::Result<()> {
    let worker = cluster.member(status.names_of("worker")[0])?;
    let api = worker.api()?;
    let list = api.get(&config_maps("")).await?.want(200)?.json()?;
    let version = list["metadata"]["resourceVersion"]
        .as_str()
        .context("no resourceVersion")?;
    let mut watch = api
        .lines(&format!("{}?watch=true&resourceVersion={version}", config_maps("")))
        .await?;
    create(&api, "through-a-worker").await?;
    ensure!(value(&api, "through-a-worker").await? == "through-a-worker");
    let event = watch.next(Duration::from_secs(5)).await?.context("the watch ended")?;
    ensure!(event["type"] == "ADDED", "{event}");
    let anonymous = worker.api_as(engenho_harness::Access::Anonymous)?;
    anonymous.get(&config_maps("")).await?.want(403)?;
    let nodes = api.get("/api/v1/nodes").await?.want(200)?.json()?;
    ensure!(
        nodes["items"].as_array().map(Vec::len) == Some(9),
        "{} nodes",
        nodes["items"].as_array().map_or(0, Vec::len)
    );
    api.get(&format!(
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}",
        worker.name
    ))
    .await?
    .want(200)?;
    Ok(())
}

/// The leader dies; a standby takes its seat; when it returns it becomes whatever is needed then.
async fn a_dead_voter_is_replaced(cluster: &mut Cluster) -> anyhow::Result<()> {
    let leader = cluster.leader().await?;
    prepare(&cluster.running()?.api()?, LOADS).await?;
    let load = Load::start(cluster.clients_without(&leader)?, gentle(LOADS, 0));
    load.resumed_after(Instant::now(), RESUME).await?;
    let killed = Instant::now();
    cluster.member_mut(&leader)?.kill().await?;
    load.resumed_after(killed, RESUME)
        .await
        .with_context(|| cluster.tails(20))?;
    let watching = cluster.running()?;
    watching
        .until(
            "five live voters without the dead one",
            Duration::from_secs(30),
            |status| {
                // Until its death is noticed the dead one still counts as alive.
                let voters = status.members.iter().filter(|of| of.votes() && of.is_alive());
                match voters.filter(|of| of.name != leader).count() {
                    5 => Ok(()),
                    votes => Err(format!("{votes} live voters")),
                }
            },
        )
        .await
        .with_context(|| cluster.tails(20))?;
    cluster.member_mut(&leader)?.up()?;
    let status = cluster.settled(SETTLED).await?;
    ensure!(
        status.member(&leader).is_some_and(|member| !member.votes()),
        "it pushed itself back in: {status:?}"
    );
    let record = load.stop().await?;
    require_all(&cluster.member(&leader)?.api()?, LOADS, &record).await?;
    Ok(())
}

/// drain, promote and demote.
async fn roles_can_be_asked_for(cluster: &mut Cluster) -> anyhow::Result<()> {
    let status = cluster.status().await?;
    let leader = cluster.leader().await?;
    let drained = status
        .names_of("voter")
        .into_iter()
        .find(|name| **name != leader)
        .context("no follower")?
        .to_owned();
    let first = cluster.running()?;
    first.cli(&["drain", &drained]).await?.ok()?;
    first
        .until("the drained voter is a worker and was replaced", SETTLED, |status| {
            let role = status.member(&drained).map(|member| member.role.as_str());
            match (role, status.live_votes()) {
                (Some("worker"), 5) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .with_context(|| cluster.tails(20))?;
    first.cli(&["promote", &drained]).await?.ok()?;
    first
        .until("the promoted member votes", SETTLED, |status| {
            let votes = status.member(&drained).is_some_and(|member| member.votes());
            if votes && status.transitions.is_empty() {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
        .with_context(|| cluster.tails(20))?;
    first
        .cli(&["formation", "set", "--voters", "3", "--standbys", "1"])
        .await?
        .ok()?;
    let status = cluster.settled(SETTLED).await?;
    ensure!(
        (status.names_of("voter").len(), status.names_of("standby").len()) == (3, 1),
        "{status:?}"
    );
    ensure!(first.cli(&["formation", "get"]).await?.ok()?.contains('3'));
    Ok(())
}

/// An expelled key is refused everywhere and for good.
async fn an_expelled_member_is_refused(cluster: &mut Cluster) -> anyhow::Result<()> {
    let status = cluster.status().await?;
    let expelled = status
        .names_of("worker")
        .into_iter()
        .rfind(|name| *name != "n1")
        .context("no worker")?
        .to_owned();
    let acting = cluster
        .members
        .iter()
        .find(|member| member.name != expelled)
        .context("nobody else")?;
    acting.cli(&["expel", &expelled]).await?.ok()?;
    acting
        .until("it is out", Duration::from_secs(20), |status| {
            match status.member(&expelled) {
                None => Ok(()),
                Some(member) if member.state == "expelled" => Ok(()),
                Some(member) => Err(format!("{member:?}")),
            }
        })
        .await?;
    // Its own door serves nobody any more, now and after a restart.
    let member = cluster.member_mut(&expelled)?;
    if member.is_running() {
        let _ = member.kill().await;
    }
    member.up()?;
    let _ = member.ready(Duration::from_secs(5)).await;
    let written = match member.api() {
        Ok(api) => api
            .post(&config_maps(""), &config_map("by-the-expelled", "x"))
            .await
            .ok(),
        Err(_) => None,
    };
    ensure!(
        written.is_none_or(|reply| reply.status != 201),
        "an expelled member wrote"
    );
    let log = std::fs::read_to_string(member.log())?;
    ensure!(
        log.contains("expelled"),
        "it does not say why:\n{}",
        member.log_tail(20)
    );
    if member.is_running() {
        let _ = member.kill().await;
    }
    Ok(())
}

/// A voter leaves: it hands over what it had, the process ends in order, and it is no member any more.
async fn a_member_leaves(cluster: &mut Cluster) -> anyhow::Result<()> {
    let status = cluster.status().await?;
    let leaving = status
        .names_of("voter")
        .into_iter()
        .rfind(|name| *name != "n1")
        .context("no voter")?
        .to_owned();
    let member = cluster.member_mut(&leaving)?;
    member.cli(&["leave"]).await?.ok()?;
    let ended = member.exit(Duration::from_secs(30)).await?;
    ensure!(ended.success(), "it ended with {ended}");
    cluster
        .running()?
        .until("it is gone and three vote", SETTLED, |status| {
            let gone = status.member(&leaving).is_none_or(|member| member.state == "left");
            if gone && status.live_votes() == 3 {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
        .with_context(|| cluster.tails(20))?;
    create(&cluster.running()?.api()?, "after-the-leave").await
}

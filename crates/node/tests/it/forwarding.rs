//! A member without a replica forwards writes: when the replica that it asked is killed or stands still, another one
//! gives the true answer.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engenho_harness::{Cluster, Load, LoadOptions, prepare};
use rustix::process::Signal;

use crate::support::{RESUME, SETTLED, alone, binary, gentle, require_all};

const LOADS: &str = "loads";

#[test]
fn every_forwarded_write_has_an_answer() {
    alone(async || {
        let mut cluster = Cluster::start(binary(), 5).await?;
        cluster
            .running()?
            .cli(&["formation", "set", "--voters", "3", "--standbys", "0"])
            .await?
            .ok()?;
        let status = cluster.settled(SETTLED).await?;
        let workers: Vec<String> = status.names_of("worker").into_iter().map(str::to_owned).collect();
        let voters: Vec<String> = status.names_of("voter").into_iter().map(str::to_owned).collect();
        ensure!((workers.len(), voters.len()) == (2, 3), "{status:?}");
        // They stay what they are, whoever dies.
        for worker in &workers {
            cluster.running()?.cli(&["drain", worker]).await?.ok()?;
        }
        prepare(&cluster.running()?.api()?, LOADS).await?;
        let clients = workers
            .iter()
            .map(|name| cluster.member(name)?.api())
            .collect::<anyhow::Result<Vec<_>>>()?;
        let load = Load::start(
            clients,
            LoadOptions {
                interval: Duration::from_millis(10),
                ..gentle(LOADS, 0)
            },
        );
        load.resumed_after(Instant::now(), RESUME).await?;

        // Each voter in turn: whichever the workers like to ask, and the leader of the moment, is among them.
        for voter in &voters {
            let killed = Instant::now();
            cluster.member_mut(voter)?.kill().await?;
            load.resumed_after(killed, RESUME)
                .await
                .with_context(|| cluster.tails(20))?;
            let member = cluster.member_mut(voter)?;
            member.up()?;
            member.ready(SETTLED).await?;
            cluster.settled(SETTLED).await.with_context(|| cluster.tails(20))?;
        }
        // Slow is worse than dead: what it has in flight still arrives when others have answered.
        for voter in &voters {
            let member = cluster.member(voter)?;
            let stopped = Instant::now();
            member.signal(Signal::STOP)?;
            let resumed = load.resumed_after(stopped, RESUME).await;
            member.signal(Signal::CONT)?;
            resumed.with_context(|| cluster.tails(20))?;
            cluster.settled(SETTLED).await.with_context(|| cluster.tails(20))?;
        }
        let record = load.stop().await?;
        let audit = require_all(&cluster.running()?.api()?, LOADS, &record).await?;
        // A 503 or 429 says that nothing was done; nothing else may leave a client in doubt.
        let doubtful: Vec<_> = record
            .unclear()
            .into_iter()
            .filter(|(reason, _)| !matches!(*reason, "status 503" | "status 429"))
            .collect();
        ensure!(doubtful.is_empty(), "{doubtful:?} of {audit:?}\n{}", cluster.tails(20));
        ensure!(audit.unclear_applied == 0, "refused writes were done: {audit:?}");
        cluster.finish().await
    });
}

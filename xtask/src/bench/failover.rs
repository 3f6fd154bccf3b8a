//! What a cluster promises about time: to start, to be joined, to go on without its leader, to be whole again.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engenho_harness::{Cluster, Load, LoadOptions, MemberProcess, Record, Samples, audit, eventually_every, prepare};

use super::FailoverArgs;
use super::report::{Report, Row};

const NAMESPACE: &str = "bench";
const SETTLED: Duration = Duration::from_secs(120);
/// Trials on one cluster. A member that is killed again and again cools down for longer and longer before it is given
/// a role: after more of them the damper is measured, not the failover.
const TRIALS_ON_ONE_MAX: usize = 10;
const MIB: f64 = 1024.0 * 1024.0;

/// Measures all of it.
pub async fn measure(binary: &Path, args: &FailoverArgs) -> anyhow::Result<Report> {
    let bytes = std::fs::metadata(binary)?.len();
    let mut rows = vec![Row::figure("size of the binary", bytes as f64 / MIB, "MiB", Some(45.0))];
    say("starting single members");
    rows.push(Row::times(
        "start of the first member to ready",
        &starts(binary).await?,
        Some(Duration::from_secs(2)),
    ));
    say("joining eight members at once");
    rows.push(Row::times(
        "8 joins at once, each to apiReady",
        &joins_at_once(binary).await?,
        None,
    ));
    say("joining four members in turn");
    let mut joins = Samples::default();
    let mut cluster = five_members(binary, &mut joins).await?;
    say(&format!("watching an idle cluster for {} s", args.idle_s));
    let idle = idle(&cluster, args.idle_s).await?;
    let mut failover = Failover::default();
    let mut trials = 0;
    loop {
        let end = args.trials.min(trials + TRIALS_ON_ONE_MAX);
        failover.kill_leaders(&mut cluster, args, trials..end).await?;
        cluster.finish().await?;
        trials = end;
        if trials >= args.trials {
            break;
        }
        cluster = five_members(binary, &mut joins).await?;
    }
    rows.push(Row::times("join to apiReady", &joins, Some(Duration::from_secs(5))));
    rows.extend(idle);
    rows.extend(failover.rows(args)?);
    Ok(Report {
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        rows,
    })
}

fn say(text: &str) {
    eprintln!("... {text}");
}

async fn starts(binary: &Path) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..5 {
        let mut cluster = Cluster::empty(binary)?;
        let mut member = cluster.next_member();
        member.up()?;
        samples.add(member.ready(SETTLED).await?);
        cluster.members.push(member);
        cluster.finish().await?;
    }
    Ok(samples)
}

async fn joins_at_once(binary: &Path) -> anyhow::Result<Samples> {
    let mut cluster = Cluster::found(binary).await?;
    let samples = cluster.grow(8).await?;
    cluster.settled(SETTLED).await?;
    cluster.finish().await?;
    Ok(samples)
}

/// A cluster of three voters, a standby and a worker, joined in turn.
async fn five_members(binary: &Path, joins: &mut Samples) -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::found(binary).await?;
    cluster.members[0]
        .cli(&["formation", "set", "--voters", "3", "--standbys", "1"])
        .await?
        .ok()?;
    for _ in 0..4 {
        let join = cluster.grow(1).await?;
        joins.add(join.max().context("a join without a time")?);
    }
    cluster.settled(SETTLED).await?;
    Ok(cluster)
}

/// Entries that an idle cluster appends, and the memory of its members afterwards.
async fn idle(cluster: &Cluster, idle_s: u64) -> anyhow::Result<Vec<Row>> {
    // The seals of the last role changes are entries too: they come first.
    let member = cluster.running()?;
    let sealed = |status: &engenho_harness::StatusReport| match status.chain {
        ref chain if chain.sealed >= chain.height => Ok(()),
        ref chain => Err(format!("{} of {} blocks are sealed", chain.sealed, chain.height)),
    };
    member
        .until("every block is sealed", Duration::from_secs(30), sealed)
        .await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = cluster.status().await?.applied();
    tokio::time::sleep(Duration::from_secs(idle_s)).await;
    let status = cluster.status().await?;
    let entries = status.applied().saturating_sub(before);
    let rss = |role: &str| -> anyhow::Result<f64> {
        let members = status.names_of(role);
        let sizes = members
            .iter()
            .map(|name| cluster.member(name)?.rss_bytes())
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(sizes.into_iter().max().with_context(|| format!("no {role}"))? as f64 / MIB)
    };
    Ok(vec![
        Row::figure(
            &format!("entries appended in {idle_s} idle seconds"),
            entries as f64,
            "entries",
            Some(0.0),
        ),
        Row::figure("memory of the largest voter, idle", rss("voter")?, "MiB", Some(100.0)),
        Row::figure("memory of the worker, idle", rss("worker")?, "MiB", Some(60.0)),
    ])
}

/// What killing leaders showed.
#[derive(Default)]
struct Failover {
    resumed: Samples,
    replaced: Samples,
    acknowledged: usize,
    lost: usize,
    duplicated: usize,
    unclear_applied: usize,
    unclear_absent: usize,
}

impl Failover {
    /// Kills the leader again and again under a write load through the others, then reads everything back.
    async fn kill_leaders(
        &mut self,
        cluster: &mut Cluster,
        args: &FailoverArgs,
        trials: Range<usize>,
    ) -> anyhow::Result<()> {
        prepare(&cluster.running()?.api()?, NAMESPACE).await?;
        let mut written = Record::default();
        for trial in trials {
            cluster.settled(SETTLED).await?;
            let leader = cluster.leader().await?;
            let options = LoadOptions {
                namespace: NAMESPACE.into(),
                interval: Duration::from_nanos(1_000_000_000 / args.rate),
                deadline: Duration::from_secs(30),
                first_id: trial as u64 * 1_000_000,
            };
            let load = Load::start(cluster.clients_without(&leader)?, options);
            load.resumed_after(Instant::now(), Duration::from_secs(10)).await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let killed = Instant::now();
            cluster.member_mut(&leader)?.kill().await?;
            let outage = load
                .resumed_after(killed, Duration::from_secs(30))
                .await
                .with_context(|| cluster.tails(25))?;
            self.resumed.add(outage);
            let whole = replacement(cluster, &leader, killed).await?;
            self.replaced.add(whole);
            say(&format!(
                "trial {}: {leader} killed, writes after {:.2} s, three voters serve after {:.2} s",
                trial + 1,
                outage.as_secs_f64(),
                whole.as_secs_f64()
            ));
            cluster.member_mut(&leader)?.up()?;
            written.extend(load.stop().await?);
        }
        cluster.settled(SETTLED).await?;
        let reader = cluster.running()?.api()?;
        let audit = audit(&reader, NAMESPACE, &written).await?;
        say(&format!(
            "{} writes acknowledged, without an answer: {:?}",
            audit.acknowledged,
            written.unclear()
        ));
        self.acknowledged += audit.acknowledged;
        self.lost += audit.lost.len();
        self.duplicated += audit.duplicated.len();
        self.unclear_applied += audit.unclear_applied;
        self.unclear_absent += audit.unclear_absent;
        Ok(())
    }

    fn rows(&self, args: &FailoverArgs) -> anyhow::Result<Vec<Row>> {
        ensure!(self.acknowledged > 0 || args.trials == 0, "no write was acknowledged");
        let writes = |what: &str, count: usize, most: Option<f64>| Row::figure(what, count as f64, "writes", most);
        Ok(vec![
            Row::times(
                "leader killed -9: until writes resume",
                &self.resumed,
                Some(Duration::from_secs(2)),
            ),
            Row::times(
                "leader killed -9: until a spare serves as voter",
                &self.replaced,
                Some(Duration::from_secs(10)),
            ),
            writes("acknowledged writes", self.acknowledged, None),
            writes("acknowledged writes that are lost", self.lost, Some(0.0)),
            writes("writes that are applied twice", self.duplicated, Some(0.0)),
            writes("writes without an answer that are there", self.unclear_applied, None),
            writes("writes without an answer that are not there", self.unclear_absent, None),
        ])
    }
}

/// Time from the death until three live voters serve again.
async fn replacement(cluster: &Cluster, dead: &str, killed: Instant) -> anyhow::Result<Duration> {
    let watching: &MemberProcess = cluster.running()?;
    let serving = eventually_every(
        "three voters serve again",
        Duration::from_secs(60),
        Duration::from_millis(50),
        async || {
            let status = watching.status().await?;
            let serving = status
                .members
                .iter()
                .filter(|of| of.name != dead && of.votes() && of.is_alive() && of.api_ready);
            let count = serving.count();
            ensure!(count >= 3, "{count} of them");
            Ok(())
        },
    );
    serving.await.with_context(|| cluster.tails(25))?;
    Ok(killed.elapsed())
}

//! Several members of one cluster.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::api::ApiClient;
use crate::process::MemberProcess;
use crate::samples::Samples;
use crate::status::StatusReport;
use crate::wait::eventually;

/// From start to the line that says a member is ready: generous, for unoptimised builds on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// A cluster of local processes. Unless it is [finished](Cluster::finish), its files stay and are named when it is
/// dropped: then something went wrong.
pub struct Cluster {
    /// Members in the order of their start.
    pub members: Vec<MemberProcess>,
    binary: PathBuf,
    dir: Option<TempDir>,
    root: PathBuf,
}

impl Cluster {
    /// Founds a cluster of one member, `n1`.
    pub async fn found(binary: &Path) -> anyhow::Result<Self> {
        let mut cluster = Self::empty(binary)?;
        let mut first = MemberProcess::new(binary, &cluster.root, "n1");
        first.up()?;
        first.ready(READY).await?;
        cluster.members.push(first);
        Ok(cluster)
    }

    /// A directory for members, none of them started.
    pub fn empty(binary: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("engenho-").tempdir()?;
        let root = dir.path().to_owned();
        Ok(Self {
            members: Vec::new(),
            binary: binary.to_owned(),
            dir: Some(dir),
            root,
        })
    }

    /// A cluster of `count` members in its wanted shape.
    pub async fn start(binary: &Path, count: usize) -> anyhow::Result<Self> {
        let mut cluster = Self::found(binary).await?;
        cluster.grow(count.saturating_sub(1)).await?;
        cluster.settled(Duration::from_secs(90)).await?;
        Ok(cluster)
    }

    /// The directory of all members.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A member of the next name that has not been started.
    pub fn next_member(&self) -> MemberProcess {
        MemberProcess::new(&self.binary, &self.root, &format!("n{}", self.members.len() + 1))
    }

    /// Starts `count` more members at once. Gives how long each took from start to `apiReady` as the first sees it.
    pub async fn grow(&mut self, count: usize) -> anyhow::Result<Samples> {
        if count == 0 {
            return Ok(Samples::default());
        }
        let ticket = self.running()?.ticket(u32::try_from(count)?).await?;
        let started = Instant::now();
        let mut waiting = Vec::new();
        for _ in 0..count {
            let mut member = self.next_member();
            member.join(&ticket, false)?;
            waiting.push(member.name.clone());
            self.members.push(member);
        }
        let mut samples = Samples::default();
        eventually("every newcomer's API is ready", READY, async || {
            let status = self.status().await?;
            waiting.retain(|name| {
                let ready = status.member(name).is_some_and(|member| member.api_ready);
                if ready {
                    samples.add(started.elapsed());
                }
                !ready
            });
            match waiting.as_slice() {
                [] => Ok(()),
                names => bail!("{} not ready", names.join(", ")),
            }
        })
        .await
        .with_context(|| self.tails(15))?;
        Ok(samples)
    }

    /// The first member that runs.
    pub fn running(&self) -> anyhow::Result<&MemberProcess> {
        self.members
            .iter()
            .find(|member| member.is_running())
            .context("no member runs")
    }

    /// The status as the first running member sees it.
    pub async fn status(&self) -> anyhow::Result<StatusReport> {
        self.running()?.status().await
    }

    /// The member of that name.
    pub fn member(&self, name: &str) -> anyhow::Result<&MemberProcess> {
        self.members
            .iter()
            .find(|member| member.name == name)
            .with_context(|| format!("no member {name}"))
    }

    /// The member of that name.
    pub fn member_mut(&mut self, name: &str) -> anyhow::Result<&mut MemberProcess> {
        self.members
            .iter_mut()
            .find(|member| member.name == name)
            .with_context(|| format!("no member {name}"))
    }

    /// Name of the leader, once everyone who runs agrees on it.
    pub async fn leader(&self) -> anyhow::Result<String> {
        eventually(
            "a leader that is known to a member",
            Duration::from_secs(20),
            async || {
                let status = self.status().await?;
                let name = status.leader_name().context("no leader is known")?.to_owned();
                if !self.member(&name)?.is_running() {
                    bail!("{name} is dead and still said to lead");
                }
                Ok(name)
            },
        )
        .await
    }

    /// Clients of all running members but one.
    pub fn clients_without(&self, name: &str) -> anyhow::Result<Vec<ApiClient>> {
        self.members
            .iter()
            .filter(|member| member.is_running() && member.name != name)
            .map(MemberProcess::api)
            .collect()
    }

    /// Waits for the wanted shape with everyone alive, no role change in flight, every API answering; every running
    /// member has to see it so, since one that has just started may show an old picture.
    pub async fn settled(&self, deadline: Duration) -> anyhow::Result<StatusReport> {
        let settled = eventually("the cluster has its shape", deadline, async || {
            let mut last: Option<StatusReport> = None;
            for member in self.members.iter().filter(|member| member.is_running()) {
                let status = member.status().await?;
                if let Some(reason) = status.unsettled() {
                    bail!("{} says: {reason}", member.name);
                }
                if let Some(other) = last.filter(|other| (other.term, &other.leader) != (status.term, &status.leader)) {
                    bail!(
                        "{} sees {:?} lead, another {:?}",
                        member.name,
                        status.leader_name(),
                        other.leader_name()
                    );
                }
                last = Some(status);
            }
            last.context("no member runs")
        });
        settled.await.with_context(|| self.tails(25))
    }

    /// kill -9 of every member that runs.
    pub async fn kill_all(&mut self) -> anyhow::Result<()> {
        for member in self.members.iter_mut().filter(|member| member.is_running()) {
            member.kill().await?;
        }
        Ok(())
    }

    /// SIGTERM to every member that runs, all at once; waits for all.
    pub async fn stop_all(&mut self, deadline: Duration) -> anyhow::Result<()> {
        for member in self.members.iter().filter(|member| member.is_running()) {
            member.signal(rustix::process::Signal::TERM)?;
        }
        for member in self.members.iter_mut().filter(|member| member.is_running()) {
            member.exit(deadline).await?;
        }
        Ok(())
    }

    /// `engenho up` for every member that does not run, then waits for all of them.
    pub async fn restart_all(&mut self) -> anyhow::Result<()> {
        for member in self.members.iter_mut().filter(|member| !member.is_running()) {
            member.up()?;
        }
        for member in &mut self.members {
            member.ready(READY).await?;
        }
        Ok(())
    }

    /// All is well: ends every process and removes the files.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        self.kill_all().await?;
        if let Some(dir) = self.dir.take() {
            dir.close()?;
        }
        Ok(())
    }

    /// The end of every log.
    pub fn tails(&self, lines: usize) -> String {
        let mut text = String::new();
        for member in &self.members {
            text.push_str(&format!("--- {} ---\n{}\n", member.name, member.log_tail(lines)));
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(dir) = self.dir.take() {
            eprintln!(
                "{}\nthe files of this cluster stay in {}",
                self.tails(20),
                dir.keep().display()
            );
        }
    }
}

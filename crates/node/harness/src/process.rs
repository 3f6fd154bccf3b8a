//! One member as a process, and the command line beside it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::api::{Access, ApiClient};
use crate::status::StatusReport;
use crate::wait::eventually;

/// Deadline of a local command.
const CLI: Duration = Duration::from_secs(30);

/// Below the range from which the system takes ports for outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on, for TCP and UDP, handed out once by this process.
pub fn free_port(ip: IpAddr) -> u16 {
    let span = PORTS.end - PORTS.start;
    let first = (std::process::id() % u32::from(span)) as u16;
    loop {
        let port = PORTS.start + (first + NEXT_PORT.fetch_add(1, Ordering::Relaxed) % span) % span;
        if TcpListener::bind((ip, port)).is_ok() && UdpSocket::bind((ip, port)).is_ok() {
            return port;
        }
    }
}

/// Where a member listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// TCP.
    pub api: SocketAddr,
    /// UDP.
    pub mesh: SocketAddr,
}

impl Addresses {
    /// Free ports on 127.0.0.1.
    pub fn free() -> Self {
        Self::free_on(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Free ports on another loopback address.
    pub fn free_on(ip: IpAddr) -> Self {
        Self {
            api: SocketAddr::new(ip, free_port(ip)),
            mesh: SocketAddr::new(ip, free_port(ip)),
        }
    }
}

/// What a local command printed.
#[derive(Debug, Clone)]
pub struct CliOutput {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl CliOutput {
    /// Standard output, if the command succeeded.
    pub fn ok(self) -> anyhow::Result<String> {
        ensure!(
            self.code == Some(0),
            "exit code {:?}: {}{}",
            self.code,
            self.stderr,
            self.stdout
        );
        Ok(self.stdout)
    }

    /// Standard error, if the command failed with that code.
    pub fn refused(self, code: i32) -> anyhow::Result<String> {
        ensure!(
            self.code == Some(code),
            "exit code {:?}, want {code}: {}{}",
            self.code,
            self.stderr,
            self.stdout
        );
        Ok(self.stderr)
    }
}

/// A member: its directory stays when its process ends.
pub struct MemberProcess {
    /// Name in the cluster.
    pub name: String,
    /// Where it listens, or listened last.
    pub addresses: Addresses,
    /// Flags it gets at each start, besides those of the harness.
    pub flags: Vec<String>,
    /// Environment it gets at each start.
    pub environment: Vec<(String, String)>,
    binary: PathBuf,
    dir: PathBuf,
    child: Option<Running>,
}

struct Running {
    child: Child,
    started: Instant,
    ready: watch::Receiver<Option<Instant>>,
}

impl MemberProcess {
    /// A member that has not been started; its files will be in `root`.
    pub fn new(binary: &Path, root: &Path, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            addresses: Addresses::free(),
            flags: Vec::new(),
            environment: Vec::new(),
            binary: binary.to_owned(),
            dir: root.join(name),
            child: None,
        }
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.dir
    }

    /// The kubeconfig it writes.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// Everything its processes printed.
    pub fn log(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    /// The last lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(self.log())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// A client of its API as the administrator.
    pub fn api(&self) -> anyhow::Result<ApiClient> {
        ApiClient::from_kubeconfig(&self.kubeconfig())
    }

    /// A client of its API that authenticates in another way.
    pub fn api_as(&self, access: Access) -> anyhow::Result<ApiClient> {
        ApiClient::with_access(&self.kubeconfig(), access)
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref()?.child.id()
    }

    /// Whether its process runs: started, and neither waited for nor ended by itself.
    pub fn is_running(&self) -> bool {
        let Some(pid) = self.pid() else { return false };
        // An ended process that nobody waited for yet is a zombie. The state follows the name, which is in parentheses.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    /// `engenho up`.
    pub fn up(&mut self) -> anyhow::Result<()> {
        self.start(&["up"])
    }

    /// `engenho join TICKET`.
    pub fn join(&mut self, ticket: &str, witness: bool) -> anyhow::Result<()> {
        match witness {
            true => self.start(&["join", ticket, "--witness"]),
            false => self.start(&["join", ticket]),
        }
    }

    fn start(&mut self, command: &[&str]) -> anyhow::Result<()> {
        ensure!(!self.is_running(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut child = self.command(command);
        child
            .args([
                "--name",
                &self.name,
                "--runtime",
                "none",
                "--metrics",
                "off",
                "--log",
                "text",
            ])
            .args([
                "--api",
                &self.addresses.api.to_string(),
                "--mesh",
                &self.addresses.mesh.to_string(),
            ])
            .args(&self.flags)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?)
            .kill_on_drop(true);
        let started = Instant::now();
        let mut child = child
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        let (ready_tx, ready) = watch::channel(None);
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(follow(stdout, log, ready_tx));
        }
        self.child = Some(Running { child, started, ready });
        Ok(())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = clean_command(&self.binary);
        command.args(args).arg("--data-dir").arg(&self.dir);
        command
    }

    /// From start to the line that says it is ready.
    pub async fn ready(&mut self, deadline: Duration) -> anyhow::Result<Duration> {
        let running = self.child.as_mut().context("it does not run")?;
        let started = running.started;
        let waited = tokio::time::timeout(deadline, running.ready.wait_for(Option::is_some)).await;
        match waited.map(|said| said.map(|at| *at)) {
            Ok(Ok(at)) => return Ok(at.map_or(deadline, |at| at.duration_since(started))),
            Ok(Err(_)) => {}
            Err(_) => bail!(
                "{} is not ready within {} s:\n{}",
                self.name,
                deadline.as_secs(),
                self.log_tail(20)
            ),
        }
        let status = self.exit(Duration::from_secs(5)).await?;
        bail!(
            "{} ended with {status} before it was ready:\n{}",
            self.name,
            self.log_tail(20)
        )
    }

    /// kill -9, and waits until it is gone.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let mut running = self.child.take().context("it does not run")?;
        running.child.start_kill()?;
        running.child.wait().await?;
        Ok(())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self
            .pid()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw)
            .context("it does not run")?;
        Ok(kill_process(pid, signal)?)
    }

    /// SIGTERM; how long it took to end. It has to end in order.
    pub async fn stop(&mut self, deadline: Duration) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.signal(Signal::TERM)?;
        let status = self.exit(deadline).await?;
        ensure!(
            status.success(),
            "{} ended with {status} after SIGTERM:\n{}",
            self.name,
            self.log_tail(20)
        );
        Ok(started.elapsed())
    }

    /// Waits for the process to end by itself.
    pub async fn exit(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let running = self.child.as_mut().context("it does not run")?;
        match tokio::time::timeout(deadline, running.child.wait()).await {
            Ok(status) => {
                self.child = None;
                Ok(status?)
            }
            Err(_) => bail!(
                "{} still runs after {} s:\n{}",
                self.name,
                deadline.as_secs(),
                self.log_tail(20)
            ),
        }
    }

    /// Runs a command beside the member.
    pub async fn cli(&self, args: &[&str]) -> anyhow::Result<CliOutput> {
        run(self.command(args), CLI).await
    }

    /// `engenho status -o json`.
    pub async fn status(&self) -> anyhow::Result<StatusReport> {
        let text = self.cli(&["status", "-o", "json"]).await?.ok()?;
        serde_json::from_str(&text).with_context(|| format!("status that cannot be read: {text}"))
    }

    /// `engenho ticket`, the ticket alone.
    pub async fn ticket(&self, uses: u32) -> anyhow::Result<String> {
        self.ticket_with(&["--uses", &uses.to_string()]).await
    }

    /// `engenho ticket` with flags, the ticket alone.
    pub async fn ticket_with(&self, flags: &[&str]) -> anyhow::Result<String> {
        let mut args = vec!["ticket"];
        args.extend(flags);
        let text = self.cli(&args).await?.ok()?;
        text.split_whitespace()
            .find(|word| word.starts_with("engenho1"))
            .map(str::to_owned)
            .with_context(|| format!("no ticket in {text}"))
    }

    /// Waits until the status is as wanted.
    pub async fn until(
        &self,
        what: &str,
        deadline: Duration,
        check: impl Fn(&StatusReport) -> Result<(), String>,
    ) -> anyhow::Result<StatusReport> {
        eventually(what, deadline, async || {
            let status = self.status().await?;
            check(&status).map_err(anyhow::Error::msg)?;
            Ok(status)
        })
        .await
    }

    /// Processor time that the process has used, in user and kernel mode. In steps of 10 ms.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        let pid = self.pid().context("it does not run")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // Fields are counted from the state, which follows the name in parentheses: utime and stime are 14 and 15 of all.
        let (_, rest) = stat.rsplit_once(") ").context("/proc/PID/stat without a name")?;
        let ticks: u64 = rest
            .split(' ')
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().context("/proc/PID/stat without times"))
            .sum::<anyhow::Result<u64>>()?;
        let hz = rustix::param::clock_ticks_per_second().max(1);
        Ok(Duration::from_millis(ticks * 1000 / hz))
    }

    /// Resident memory of the process, bytes.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        let pid = self.pid().context("it does not run")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }
}

/// Runs the binary with exactly these arguments.
pub async fn run_cli(binary: &Path, args: &[&str]) -> anyhow::Result<CliOutput> {
    let mut command = clean_command(binary);
    command.args(args);
    run(command, CLI).await
}

/// Runs any command to its end, without input.
pub async fn run(mut command: Command, deadline: Duration) -> anyhow::Result<CliOutput> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(deadline, command.output())
        .await
        .with_context(|| format!("{:?} takes more than {} s", command.as_std(), deadline.as_secs()))??;
    Ok(CliOutput {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The binary without settings from the environment of whoever runs the checks.
fn clean_command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ENGENHO_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").env_remove("NOTIFY_SOCKET");
    command
}

/// Copies what a member prints to its log and tells when it says that it is ready.
async fn follow(stdout: impl AsyncRead + Unpin, mut log: File, ready: watch::Sender<Option<Instant>>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with("ready:") {
            ready.send_replace(Some(Instant::now()));
        }
        // A full disk shows elsewhere.
        let _ = writeln!(log, "{line}");
    }
}

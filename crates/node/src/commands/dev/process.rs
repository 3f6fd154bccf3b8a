//! One member of a development cluster: a child process with its own data directory, ports and log.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::place::{Place, Ports};
use crate::cli::{DevArgs, LogFormat};
use crate::output::{CommandError, clean};

/// How long a member may take to stop before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How much of a dead member's log is shown.
const TAIL_LINES: usize = 12;
const TAIL_BYTES: u64 = 16 * 1024;

/// What all members are started with.
pub struct Spawn {
    executable: PathBuf,
    log: &'static str,
    log_level: String,
    inherited: Vec<OsString>,
}

impl Spawn {
    /// From the flags of `dev`.
    pub fn new(args: &DevArgs) -> Result<Self, CommandError> {
        let executable = std::env::current_exe().map_err(|error| {
            CommandError::failed(
                format!("this executable cannot be found: {error}"),
                "run it by its full path",
            )
        })?;
        // Settings of this process are not the members': a name or port would be given to all of them.
        let inherited = std::env::vars_os()
            .map(|(name, _)| name)
            .filter(|name| name.to_string_lossy().starts_with("ENGENHO_") || name == "NOTIFY_SOCKET");
        Ok(Self {
            executable,
            log: match args.log.log {
                LogFormat::Json => "json",
                LogFormat::Text => "text",
            },
            log_level: args.log.log_level.clone(),
            inherited: inherited.collect(),
        })
    }
}

/// A member.
pub struct Process {
    /// Name.
    pub name: String,
    /// Data directory.
    pub dir: PathBuf,
    ports: Ports,
    peers: Vec<SocketAddr>,
    log: PathBuf,
    old: bool,
    child: Option<Child>,
    started: Option<Instant>,
    ready: bool,
}

impl Process {
    /// A member that was not started yet, among members with these ports.
    pub fn new(place: &Place, name: &str, ports: Ports, all: &[Ports]) -> Self {
        let dir = place.path().join(name);
        Self {
            name: name.to_owned(),
            // It is written once the member was in a cluster.
            old: dir.join("admin.kubeconfig").exists(),
            log: dir.join("engenho.log"),
            dir,
            ports,
            peers: all
                .iter()
                .map(|other| other.mesh)
                .filter(|mesh| *mesh != ports.mesh)
                .collect(),
            child: None,
            started: None,
            ready: false,
        }
    }

    /// Whether it was in a cluster before.
    pub fn is_old(&self) -> bool {
        self.old
    }

    /// Whether it was started.
    pub fn is_started(&self) -> bool {
        self.started.is_some()
    }

    /// Whether its process is there.
    pub fn is_alive(&self) -> bool {
        self.child.is_some()
    }

    /// Whether its API answered.
    pub fn is_ready(&self) -> bool {
        self.ready && self.is_alive()
    }

    /// Its log.
    pub fn log_path(&self) -> PathBuf {
        self.log.clone()
    }

    /// Starts it, with a ticket in another member's cluster.
    pub fn start(&mut self, spawn: &Spawn, ticket: Option<&str>) -> Result<(), CommandError> {
        let failed = |error: std::io::Error| {
            CommandError::failed(
                format!("member {} cannot be started: {error}", self.name),
                "check that --dir can be written and that `ulimit -u` allows more processes",
            )
        };
        let log = self.open_log().map_err(failed)?;
        let mut command = Command::new(&spawn.executable);
        match ticket {
            None => command.arg("up"),
            Some(_) => command.arg("join"),
        };
        if self.old {
            // The others may have got other ports than those it remembers.
            for peer in &self.peers {
                command.arg("--peer").arg(peer.to_string());
            }
        }
        for name in &spawn.inherited {
            command.env_remove(name);
        }
        if let Some(ticket) = ticket {
            // Not as an argument: everybody on this machine can read those.
            command.env("ENGENHO_TICKET", ticket);
        }
        command
            .args(["--name", &self.name])
            .arg("--data-dir")
            .arg(&self.dir)
            .args(["--api", &self.ports.api.to_string()])
            .args(["--mesh", &self.ports.mesh.to_string()])
            .args(["--metrics", &self.ports.metrics.to_string()])
            .args([
                "--advertise",
                "127.0.0.1",
                "--no-discovery",
                "--runtime",
                "none",
                "--stop-with-stdin",
            ])
            .args(["--log", spawn.log, "--log-level", &spawn.log_level])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // Ctrl-C is for this process, which then stops them one and all.
            .process_group(0)
            .kill_on_drop(true);
        self.child = Some(command.spawn().map_err(failed)?);
        self.started = Some(Instant::now());
        Ok(())
    }

    fn open_log(&self) -> std::io::Result<File> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log)
    }

    /// Notices that its API answers; the line is returned once.
    pub fn became_ready(&mut self) -> Option<String> {
        let kubeconfig = self.dir.join("admin.kubeconfig");
        if self.ready || !kubeconfig.exists() {
            return None;
        }
        self.ready = true;
        let elapsed = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        Some(format!(
            "{:<4} https://{}  ready in {elapsed:.1} s  export KUBECONFIG={}",
            self.name,
            self.ports.api,
            kubeconfig.display()
        ))
    }

    /// Notices that it ended; what to say of it is returned once.
    pub fn check_exit(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        let tail = tail(&self.log).unwrap_or_else(|error| format!("  (its log cannot be read: {error})"));
        Some(format!(
            "{} ended ({status}); the end of {}:\n{tail}",
            self.name,
            self.log.display()
        ))
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        let id = self
            .child
            .as_ref()
            .and_then(Child::id)
            .and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            // It may have ended just now.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for its end, and kills it when it takes too long.
    pub async fn reap(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if tokio::time::timeout(STOP_DEADLINE, child.wait()).await.is_err() {
            tracing::warn!(member = %self.name, "did not stop in time and is killed");
            let _ = child.kill().await;
        }
    }
}

/// The last lines of a file, indented.
fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut raw = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut raw)?;
    let text = String::from_utf8_lossy(&raw);
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    Ok(last
        .iter()
        .map(|line| format!("  {}", clean(line)))
        .collect::<Vec<_>>()
        .join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let text: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let tail = tail(&path).unwrap();
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("  line 9999"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(super::tail(&path).unwrap(), "");
    }
}

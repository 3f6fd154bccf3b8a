//! kubectl, as unmodified upstream, against one member.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::process::{CliOutput, run};

/// Deadline of one command.
const DEADLINE: Duration = Duration::from_secs(60);

/// One kubectl binary.
#[derive(Debug, Clone)]
pub struct Kubectl {
    binary: PathBuf,
    cache: PathBuf,
}

/// A `kubectl get --watch` that runs.
pub struct Watching {
    _child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Kubectl {
    /// Those that `ENGENHO_KUBECTL` lists (separated by colons), else the one in PATH. `cache` is where they may keep
    /// what they learn of a server.
    pub fn all(cache: &Path) -> Vec<Self> {
        let listed = std::env::var_os("ENGENHO_KUBECTL");
        let candidates: Vec<PathBuf> = match &listed {
            Some(list) => std::env::split_paths(list).collect(),
            None => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&path)
                    .map(|dir| dir.join("kubectl"))
                    .find(|file| file.is_file())
                    .into_iter()
                    .collect()
            }
        };
        candidates
            .into_iter()
            .map(|binary| Self {
                binary,
                cache: cache.to_owned(),
            })
            .collect()
    }

    /// Where it is.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    fn command(&self, kubeconfig: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--cache-dir")
            .arg(&self.cache)
            .args(args)
            .env_remove("KUBECONFIG")
            .env("KUBE_EDITOR", "sed -i s/before-edit/after-edit/");
        command
    }

    /// Runs a command.
    pub async fn run(&self, kubeconfig: &Path, args: &[&str]) -> anyhow::Result<CliOutput> {
        run(self.command(kubeconfig, args), DEADLINE).await
    }

    /// Runs a command that has to succeed; gives what it printed.
    pub async fn ok(&self, kubeconfig: &Path, args: &[&str]) -> anyhow::Result<String> {
        let output = self.run(kubeconfig, args).await?;
        output.ok().with_context(|| format!("kubectl {}", args.join(" ")))
    }

    /// Runs a command that reads a manifest from its standard input and has to succeed.
    pub async fn with_input(&self, kubeconfig: &Path, args: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = self.command(kubeconfig, args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await??;
        let output = CliOutput {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        output.ok().with_context(|| format!("kubectl {}", args.join(" ")))
    }

    /// Starts a command that goes on printing.
    pub fn watch(&self, kubeconfig: &Path, args: &[&str]) -> anyhow::Result<Watching> {
        let mut command = self.command(kubeconfig, args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        Ok(Watching {
            _child: child,
            lines: BufReader::new(stdout).lines(),
        })
    }
}

impl Watching {
    /// Reads on until a line contains the text.
    pub async fn until(&mut self, text: &str, deadline: Duration) -> anyhow::Result<()> {
        let seen = async {
            while let Some(line) = self.lines.next_line().await? {
                if line.contains(text) {
                    return Ok(());
                }
            }
            anyhow::bail!("it ended without {text}")
        };
        tokio::time::timeout(deadline, seen)
            .await
            .with_context(|| format!("no line with {text} in time"))?
    }
}

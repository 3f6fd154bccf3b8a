//! The data directory: one process at a time, this member's key, its start counter.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revoada_core::key::SecretKey;
use rustix::fs::{FlockOperation, flock};

use crate::admin::api::{Failure, FailureKind};

/// An open data directory; the lock is held until it is dropped.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// A failure that is the user's to mend.
pub fn refused(message: impl Into<String>) -> anyhow::Error {
    Failure {
        kind: FailureKind::Refused,
        message: message.into(),
    }
    .into()
}

impl DataDir {
    /// Makes the directory if need be (mode 0700) and takes its lock.
    pub fn open(path: &Path) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| {
                format!(
                    "the data directory {} cannot be made: choose another with --data-dir",
                    path.display()
                )
            })?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).with_context(|| {
            format!(
                "the data directory {} is not this user's: choose another with --data-dir",
                path.display()
            )
        })?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .with_context(|| {
                format!(
                    "{} cannot be written: is the data directory writable?",
                    lock_path.display()
                )
            })?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut owner = String::new();
            // Only for the message: whoever holds the lock wrote its process id.
            let _ = (&mut lock).take(32).read_to_string(&mut owner);
            return Err(refused(format!(
                "the data directory {} is in use by a running engenho (process {}): stop it or choose another with --data-dir",
                path.display(),
                owner.trim()
            )));
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .with_context(|| format!("writing {}", lock_path.display()))?;
        Ok(Self {
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or directory in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// This member's key, made on first start.
    pub fn key(&self) -> Result<SecretKey> {
        let path = self.join("member.key");
        match fs::read(&path) {
            Ok(raw) => match <[u8; 32]>::try_from(raw.as_slice()) {
                Ok(seed) => Ok(SecretKey::from_bytes(&seed)),
                Err(_) => bail!(
                    "{} has {} bytes, a member key has 32: restore it from a backup, or move the data directory aside and join again",
                    path.display(),
                    raw.len()
                ),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if self.join("member.bin").exists() {
                    bail!(
                        "{} is missing but the member was in a cluster: restore it from a backup, or move the data directory aside and join again",
                        path.display()
                    );
                }
                let mut seed = [0; 32];
                super::os::OsEntropy.fill_checked(&mut seed)?;
                engenho_engine::pki::write_private(&path, &seed)
                    .with_context(|| format!("writing {}", path.display()))?;
                Ok(SecretKey::from_bytes(&seed))
            }
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// A number larger than at every earlier start, whatever the clock does.
    pub fn next_boot(&self, now_unix_ms: u64) -> Result<u64> {
        let path = self.join("boot");
        let last = match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse()
                .with_context(|| format!("{} holds no number", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let boot = u64::max(last + 1, now_unix_ms);
        revoada_log::write_file(&revoada_log::OsDisk, &path, format!("{boot}\n").as_bytes())
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(boot)
    }
}

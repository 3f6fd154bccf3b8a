//! Errors: what opening a log or snapshot store may find, and what running ones report.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a log or a snapshot store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused an operation.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried, as a verb: "read", "sync".
        action: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// Data that had been synced is no longer what was written. Going on could forget acknowledged writes or a vote.
    #[error("{path} is damaged at byte {offset}: {what}", path = .path.display())]
    Damaged {
        /// The damaged or missing file.
        path: PathBuf,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// What was found there.
        what: String,
    },
    /// The file was written by another version of this program.
    #[error("{path} has format version {version}, this program reads version {supported}", path = .path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version it claims.
        version: u32,
        /// The version this program writes and reads.
        supported: u32,
    },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            offset,
            what: what.into(),
        }
    }

    /// What the operator can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room in the file system of DATA_DIR and start again; nothing acknowledged was lost"
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "let the user that runs engenho read and write DATA_DIR, then start again"
            }
            Self::Io { .. } => "check the disk and the mount of DATA_DIR (dmesg, smartctl), then start again",
            Self::Damaged { .. } => {
                "rebuild this member from its peers: on another member run `engenho expel <member>`, \
                 move DATA_DIR aside and `engenho join` with a new ticket"
            }
            Self::UnknownVersion { .. } => {
                "run the version of engenho that wrote this DATA_DIR, or a newer one; nothing was changed"
            }
        }
    }
}

/// The first I/O error of a log. Every later call fails with it: after a failed sync nobody knows what the kernel
/// dropped, so the only safe continuation is to open the log anew.
///
/// It is the inner error of the [`io::Error`] that callbacks and reads get, whose kind is that of the first error.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the log stopped when it could not {action} {path}: {source}", path = .path.display())]
pub struct Poisoned {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// The file or directory it was tried on.
    pub path: PathBuf,
    /// What the disk said.
    #[source]
    pub source: Arc<io::Error>,
}

impl Poisoned {
    pub(crate) fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self {
            action,
            path,
            source: Arc::new(source),
        }
    }

    pub(crate) fn to_io(&self) -> io::Error {
        io::Error::new(self.source.kind(), self.clone())
    }
}

/// An entry read back from disk isn't what was written. Inner error of an [`io::Error`] of kind `InvalidData`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("log entry {index} in {path} at byte {offset} is damaged: its checksum does not match", path = .path.display())]
pub struct DamagedEntry {
    /// The segment file.
    pub path: PathBuf,
    /// Byte offset of the record in it.
    pub offset: u64,
    /// Index of the entry.
    pub index: u64,
}

/// A chunk of a snapshot isn't what was written. Inner error of an [`io::Error`] of kind `InvalidData`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("snapshot {path} is damaged: the chunk at byte {offset} does not match its hash", path = .path.display())]
pub struct DamagedSnapshot {
    /// The snapshot file.
    pub path: PathBuf,
    /// Offset of the chunk in the snapshot's data.
    pub offset: u64,
}

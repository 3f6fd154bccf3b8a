//! The files of the audit log: `audit-<number of the first line>.log`, readable by their owner only, a bounded number
//! of a bounded size.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use engenho_audit::chain::{self, Head};

/// The end of a file in which its last line is looked for.
const TAIL_BYTES_MAX: u64 = 8 << 20;

/// When a new file begins, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// A file that is so long is followed by another.
    pub file_bytes_max: u64,
    /// The oldest files beyond so many are deleted.
    pub files_max: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            file_bytes_max: 100 << 20,
            files_max: 20,
        }
    }
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The folder or a file in it.
    #[error("the audit log {path} cannot be {what}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The thread that writes.
    #[error("the audit log cannot be started: {source}")]
    Thread {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The log on disk.
pub(super) struct Files {
    dir: PathBuf,
    rotation: Rotation,
    current: Option<(PathBuf, File, u64)>,
    head: Head,
    /// A write failed half-way: the next begins a new file.
    is_torn: bool,
}

fn io(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> FilesError {
    let path = path.to_path_buf();
    move |source| FilesError::Io { path, what, source }
}

impl Files {
    /// Opens the folder, making it if need be, and finds the end of the chain.
    pub fn open(dir: &Path, rotation: Rotation) -> Result<Self, FilesError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(io(dir, "made"))?;
        let mut files = Self {
            dir: dir.to_path_buf(),
            rotation,
            current: None,
            head: Head::default(),
            is_torn: false,
        };
        for path in files.list()?.into_iter().rev() {
            let Some((head, length)) = end_of(&path)? else { continue };
            files.head = head;
            let file = OpenOptions::new()
                .append(true)
                .open(&path)
                .map_err(io(&path, "opened"))?;
            files.current = Some((path, file, length));
            break;
        }
        Ok(files)
    }

    /// The files, oldest first.
    fn list(&self) -> Result<Vec<PathBuf>, FilesError> {
        let entries = std::fs::read_dir(&self.dir).map_err(io(&self.dir, "read"))?;
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                name.starts_with("audit-") && name.ends_with(".log")
            })
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// Writes events as the next lines.
    pub fn append(&mut self, events: &[Vec<u8>]) -> Result<(), FilesError> {
        let mut at = 0;
        while at < events.len() {
            let (path, mut file, length) = self.writable()?;
            let mut head = self.head;
            let mut lines = Vec::new();
            while at < events.len()
                && (lines.is_empty() || length + (lines.len() as u64) < self.rotation.file_bytes_max)
            {
                chain::append(&mut head, &events[at], &mut lines);
                at += 1;
            }
            if let Err(source) = file.write_all(&lines) {
                // What of it is on disk is cut off, so that the chain goes on as if it had never been.
                self.is_torn = file.set_len(length).is_err();
                if !self.is_torn {
                    self.current = Some((path.clone(), file, length));
                }
                return Err(io(&path, "written")(source));
            }
            self.head = head;
            self.current = Some((path, file, length + lines.len() as u64));
        }
        Ok(())
    }

    /// The file that the next line goes to.
    fn writable(&mut self) -> Result<(PathBuf, File, u64), FilesError> {
        if let Some((path, file, length)) = self.current.take()
            && length < self.rotation.file_bytes_max
            && !self.is_torn
        {
            return Ok((path, file, length));
        }
        self.is_torn = false;
        let path = self.dir.join(format!("audit-{:012}.log", self.head.seq + 1));
        let opened = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        let file = opened.map_err(io(&path, "made"))?;
        self.prune();
        Ok((path, file, 0))
    }

    /// Deletes the oldest files.
    fn prune(&self) {
        let Ok(paths) = self.list() else { return };
        let over = paths.len().saturating_sub(self.rotation.files_max.max(1));
        for path in &paths[..over] {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "an old file of the audit log cannot be deleted");
            }
        }
    }
}

/// The head that a file ends with and its length up to there; `None` if no line of it is whole. A line that was never
/// finished is cut off.
fn end_of(path: &Path) -> Result<Option<(Head, u64)>, FilesError> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let mut file = opened.map_err(io(path, "opened"))?;
    let length = file.metadata().map_err(io(path, "read"))?.len();
    let from = length.saturating_sub(TAIL_BYTES_MAX);
    file.seek(SeekFrom::Start(from)).map_err(io(path, "read"))?;
    let mut tail = Vec::new();
    let taken = Read::by_ref(&mut file).take(TAIL_BYTES_MAX).read_to_end(&mut tail);
    taken.map_err(io(path, "read"))?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < tail.len() {
        tracing::warn!(path = %path.display(), bytes = tail.len() - whole, "the last line of the audit log was never finished");
        file.set_len(from + whole as u64).map_err(io(path, "cut"))?;
    }
    let last = tail[..whole].split_inclusive(|byte| *byte == b'\n').next_back();
    Ok(last.and_then(chain::head_of).map(|head| (head, from + whole as u64)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use engenho_audit::chain::Verifier;

    use super::*;

    fn events(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|i| format!("{{\"n\":{i}}}").into_bytes()).collect()
    }

    fn verify(files: &Files) -> Verifier {
        let mut verifier = Verifier::default();
        for path in files.list().expect("files") {
            let bytes = std::fs::read(&path).expect("a file");
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                verifier.line(line).expect("a good line");
            }
        }
        verifier
    }

    #[test]
    fn files_are_rotated_and_go_on_after_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().join("audit");
        let rotation = Rotation {
            file_bytes_max: 600,
            files_max: 3,
        };
        let mut files = Files::open(&dir, rotation).expect("opens");
        files.append(&events(4)).expect("written");
        drop(files);
        // A crash in the middle of a line.
        let paths = Files::open(&dir, rotation).expect("opens").list().expect("files");
        let mut last = OpenOptions::new()
            .append(true)
            .open(&paths[paths.len() - 1])
            .expect("opens");
        last.write_all(b"{\"n\":").expect("written");
        let mut files = Files::open(&dir, rotation).expect("opens");
        assert_eq!(files.head.seq, 4);
        files.append(&events(20)).expect("written");
        let paths = files.list().expect("files");
        assert_eq!(paths.len(), 3);
        let verifier = verify(&files);
        assert_eq!(verifier.head().seq, 24);
        assert!(verifier.first() > Some(1));
        let mode = |path: &Path| std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!((mode(&paths[0]), mode(&dir)), (0o600, 0o700));
    }
}

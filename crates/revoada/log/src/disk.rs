//! The disk as this crate sees it: the one door through which logs and snapshots reach storage.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// How [`Disk::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Make a new file for reading and writing; an existing one is an error (`AlreadyExists`).
    Create,
    /// Open an existing file for reading and writing.
    Existing,
    /// Open an existing file for reading only.
    Read,
}

/// A file system.
///
/// Contract: a change to a directory (create, rename, remove) survives a power cut only after [`sync_dir`](Self::sync_dir)
/// of that directory; a rename is atomic and replaces its target; an open file stays readable after its name was removed.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory and its parents; succeeds if it exists.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Names (not paths) of the files in a directory, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens or makes a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file within one file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the entries of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether something is at this path.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Bytes that an unprivileged process may still write in the file system of `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file. All methods take `&self`: positions are explicit and calls may come from several threads.
///
/// Contract: what [`write_at`](Self::write_at) wrote is readable at once, and survives a power cut only after
/// [`sync_data`](Self::sync_data) returned `Ok`; until then any subset of its sectors may be what survives.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `data` at `offset`, growing the file if needed.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes the file at least `len` bytes long with space that is really reserved and reads as zeros.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts or extends the file to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes contents and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Fills `buf` from `offset`; the end of the file before that is `UnexpectedEof`.
pub(crate) fn read_exact_at(file: &dyn DiskFile, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    let got = file.read_at(offset, buf)?;
    if got < buf.len() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!(
                "file ends at byte {}, {} bytes were wanted at {offset}",
                offset + got as u64,
                buf.len()
            ),
        ));
    }
    Ok(())
}

//! The operating system's disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenMode};

/// [`Disk`] over the file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A name that isn't UTF-8 is none of ours.
            if let Ok(name) = entry.file_name().into_string()
                && !entry.file_type()?.is_dir()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Create => options.write(true).create_new(true),
            OpenMode::Existing => options.write(true),
            OpenMode::Read => &mut options,
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

struct OsFile(File);

impl OsFile {
    /// Reserves space where the file system has no fallocate: only bytes that were written are surely there.
    fn fill_zeros(&self, len: u64) -> io::Result<()> {
        const STEP: usize = 1 << 20;
        let zeros = vec![0u8; STEP];
        let mut at = self.0.metadata()?.len();
        while at < len {
            let n = (len - at).min(STEP as u64) as usize;
            self.0.write_all_at(&zeros[..n], at)?;
            at += n as u64;
        }
        Ok(())
    }
}

impl DiskFile for OsFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.0.metadata()?.len() >= len {
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        loop {
            use rustix::io::Errno;
            match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => break,
                Err(e) => return Err(e.into()),
            }
        }
        self.fill_zeros(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_do_what_the_contract_says() {
        let dir = tempfile::tempdir().unwrap();
        let disk = OsDisk;
        let sub = dir.path().join("a/b");
        disk.create_dir_all(&sub).unwrap();
        let path = sub.join("f");
        assert!(!disk.exists(&path).unwrap());
        let file = disk.open(&path, OpenMode::Create).unwrap();
        assert_eq!(
            disk.open(&path, OpenMode::Create).err().unwrap().kind(),
            io::ErrorKind::AlreadyExists
        );
        file.allocate(10_000).unwrap();
        assert_eq!(file.len().unwrap(), 10_000);
        file.write_at(9_998, b"xyz").unwrap();
        file.sync_data().unwrap();
        let mut buf = [1u8; 8];
        assert_eq!(file.read_at(9_996, &mut buf).unwrap(), 5);
        assert_eq!(&buf[..5], b"\0\0xyz");
        disk.rename(&path, &sub.join("g")).unwrap();
        disk.sync_dir(&sub).unwrap();
        assert_eq!(disk.list(&sub).unwrap(), ["g"]);
        disk.remove(&sub.join("g")).unwrap();
        assert_eq!(
            file.read_at(9_998, &mut buf).unwrap(),
            3,
            "an open file outlives its name"
        );
        assert!(disk.free_bytes(&sub).unwrap() > 0);
    }

    #[test]
    fn zeros_are_written_where_allocation_is_not_supported() {
        let dir = tempfile::tempdir().unwrap();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(dir.path().join("f"))
            .unwrap();
        file.write_all_at(b"ab", 0).unwrap();
        let file = OsFile(file);
        file.fill_zeros(3_000_000).unwrap();
        assert_eq!(file.len().unwrap(), 3_000_000);
        let mut buf = [9u8; 4];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(&buf, b"ab\0\0");
    }
}

//! Whole small files: read within a bound, and replaced so that a crash leaves the old or the new content.

use std::io;
use std::path::Path;

use crate::disk::{Disk, OpenMode, read_exact_at};

/// The content of a file, `None` if there is none. One of more than `bytes_max` is refused.
pub fn read_file(disk: &dyn Disk, path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.len()?;
    if length > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the file has {length} bytes, at most {bytes_max} are expected"),
        ));
    }
    let mut content = vec![0; length as usize];
    read_exact_at(&*file, 0, &mut content)?;
    Ok(Some(content))
}

/// Replaces a file (or makes it) so that after a crash either the old or the new content is there.
pub fn write_file(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    disk.create_dir_all(dir)?;
    let temporary = path.with_extension("tmp");
    if disk.exists(&temporary)? {
        // Left over from a crash.
        disk.remove(&temporary)?;
    }
    let file = disk.open(&temporary, OpenMode::Create)?;
    file.write_at(0, content)?;
    file.sync_data()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsDisk;

    #[test]
    fn a_file_is_replaced_whole_and_read_within_its_bound() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("some/file.bin");
        assert_eq!(read_file(&OsDisk, &path, 10).unwrap(), None);
        write_file(&OsDisk, &path, b"first").unwrap();
        std::fs::write(root.path().join("some/file.tmp"), b"left over, and longer").unwrap();
        write_file(&OsDisk, &path, b"second").unwrap();
        assert_eq!(read_file(&OsDisk, &path, 6).unwrap().as_deref(), Some(&b"second"[..]));
        assert_eq!(
            read_file(&OsDisk, &path, 5).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}

//! Copies what is appended to a member's log to standard error, each line with the member's name.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::output::clean;

/// How often the file is looked at.
const PERIOD: Duration = Duration::from_millis(200);
/// How much is read at once.
const CHUNK_BYTES: u64 = 256 * 1024;

/// Follows the file until the handle is dropped; only what is new is shown.
pub fn follow(name: String, path: PathBuf) -> AbortOnDropHandle<()> {
    let mut position = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            if let Ok(lines) = read_lines(&path, &mut position) {
                for line in lines {
                    let _ = writeln!(std::io::stderr(), "{name:<4} {}", clean(&line));
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }))
}

/// The complete lines after `position`, which moves behind them.
fn read_lines(path: &Path, position: &mut u64) -> std::io::Result<Vec<String>> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(*position))?;
    let mut raw = Vec::new();
    file.take(CHUNK_BYTES).read_to_end(&mut raw)?;
    let complete = match raw.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        // A line longer than a chunk is shown in pieces.
        None if raw.len() as u64 == CHUNK_BYTES => raw.len(),
        None => 0,
    };
    *position += complete as u64;
    let text = String::from_utf8_lossy(&raw[..complete]);
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_new_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        let mut position = 0;
        assert_eq!(read_lines(&path, &mut position).unwrap(), ["one", "two"]);
        assert_eq!(read_lines(&path, &mut position).unwrap(), Vec::<String>::new());
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(read_lines(&path, &mut position).unwrap(), ["three"]);
    }
}

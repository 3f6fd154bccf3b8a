//! Checks of the data directory: whether it can be written, how much fits, how long a sync takes.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Check, Level};
use crate::output::bytes;

/// Free space below which a member steps down soon, and below which it should not start.
const FREE_WARN_BYTES: u64 = 4 << 30;
const FREE_FAIL_BYTES: u64 = 256 << 20;
/// Writes that are timed, and how long all of them may take.
const SYNCS: usize = 40;
const SYNCS_DEADLINE: Duration = Duration::from_secs(3);
/// Every write to the cluster waits for a majority's disks.
const SYNC_WARN: Duration = Duration::from_millis(10);
const SYNC_FAIL: Duration = Duration::from_millis(200);

/// All of them.
pub fn checks(data_dir: &Path) -> Vec<Check> {
    let Some(place) = existing(data_dir) else {
        return vec![Check::new(
            "data directory",
            Level::Fail,
            format!("{} has no directory above it", data_dir.display()),
            "choose another with --data-dir",
        )];
    };
    let writable = match timed_syncs(&place) {
        Ok(times) => {
            let note = if place == data_dir { "" } else { " (not made yet)" };
            vec![
                Check::ok("data directory", format!("{} can be written{note}", data_dir.display())),
                latency(times),
            ]
        }
        Err(error) => vec![Check::new(
            "data directory",
            Level::Fail,
            format!("{} cannot be written: {error}", place.display()),
            "choose another with --data-dir, or run as its owner",
        )],
    };
    let mut checks = writable;
    checks.extend(space(&place));
    checks
}

/// The directory, or the nearest one above that exists.
fn existing(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find(|path| path.is_dir()).map(Path::to_path_buf)
}

/// A file that goes away with the value.
struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    fn new(directory: &Path) -> io::Result<Self> {
        let path = directory.join(format!(".engenho-doctor-{}", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self { path, file })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// How long writing 4 KiB in place and syncing took, ascending; the log does the same into preallocated segments.
fn timed_syncs(directory: &Path) -> io::Result<Vec<Duration>> {
    let mut scratch = Scratch::new(directory)?;
    let block = [0x5a; 4096];
    scratch.file.write_all(&block)?;
    scratch.file.sync_all()?;
    let started = Instant::now();
    let mut times = Vec::with_capacity(SYNCS);
    while times.len() < SYNCS && started.elapsed() < SYNCS_DEADLINE {
        let begin = Instant::now();
        scratch.file.rewind()?;
        scratch.file.write_all(&block)?;
        scratch.file.sync_data()?;
        times.push(begin.elapsed());
    }
    times.sort();
    Ok(times)
}

fn latency(times: Vec<Duration>) -> Check {
    let (Some(median), Some(worst)) = (times.get(times.len() / 2), times.last()) else {
        return Check::new(
            "disk sync",
            Level::Warn,
            "not one sync ended in time",
            "use a faster disk for --data-dir",
        );
    };
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    let found = format!("{:.1} ms in the median, {:.1} ms at worst", ms(median), ms(worst));
    match *median {
        median if median >= SYNC_FAIL => Check::new(
            "disk sync",
            Level::Fail,
            found,
            "elections would time out: use a faster disk for --data-dir",
        ),
        median if median >= SYNC_WARN => Check::new(
            "disk sync",
            Level::Warn,
            found,
            "every write waits for it: a voter wants less than 10 ms",
        ),
        _ => Check::ok("disk sync", found),
    }
}

fn space(directory: &Path) -> Vec<Check> {
    let stat = match rustix::fs::statvfs(directory) {
        Ok(stat) => stat,
        Err(error) => {
            let found = format!("{} cannot be measured: {error}", directory.display());
            return vec![Check::new(
                "disk space",
                Level::Warn,
                found,
                "choose another with --data-dir",
            )];
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{} free", bytes(free));
    let advice = "free some, or choose another disk with --data-dir";
    let mut checks = vec![match free {
        0..FREE_FAIL_BYTES => Check::new("disk space", Level::Fail, found, advice),
        FREE_FAIL_BYTES..FREE_WARN_BYTES => Check::new("disk space", Level::Warn, found, advice),
        _ => Check::ok("disk space", found),
    }];
    // TMPFS_MAGIC and RAMFS_MAGIC of linux/magic.h.
    let volatile =
        rustix::fs::statfs(directory).is_ok_and(|stat| [0x0102_1994, 0x8584_58f6].contains(&i128::from(stat.f_type)));
    if volatile {
        let found = format!("{} is in memory", directory.display());
        checks.push(Check::new(
            "disk kind",
            Level::Warn,
            found,
            "what was acknowledged is lost with the machine: use a disk",
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_directory_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(existing(&dir.path().join("a/b")).unwrap(), dir.path());
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(existing(&dir.path().join("file")).unwrap(), dir.path());
    }

    #[test]
    fn slow_disks_are_noticed() {
        let check = |ms: u64| latency(vec![Duration::from_millis(ms); 3]).level;
        assert_eq!([1, 10, 200].map(check), [Level::Ok, Level::Warn, Level::Fail]);
        assert_eq!(latency(vec![]).level, Level::Warn);
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        let checks = checks(Path::new("/proc/engenho"));
        assert_eq!(checks[0].level, Level::Fail, "{checks:?}");
    }
}

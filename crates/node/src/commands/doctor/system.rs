//! Checks of the machine itself: kernel, limits, memory, clock, name.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use super::{Check, Level};
use crate::cli::hostname_label;
use crate::output::{bytes, duration};

/// Oldest kernel that is tested.
const KERNEL_MIN: (u32, u32) = (5, 10);
/// Open files below which a member does not start well, and below which a large cluster may run out.
const NOFILE_FAIL: u64 = 512;
const NOFILE_WARN: u64 = 16_384;
/// Memory in which a voter runs with room to spare.
const MEMORY_WARN_BYTES: u64 = 512 << 20;
const MEMORY_FAIL_BYTES: u64 = 128 << 20;
/// What certificates and tickets tolerate.
const SKEW_MS_MAX: u64 = 5 * 60 * 1000;
/// A clock before this is certainly wrong: 2025-01-01.
const CLOCK_MIN_S: u64 = 1_735_689_600;

/// All of them.
pub fn checks() -> Vec<Check> {
    vec![
        kernel(),
        open_files(),
        memory(),
        clock(),
        hardware_clock(),
        time_service(),
        host_name(),
    ]
}

fn kernel() -> Check {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let found = format!(
        "{} {release} on {}",
        uname.sysname().to_string_lossy(),
        uname.machine().to_string_lossy()
    );
    match version_of(&release) {
        Some(version) if version >= KERNEL_MIN => Check::ok("kernel", found),
        _ => Check::new(
            "kernel",
            Level::Warn,
            found,
            format!("engenho is tested on {}.{} and later", KERNEL_MIN.0, KERNEL_MIN.1),
        ),
    }
}

fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-', '+']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn open_files() -> Check {
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current else {
        return Check::ok("open files", "no limit");
    };
    let found = format!("at most {soft}");
    let advice = "raise it with `ulimit -n 65536`, or LimitNOFILE=65536 in the systemd unit";
    match soft {
        0..NOFILE_FAIL => Check::new("open files", Level::Fail, found, advice),
        NOFILE_FAIL..NOFILE_WARN => Check::new("open files", Level::Warn, found, advice),
        _ => Check::ok("open files", found),
    }
}

fn memory() -> Check {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some(available) = available_bytes(&info) else {
        return Check::new("memory", Level::Warn, "/proc/meminfo says nothing of it", "mount /proc");
    };
    let found = format!("{} available", bytes(available));
    let advice = format!("a voter needs about {}", bytes(MEMORY_WARN_BYTES));
    match available {
        0..MEMORY_FAIL_BYTES => Check::new("memory", Level::Fail, found, advice),
        MEMORY_FAIL_BYTES..MEMORY_WARN_BYTES => Check::new("memory", Level::Warn, found, advice),
        _ => Check::ok("memory", found),
    }
}

fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

fn clock() -> Check {
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let found = crate::output::rfc3339(now_s.saturating_mul(1000));
    match now_s {
        0..CLOCK_MIN_S => Check::new(
            "clock",
            Level::Fail,
            found,
            "set the clock: certificates would not be valid",
        ),
        _ => Check::ok("clock", found),
    }
}

/// The battery-backed clock runs on its own: a large difference means that one of the two is wrong.
fn hardware_clock() -> Check {
    let text = std::fs::read_to_string("/sys/class/rtc/rtc0/since_epoch").unwrap_or_default();
    let Ok(hardware_s) = text.trim().parse::<u64>() else {
        return Check::ok("hardware clock", "there is none to compare with");
    };
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let skew_ms = now_s.abs_diff(hardware_s).saturating_mul(1000);
    let found = format!("{} from the system's", duration(skew_ms));
    match skew_ms > SKEW_MS_MAX {
        true => Check::new(
            "hardware clock",
            Level::Warn,
            found,
            "one of the two is wrong (or the hardware clock is in local time): certificates tolerate 5 min",
        ),
        false => Check::ok("hardware clock", found),
    }
}

fn time_service() -> Check {
    const MARKS: [(&str, &str); 5] = [
        ("/run/systemd/timesync/synchronized", "systemd-timesyncd, synchronized"),
        ("/run/chrony/chronyd.pid", "chrony"),
        ("/run/chronyd.pid", "chrony"),
        ("/run/ntpd.pid", "ntpd"),
        ("/run/ntpsec/ntpd.pid", "ntpsec"),
    ];
    match MARKS.iter().find(|(path, _)| Path::new(path).exists()) {
        Some((_, name)) => Check::ok("time service", *name),
        None => Check::new(
            "time service",
            Level::Warn,
            "none was found",
            "make sure that something keeps the clock right: tickets and certificates tolerate 5 min",
        ),
    }
}

fn host_name() -> Check {
    let given = hostname::get().unwrap_or_default().to_string_lossy().into_owned();
    let label = hostname_label();
    match label == given {
        true => Check::ok("host name", given),
        false if given.split('.').next() == Some(&label) => {
            Check::ok("host name", format!("{given}, so the member is named {label}"))
        }
        false => Check::new(
            "host name",
            Level::Warn,
            format!("{given:?} is no DNS label"),
            format!("the member would be named {label}: choose a name with --name"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found() {
        assert_eq!(version_of("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version_of("5.15.167.4-microsoft"), Some((5, 15)));
        assert_eq!(version_of("x"), None);
        assert_eq!(
            available_bytes("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(available_bytes(""), None);
    }
}

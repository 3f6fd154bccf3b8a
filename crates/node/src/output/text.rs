//! Small pieces of text: times, sizes, tables, standard output.

use std::io::{ErrorKind, Write};

use comfy_table::Table;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::CommandError;

/// Writes to standard output. A reader that went away (`| head`) is no error, any other failure is.
pub fn print(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    let mut write = || -> std::io::Result<()> {
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    };
    match write() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CommandError::failed(
            format!("standard output cannot be written: {error}"),
            "check where it was redirected to",
        )),
        _ => Ok(()),
    }
}

/// A time in RFC 3339, UTC, from milliseconds since the Unix epoch.
pub fn rfc3339(unix_ms: u64) -> String {
    let nanoseconds = i128::from(unix_ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        // Only a forged number is past the year 9999.
        .unwrap_or_else(|| format!("{unix_ms} ms after 1970"))
}

/// Text from elsewhere without control characters, so that it cannot drive the terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A length of time, as `0.8 s`, `12 s`, `3 min` or `2 h`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        10_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// A size, as `412 B` or `402.7 KiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut unit = None;
    let mut tenths = bytes.saturating_mul(10);
    for name in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = Some(name);
    }
    match unit {
        None => format!("{bytes} B"),
        Some(unit) => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// `1 voter`, `2 voters`.
pub fn plural(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// Columns without borders, two spaces apart.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(rfc3339(1_760_000_000_123), "2025-10-09T08:53:20.123Z");
        assert!(rfc3339(u64::MAX).contains("after 1970"));
        assert_eq!(
            [800, 12_345, 150_000, 7_200_000, 200_000_000].map(duration),
            ["0.8 s", "12 s", "2 min", "2 h", "2 d"]
        );
        assert_eq!(
            [0, 1_023, 1_024, 412_345, 5 << 30, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "402.6 KiB", "5.0 GiB", "1677721.5 TiB"]
        );
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a [2Jb ");
        assert_eq!(
            (plural(1, "voter"), plural(0, "voter")),
            ("1 voter".into(), "0 voters".into())
        );
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["a".to_owned(), "long one".to_owned()],
            vec!["bcd".to_owned(), String::new()],
        ];
        assert_eq!(table(&["N", "VALUE"], rows), "N    VALUE\na    long one\nbcd");
    }
}

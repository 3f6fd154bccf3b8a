//! Durations as people read them: `5s`, `3m20s`, `47h`, `12d`, `3y45d` (upstream `HumanDuration`).

use crate::times;

/// Time since `timestamp`, `<unknown>` if there is none.
pub fn since(timestamp: &str, now_ms: u64) -> String {
    match times::parse(timestamp) {
        Some(then) => human(now_ms.cast_signed() / 1000 - then.cast_signed() / 1000),
        None => "<unknown>".into(),
    }
}

/// Time since `timestamp`; none if it is no timestamp.
pub fn read(timestamp: &str, now_ms: u64) -> Option<String> {
    times::parse(timestamp).map(|then| human(now_ms.cast_signed() / 1000 - then.cast_signed() / 1000))
}

/// Time until `timestamp`.
#[cfg(test)]
pub fn until(timestamp: &str, now_ms: u64) -> String {
    times::parse(timestamp).map_or_else(
        || "<unknown>".into(),
        |then| human((then / 1000).cast_signed() - (now_ms / 1000).cast_signed()),
    )
}

/// A duration in seconds.
pub fn human(seconds: i64) -> String {
    let (s, m, h, d) = (seconds, seconds / 60, seconds / 3600, seconds / 86400);
    let two = |a: i64, a_unit: &str, b: i64, b_unit: &str| {
        if b == 0 {
            format!("{a}{a_unit}")
        } else {
            format!("{a}{a_unit}{b}{b_unit}")
        }
    };
    match seconds {
        i64::MIN..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..120 => format!("{s}s"),
        _ if m < 10 => two(m, "m", s % 60, "s"),
        _ if m < 180 => format!("{m}m"),
        _ if h < 8 => two(h, "h", m % 60, "m"),
        _ if h < 48 => format!("{h}h"),
        _ if h < 192 => two(d, "d", h % 24, "h"),
        _ if d < 730 => format!("{d}d"),
        _ if d < 2920 => two(d / 365, "y", d % 365, "d"),
        _ => format!("{}y", d / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_upstreams() {
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (700_000, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
        assert_eq!(until("1970-01-01T00:01:00Z", 0), "60s");
    }
}

//! Sets of indexes of pods, written as intervals: `1,3-5,7`.

use crate::go_quoted;

fn index(text: &str, completions: i64) -> Result<i64, String> {
    let number: i64 = text
        .parse()
        .map_err(|_| format!("cannot convert string to integer for index: {}", go_quoted(text)))?;
    match number >= completions {
        true => Err(format!("too large index: {}", go_quoted(text))),
        false => Ok(number),
    }
}

fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let parts: Vec<&str> = text.split('-').collect();
    match parts[..] {
        [single] => index(single, completions).map(|i| (i, i)),
        [first, last] => {
            let (first, last) = (index(first, completions)?, index(last, completions)?);
            match first >= last {
                true => Err(format!("non-increasing order, previous: {first}, current: {last}")),
                false => Ok((first, last)),
            }
        }
        _ => Err(format!(
            "the fragment {} violates the requirement that an index interval can have at most two parts separated by '-'",
            go_quoted(text)
        )),
    }
}

/// How many indexes there are.
pub(crate) fn count(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut previous) = (0_i64, None);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = interval(part, completions)?;
        if let Some(previous) = previous.filter(|previous| *previous >= first) {
            return Err(format!("non-increasing order, previous: {previous}, current: {first}"));
        }
        total = total.saturating_add(last.saturating_sub(first).saturating_add(1));
        previous = Some(last);
    }
    Ok(total)
}

/// The first index in both sets; malformed intervals are passed over.
pub(crate) fn overlap(completed: &str, failed: &str, completions: i64) -> Option<i64> {
    let intervals = |text: &str| -> Vec<(i64, i64)> {
        text.split(',')
            .filter_map(|part| interval(part, completions).ok())
            .collect()
    };
    let (completed, failed) = (intervals(completed), intervals(failed));
    let (mut c, mut f) = (0, 0);
    while let (Some((cx, cy)), Some((fx, fy))) = (completed.get(c), failed.get(f)) {
        if cx <= fy && fx <= cy {
            return Some(*cx.max(fx));
        }
        if cx <= fx { c += 1 } else { f += 1 }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_counted() {
        assert_eq!(count("1,3-5", 10), Ok(4));
        assert_eq!(count("", 10), Ok(0));
        assert_eq!(
            count("3,1", 10).unwrap_err(),
            "non-increasing order, previous: 3, current: 1"
        );
        assert_eq!(count("10", 10).unwrap_err(), "too large index: \"10\"");
        assert_eq!(overlap("1-3,7", "5,7-8", 10), Some(7));
        assert_eq!(overlap("1-3", "4", 10), None);
    }
}

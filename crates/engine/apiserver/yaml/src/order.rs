//! The order of keys in what is written.

use std::cmp::Ordering;

/// Entries by their keys, with runs of digits by their value and letters after all else.
///
/// That is no total order (`1a` before `2`, `2` before `10`, `10` before `1a`), and the standard library's sorting may
/// panic over such: this merges halves, which ends in some order whatever the comparisons say.
pub(crate) fn sorted<T: Copy>(mut entries: Vec<(&String, T)>) -> Vec<(&String, T)> {
    if entries.len() < 2 {
        return entries;
    }
    let mut right = sorted(entries.split_off(entries.len() / 2)).into_iter().peekable();
    let mut left = sorted(entries).into_iter().peekable();
    let mut merged = Vec::with_capacity(left.len() + right.len());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = match natural(a.0, b.0) {
            Ordering::Greater => right.next(),
            _ => left.next(),
        };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

fn natural(a: &str, b: &str) -> Ordering {
    let differ = a.char_indices().zip(b.chars()).find(|((_, x), y)| x != y);
    let Some(((at, x), y)) = differ else {
        return a.len().cmp(&b.len());
    };
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // Inside of a number zeros count, at its start they don't.
    let before = a[..at].bytes().rev().take_while(u8::is_ascii_digit);
    let inside = before.into_iter().any(|byte| byte != b'0');
    let run = |text: &str| {
        let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
        text[at..at + digits].to_owned()
    };
    let (run_a, run_b) = (run(a), run(b));
    let value = |run: &str| {
        let digits = if inside { run } else { run.trim_start_matches('0') };
        (digits.len(), digits.to_owned())
    };
    value(&run_a)
        .cmp(&value(&run_b))
        .then(run_a.len().cmp(&run_b.len()))
        .then(x.cmp(&y))
}

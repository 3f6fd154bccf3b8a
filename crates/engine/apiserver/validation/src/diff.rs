//! The difference between two texts, as unified diff of lines. What is taken for common is found as Python's difflib
//! does, so that hunks are cut where upstream cuts them.

use std::collections::HashMap;

const CONTEXT: usize = 3;
/// Texts of this many lines have their most frequent lines left out of the search.
const POPULAR_FROM: usize = 200;

/// Lines `i1..i2` of the first text became `j1..j2` of the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    equal: bool,
    i1: usize,
    i2: usize,
    j1: usize,
    j2: usize,
}

struct Matcher<'a> {
    a: &'a [&'a str],
    b: &'a [&'a str],
    places: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Matcher<'a> {
    fn new(a: &'a [&'a str], b: &'a [&'a str]) -> Self {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (j, line) in b.iter().enumerate() {
            places.entry(line).or_default().push(j);
        }
        if b.len() >= POPULAR_FROM {
            let most = b.len() / 100 + 1;
            places.retain(|_, at| at.len() <= most);
        }
        Self { a, b, places }
    }

    /// The longest block common to both ranges, the earliest of several.
    fn longest(&self, alo: usize, ahi: usize, blo: usize, bhi: usize) -> (usize, usize, usize) {
        let (mut besti, mut bestj, mut best) = (alo, blo, 0);
        let mut lengths: HashMap<usize, usize> = HashMap::new();
        for (i, line) in self.a.iter().enumerate().take(ahi).skip(alo) {
            let mut next = HashMap::new();
            for &j in self.places.get(line).into_iter().flatten() {
                if j < blo {
                    continue;
                }
                if j >= bhi {
                    break;
                }
                let length = 1 + j.checked_sub(1).and_then(|p| lengths.get(&p)).copied().unwrap_or(0);
                next.insert(j, length);
                if length > best {
                    (besti, bestj, best) = (i + 1 - length, j + 1 - length, length);
                }
            }
            lengths = next;
        }
        while besti > alo && bestj > blo && self.a[besti - 1] == self.b[bestj - 1] {
            (besti, bestj, best) = (besti - 1, bestj - 1, best + 1);
        }
        while besti + best < ahi && bestj + best < bhi && self.a[besti + best] == self.b[bestj + best] {
            best += 1;
        }
        (besti, bestj, best)
    }

    /// All common blocks, in order, neighbours joined.
    fn blocks(&self) -> Vec<(usize, usize, usize)> {
        let mut found = Vec::new();
        let mut open = vec![(0, self.a.len(), 0, self.b.len())];
        while let Some((alo, ahi, blo, bhi)) = open.pop() {
            let (i, j, k) = self.longest(alo, ahi, blo, bhi);
            if k == 0 {
                continue;
            }
            found.push((i, j, k));
            open.push((alo, i, blo, j));
            open.push((i + k, ahi, j + k, bhi));
        }
        found.sort_unstable();
        let mut joined: Vec<(usize, usize, usize)> = Vec::new();
        for (i, j, k) in found {
            match joined.last_mut() {
                Some((pi, pj, pk)) if *pi + *pk == i && *pj + *pk == j => *pk += k,
                _ => joined.push((i, j, k)),
            }
        }
        joined.push((self.a.len(), self.b.len(), 0));
        joined
    }

    fn steps(&self) -> Vec<Step> {
        let (mut i, mut j) = (0, 0);
        let mut steps = Vec::new();
        for (bi, bj, size) in self.blocks() {
            if i < bi || j < bj {
                steps.push(step(false, i, bi, j, bj));
            }
            (i, j) = (bi + size, bj + size);
            if size > 0 {
                steps.push(step(true, bi, i, bj, j));
            }
        }
        steps
    }
}

fn step(equal: bool, i1: usize, i2: usize, j1: usize, j2: usize) -> Step {
    Step { equal, i1, i2, j1, j2 }
}

/// Steps cut into hunks with a few equal lines around each change.
fn hunks(mut steps: Vec<Step>) -> Vec<Vec<Step>> {
    if let Some(first) = steps.first_mut().filter(|s| s.equal) {
        first.i1 = first.i1.max(first.i2.saturating_sub(CONTEXT));
        first.j1 = first.j1.max(first.j2.saturating_sub(CONTEXT));
    }
    if let Some(last) = steps.last_mut().filter(|s| s.equal) {
        last.i2 = last.i2.min(last.i1 + CONTEXT);
        last.j2 = last.j2.min(last.j1 + CONTEXT);
    }
    let mut hunks = Vec::new();
    let mut hunk = Vec::new();
    for mut s in steps {
        if s.equal && s.i2 - s.i1 > 2 * CONTEXT {
            hunk.push(step(
                true,
                s.i1,
                s.i2.min(s.i1 + CONTEXT),
                s.j1,
                s.j2.min(s.j1 + CONTEXT),
            ));
            hunks.push(std::mem::take(&mut hunk));
            s.i1 = s.i1.max(s.i2 - CONTEXT);
            s.j1 = s.j1.max(s.j2 - CONTEXT);
        }
        hunk.push(s);
    }
    if !(hunk.is_empty() || hunk.len() == 1 && hunk[0].equal) {
        hunks.push(hunk);
    }
    hunks
}

fn range(start: usize, stop: usize) -> String {
    match stop - start {
        1 => format!("{}", start + 1),
        0 => format!("{start},0"),
        length => format!("{},{length}", start + 1),
    }
}

/// The difference between two texts, empty if there is none.
pub fn unified(old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let a: Vec<&str> = old.split('\n').collect();
    let b: Vec<&str> = new.split('\n').collect();
    let mut text = String::new();
    for hunk in hunks(Matcher::new(&a, &b).steps()) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else {
            continue;
        };
        let (before, after) = (range(first.i1, last.i2), range(first.j1, last.j2));
        text.push_str(&format!("@@ -{before} +{after} @@\n"));
        for s in &hunk {
            let mut lines = |sign: char, lines: &[&str]| {
                for line in lines {
                    text.push(sign);
                    text.push_str(line);
                    text.push('\n');
                }
            };
            if s.equal {
                lines(' ', &a[s.i1..s.i2]);
            } else {
                lines('-', &a[s.i1..s.i2]);
                lines('+', &b[s.j1..s.j2]);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_changed_line_has_three_lines_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        let new = "1\n2\n3\n4\nx\n6\n7\n8\n9";
        assert_eq!(unified(old, new), "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n");
        assert_eq!(unified(old, old), "");
    }

    proptest! {
        #[test]
        fn every_line_of_a_change_is_told(a in proptest::collection::vec("[a-c]", 0..300), b in proptest::collection::vec("[a-c]", 0..300)) {
            let (old, new) = (a.join("\n"), b.join("\n"));
            let text = unified(&old, &new);
            prop_assert_eq!(text.is_empty(), old == new);
        }
    }
}

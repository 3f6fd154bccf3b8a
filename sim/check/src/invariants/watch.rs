//! A watch delivers every change exactly once, in order, and says so when it cannot.
//!
//! Kubernetes API concepts, "Efficient detection of changes" and "Watch bookmarks" (410 Gone when history is not there any
//! more); etcd API guarantees for watches: ordered, unique, reliable, atomic, resumable, bookmarkable.

use std::collections::BTreeMap;

use super::Broken;
use crate::facts::{Committed, Facts, Lineage};
use crate::record::{Seen, SeenKind, Stamp, Watch, WatchEnd};

/// Name of the invariant.
pub const NAME: &str = "watch: every change once, in order, without a gap";

/// How long an open watch may take to deliver a change once the faults are over, milliseconds.
const DELIVERED_MS: u64 = 5_000;

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    for watch in &facts.record.watches {
        let Err((at, first)) = delivered(facts.lineage(), watch) else {
            continue;
        };
        // It may have watched a history that a recovery gave up.
        let others = facts.lineages.values().rev().skip(1);
        if others.into_iter().all(|lineage| delivered(lineage, watch).is_err()) {
            return Err(Broken::new(NAME, at, format!("{} {first}", describe(watch))));
        }
    }
    resumed(facts)?;
    caught_up(facts)
}

fn describe(watch: &Watch) -> String {
    format!(
        "client {}'s watch of {} at machine {} from revision {}, opened at {},",
        watch.client, watch.prefix, watch.machine, watch.from, watch.opened
    )
}

/// The revision up to which a watch says that it delivered everything.
fn position(watch: &Watch) -> u64 {
    watch
        .seen
        .iter()
        .map(|seen| seen.revision)
        .max()
        .unwrap_or(0)
        .max(watch.from)
}

fn wanted<'f, 'a>(lineage: &'f Lineage<'a>, watch: &Watch) -> impl Iterator<Item = &'f Committed<'a>> {
    let from = lineage.changes.partition_point(|c| c.change.revision <= watch.from);
    lineage.changes[from..]
        .iter()
        .filter(|c| c.change.key.starts_with(&watch.prefix))
}

fn delivered(lineage: &Lineage<'_>, watch: &Watch) -> Result<(), (Stamp, String)> {
    let mut wanted = wanted(lineage, watch).peekable();
    let mut last = watch.from;
    for seen in &watch.seen {
        if seen.revision < last {
            return Err((seen.at, format!("went back to {seen} after {last}")));
        }
        last = seen.revision;
        if seen.what == SeenKind::Bookmark {
            if let Some(missing) = wanted.next_if(|next| next.change.revision <= seen.revision) {
                return Err((seen.at, format!("skipped {} before {seen}", name(missing))));
            }
            continue;
        }
        match wanted.next() {
            None => return Err((seen.at, format!("saw {seen}, which was never committed"))),
            Some(next) if !is_of(next, seen) => {
                let want = name(next);
                return Err((seen.at, format!("saw {seen} where {want} comes next")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn is_of(committed: &Committed<'_>, seen: &Seen) -> bool {
    let change = committed.change;
    let same = match (&seen.what, change.value.as_deref()) {
        (SeenKind::Added { key, value }, Some(want)) => !committed.existed && *key == change.key && value == want,
        (SeenKind::Modified { key, value }, Some(want)) => committed.existed && *key == change.key && value == want,
        (SeenKind::Deleted { key }, None) => *key == change.key,
        _ => false,
    };
    same && seen.revision == change.revision
}

fn name(committed: &Committed<'_>) -> String {
    let change = committed.change;
    let (kind, value) = match (&change.value, committed.existed) {
        (None, _) => ("DELETED", String::new()),
        (Some(value), true) => ("MODIFIED", format!(" = {value}")),
        (Some(value), false) => ("ADDED", format!(" = {value}")),
    };
    format!("{kind} {}{value} at revision {}", change.key, change.revision)
}

/// A watch goes on where the last one of its client ended, unless that was told to list again.
fn resumed(facts: &Facts<'_>) -> Result<(), Broken> {
    let mut before: BTreeMap<(u32, &str), &Watch> = BTreeMap::new();
    let mut watches: Vec<&Watch> = facts.record.watches.iter().collect();
    watches.sort_by_key(|watch| watch.opened);
    for watch in watches {
        let Some(last) = before.insert((watch.client, &watch.prefix), watch) else {
            continue;
        };
        if last.end != WatchEnd::Gone && watch.from > position(last) {
            let what = format!(
                "{} leaves a gap: the one before, opened at {}, had come to {} and was not told that history is gone",
                describe(watch),
                last.opened,
                position(last)
            );
            return Err(Broken::new(NAME, watch.opened, what));
        }
    }
    Ok(())
}

/// What was committed in time was delivered by the end.
fn caught_up(facts: &Facts<'_>) -> Result<(), Broken> {
    let record = facts.record;
    let due_ms = record.ended.at_ms.saturating_sub(DELIVERED_MS);
    if record.calm.at_ms > due_ms {
        return Ok(());
    }
    for watch in &record.watches {
        let halted =
            |last: &&crate::record::Final| last.machine == watch.machine && (last.halted.is_some() || !last.running);
        if watch.end != WatchEnd::Open || watch.opened.at_ms > due_ms || record.finals.iter().any(|last| halted(&last))
        {
            continue;
        }
        let reached = position(watch);
        let missing = wanted(facts.lineage(), watch).find(|c| c.change.revision > reached && c.at.at_ms <= due_ms);
        if let Some(missing) = missing {
            let what = format!(
                "{} never delivered {}, committed at {}, before it all ended at {}",
                describe(watch),
                name(missing),
                missing.at,
                record.ended
            );
            return Err(Broken::new(NAME, missing.at, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, assert_only};

    fn watched() -> World {
        let mut world = World::founded();
        world.create("/w/a", "v1");
        world.watch("/w/");
        world.create("/w/b", "v2");
        world.create("/other/b", "v3");
        world.update("/w/a", "v4");
        world.delete("/w/b");
        world
    }

    #[test]
    fn each_mistake_is_seen() {
        let wrongs: [fn(&mut Watch); 6] = [
            // One dropped, one twice, two in the wrong order.
            |watch| drop(watch.seen.remove(1)),
            |watch| watch.seen.insert(1, watch.seen[1].clone()),
            |watch| watch.seen.swap(0, 1),
            |watch| {
                watch.seen[0].what = SeenKind::Modified {
                    key: "/w/b".into(),
                    value: "v2".into(),
                }
            },
            |watch| {
                watch.seen[1].what = SeenKind::Modified {
                    key: "/w/a".into(),
                    value: "v2".into(),
                }
            },
            |watch| watch.seen[2].revision += 1,
        ];
        for wrong in wrongs {
            let mut record = watched().finish();
            wrong(record.watches.last_mut().unwrap());
            assert_only(&record, NAME);
        }
    }

    #[test]
    fn a_bookmark_that_promises_too_much() {
        let mut record = watched().finish();
        let watch = record.watches.last_mut().unwrap();
        let last = watch.seen.last_mut().unwrap();
        last.what = SeenKind::Bookmark;
        assert_only(&record, NAME);
    }

    #[test]
    fn a_watch_that_never_delivers() {
        let mut record = watched().finish();
        record.watches.last_mut().unwrap().seen.pop();
        assert_only(&record, NAME);
        // Closed, it would be its client that has to go on.
        record.watches.last_mut().unwrap().end = WatchEnd::Closed;
        assert!(crate::check_all(&record).is_empty());
    }

    #[test]
    fn a_gap_between_two_watches() {
        let mut record = watched().finish();
        let mut first = record.watches.pop().unwrap();
        let mut second = first.clone();
        let cut = first.seen.split_off(1);
        first.end = WatchEnd::Closed;
        second.opened = cut[0].at;
        (second.from, second.seen) = (cut[0].revision, cut[1..].to_vec());
        record.watches.extend([first, second]);
        assert_only(&record, NAME);
        let n = record.watches.len() - 2;
        record.watches[n].end = WatchEnd::Gone;
        assert!(crate::check_all(&record).is_empty());
    }
}

//! A list is the state of one revision, and not an old one.
//!
//! Kubernetes API concepts, "The resourceVersion parameter": a list without one is answered with the most recent data,
//! consistent as of its resourceVersion (KEP-2340, consistent reads from cache, keeps that promise).

use super::Broken;
use crate::facts::{Facts, Lineage};
use crate::record::{List, Outcome, Stamp};

/// Name of the invariant.
pub const NAME: &str = "lists: a list is the state of its revision, no older than what was acknowledged before";

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    let newest = Newest::new(facts);
    for list in &facts.record.lists {
        let branch = facts.branch_at(list.machine, list.returned);
        let first = compare(facts.lineage(), list);
        let other = || {
            facts
                .lineages
                .get(&branch)
                .is_some_and(|lineage| compare(lineage, list).is_none())
        };
        if let Some(what) = first {
            if facts.surviving == 1 || !other() {
                return Err(Broken::new(NAME, list.returned, format!("{} {what}", describe(list))));
            }
            // Read from a history that was given up later.
            continue;
        }
        if let Some((revision, at)) = newest
            .before(list.invoked)
            .filter(|(newest, _)| *newest > list.revision)
            && !facts.is_from_abandoned(list.machine, list.returned)
        {
            let what = format!("is older than revision {revision}, acknowledged at {at}");
            return Err(Broken::new(NAME, list.returned, format!("{} {what}", describe(list))));
        }
    }
    Ok(())
}

fn describe(list: &List) -> String {
    format!(
        "client {}'s list of {} at machine {}, {} .. {}, revision {}",
        list.client, list.prefix, list.machine, list.invoked, list.returned, list.revision
    )
}

fn compare(lineage: &Lineage<'_>, list: &List) -> Option<String> {
    let want = lineage.at_revision(&list.prefix, list.revision);
    for (key, (value, revision)) in &list.items {
        match want.get(key.as_str()) {
            None => return Some(format!("has {key} = {value}, which was not there")),
            Some(want) if *want != (value.as_str(), *revision) => {
                let (want, at) = want;
                return Some(format!("has {key} = {value} at {revision}, which was {want} at {at}"));
            }
            Some(_) => {}
        }
    }
    let missing = want.iter().find(|(key, _)| !list.items.contains_key(**key))?;
    Some(format!(
        "lacks {} = {} of revision {}",
        missing.0, missing.1.0, missing.1.1
    ))
}

/// The newest revision of the surviving history that was acknowledged by a time.
struct Newest(Vec<(Stamp, u64)>);

impl Newest {
    fn new(facts: &Facts<'_>) -> Self {
        let ops = facts.record.ops.iter().filter_map(|op| {
            let Outcome::Written {
                revision: revision @ 1..,
            } = op.outcome
            else {
                return None;
            };
            let mut changes = facts.lineage().of_key(&op.key);
            changes
                .any(|c| c.change.revision == revision)
                .then_some((op.returned?, revision))
        });
        let mut all: Vec<_> = ops.collect();
        all.sort_unstable();
        let mut newest = 0;
        for (_, revision) in &mut all {
            newest = newest.max(*revision);
            *revision = newest;
        }
        Self(all)
    }

    fn before(&self, at: Stamp) -> Option<(u64, Stamp)> {
        let until = self.0.partition_point(|(returned, _)| *returned < at);
        self.0.get(until.checked_sub(1)?).map(|(at, revision)| (*revision, *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, assert_only};

    fn listed() -> (World, usize) {
        let mut world = World::founded();
        world.create("/w/a", "v1");
        world.create("/w/b", "v2");
        world.update("/w/a", "v3");
        world.create("/other/a", "v4");
        world.list("/w/");
        let n = world.record.lists.len() - 1;
        (world, n)
    }

    #[test]
    fn each_difference_is_seen() {
        let wrongs: [fn(&mut List); 4] = [
            |list| drop(list.items.remove("/w/b")),
            |list| drop(list.items.insert("/w/c".into(), ("v9".into(), 1))),
            |list| list.items.get_mut("/w/a").unwrap().0 = "v1".into(),
            |list| list.items.get_mut("/w/a").unwrap().1 -= 1,
        ];
        for wrong in wrongs {
            let (world, n) = listed();
            let mut record = world.finish();
            wrong(&mut record.lists[n]);
            assert_only(&record, NAME);
        }
    }

    #[test]
    fn an_old_list() {
        let (mut world, n) = listed();
        let old = world.record.lists[n].clone();
        world.update("/w/a", "v5");
        world.list("/w/");
        let mut record = world.finish();
        let list = record.lists.last_mut().unwrap();
        (list.revision, list.items) = (old.revision, old.items);
        assert_only(&record, NAME);
    }
}

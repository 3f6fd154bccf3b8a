//! No acknowledged write is lost, none that was refused happened, and none happened twice.
//!
//! etcd API guarantees, durability ("any completed operations are durable") and atomicity; architecture, section 13:
//! after a power cut every acknowledged write is there. What a majority committed that a recovery gave up is lost by an
//! operator's decision, and counts as kept if it stands in the history that was given up.

use std::collections::BTreeMap;

use super::Broken;
use crate::facts::{Committed, Facts, Lineage};
use crate::record::{Call, LogImage, Op, Outcome};

/// Name of the invariant.
pub const NAME: &str = "acknowledged: no acknowledged write is lost, no refused one happens";

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    // Without any replica's word there is nothing to compare with.
    if facts.entries.is_empty() {
        return Ok(());
    }
    for op in &facts.record.ops {
        let value = match &op.call {
            Call::Create { value } | Call::Update { value, .. } => Some(value.as_str()),
            Call::Delete { .. } => None,
            Call::Get => continue,
        };
        match (&op.outcome, value) {
            (Outcome::Written { revision }, _) => written(facts, op, value, *revision)?,
            (Outcome::Unknown, _) | (_, None) => {}
            (_, Some(value)) => refused(facts, op, value)?,
        }
        if let Some(value) = value {
            once(facts, op, value)?;
        }
    }
    from_nowhere(facts)?;
    forgotten(facts)
}

/// At the end somebody still has the last acknowledged write of the surviving history: as an applied entry, in a durable
/// log, or in the snapshot that stands for what was purged from one. Logs have no holes and are compared elsewhere.
fn forgotten(facts: &Facts<'_>) -> Result<(), Broken> {
    let record = facts.record;
    let of_finals = record
        .finals
        .iter()
        .filter(|last| last.running && last.epoch == facts.surviving);
    let applied = of_finals.filter_map(|last| last.applied);
    let mut images: BTreeMap<u16, &LogImage> = BTreeMap::new();
    for image in &record.logs {
        if facts.branch(image.machine, image.epoch, image.at) == facts.surviving {
            images.insert(image.machine, image);
        }
    }
    let logged = images
        .values()
        .map(|image| image.entries.keys().next_back().copied().unwrap_or(0).max(image.purged));
    // Not even a log that could be read, unless nobody looked.
    let kept = applied.chain(logged).max().unwrap_or(0);
    if record.finals.is_empty() {
        return Ok(());
    }
    for op in &record.ops {
        let Outcome::Written {
            revision: revision @ 1..,
        } = op.outcome
        else {
            continue;
        };
        let mut changes = facts.lineage().of_key(&op.key);
        if let Some(committed) = changes.find(|c| c.change.revision == revision && c.index > kept) {
            let what = format!(
                "{op}\nbut at the end nobody has more than {kept} entries, and it was entry {}",
                committed.index
            );
            return Err(Broken::new(NAME, record.ended, what));
        }
    }
    Ok(())
}

fn written(facts: &Facts<'_>, op: &Op, value: Option<&str>, revision: u64) -> Result<(), Broken> {
    let is_it = |committed: &&Committed<'_>| {
        let change = committed.change;
        let in_time = op.invoked <= committed.at && op.returned.is_none_or(|returned| committed.at <= returned);
        let same = change.key == op.key && change.value.as_deref() == value;
        // A value names its write, a delete without a revision only its key.
        same && (change.revision == revision || revision == 0) && in_time
    };
    let has = |lineage: &Lineage<'_>| lineage.of_key(&op.key).any(|committed| is_it(&committed));
    if facts.lineages.values().any(has) {
        return Ok(());
    }
    let at = op.returned.unwrap_or(op.invoked);
    let instead = match value {
        Some(value) => facts.lineage().of_value(value).next(),
        None => facts.lineage().of_key(&op.key).find(|c| c.change.revision == revision),
    };
    let what = match instead {
        Some(committed) => format!(
            "{op}\nbut entry {}, first applied at {}, changed {} to {:?} at revision {}",
            committed.index, committed.at, committed.change.key, committed.change.value, committed.change.revision
        ),
        None => format!("{op}\nbut no replica ever applied it"),
    };
    Err(Broken::new(NAME, at, what))
}

fn refused(facts: &Facts<'_>, op: &Op, value: &str) -> Result<(), Broken> {
    let happened = facts
        .lineages
        .values()
        .find_map(|lineage| lineage.of_value(value).next());
    let Some(committed) = happened else { return Ok(()) };
    let what = format!(
        "{op}\nbut it happened: entry {}, first applied at {}",
        committed.index, committed.at
    );
    Err(Broken::new(NAME, committed.at, what))
}

fn once(facts: &Facts<'_>, op: &Op, value: &str) -> Result<(), Broken> {
    for lineage in facts.lineages.values() {
        let mut all = lineage.of_value(value);
        if let (Some(first), Some(again)) = (all.next(), all.next()) {
            let what = format!("{op}\nwas applied twice: entries {} and {}", first.index, again.index);
            return Err(Broken::new(NAME, again.at, what));
        }
    }
    Ok(())
}

/// On a key of the workload every value is one that a client sent, and there since it was sent.
fn from_nowhere(facts: &Facts<'_>) -> Result<(), Broken> {
    let mut keys: BTreeMap<&str, BTreeMap<&str, &Op>> = BTreeMap::new();
    for op in &facts.record.ops {
        let values = keys.entry(op.key.as_str()).or_default();
        if let Call::Create { value } | Call::Update { value, .. } = &op.call {
            values.insert(value, op);
        }
    }
    for (key, values) in &keys {
        for committed in facts.lineages.values().flat_map(|lineage| lineage.of_key(key)) {
            let Some(value) = committed.change.value.as_deref().filter(|value| !value.is_empty()) else {
                continue;
            };
            if values.get(value).is_none_or(|op| committed.at < op.invoked) {
                let what = format!(
                    "entry {} changed {key} to {value}, which nobody had sent",
                    committed.index
                );
                return Err(Broken::new(NAME, committed.at, what));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, assert_only, good};

    #[test]
    fn an_acknowledged_write_that_was_lost() {
        let mut record = good();
        let last = record.ops.last().unwrap();
        let (client, machine, at) = (last.client, last.machine, last.returned.unwrap());
        let revision = record.applied.last().unwrap().revision;
        let returned = Some(record.next());
        record.ops.push(Op {
            client,
            machine,
            key: "/lost/a".into(),
            call: Call::Create { value: "lost".into() },
            invoked: at,
            returned,
            outcome: Outcome::Written { revision },
        });
        assert_only(&record, NAME);
    }

    #[test]
    fn an_acknowledged_write_that_everybody_forgot() {
        let mut world = World::founded();
        world.create("/w/a", "v1");
        let mut record = world.finish();
        assert_eq!(forgotten(&Facts::new(&record)), Ok(()));
        let index = record.applied.last().unwrap().index;
        for image in &mut record.logs {
            image.entries.retain(|at, _| *at < index);
        }
        assert_eq!(forgotten(&Facts::new(&record)), Ok(()), "it is still applied");
        for last in &mut record.finals {
            last.applied = Some(index - 1);
        }
        assert!(forgotten(&Facts::new(&record)).is_err());
    }

    #[test]
    fn a_refused_write_that_happened() {
        let mut world = World::founded();
        world.create("/w/a", "v1");
        let mut record = world.finish();
        let op = record.ops.last_mut().unwrap();
        op.outcome = Outcome::Refused { code: 503 };
        assert_only(&record, NAME);
    }

    #[test]
    fn a_write_that_was_applied_twice() {
        let mut world = World::founded();
        world.create("/w/a", "v1");
        world.commit(vec![("/w/a", None)]);
        world.commit(vec![("/w/a", Some("v1"))]);
        let mut record = world.finish();
        record.ops.last_mut().unwrap().outcome = Outcome::Unknown;
        record.ops.last_mut().unwrap().returned = None;
        assert_only(&record, NAME);
    }

    #[test]
    fn a_value_that_nobody_sent() {
        let mut world = World::founded();
        world.create("/w/a", "v1");
        world.commit(vec![("/w/a", Some("from nowhere"))]);
        assert_only(&world.finish(), NAME);
    }
}

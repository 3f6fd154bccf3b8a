//! What several invariants need to know of a record: which entries belong to which history.
//!
//! A recovery splits history: the survivor goes on from what it has, and what a majority of the old epoch may have
//! committed besides is given up. Observations are therefore put into *branches*, one an epoch. The survivor writes
//! down the new epoch after it elected itself, so what it does since it was asked to recover already belongs to the
//! new branch, whatever epoch it says.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use revoada_core::MemberId;
use revoada_core::chain::Event;
use revoada_core::state::MeshState;

use crate::record::{Applied, Change, RECOVER, Record, Stamp};

/// The longest pause of a cluster that commits all the time, milliseconds.
const FLOW_MS: u64 = 5_000;

/// Where the branch of an epoch leaves the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The survivor's machine.
    pub machine: u16,
    /// When it was asked to recover.
    pub start: Stamp,
    /// The last entry that both branches have.
    pub after: u64,
}

/// One committed change.
#[derive(Debug, Clone, Copy)]
pub struct Committed<'a> {
    /// Index of its entry.
    pub index: u64,
    /// When any replica first applied it.
    pub at: Stamp,
    /// The change.
    pub change: &'a Change,
    /// Whether the key was there before.
    pub existed: bool,
}

/// The committed history that leads to one epoch.
#[derive(Debug, Clone, Default)]
pub struct Lineage<'a> {
    /// First observation of each entry, by index.
    pub entries: BTreeMap<u64, &'a Applied>,
    /// All changes, in order.
    pub changes: Vec<Committed<'a>>,
    by_key: BTreeMap<&'a str, Vec<usize>>,
    by_value: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Lineage<'a> {
    fn new(entries: BTreeMap<u64, &'a Applied>) -> Self {
        let mut lineage = Self {
            entries,
            ..Self::default()
        };
        for entry in lineage.entries.values() {
            for change in &entry.changes {
                let n = lineage.changes.len();
                let of_key = lineage.by_key.entry(change.key.as_str()).or_default();
                let existed = of_key
                    .last()
                    .is_some_and(|last| lineage.changes[*last].change.value.is_some());
                of_key.push(n);
                if let Some(value) = change.value.as_deref().filter(|value| !value.is_empty()) {
                    lineage.by_value.entry(value).or_default().push(n);
                }
                lineage.changes.push(Committed {
                    index: entry.index,
                    at: entry.at,
                    change,
                    existed,
                });
            }
        }
        lineage
    }

    /// All changes of a key, in order.
    pub fn of_key(&self, key: &str) -> impl DoubleEndedIterator<Item = &Committed<'a>> {
        let changes = self.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        changes.iter().map(|n| &self.changes[*n])
    }

    /// All changes that wrote a value.
    pub fn of_value(&self, value: &str) -> impl Iterator<Item = &Committed<'a>> {
        let changes = self.by_value.get(value).map(Vec::as_slice).unwrap_or_default();
        changes.iter().map(|n| &self.changes[*n])
    }

    /// Keys that were ever changed.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.by_key.keys().copied()
    }

    /// What is below a prefix at a revision: key to value and revision.
    pub fn at_revision(&self, prefix: &str, revision: u64) -> BTreeMap<&'a str, (&'a str, u64)> {
        let below = self
            .by_key
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        below
            .filter_map(|(key, of_key)| {
                let until = of_key.partition_point(|n| self.changes[*n].change.revision <= revision);
                let last = self.changes[*of_key.get(until.checked_sub(1)?)?].change;
                Some((*key, (last.value.as_deref()?, last.revision)))
            })
            .collect()
    }
}

/// A record, ordered.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What was observed.
    pub record: &'a Record,
    /// Every observation of every applied entry, by branch and index, in the order of observation.
    pub entries: BTreeMap<u64, BTreeMap<u64, Vec<&'a Applied>>>,
    /// Where branches begin, by their epoch.
    pub forks: BTreeMap<u64, Fork>,
    /// The highest epoch.
    pub surviving: u64,
    /// Committed history by epoch.
    pub lineages: BTreeMap<u64, Lineage<'a>>,
    /// Machine of every member that is known.
    pub machines: BTreeMap<MemberId, u16>,
    branches: BTreeMap<u16, Vec<(Stamp, u64)>>,
    abandoned_since: Option<Stamp>,
}

impl<'a> Facts<'a> {
    /// Puts a record in order.
    pub fn new(record: &'a Record) -> Self {
        let mut facts = Self {
            record,
            entries: BTreeMap::new(),
            forks: BTreeMap::new(),
            surviving: 1,
            lineages: BTreeMap::new(),
            machines: BTreeMap::new(),
            branches: BTreeMap::new(),
            abandoned_since: None,
        };
        let known = record.members.iter().map(|(id, machine)| (*id, *machine));
        let of_finals = record
            .finals
            .iter()
            .filter_map(|last| Some((last.member?, last.machine)));
        let of_leaders = record.leading.iter().map(|leading| (leading.member, leading.machine));
        facts.machines = known.chain(of_leaders).chain(of_finals).collect();
        facts.find_forks();
        facts.sort_entries();
        facts.find_branches();
        facts.follow_lineages();
        facts
    }

    /// The history of the surviving epoch.
    pub fn lineage(&self) -> &Lineage<'a> {
        // There is always one, if only an empty one.
        &self.lineages[&self.surviving]
    }

    /// The branch that an observation belongs to.
    pub fn branch(&self, machine: u16, epoch: u64, at: Stamp) -> u64 {
        match self.forks.get(&(epoch + 1)) {
            Some(fork) if fork.machine == machine && at >= fork.start => epoch + 1,
            _ => epoch,
        }
    }

    /// The branch that a machine took part in at a time, as far as is known.
    pub fn branch_at(&self, machine: u16, at: Stamp) -> u64 {
        let Some(seen) = self.branches.get(&machine) else {
            return self.surviving;
        };
        let after = seen.partition_point(|(since, _)| *since <= at);
        seen.get(after.saturating_sub(1)).map_or(1, |(_, branch)| *branch)
    }

    /// When the first entry was applied that a recovery gave up, if any was.
    pub fn abandoned_since(&self) -> Option<Stamp> {
        self.abandoned_since
    }

    /// Since when there may be more than one history, if there was a recovery.
    pub fn forked_since(&self) -> Option<Stamp> {
        let forks = self.forks.values().map(|fork| fork.start);
        forks.chain(self.abandoned_since).min()
    }

    /// Whether an answer may come from a history that was given up.
    pub fn is_from_abandoned(&self, machine: u16, at: Stamp) -> bool {
        self.forked_since().is_some_and(|since| at >= since) && self.branch_at(machine, at) < self.surviving
    }

    /// Machines whose last key is no member any more, by the highest chain that anybody has at the end.
    pub fn outsiders(&self) -> Vec<u16> {
        let finals = &self.record.finals;
        let chains = finals.iter().filter_map(|last| {
            Some((
                (last.epoch, last.state.as_ref()?.chain()?.height()),
                last.state.as_ref()?,
            ))
        });
        let Some((_, newest)) = chains.max_by_key(|(age, _)| *age) else {
            return Vec::new();
        };
        finals
            .iter()
            .filter(|last| {
                last.member
                    .is_some_and(|member| !newest.standing(&member).is_admitted())
            })
            .map(|last| last.machine)
            .collect()
    }

    /// Whether a branch committed one entry after another all the time between two times, milliseconds.
    pub fn commits_flow(&self, branch: u64, from_ms: u64, to_ms: u64) -> bool {
        let Some(lineage) = self.lineages.get(&branch) else {
            return false;
        };
        let mut times: Vec<u64> = lineage.entries.values().map(|entry| entry.at.at_ms).collect();
        times.retain(|at| (from_ms..=to_ms).contains(at));
        times.extend([from_ms, to_ms]);
        times.sort_unstable();
        times.windows(2).all(|pair| pair[1] - pair[0] <= FLOW_MS)
    }

    /// When a machine's process did not run: from when to when.
    pub fn downs(&self, machine: u16) -> Vec<(Stamp, Stamp)> {
        let of_machine = self.record.power.iter().filter(|power| power.machine == machine);
        let mut power: Vec<_> = of_machine.collect();
        power.sort_by_key(|power| power.at);
        let mut downs: Vec<(Stamp, Stamp)> = Vec::new();
        let mut since = None;
        for power in power {
            match (power.up, since) {
                (false, None) => since = Some(power.at),
                (true, Some(down)) => {
                    downs.push((down, power.at));
                    since = None;
                }
                _ => {}
            }
        }
        downs.extend(since.map(|down| (down, self.record.ended)));
        downs
    }

    /// When each block of a branch was first shown by anybody, by its index.
    pub fn blocks_shown(&self, branch: u64) -> BTreeMap<u64, Stamp> {
        let mut shown = BTreeMap::new();
        let mut height = 0;
        for picture in &self.record.pictures {
            let Some(chain) = picture.state.chain() else { continue };
            if chain.height() > height && self.branch(picture.machine, chain.epoch(), picture.at) == branch {
                shown.extend((height + 1..=chain.height()).map(|index| (index, picture.at)));
                height = chain.height();
            }
        }
        shown
    }

    fn states(record: &'a Record) -> impl Iterator<Item = &'a MeshState> {
        let pictures = record.pictures.iter().map(|picture| picture.state.as_ref());
        pictures.chain(record.finals.iter().filter_map(|last| last.state.as_deref()))
    }

    fn find_forks(&mut self) {
        let record = self.record;
        let key = |state: &&MeshState| state.chain().map(|chain| (chain.epoch(), chain.height()));
        let Some(newest) = Self::states(record).max_by_key(key) else {
            return;
        };
        for block in newest.blocks() {
            let Event::Recover { epoch, survivor, .. } = &block.event else {
                continue;
            };
            let Some(machine) = self.machines.get(survivor).copied() else {
                continue;
            };
            let of_epoch = record
                .applied
                .iter()
                .filter(|a| a.machine == machine && a.epoch == *epoch);
            let restored = record
                .restored
                .iter()
                .filter(|r| r.machine == machine && r.epoch == *epoch);
            let first = of_epoch.map(|a| a.at).chain(restored.map(|r| r.at)).min();
            let asked = record
                .faults
                .iter()
                .filter(|note| note.kind == RECOVER && note.machines.contains(&machine))
                .map(|note| note.at)
                .rfind(|at| first.is_none_or(|first| *at < first));
            let Some(start) = asked.or(first) else { continue };
            let applied = record
                .applied
                .iter()
                .filter(|a| a.machine == machine && a.epoch + 1 == *epoch && a.at < start)
                .map(|a| a.index);
            let restored = record
                .restored
                .iter()
                .filter(|r| r.machine == machine && r.epoch + 1 == *epoch && r.at < start)
                .map(|r| r.index);
            let after = applied.chain(restored).max().unwrap_or(0);
            self.forks.insert(*epoch, Fork { machine, start, after });
        }
    }

    fn sort_entries(&mut self) {
        let mut entries: BTreeMap<u64, BTreeMap<u64, Vec<&'a Applied>>> = BTreeMap::new();
        for applied in &self.record.applied {
            let branch = self.branch(applied.machine, applied.epoch, applied.at);
            let of_index = entries.entry(branch).or_default().entry(applied.index).or_default();
            of_index.push(applied);
        }
        for of_index in entries.values_mut().flat_map(BTreeMap::values_mut) {
            of_index.sort_by_key(|applied| applied.at);
        }
        self.entries = entries;
        let epochs = self.record.finals.iter().map(|last| last.epoch);
        let branches = self.entries.keys().chain(self.forks.keys()).copied();
        self.surviving = epochs.chain(branches).max().unwrap_or(1).max(1);
    }

    fn find_branches(&mut self) {
        let record = self.record;
        let mut seen: Vec<(u16, Stamp, u64)> = Vec::new();
        seen.extend(record.raft.iter().map(|note| (note.machine, note.at, note.epoch)));
        seen.extend(record.applied.iter().map(|a| (a.machine, a.at, a.epoch)));
        seen.extend(record.restored.iter().map(|r| (r.machine, r.at, r.epoch)));
        for picture in &record.pictures {
            if let Some(chain) = picture.state.chain() {
                seen.push((picture.machine, picture.at, chain.epoch()));
            }
        }
        seen.sort();
        for (machine, at, epoch) in seen {
            let branch = self.branch(machine, epoch, at);
            let of_machine = self.branches.entry(machine).or_default();
            if of_machine.last().is_none_or(|(_, last)| *last != branch) {
                of_machine.push((at, branch));
            }
        }
    }

    fn follow_lineages(&mut self) {
        let mut before: BTreeMap<u64, &'a Applied> = BTreeMap::new();
        for epoch in 1..=self.surviving {
            let mut entries: BTreeMap<u64, &'a Applied> = self
                .entries
                .get(&epoch)
                .into_iter()
                .flatten()
                .filter_map(|(index, all)| Some((*index, *all.first()?)))
                .collect();
            let first = entries.keys().next().map_or(u64::MAX, |first| first - 1);
            let after = self.forks.get(&epoch).map_or(first, |fork| fork.after);
            for (index, entry) in &before {
                if *index > after {
                    self.abandoned_since = Some(self.abandoned_since.map_or(entry.at, |since| since.min(entry.at)));
                } else {
                    match entries.entry(*index) {
                        Entry::Vacant(vacant) => {
                            vacant.insert(entry);
                        }
                        // The one that was seen first says when it was committed.
                        Entry::Occupied(mut occupied) if entry.at < occupied.get().at => {
                            occupied.insert(entry);
                        }
                        Entry::Occupied(_) => {}
                    }
                }
            }
            self.lineages.insert(epoch, Lineage::new(entries.clone()));
            before = entries;
        }
    }
}

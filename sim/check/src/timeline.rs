//! What happened, in the order of time, for people: leaders, roles, faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use revoada_core::MemberId;
use revoada_core::chain::{ChainState, Event};

use crate::facts::Facts;
use crate::record::{Record, Stamp};

/// The most lines there are.
const LINES_MAX: usize = 200;

/// Leaders, role changes, faults and halted machines in the order of time. Where that is too much, what is nearest to
/// `around` stays.
pub fn timeline(record: &Record, around: Stamp) -> String {
    let facts = Facts::new(record);
    let mut lines: Vec<(Stamp, String)> = Vec::new();
    lines.extend(record.faults.iter().map(|note| {
        let line = if note.what.starts_with(note.kind) {
            format!("* {}", note.what)
        } else {
            format!("* {}: {}", note.kind, note.what)
        };
        (note.at, line)
    }));
    for power in &record.power {
        let word = if power.up { "runs" } else { "is down" };
        lines.push((power.at, format!("  machine {} {word}", power.machine)));
    }
    leaders(&facts, &mut lines);
    blocks(&facts, &mut lines);
    transitions(&facts, &mut lines);
    for refusal in &record.refusals {
        let word = if refusal.refused { "refused" } else { "LET IN" };
        lines.push((
            refusal.at,
            format!("  machine {} is {word}: {}", refusal.machine, refusal.told),
        ));
    }
    lines.push((record.calm, "= the faults are over".to_owned()));
    for last in &record.finals {
        let state = if let Some(reason) = &last.halted {
            format!("halted: {reason}")
        } else if !last.running {
            "down".to_owned()
        } else {
            let role = last.member.and_then(|id| last.state.as_ref()?.role(&id));
            let role = role.map_or("no member", |role| role.as_str());
            let applied = last
                .applied
                .map_or_else(|| "nothing".to_owned(), |index| index.to_string());
            let api = if last.api { "serves" } else { "does not serve" };
            format!("{role}, epoch {}, applied {applied}, {api}", last.epoch)
        };
        lines.push((record.ended, format!("= machine {}: {state}", last.machine)));
    }
    lines.sort();
    render(lines, around)
}

fn render(mut lines: Vec<(Stamp, String)>, around: Stamp) -> String {
    let total = lines.len();
    let mut skipped = 0;
    // Two lines may say that something was left out.
    let most = LINES_MAX - 2;
    if total > most {
        let centre = lines.partition_point(|(at, _)| *at <= around);
        skipped = centre.saturating_sub(most / 2).min(total - most);
        lines = lines.split_off(skipped);
        lines.truncate(most);
    }
    let mut text = String::new();
    if skipped > 0 {
        let _ = writeln!(text, "          ({skipped} lines before)");
    }
    let mut is_marked = around == Stamp::default();
    for (at, line) in &lines {
        let mark = !is_marked && *at >= around;
        is_marked |= mark;
        let sign = if mark { '>' } else { ' ' };
        let seconds = at.at_ms as f64 / 1000.0;
        // One line each, whatever was noted.
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(text, "{sign}{seconds:>8.2} {line}");
    }
    let after = total - skipped - lines.len();
    if after > 0 {
        let _ = writeln!(text, "          ({after} lines after)");
    }
    text
}

fn leaders(facts: &Facts<'_>, lines: &mut Vec<(Stamp, String)>) {
    let record = facts.record;
    let mut known = BTreeSet::new();
    let mut led: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
    for note in &record.raft {
        let branch = facts.branch(note.machine, note.epoch, note.at);
        if note.leads {
            led.insert(note.machine, (branch, note.term));
            if known.insert((branch, note.term, note.machine)) {
                let epoch = if branch > 1 {
                    format!(" of epoch {branch}")
                } else {
                    String::new()
                };
                let line = format!("  machine {} is elected in term {}{epoch}", note.machine, note.term);
                lines.push((note.at, line));
            }
        } else if let Some((_, term)) = led.remove(&note.machine) {
            let line = format!("  machine {} leads term {term} no longer", note.machine);
            lines.push((note.at, line));
        }
    }
    for leading in &record.leading {
        let line = format!(
            "  machine {} leads term {} from entry {}",
            leading.machine, leading.term, leading.applied
        );
        lines.push((leading.at, line));
    }
}

fn name(facts: &Facts<'_>, id: &MemberId) -> String {
    match facts.machines.get(id) {
        Some(machine) => format!("machine {machine}"),
        None => id.short(),
    }
}

/// Every block, when it was first shown.
fn blocks(facts: &Facts<'_>, lines: &mut Vec<(Stamp, String)>) {
    let mut shown: BTreeMap<u64, u64> = BTreeMap::new();
    for picture in &facts.record.pictures {
        let epoch = picture.state.chain().map_or(0, ChainState::epoch);
        let branch = facts.branch(picture.machine, epoch, picture.at);
        let before = branch.checked_sub(1).and_then(|b| shown.get(&b)).copied();
        let fork = facts.forks.get(&branch).map(|fork| fork.after);
        let height = shown.entry(branch).or_default();
        for block in picture.state.blocks().iter().skip(*height as usize) {
            *height = block.index;
            // What both branches have was shown already.
            if before.is_some_and(|before| block.index <= before) && fork.is_some_and(|after| block.log_index <= after)
            {
                continue;
            }
            let what = match &block.event {
                Event::Admit {
                    member, name: called, ..
                } => format!("{} is admitted as {called}", name(facts, member)),
                Event::Leave { member } => format!("{} left", name(facts, member)),
                Event::Expel { member } => format!("{} is expelled", name(facts, member)),
                Event::Transition {
                    member,
                    from,
                    to,
                    replaces,
                } => {
                    let instead = replaces.map(|id| format!(" instead of {}", name(facts, &id)));
                    format!("{}: {from} -> {to}{}", name(facts, member), instead.unwrap_or_default())
                }
                Event::Formation { formation } => {
                    format!(
                        "formation: voters {:?}, standbys {:?}",
                        formation.voters, formation.standbys
                    )
                }
                Event::Recover { epoch, survivor, .. } => {
                    format!("{} recovers into epoch {epoch}", name(facts, survivor))
                }
            };
            lines.push((picture.at, format!("# {}: {what} ({})", block.index, block.reason)));
        }
    }
}

/// Begin, phases and giving up of every transition.
fn transitions(facts: &Facts<'_>, lines: &mut Vec<(Stamp, String)>) {
    let mut known = BTreeSet::new();
    let mut open: BTreeMap<u64, u64> = BTreeMap::new();
    for picture in &facts.record.pictures {
        let epoch = picture.state.chain().map_or(0, ChainState::epoch);
        let branch = facts.branch(picture.machine, epoch, picture.at);
        match picture.state.in_flight() {
            Some(now) => {
                if known.insert((branch, now.id, now.phase)) {
                    open.insert(branch, now.id);
                    let (spec, id) = (&now.spec, now.id);
                    let what = format!("{} {} -> {}", name(facts, &spec.member), spec.from, spec.to);
                    lines.push((picture.at, format!("  transition {id} ({what}): {}", now.phase)));
                }
            }
            None => {
                let Some(id) = open.get(&branch).copied().filter(|_| picture.replica) else {
                    continue;
                };
                let is_old = picture.state.blocks().is_empty() || !known_to(picture.state.as_ref(), id, facts, branch);
                if is_old {
                    continue;
                }
                open.remove(&branch);
                if picture.state.ended().all(|ended| ended.id != id) {
                    lines.push((picture.at, format!("  transition {id} is given up")));
                }
            }
        }
    }
}

/// Whether a state is newer than the first that had this transition in flight.
fn known_to(state: &revoada_core::state::MeshState, id: u64, facts: &Facts<'_>, branch: u64) -> bool {
    let begun = facts.record.pictures.iter().find(|picture| {
        let epoch = picture.state.chain().map_or(0, ChainState::epoch);
        facts.branch(picture.machine, epoch, picture.at) == branch
            && picture.state.in_flight().is_some_and(|now| now.id == id)
    });
    let index = |state: &revoada_core::state::MeshState| state.applied().map(|at| at.index);
    begun.is_some_and(|begun| index(&begun.state) < index(state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FaultNote;
    use crate::testing::good;

    #[test]
    fn it_is_in_order_and_short() {
        let mut record = good();
        let text = timeline(&record, record.leading[1].at);
        assert!(text.contains("is elected in term 2"), "{text}");
        assert!(text.contains("machine 3 is expelled"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with('>')).count(), 1, "{text}");
        let at = record.leading[1].at;
        for n in 0..1000 {
            record.faults.push(FaultNote {
                at: Stamp {
                    order: n,
                    at_ms: at.at_ms,
                },
                kind: "hold",
                what: format!("line\n{n}"),
                machines: vec![],
            });
        }
        let text = timeline(&record, at);
        assert!(text.lines().count() <= LINES_MAX, "{}", text.lines().count());
    }
}

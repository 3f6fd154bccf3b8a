//! The search for an order of one key's calls.
//!
//! Wing and Gong's search (1993) with Lowe's memory of configurations already tried (2017), as Porcupine does it, over a
//! register with revisions. Four facts make it nearly linear and take nothing from it:
//!
//! - A call that changes nothing and fits the present state may always be put first: whatever order was possible
//!   without it still is.
//! - Writes whose revisions clients were told take effect in the order of their revisions; it is part of what the store
//!   promises. So at most one of them can be next.
//! - A write of unknown outcome may take effect at any time or never. If nobody ever found its value, it only matters
//!   what it needs and what it leaves behind; of several that are alike the first stands for all, and one that would
//!   leave the state as it is need not be tried.
//! - What it leaves behind is "there, at a revision that nobody was told".

use std::collections::HashSet;

/// What a call needs of the key in order to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Needs {
    /// That it isn't there.
    Absent,
    /// That it is there.
    Present,
    /// That it is there at this revision.
    At(u64),
}

/// What a call did, or may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Found the value of this revision.
    Found(u64),
    /// Found nothing.
    Absent,
    /// Found that something is there.
    Exists,
    /// Found something at another revision.
    NotAt(u64),
    /// Wrote or deleted.
    Write {
        /// Under this condition.
        needs: Needs,
        /// Whether the key is there afterwards.
        leaves: bool,
        /// The revision, if any client was told.
        revision: Option<u64>,
    },
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Which operation.
    pub op: usize,
    /// Order of the call.
    pub invoked: u64,
    /// Order of the answer; the highest number if there was none.
    pub returned: u64,
    /// Whether it may never have taken effect.
    pub optional: bool,
    /// What it did.
    pub what: What,
}

/// What the key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum State {
    /// Nothing.
    Absent,
    /// The value of this revision.
    At(u64),
    /// A value whose revision no client was told.
    Unnamed,
}

/// What the search came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is an order.
    Linearizable {
        /// How many configurations were looked at.
        tried: usize,
    },
    /// There is none.
    NotLinearizable {
        /// The longest orders that were possible: what came last in each (operations, oldest first) and the state it
        /// led to.
        stuck: Vec<(State, Vec<usize>)>,
    },
    /// Neither was found within the bound.
    GaveUp {
        /// How many configurations were looked at.
        tried: usize,
    },
}

/// How many of the longest orders are kept to be shown.
const STUCK_MAX: usize = 3;
/// How many of their last operations.
const TAIL_MAX: usize = 5;

struct Search<'a> {
    /// Calls that took effect, by invocation.
    certain: Vec<&'a Step>,
    /// Calls that may have, by invocation.
    optional: Vec<&'a Step>,
    /// Positions in `certain` of writes with known revisions, by revision.
    named: Vec<usize>,
    /// Every order tried, as steps with the one before.
    path: Vec<(usize, usize)>,
}

#[derive(Clone)]
struct Config {
    done: Box<[u64]>,
    state: State,
    /// All certain calls before this one are done.
    base: usize,
    /// How many named writes are done.
    named: usize,
    left: usize,
    path: usize,
}

impl Config {
    fn has(&self, bit: usize) -> bool {
        self.done[bit / 64] & (1 << (bit % 64)) != 0
    }

    fn set(&mut self, bit: usize) {
        self.done[bit / 64] |= 1 << (bit % 64);
    }
}

/// Looks for an order of `steps` in which each took effect between its call and its answer, visiting at most `budget`
/// configurations.
pub(super) fn search(steps: &[Step], budget: usize) -> Verdict {
    let (mut optional, mut certain): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| step.optional);
    certain.sort_by_key(|step: &&Step| step.invoked);
    optional.sort_by_key(|step: &&Step| step.invoked);
    let revision = |step: &Step| match step.what {
        What::Write { revision, .. } => revision,
        _ => None,
    };
    let mut named: Vec<(u64, usize)> = certain
        .iter()
        .enumerate()
        .filter_map(|(n, step)| Some((revision(step)?, n)))
        .collect();
    named.sort_unstable();
    let search = Search {
        named: named.into_iter().map(|(_, n)| n).collect(),
        certain,
        optional,
        path: vec![(usize::MAX, 0)],
    };
    search.run(budget)
}

impl Search<'_> {
    fn run(mut self, budget: usize) -> Verdict {
        let words = (self.certain.len() + self.optional.len()).div_ceil(64).max(1);
        let mut stack = vec![Config {
            done: vec![0; words].into_boxed_slice(),
            state: State::Absent,
            base: 0,
            named: 0,
            left: self.certain.len(),
            path: 0,
        }];
        let mut seen: HashSet<(Box<[u64]>, State)> = HashSet::new();
        let mut stuck: Vec<(usize, State, usize)> = Vec::new();
        let mut tried = 0;
        while let Some(mut config) = stack.pop() {
            let until = self.read(&mut config);
            if config.left == 0 {
                return Verdict::Linearizable { tried };
            }
            if !seen.insert((config.done.clone(), config.state)) {
                continue;
            }
            tried += 1;
            if tried > budget {
                return Verdict::GaveUp { tried };
            }
            let more = stack.len();
            self.expand(&config, until, &mut stack);
            if stack.len() == more {
                let best = stuck.first().map_or(usize::MAX, |(left, ..)| *left);
                if config.left < best {
                    stuck.clear();
                }
                if config.left <= best && stuck.len() < STUCK_MAX {
                    stuck.push((config.left, config.state, config.path));
                }
            }
        }
        let stuck = stuck
            .iter()
            .map(|(_, state, path)| (*state, self.tail(*path)))
            .collect();
        Verdict::NotLinearizable { stuck }
    }

    fn tail(&self, mut at: usize) -> Vec<usize> {
        let mut ops = Vec::new();
        while ops.len() < TAIL_MAX && self.path[at].0 != usize::MAX {
            ops.push(self.path[at].0);
            at = self.path[at].1;
        }
        ops.reverse();
        ops
    }

    /// Puts every call that changes nothing and fits next; gives the earliest answer of those still to come.
    fn read(&mut self, config: &mut Config) -> u64 {
        loop {
            while config.base < self.certain.len() && config.has(config.base) {
                config.base += 1;
            }
            let mut until = u64::MAX;
            let mut changed = false;
            for n in config.base..self.certain.len() {
                let step = self.certain[n];
                if step.invoked > until {
                    break;
                }
                if config.has(n) {
                    continue;
                }
                if fits(step.what, config.state) {
                    self.take(config, n, step.op);
                    config.left -= 1;
                    changed = true;
                } else {
                    until = until.min(step.returned);
                }
            }
            if !changed {
                return until;
            }
        }
    }

    fn take(&mut self, config: &mut Config, bit: usize, op: usize) {
        config.set(bit);
        self.path.push((op, config.path));
        config.path = self.path.len() - 1;
    }

    /// Pushes every configuration that one write leads to, the likeliest last.
    fn expand(&mut self, config: &Config, until: u64, stack: &mut Vec<Config>) {
        let mut alike: Vec<(Needs, bool)> = Vec::new();
        for n in 0..self.optional.len() {
            let step = self.optional[n];
            if step.invoked > until {
                break;
            }
            let bit = self.certain.len() + n;
            let What::Write { needs, leaves, .. } = step.what else {
                continue;
            };
            if config.has(bit) || alike.contains(&(needs, leaves)) || !self.allows(config, needs) {
                continue;
            }
            alike.push((needs, leaves));
            let state = if leaves { State::Unnamed } else { State::Absent };
            if state != config.state {
                let mut next = config.clone();
                self.take(&mut next, bit, step.op);
                next.state = state;
                stack.push(next);
            }
        }
        for n in (config.base..self.certain.len()).rev() {
            let step = self.certain[n];
            if step.invoked > until || config.has(n) {
                continue;
            }
            let What::Write {
                needs,
                leaves,
                revision,
            } = step.what
            else {
                continue;
            };
            let is_next = revision.is_none() || self.named.get(config.named) == Some(&n);
            if !is_next || !self.allows(config, needs) {
                continue;
            }
            let mut next = config.clone();
            self.take(&mut next, n, step.op);
            next.left -= 1;
            next.named += usize::from(revision.is_some());
            next.state = match (leaves, revision) {
                (false, _) => State::Absent,
                (true, Some(revision)) => State::At(revision),
                (true, None) => State::Unnamed,
            };
            stack.push(next);
        }
    }

    fn allows(&self, config: &Config, needs: Needs) -> bool {
        match (needs, config.state) {
            (Needs::Absent, state) => state == State::Absent,
            (Needs::Present, state) => state != State::Absent,
            (Needs::At(_), State::Absent) => false,
            (Needs::At(wanted), State::At(revision)) => wanted == revision,
            // A revision that nobody was told lies between those of its neighbours.
            (Needs::At(wanted), State::Unnamed) => {
                let name = |n: usize| match self.certain[n].what {
                    What::Write { revision, .. } => revision.unwrap_or(0),
                    _ => 0,
                };
                let before = config.named.checked_sub(1).map_or(0, |n| name(self.named[n]));
                let after = self.named.get(config.named).map_or(u64::MAX, |n| name(*n));
                before < wanted && wanted < after
            }
        }
    }
}

/// Whether a call changes nothing and is right about the state.
fn fits(what: What, state: State) -> bool {
    match what {
        What::Found(revision) => state == State::At(revision),
        What::Absent => state == State::Absent,
        What::Exists => state != State::Absent,
        What::NotAt(revision) => state != State::Absent && state != State::At(revision),
        What::Write { .. } => false,
    }
}

//! What must hold in every run, one property a file.

pub mod acknowledged;
pub mod certificates;
pub mod chain;
pub mod damper;
pub mod election_safety;
pub mod expelled;
pub mod fences;
pub mod leader_completeness;
pub mod leases;
pub mod linearizability;
pub mod lists;
pub mod liveness;
pub mod log_matching;
pub mod monotonic;
pub mod one_transition;
pub mod split_brain;
pub mod state_machine;
pub mod voters;
pub mod watch;

use std::fmt;

use crate::facts::Facts;
use crate::record::{Record, Stamp};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its name, one of [`NAMES`].
    pub invariant: &'static str,
    /// What contradicts it.
    pub what: String,
    /// When that was observed, where it has a time.
    pub at: Option<Stamp>,
}

impl Broken {
    fn new(invariant: &'static str, at: Stamp, what: impl Into<String>) -> Self {
        Self {
            invariant,
            what: what.into(),
            at: Some(at),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{} at {at}: {}", self.invariant, self.what),
            None => write!(f, "{}: {}", self.invariant, self.what),
        }
    }
}

type Check = fn(&Facts<'_>) -> Result<(), Broken>;

/// What is closest to a cause comes first.
const ALL: [Check; 19] = [
    election_safety::check,
    log_matching::check,
    leader_completeness::check,
    state_machine::check,
    monotonic::check,
    fences::check,
    split_brain::check,
    chain::check,
    one_transition::check,
    voters::check,
    damper::check,
    expelled::check,
    acknowledged::check,
    linearizability::check,
    lists::check,
    watch::check,
    leases::check,
    certificates::check,
    liveness::check,
];

/// The names of all invariants, in the order in which they are checked.
pub const NAMES: &[&str] = &[
    election_safety::NAME,
    log_matching::NAME,
    leader_completeness::NAME,
    state_machine::NAME,
    monotonic::NAME,
    fences::NAME,
    split_brain::NAME,
    chain::NAME,
    one_transition::NAME,
    voters::NAME,
    damper::NAME,
    expelled::NAME,
    acknowledged::NAME,
    linearizability::NAME,
    lists::NAME,
    watch::NAME,
    leases::NAME,
    certificates::NAME,
    liveness::NAME,
];

/// The first violation of each invariant that does not hold, in the order of [`NAMES`].
pub fn check_all(record: &Record) -> Vec<Broken> {
    let facts = Facts::new(record);
    ALL.iter().filter_map(|check| check(&facts).err()).collect()
}

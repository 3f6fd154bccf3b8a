//! What must hold in every history, one property a file.

pub mod chain;
pub mod damper;
pub mod liveness;
pub mod one_transition;
pub mod replacement;
pub mod voters;

use revoada_core::model::{Happening, Model};

use crate::fault::Fault;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its name.
    pub invariant: &'static str,
    /// What contradicts it.
    pub what: String,
}

impl Broken {
    pub(crate) fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self {
            invariant,
            what: what.into(),
        }
    }
}

/// All invariants that are checked after every step.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    voters: voters::Voters,
    one: one_transition::OneTransition,
    chain: chain::Chain,
    replacement: replacement::Replacement,
    pub(crate) after_settling: Vec<String>,
    is_settled: bool,
}

impl Watch {
    /// Looks at the model after a step; gives how many transitions were committed by it.
    pub fn observe(&mut self, model: &Model, happenings: &[(u64, Happening)]) -> Result<u64, Broken> {
        if self.is_settled {
            self.after_settling
                .extend(happenings.iter().map(|(_, what)| model.describe(what)));
        }
        self.voters.check(model)?;
        self.voters.check_growth(model, happenings)?;
        self.chain.check(model)?;
        self.replacement.check(model)?;
        damper::check(model, happenings)?;
        self.one.check(happenings)
    }

    /// Something was done to the model from outside.
    pub fn disturbed(&mut self, model: &Model, fault: Fault) {
        self.voters.disturbed(model);
        self.replacement.disturbed();
        if fault == Fault::Recover {
            self.chain.recovered(model);
            self.one.recovered();
        }
    }

    /// From now on nothing may happen any more.
    pub fn settled(&mut self) {
        self.is_settled = true;
    }
}

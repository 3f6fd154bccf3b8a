//! At most one transition is in flight, and the planner asks for nothing that the state refuses.

use revoada_core::model::Happening;
use revoada_core::planner::Decision;
use revoada_core::transition::{Phase, Step};

use super::Broken;

const NAME: &str = "one transition in flight";

/// Remembers the transition in flight.
#[derive(Debug, Clone, Default)]
pub struct OneTransition {
    in_flight: bool,
}

impl OneTransition {
    pub(super) fn check(&mut self, happenings: &[(u64, Happening)]) -> Result<u64, Broken> {
        let mut committed = 0;
        for (_, what) in happenings {
            match what {
                Happening::Decided(Decision::Begin(spec)) if self.in_flight => {
                    return Err(Broken::new(NAME, format!("another was begun: {spec:?}")));
                }
                Happening::Decided(Decision::Begin(_)) => self.in_flight = true,
                Happening::Stepped(_, Step::Advance(Phase::Committed)) => {
                    self.in_flight = false;
                    committed += 1;
                }
                // Giving up takes two rounds if a learner has to go first.
                Happening::Stepped(_, Step::Abort { undo: None, .. }) => self.in_flight = false,
                Happening::Refused(
                    kind @ ("begin-transition" | "advance-transition" | "abort-transition" | "seal"),
                    refusal,
                ) => return Err(Broken::new(NAME, format!("{kind} was refused: {refusal}"))),
                _ => {}
            }
        }
        Ok(committed)
    }

    pub(super) fn recovered(&mut self) {
        self.in_flight = false;
    }
}

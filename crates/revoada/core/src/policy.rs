//! Durations and limits by which the planner and the transition machine decide, and what a formation means
//! for a given number of members.
//!
//! A [`Policy`] is read by the leader only, so members may differ in it for the length of an upgrade. What the
//! replicated state itself depends on is a constant here: every replica must compute the same.

use crate::formation::Formation;

/// First cool-down after a member was demoted or its promotion was given up.
pub const COOLDOWN_MS: u64 = 10_000;
/// Longest cool-down, however often a member flaps.
pub const COOLDOWN_MS_MAX: u64 = 600_000;
/// Demotions closer together than this count as flapping and double the cool-down.
pub const FLAP_WINDOW_MS: u64 = 600_000;

/// Timings of the planner and the transition machine. All durations are milliseconds of the leader's own
/// monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long a member must have been alive without a break before it is promoted. Two gossip rounds and a
    /// few heartbeats: enough to tell a restart loop from a start.
    pub stabilise_ms: u64,
    /// How long gossip must have held a member for dead before it is replaced. On top of the detector's own
    /// delay (2 to 4 s) and one joint change (under 1 s) a replacement ends well within 10 s of the death.
    pub dead_after_ms: u64,
    /// A learner whose log has not grown for this long is given up.
    pub learning_stalled_ms: u64,
    /// A learner that is not even alive is given up after this long without progress.
    pub learner_lost_ms: u64,
    /// A learner that makes progress is given up after this long all the same.
    pub learning_ms_max: u64,
    /// How long a caught-up learner may wait for the joint change to become safe and be accepted.
    pub joint_ms: u64,
    /// How long a committed transition may stay unsealed before it is reported as late.
    pub sealed_ms: u64,
    /// A replica this many entries behind the leader, or fewer, counts as caught up.
    pub lag_entries_max: u64,
    /// A zone swap needs every replica alive for this long: shape is improved in quiet times only.
    pub zone_quiet_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            stabilise_ms: 2_000,
            dead_after_ms: 2_500,
            learning_stalled_ms: 30_000,
            learner_lost_ms: 5_000,
            learning_ms_max: 600_000,
            joint_ms: 10_000,
            sealed_ms: 30_000,
            lag_entries_max: 100,
            zone_quiet_ms: 30_000,
        }
    }
}

/// How many admitted members there are to choose replicas from, dead or alive: a death never shrinks the
/// target, only leave, expel, drain, demote and an explicit formation do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Eligible {
    /// Members that may vote and serve: not drained, not pinned below voter, not a witness.
    pub voters: usize,
    /// Members that may be a voter or a standby: as `voters`, and those pinned to standby.
    pub replicas: usize,
    /// Witness members that are not held back.
    pub witnesses: usize,
}

/// The shape a formation asks for with the members there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target {
    /// Voters that also serve.
    pub voters: usize,
    /// Witnesses that vote: 0 or 1.
    pub witnesses: usize,
    /// Standbys.
    pub standbys: usize,
}

impl Target {
    /// All votes, witnesses included. Always odd when there is any.
    pub fn votes(&self) -> usize {
        self.voters + self.witnesses
    }
}

impl Formation {
    /// The shape for the members there are.
    ///
    /// Votes by default: 1 for one or two members, 3 for three or four, 5 from five on; an explicit number
    /// wins but is cut to the members there are, and always to an odd number, since an even one costs a vote
    /// and tolerates no further loss. One witness counts as a member for this when at least two others may
    /// vote, and votes only where it makes the number of votes odd: two members and a witness give 3 votes,
    /// four and a witness 5. Default standbys: up to two of the rest.
    pub fn resolve(&self, eligible: Eligible) -> Target {
        let Eligible {
            voters: data,
            replicas,
            witnesses,
        } = eligible;
        let helper = usize::from(witnesses > 0 && data >= 2);
        let wanted = match self.voters {
            Some(voters) => usize::from(voters).max(1),
            None => match data + helper {
                0..=2 => 1,
                3 | 4 => 3,
                _ => 5,
            },
        };
        let (voters, witnesses) = if data >= wanted {
            (odd(wanted), 0)
        } else if helper == 1 && data.is_multiple_of(2) {
            (data, 1)
        } else {
            (odd(data), 0)
        };
        let spare = replicas.saturating_sub(voters);
        Target {
            voters,
            witnesses,
            standbys: spare.min(self.standbys.map_or(2, usize::from)),
        }
    }
}

/// The largest odd number not above `n`; 0 for 0.
fn odd(n: usize) -> usize {
    if n == 0 { 0 } else { n - 1 + n % 2 }
}

/// The cool-down after the `strikes`-th demotion in a row (1 for the first).
pub fn cooldown_ms(strikes: u32) -> u64 {
    let doublings = strikes.saturating_sub(1).min(16);
    (COOLDOWN_MS << doublings).min(COOLDOWN_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(formation: Formation, voters: usize, witnesses: usize) -> (usize, usize, usize) {
        let target = formation.resolve(Eligible {
            voters,
            replicas: voters,
            witnesses,
        });
        (target.voters, target.witnesses, target.standbys)
    }

    #[test]
    fn default_shape_by_members() {
        let auto = Formation::default();
        let got: Vec<_> = (0..9).map(|n| shape(auto, n, 0)).collect();
        let want = [
            (0, 0, 0),
            (1, 0, 0),
            (1, 0, 1),
            (3, 0, 0),
            (3, 0, 1),
            (5, 0, 0),
            (5, 0, 1),
            (5, 0, 2),
            (5, 0, 2),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn explicit_shape_wins_and_is_cut_to_odd() {
        let three = Formation {
            voters: Some(3),
            standbys: Some(1),
            ..Formation::default()
        };
        assert_eq!(shape(three, 5, 0), (3, 0, 1));
        assert_eq!(shape(three, 3, 0), (3, 0, 0));
        assert_eq!(shape(three, 2, 0), (1, 0, 1));
        let five = Formation {
            voters: Some(5),
            standbys: Some(0),
            ..Formation::default()
        };
        assert_eq!(shape(five, 4, 0), (3, 0, 0));
        assert_eq!(shape(five, 4, 1), (4, 1, 0));
    }

    #[test]
    fn a_witness_votes_where_it_makes_the_number_odd() {
        let auto = Formation::default();
        assert_eq!(shape(auto, 1, 1), (1, 0, 0));
        assert_eq!(shape(auto, 2, 1), (2, 1, 0));
        assert_eq!(shape(auto, 3, 1), (3, 0, 0));
        assert_eq!(shape(auto, 4, 1), (4, 1, 0));
        assert_eq!(shape(auto, 2, 3), (2, 1, 0));
    }

    #[test]
    fn cooldown_doubles_to_a_bound() {
        assert_eq!(
            [1, 2, 3, 7, 8, 99].map(cooldown_ms),
            [10_000, 20_000, 40_000, 600_000, 600_000, 600_000]
        );
    }
}

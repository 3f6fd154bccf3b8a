//! Deliberate bugs, by name. Crates that have one ask [`is`] where it would be, behind their feature `mutations`, which
//! only the simulation turns on. Each must be caught by an invariant that names it: `sim --mutations` sees to that.

use std::sync::OnceLock;

mod table;

pub use table::MUTATIONS;

/// A deliberate bug.
#[derive(Debug, Clone, Copy)]
pub struct Mutation {
    /// Its name, as on the command line.
    pub name: &'static str,
    /// What is wrong with it switched on.
    pub what: &'static str,
    /// Invariants of which one must break: each the beginning of a name in `sim_check::NAMES`.
    pub caught_by: &'static [&'static str],
    /// What to play first: a scenario, empty for a random world, and a seed.
    pub cases: &'static [(&'static str, u64)],
}

static ON: OnceLock<&'static Mutation> = OnceLock::new();

/// Switches a mutation on, for good and for the whole process; false if there is no such mutation or another is on.
pub fn set(name: &str) -> bool {
    let known = MUTATIONS.iter().find(|mutation| mutation.name == name);
    known.is_some_and(|mutation| ON.set(mutation).is_ok())
}

/// Whether a mutation is switched on.
pub fn is(name: &str) -> bool {
    ON.get().is_some_and(|on| on.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_sorted_and_told() {
        assert!(MUTATIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for mutation in MUTATIONS {
            assert!(
                !mutation.what.is_empty() && !mutation.caught_by.is_empty(),
                "{}",
                mutation.name
            );
        }
    }

    #[test]
    fn only_one_is_ever_on() {
        assert!(!is(MUTATIONS[0].name));
        assert!(!set("no-such"));
        assert!(set(MUTATIONS[0].name) && is(MUTATIONS[0].name));
        assert!(!set(MUTATIONS[1].name) && !is(MUTATIONS[1].name));
    }
}

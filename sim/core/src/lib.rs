//! Seeded simulation of the pure core: real planner, transition machine and mesh state over an abstract Raft.
//!
//! A history is a seed: cluster, formation, faults and their times all follow from it, and it runs without a
//! clock, thread, socket or disk. [`history::run`] plays one; the binary plays many and prints, for the first
//! that breaks an [invariant](invariants), the command that replays it.

pub mod fault;
pub mod history;
pub mod invariants;

pub use history::{Failure, Report, Setup, run};

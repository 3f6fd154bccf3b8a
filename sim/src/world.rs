//! Whole members on a simulated network, disk and clock: one run of one plan.
//!
//! Everything runs on one thread in turmoil's order; randomness and clocks of the whole process are the simulation's
//! (see [`crate::one`]), so that a plan is played the same way, byte for byte, each time.

mod act;
mod client;
mod disk;
mod door;
mod fenced;
mod host;
mod leases;
mod mesh;
mod observe;
mod recorder;
mod runner;

pub use runner::run;

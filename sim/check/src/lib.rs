//! What a simulated run of whole members observed, and the invariants it is held against.
//!
//! Nothing here runs anything: a [`Record`](record::Record) goes in, the first violation of each invariant comes out.

pub mod facts;
pub mod invariants;
pub mod record;
mod show;
#[cfg(test)]
mod testing;
mod timeline;

pub use invariants::{Broken, NAMES, check_all};
pub use timeline::timeline;

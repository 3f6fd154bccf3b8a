//! Pure core of the distribution layer: identity, chain, replicated mesh state, role planner, transitions.
//!
//! Nothing here reads a clock, a socket, a disk or random bytes, and nothing spawns: every function's result
//! follows from its arguments, so that a simulation can drive thousands of histories through it.

pub mod chain;
pub mod command;
pub mod consensus;
pub mod dedupe;
pub mod env;
pub mod formation;
pub mod id;
pub mod key;
#[cfg(any(test, feature = "model"))]
pub mod model;
pub mod planner;
pub mod policy;
pub mod role;
pub mod state;
pub mod ticket;
pub mod transition;
pub mod view;

pub use id::{ClusterId, Hash32, MemberId, ParseIdError};
pub use role::Role;

//! Controllers that run on the leader: what keeps the objects of the API in line with the cluster.
//!
//! [`Controllers::start`] runs all of them for one term of leadership. Every write carries that term as its fence, so
//! that whatever is still under way when leadership ends is refused by the state machine. Each controller reads this
//! replica's store, decides in a pure `plan.rs` what should be different, and does it through the API; it wakes when
//! something it reads has changed, and writes nothing when nothing differs.

mod client;
mod controller;
mod controllers;
mod error;
mod facts;
mod frame;
mod health;
mod times;
mod wake;

pub use error::ControlError;
pub use facts::{Capacity, Machine, Members, NodeFacts, NodeReport, NodeTaint, NodeVersions};
pub use frame::{ControlDeps, Controllers};
pub use health::{ControllerHealth, LastError};

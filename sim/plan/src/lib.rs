//! Worlds and fault plans: what a simulated run consists of, made from a seed or written down as a named scenario.
//!
//! [`random()`] makes a plan from a seed, [`scenarios()`] lists the plans with a name, [`shrink()`] proposes smaller
//! plans that may show the same failure, [`rules::check`] says what a plan may and may not ask for.

mod display;
mod kind;
pub mod plan;
pub mod random;
pub mod rng;
pub mod rules;
pub mod scenarios;
pub mod shrink;

pub use kind::KINDS;
pub use plan::{Action, DiskFate, DiskFault, Machine, Network, Plan, Step, Target, Workload};
pub use random::random;
pub use rng::Rng;
pub use scenarios::{NOT_YET, Scenario, scenario, scenarios};
pub use shrink::shrink;

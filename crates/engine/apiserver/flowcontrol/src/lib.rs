//! API Priority and Fairness as the API server of Kubernetes 1.34 has it (KEP-1040): which flow schema a request
//! belongs to, what it weighs, whether it goes on, waits or is refused, and how priority levels lend each other seats.
//!
//! Nothing here waits or reads a clock. [`Levels`] is a state machine: the caller tells it the time in nanoseconds of a
//! clock that never goes back, and gets told which waiting requests may go on.

mod allocate;
mod classify;
mod config;
mod deal;
mod demand;
mod dropped;
mod dump;
mod levels;
mod queues;
mod status;
mod watchers;
mod work;

#[cfg(test)]
mod properties;

pub use classify::Digest;
pub use config::{
    CATCH_ALL, Discipline, EXEMPT, FlowSchema, NamedObject, PriorityLevel, Queuing, mandatory_level, mandatory_schema,
};
pub use demand::{Ratio, Timed, TimedKind};
pub use dropped::Dropped;
pub use levels::{ADJUSTMENT_PERIOD_NS, Adjusted, Classified, Level, Levels, Started};
pub use queues::{Finished, Gauges, Rejection, SchemaGauges};
pub use status::dangling;
pub use watchers::{WatchKey, Watchers};
pub use work::{ListStats, Selection, WorkEstimate, estimate};

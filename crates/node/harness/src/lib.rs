//! Drives real `engenho` processes on loopback: clusters, their API over HTTPS, write loads and what became of them.
//!
//! Used by the integration tests of the binary and by `cargo xtask bench`; nothing of it is in the product. It knows
//! the binary only from outside: its command line, its JSON, its API.

mod api;
mod cluster;
mod kubectl;
mod load;
mod process;
mod samples;
mod status;
mod wait;

pub use api::{Access, ApiClient, Connection, Lines, Reply};
pub use cluster::Cluster;
pub use kubectl::{Kubectl, Watching};
pub use load::{Attempt, Audit, Load, LoadOptions, Outcome, Record, audit, prepare};
pub use process::{Addresses, CliOutput, MemberProcess, free_port, run, run_cli};
pub use samples::Samples;
pub use status::{MemberRow, StatusReport};
pub use wait::{eventually, eventually_every};

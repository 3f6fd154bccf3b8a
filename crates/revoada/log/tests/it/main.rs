//! Tests of the log and the snapshot store through their public API, on real and on faulty disks.

mod crash;
mod damage;
mod log;
mod model;
mod snapshot;
mod util;

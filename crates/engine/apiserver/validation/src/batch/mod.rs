//! Kinds of the group `batch`.

pub(crate) mod cron_job;
pub(crate) mod indexes;
pub(crate) mod job;
pub(crate) mod job_status;
pub(crate) mod policies;
mod schedule;
mod time_zones;

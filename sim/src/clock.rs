//! Real time, for the driver of many runs: within a run the C library's clocks are the simulation's.

use rustix::time::{ClockId, clock_gettime};

/// Measures real time, by system calls of its own.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(f64);

fn now_s() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Self {
        Self(now_s())
    }

    /// Seconds since then.
    pub fn elapsed_s(self) -> f64 {
        now_s() - self.0
    }
}

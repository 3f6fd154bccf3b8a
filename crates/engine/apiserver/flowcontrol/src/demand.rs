//! How much a level is asked for over time, and for how long it was how full.

use crate::work::SECOND_NS;

/// A quantity over time: its average, deviation and peak since the last look.
#[derive(Debug, Clone)]
pub(crate) struct Integrator {
    now_ns: u64,
    value: f64,
    seconds: f64,
    sum: f64,
    squares: f64,
    max: f64,
}

/// What an [`Integrator`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Observed {
    pub seconds: f64,
    pub average: f64,
    pub deviation: f64,
    pub max: f64,
}

impl Integrator {
    pub fn new(now_ns: u64) -> Self {
        Self {
            now_ns,
            value: 0.0,
            seconds: 0.0,
            sum: 0.0,
            squares: 0.0,
            max: 0.0,
        }
    }

    fn pass(&mut self, now_ns: u64) {
        let seconds = now_ns.saturating_sub(self.now_ns) as f64 / SECOND_NS as f64;
        self.now_ns = self.now_ns.max(now_ns);
        self.seconds += seconds;
        self.sum += self.value * seconds;
        self.squares += self.value * self.value * seconds;
    }

    /// The quantity has this value from now on.
    pub fn set(&mut self, now_ns: u64, value: f64) {
        self.pass(now_ns);
        self.value = value;
        self.max = self.max.max(value);
    }

    /// What was seen since the last call.
    pub fn take(&mut self, now_ns: u64) -> Observed {
        self.pass(now_ns);
        let mut seen = Observed {
            max: self.max,
            ..Observed::default()
        };
        if self.seconds > 0.0 {
            seen.seconds = self.seconds;
            seen.average = self.sum / self.seconds;
            seen.deviation = (self.squares / self.seconds - seen.average * seen.average)
                .max(0.0)
                .sqrt();
        }
        *self = Self {
            value: self.value,
            max: self.value,
            ..Self::new(self.now_ns)
        };
        seen
    }
}

/// What a [`Timed`] histogram is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimedKind {
    /// Seats a level could use, in parts of its limit.
    Demand,
    /// Seats in use, in parts of the limit.
    Seats,
    /// Requests that wait or are executed, in parts of their limit.
    Requests,
    /// Reading and mutating requests of the whole server, in parts of the limit.
    ReadWrite,
}

impl TimedKind {
    /// Upper bounds of the buckets, the last one (infinity) left out.
    pub fn bounds(self) -> &'static [f64] {
        match self {
            Self::Demand => &[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0, 6.0],
            Self::Seats => &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0],
            Self::Requests => &[0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0],
            Self::ReadWrite => &[
                0.0, 0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0,
            ],
        }
    }
}

/// A ratio over time as a histogram that counts nanoseconds.
#[derive(Debug, Clone)]
pub struct Timed {
    kind: TimedKind,
    now_ns: u64,
    numerator: f64,
    denominator: f64,
    counts: Vec<u64>,
    sum: f64,
}

/// A [`Timed`] histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    /// Upper bounds of the buckets.
    pub bounds: &'static [f64],
    /// Nanoseconds at or below each bound.
    pub cumulative: Vec<u64>,
    /// All nanoseconds.
    pub count: u64,
    /// The integral of the ratio.
    pub sum: f64,
}

impl Timed {
    pub(crate) fn new(kind: TimedKind, now_ns: u64) -> Self {
        Self {
            kind,
            now_ns,
            numerator: 0.0,
            denominator: 1.0,
            counts: vec![0; kind.bounds().len() + 1],
            sum: 0.0,
        }
    }

    fn pass(&mut self, now_ns: u64) {
        let ns = now_ns.saturating_sub(self.now_ns);
        self.now_ns = self.now_ns.max(now_ns);
        let ratio = self.numerator / self.denominator;
        let bucket = self.kind.bounds().partition_point(|bound| *bound < ratio);
        self.counts[bucket] += ns;
        self.sum += ratio * ns as f64;
    }

    pub(crate) fn set(&mut self, now_ns: u64, numerator: f64) {
        self.pass(now_ns);
        self.numerator = numerator;
    }

    pub(crate) fn set_denominator(&mut self, now_ns: u64, denominator: f64) {
        self.pass(now_ns);
        self.denominator = if denominator > 0.0 { denominator } else { 1.0 };
    }

    /// It as of now.
    pub fn at(&self, now_ns: u64) -> Ratio {
        let mut copy = self.clone();
        copy.pass(now_ns);
        let mut count = 0;
        let mut cumulative: Vec<u64> = copy
            .counts
            .iter()
            .map(|ns| {
                count += ns;
                count
            })
            .collect();
        cumulative.pop();
        Ratio {
            bounds: self.kind.bounds(),
            cumulative,
            count,
            sum: copy.sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_weighted_by_time() {
        let mut seats = Integrator::new(0);
        seats.set(SECOND_NS, 4.0);
        seats.set(2 * SECOND_NS, 0.0);
        let seen = seats.take(4 * SECOND_NS);
        assert_eq!((seen.seconds, seen.average, seen.max), (4.0, 1.0, 4.0));
        assert!((seen.deviation - 3.0_f64.sqrt()).abs() < 1e-9);
        assert_eq!(seats.take(4 * SECOND_NS), Observed::default());
    }

    #[test]
    fn time_falls_into_buckets() {
        let mut seats = Timed::new(TimedKind::Seats, 0);
        seats.set_denominator(0, 10.0);
        seats.set(10, 5.0);
        seats.set(30, 20.0);
        let ratio = seats.at(35);
        assert_eq!((ratio.count, ratio.sum), (35, 20.0));
        assert_eq!(
            (ratio.cumulative[0], ratio.cumulative[5], ratio.cumulative[12]),
            (10, 30, 30)
        );
    }
}

//! What was measured, beside what is promised.

use std::fmt;
use std::time::Duration;

use engenho_harness::Samples;
use serde::Serialize;

/// One measured promise.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// How often.
    pub samples: usize,
    /// Unit of all figures.
    pub unit: &'static str,
    /// Median, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// 99th percentile by nearest rank: of fewer than a hundred samples, the largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// The largest, or the only one.
    pub max: f64,
    /// What is promised of the figure the promise is about, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// Whether it is kept.
    pub kept: bool,
}

impl Row {
    /// Durations, in seconds; the promise is about the 99th percentile.
    pub fn times(what: &str, samples: &Samples, bound: Option<Duration>) -> Self {
        let seconds = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 1000.0).round() / 1000.0);
        let p99 = samples.percentile(99);
        Self {
            what: what.to_owned(),
            samples: samples.count(),
            unit: "s",
            p50: seconds(samples.percentile(50)),
            p99: seconds(p99),
            max: seconds(samples.max()).unwrap_or(f64::NAN),
            bound: bound.map(|bound| bound.as_secs_f64()),
            kept: p99.is_some_and(|p99| bound.is_none_or(|bound| p99 <= bound)),
        }
    }

    /// One figure that must not exceed the bound.
    pub fn figure(what: &str, value: f64, unit: &'static str, bound: Option<f64>) -> Self {
        Self {
            what: what.to_owned(),
            samples: 1,
            unit,
            p50: None,
            p99: None,
            max: (value * 100.0).round() / 100.0,
            bound,
            kept: bound.is_none_or(|bound| value <= bound),
        }
    }
}

impl Row {
    /// One figure that must reach the bound.
    pub fn at_least(what: &str, value: f64, unit: &'static str, bound: f64) -> Self {
        Self {
            kept: value >= bound,
            bound: Some(bound),
            ..Self::figure(what, value, unit, None)
        }
    }
}

/// All of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Processors of the machine.
    pub cpus: usize,
    /// The promises.
    pub rows: Vec<Row>,
}

impl Report {
    /// How many are not kept.
    pub fn missed(&self) -> usize {
        self.rows.iter().filter(|row| !row.kept).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        writeln!(f, "{} processors, loopback", self.cpus)?;
        writeln!(
            f,
            "{:<52} {:>4} {:>9} {:>9} {:>9} {:>8}",
            "", "n", "p50", "p99", "max", "promise"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<52} {:>4} {:>9} {:>9} {:>9} {:>8} {}",
                format!("{} [{}]", row.what, row.unit),
                row.samples,
                cell(row.p50),
                cell(row.p99),
                row.max,
                cell(row.bound),
                if row.kept { "" } else { "MISSED" },
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_about_the_99th_percentile() {
        let samples: Samples = [900, 1_000, 2_100].map(Duration::from_millis).into_iter().collect();
        assert!(!Row::times("resume", &samples, Some(Duration::from_secs(2))).kept);
        assert!(Row::times("resume", &samples, Some(Duration::from_secs(3))).kept);
        assert!(!Row::times("nothing measured", &Samples::default(), None).kept);
        assert!(!Row::figure("lost", 1.0, "writes", Some(0.0)).kept);
        let report = Report {
            cpus: 2,
            rows: vec![Row::times("resume", &samples, None)],
        };
        assert!(Row::at_least("speed", 400.0, "MB/s", 400.0).kept);
        assert!(!Row::at_least("speed", 399.0, "MB/s", 400.0).kept);
        assert!(report.to_string().contains("resume [s]"));
        assert_eq!(report.missed(), 0);
    }
}

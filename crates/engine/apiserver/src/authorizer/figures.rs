//! Metrics of authorizers, under upstream's names and in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use parking_lot::Mutex;

/// Of durations of webhooks, seconds.
const WEBHOOK_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Of evaluations of match conditions, seconds.
const CONDITION_BUCKETS: [f64; 7] = [0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25];

/// What is counted. Labels come from the configuration, so that there are few.
#[derive(Default)]
pub(super) struct Figures {
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    /// By type, name and decision.
    decisions: BTreeMap<[String; 3], u64>,
    /// By name and result.
    evaluations: BTreeMap<[String; 2], u64>,
    fail_open: BTreeMap<[String; 2], u64>,
    durations: BTreeMap<[String; 2], Histogram>,
    /// By name.
    condition_errors: BTreeMap<String, u64>,
    exclusions: BTreeMap<String, u64>,
    condition_durations: BTreeMap<String, Histogram>,
    /// By status: how often, and when last.
    reloads: BTreeMap<&'static str, (u64, f64)>,
    /// Hash of the configuration in force.
    configuration: String,
    /// Hash of the name of this server.
    server: String,
}

#[derive(Default)]
struct Histogram {
    /// Of each bucket, all below it too.
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, bounds: &[f64], value: f64) {
        self.buckets.resize(bounds.len(), 0);
        for (bucket, bound) in self.buckets.iter_mut().zip(bounds) {
            *bucket += u64::from(value <= *bound);
        }
        self.count += 1;
        self.sum += value;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str, bounds: &[f64]) {
        for (count, bound) in self.buckets.iter().zip(bounds) {
            line(
                out,
                &format!("{name}_bucket"),
                &format!("{labels},le=\"{bound}\""),
                *count,
            );
        }
        line(
            out,
            &format!("{name}_bucket"),
            &format!("{labels},le=\"+Inf\""),
            self.count,
        );
        line(out, &format!("{name}_sum"), labels, self.sum);
        line(out, &format!("{name}_count"), labels, self.count);
    }
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    // Writing into a string cannot fail.
    let _ = writeln!(out, "{name}{{{labels}}} {value}");
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

impl Figures {
    /// An authorizer had the last word.
    pub fn decided(&self, kind: &str, name: &str, decision: &str) {
        let key = [kind.to_owned(), name.to_owned(), decision.to_owned()];
        *self.counted.lock().decisions.entry(key).or_default() += 1;
    }

    /// A webhook was asked, and it took so many seconds.
    pub fn asked(&self, name: &str, result: &str, seconds: f64) {
        let key = [name.to_owned(), result.to_owned()];
        let mut counted = self.counted.lock();
        *counted.evaluations.entry(key.clone()).or_default() += 1;
        let histogram = counted.durations.entry(key).or_default();
        histogram.observe(&WEBHOOK_BUCKETS, seconds);
    }

    /// A webhook failed, and the next authorizer is asked.
    pub fn failed_open(&self, name: &str, result: &str) {
        let key = [name.to_owned(), result.to_owned()];
        *self.counted.lock().fail_open.entry(key).or_default() += 1;
    }

    /// Match conditions were evaluated: whether they hold, and how many seconds it took.
    pub fn matched(&self, name: &str, holds: Result<bool, ()>, seconds: f64) {
        let mut counted = self.counted.lock();
        let histogram = counted.condition_durations.entry(name.to_owned()).or_default();
        histogram.observe(&CONDITION_BUCKETS, seconds);
        let count = match holds {
            Ok(true) => return,
            Ok(false) => &mut counted.exclusions,
            Err(()) => &mut counted.condition_errors,
        };
        *count.entry(name.to_owned()).or_default() += 1;
    }

    /// The configuration was loaded again, or could not be. `configuration` is the one in force from now on.
    pub fn reloaded(&self, server: &str, configuration: Option<&str>, unix_ms: u64) {
        let status = if configuration.is_some() { "success" } else { "failure" };
        let mut counted = self.counted.lock();
        let (count, last) = counted.reloads.entry(status).or_default();
        *count += 1;
        *last = unix_ms as f64 / 1000.0;
        counted.server = hash(server);
        if let Some(configuration) = configuration {
            counted.configuration = hash(configuration);
        }
    }

    /// All of them, those that never happened left out.
    pub fn write(&self, out: &mut String) {
        let counted = self.counted.lock();
        let borrowed = |of: &BTreeMap<[String; 2], u64>| -> BTreeMap<Vec<String>, u64> {
            of.iter().map(|(key, count)| (key.to_vec(), *count)).collect()
        };
        let webhooks = |of: &BTreeMap<String, u64>| -> BTreeMap<Vec<String>, u64> {
            let key = |name: &String| vec![name.clone(), "Webhook".to_owned()];
            of.iter().map(|(name, count)| (key(name), *count)).collect()
        };
        let decisions = counted.decisions.iter();
        let decisions: BTreeMap<Vec<String>, u64> = decisions
            .map(|([kind, name, decision], count)| (vec![decision.clone(), name.clone(), kind.clone()], *count))
            .collect();
        for (name, help, labels, of) in [
            (
                "apiserver_authorization_decisions_total",
                "Decisions by the authorizer that had the last word",
                &["decision", "name", "type"][..],
                decisions,
            ),
            (
                "apiserver_authorization_match_condition_evaluation_errors_total",
                "Match conditions of webhooks that had no value",
                &["name", "type"],
                webhooks(&counted.condition_errors),
            ),
            (
                "apiserver_authorization_match_condition_exclusions_total",
                "Requests that a webhook was not asked about because of its match conditions",
                &["name", "type"],
                webhooks(&counted.exclusions),
            ),
            (
                "apiserver_authorization_webhook_evaluations_fail_open_total",
                "Webhooks that failed, and the request went on without them",
                &["name", "result"],
                borrowed(&counted.fail_open),
            ),
            (
                "apiserver_authorization_webhook_evaluations_total",
                "Round-trips to webhooks",
                &["name", "result"],
                borrowed(&counted.evaluations),
            ),
        ] {
            write_counts(out, name, help, labels, &of);
        }
        write_durations(&counted, out);
        write_reloads(&counted, out);
    }
}

fn write_durations(counted: &Counted, out: &mut String) {
    if !counted.condition_durations.is_empty() {
        let name = "apiserver_authorization_match_condition_evaluation_seconds";
        head(
            out,
            name,
            "histogram",
            "How long match conditions of webhooks took, seconds",
        );
        for (of, histogram) in &counted.condition_durations {
            let labels = format!("name=\"{of}\",type=\"Webhook\"");
            histogram.write(out, name, &labels, &CONDITION_BUCKETS);
        }
    }
    if !counted.durations.is_empty() {
        let name = "apiserver_authorization_webhook_duration_seconds";
        head(out, name, "histogram", "How long round-trips to webhooks took, seconds");
        for ([of, result], histogram) in &counted.durations {
            let labels = format!("name=\"{of}\",result=\"{result}\"");
            histogram.write(out, name, &labels, &WEBHOOK_BUCKETS);
        }
    }
}

fn write_counts(out: &mut String, name: &str, help: &str, labels: &[&str], of: &BTreeMap<Vec<String>, u64>) {
    if of.is_empty() {
        return;
    }
    head(out, name, "counter", help);
    for (values, count) in of {
        let pairs = labels.iter().zip(values);
        let pairs: Vec<String> = pairs.map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        line(out, name, &pairs.join(","), *count);
    }
}

fn write_reloads(counted: &Counted, out: &mut String) {
    if counted.reloads.is_empty() {
        return;
    }
    let prefix = "apiserver_authorization_config_controller";
    let server = format!("apiserver_id_hash=\"{}\"", counted.server);
    let name = format!("{prefix}_automatic_reload_last_timestamp_seconds");
    head(
        out,
        &name,
        "gauge",
        "When the configuration was last loaded, by success",
    );
    for (status, (_, last)) in &counted.reloads {
        line(out, &name, &format!("{server},status=\"{status}\""), last);
    }
    let name = format!("{prefix}_automatic_reloads_total");
    head(
        out,
        &name,
        "counter",
        "How often the configuration was loaded, by success",
    );
    for (status, (count, _)) in &counted.reloads {
        line(out, &name, &format!("{server},status=\"{status}\""), count);
    }
    let name = format!("{prefix}_last_config_info");
    head(out, &name, "gauge", "Hash of the configuration in force");
    line(out, &name, &format!("{server},hash=\"{}\"", counted.configuration), 1);
}

/// As upstream shows what is not for everybody to read.
fn hash(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let figures = Figures::default();
        let mut out = String::new();
        figures.write(&mut out);
        assert_eq!(out, "");
        figures.decided("Webhook", "hook", "denied");
        figures.asked("hook", "success", 0.02);
        figures.matched("hook", Ok(false), 0.002);
        figures.reloaded("n1", Some("text"), 1_500);
        figures.reloaded("n1", None, 2_000);
        figures.write(&mut out);
        let server = hash("n1");
        for expected in [
            "# TYPE apiserver_authorization_decisions_total counter".to_owned(),
            "apiserver_authorization_decisions_total{decision=\"denied\",name=\"hook\",type=\"Webhook\"} 1".to_owned(),
            "apiserver_authorization_webhook_duration_seconds_bucket{name=\"hook\",result=\"success\",le=\"0.01\"} 0"
                .to_owned(),
            "apiserver_authorization_webhook_duration_seconds_bucket{name=\"hook\",result=\"success\",le=\"0.025\"} 1"
                .to_owned(),
            "apiserver_authorization_webhook_duration_seconds_count{name=\"hook\",result=\"success\"} 1".to_owned(),
            "apiserver_authorization_match_condition_exclusions_total{name=\"hook\",type=\"Webhook\"} 1".to_owned(),
            format!(
                "apiserver_authorization_config_controller_automatic_reloads_total{{apiserver_id_hash=\"{server}\",status=\"failure\"}} 1"
            ),
            format!(
                "apiserver_authorization_config_controller_automatic_reload_last_timestamp_seconds{{apiserver_id_hash=\"{server}\",status=\"success\"}} 1.5"
            ),
            format!(
                "apiserver_authorization_config_controller_last_config_info{{apiserver_id_hash=\"{server}\",hash=\"{}\"}} 1",
                hash("text")
            ),
        ] {
            assert!(out.lines().any(|line| line == expected), "{expected}\n{out}");
        }
    }
}

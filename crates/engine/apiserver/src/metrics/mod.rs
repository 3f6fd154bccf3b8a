//! Metrics under upstream's names, in Prometheus' text format.
//!
//! Labels that clients choose are bounded: a request that names nothing that is served counts without saying what.

mod door;
mod families;
mod flow;

use std::time::Duration;

use bytes::Bytes;
use engenho_catalog::Resource;
use http::{Method, StatusCode};
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

pub(crate) use door::Attempted;
pub use door::DoorMetrics;
pub(crate) use families::{Family, Kind};
pub(crate) use flow::{FlowMetrics, families as flow_families};

use crate::negotiate;
use crate::query::Query;
use crate::request::RequestInfo;
use crate::server::Inner;

const COMPONENT: &str = "apiserver";

/// Seconds, as upstream's buckets.
const DURATIONS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
const SLI_DURATIONS: &[f64] = &[
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];
const FILTER_DURATIONS: &[f64] = &[
    0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0, 10.0, 15.0, 30.0,
];
const ADMISSION_DURATIONS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const RESPONSE_BYTES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const EVENT_BYTES: &[f64] = &[1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0];

/// Seconds, each twice the one before.
pub(crate) fn doubling(first: f64, count: i32) -> Vec<f64> {
    (0..count).map(|i| first * 2.0_f64.powi(i)).collect()
}

/// A registry in the making. Names and labels are constants: what cannot be registered is a mistake in this folder,
/// found by the test below.
pub(crate) struct Making(pub Registry);

impl Making {
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let made = IntCounterVec::new(Opts::new(name, help), labels).expect("constant names");
        self.add(Box::new(made.clone()));
        made
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        let made = IntCounter::new(name, help).expect("constant names");
        self.add(Box::new(made.clone()));
        made
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let made = IntGaugeVec::new(Opts::new(name, help), labels).expect("constant names");
        self.add(Box::new(made.clone()));
        made
    }

    pub fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let made = HistogramVec::new(options, labels).expect("constant names");
        self.add(Box::new(made.clone()));
        made
    }

    fn add(&self, collector: Box<dyn prometheus::core::Collector>) {
        self.0.register(collector).expect("distinct constant names");
    }
}

/// What counts the events of a watch.
pub(crate) struct WatchCounters {
    events: IntCounter,
    bytes: Histogram,
}

impl WatchCounters {
    /// Counts an event of this size.
    pub fn sent(&self, bytes: usize) {
        self.events.inc();
        self.bytes.observe(bytes as f64);
    }
}

/// The server's counters.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    sli_durations: HistogramVec,
    response_bytes: HistogramVec,
    body_bytes: HistogramVec,
    field_validation: HistogramVec,
    long_running: IntGaugeVec,
    terminations: IntCounterVec,
    deprecated: IntGaugeVec,
    own_requests: IntCounterVec,
    filters: HistogramVec,
    post_timeouts: IntCounterVec,
    watch_events: IntCounterVec,
    watch_event_bytes: HistogramVec,
    lists: [IntCounterVec; 4],
    admission: HistogramVec,
    plugins: HistogramVec,
    authorizations: IntCounterVec,
    authorization_durations: HistogramVec,
    /// Priority and fairness.
    pub(crate) flow: FlowMetrics,
    /// Audit events that were made, and requests by the level they are audited at.
    pub(crate) audit_levels: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Self {
        let making = Making(Registry::new());
        let of_request = [
            "verb",
            "group",
            "version",
            "resource",
            "subresource",
            "scope",
            "component",
        ];
        let with = |more: &[&'static str]| [&of_request[..], more].concat();
        let list = |what: &str, help: &str| {
            let name = format!("apiserver_storage_list_{what}");
            making.counters(&name, help, &["group", "resource"])
        };
        Self {
            requests: making.counters(
                "apiserver_request_total",
                "Requests by verb, dry run, resource, scope and code",
                &with(&["dry_run", "code"]),
            ),
            durations: making.histograms(
                "apiserver_request_duration_seconds",
                "Time from the arrival of a request to its answer",
                &with(&["dry_run"]),
                DURATIONS,
            ),
            sli_durations: making.histograms(
                "apiserver_request_sli_duration_seconds",
                "The same without the time in queues of priority and fairness, dry runs left out",
                &of_request,
                SLI_DURATIONS,
            ),
            response_bytes: making.histograms(
                "apiserver_response_sizes",
                "Bytes of answers to reads",
                &of_request,
                RESPONSE_BYTES,
            ),
            body_bytes: making.histograms(
                "apiserver_request_body_size_bytes",
                "Bytes of bodies by resource and verb",
                &["group", "resource", "verb"],
                &(0..31).map(|i| 50_000.0 + 100_000.0 * f64::from(i)).collect::<Vec<_>>(),
            ),
            field_validation: making.histograms(
                "field_validation_request_duration_seconds",
                "Time to the answer by field validation",
                &["field_validation"],
                SLI_DURATIONS,
            ),
            long_running: making.gauges("apiserver_longrunning_requests", "Requests that last, now", &of_request),
            terminations: making.counters(
                "apiserver_request_terminations_total",
                "Requests that the server ended to protect itself",
                &with(&["code"]),
            ),
            deprecated: making.gauges(
                "apiserver_requested_deprecated_apis",
                "Deprecated APIs that were asked for",
                &["group", "version", "resource", "subresource", "removed_release"],
            ),
            own_requests: making.counters(
                "apiserver_selfrequest_total",
                "Requests of the server's own controllers",
                &["verb", "group", "resource", "subresource"],
            ),
            filters: making.histograms(
                "apiserver_request_filter_duration_seconds",
                "Time in a step before the request is executed",
                &["filter"],
                FILTER_DURATIONS,
            ),
            post_timeouts: making.counters(
                "apiserver_request_post_timeout_total",
                "What became of requests whose time was up",
                &["source", "status"],
            ),
            watch_events: making.counters(
                "apiserver_watch_events_total",
                "Events sent to watches",
                &["group", "version", "resource"],
            ),
            watch_event_bytes: making.histograms(
                "apiserver_watch_events_sizes",
                "Bytes of events sent to watches",
                &["group", "version", "resource"],
                EVENT_BYTES,
            ),
            lists: [
                list("total", "Lists"),
                list("fetched_objects_total", "Objects that lists read"),
                list("evaluated_objects_total", "Objects that lists tested against selectors"),
                list("returned_objects_total", "Objects that lists answered with"),
            ],
            admission: making.histograms(
                "apiserver_admission_step_admission_duration_seconds",
                "Time in a step of admission",
                &["type", "operation", "rejected"],
                ADMISSION_DURATIONS,
            ),
            plugins: making.histograms(
                "apiserver_admission_controller_admission_duration_seconds",
                "Time in an admission plugin",
                &["name", "type", "operation", "rejected"],
                ADMISSION_DURATIONS,
            ),
            authorizations: making.counters("authorization_attempts_total", "Decisions by result", &["result"]),
            authorization_durations: making.histograms(
                "authorization_duration_seconds",
                "Time to a decision by result",
                &["result"],
                &doubling(0.001, 15),
            ),
            flow: FlowMetrics::new(&making),
            audit_levels: making.counters(
                "apiserver_audit_level_total",
                "Requests by the level they are audited at",
                &["level"],
            ),
            registry: making.0,
        }
    }
}

/// Counts a request for as long as it lives.
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a request is called in metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    dry_run: &'static str,
    field_validation: &'static str,
}

/// Paths that are told apart; others count as one.
const PATHS: [&str; 9] = [
    "/api",
    "/apis",
    "/healthz",
    "/livez",
    "/readyz",
    "/metrics",
    "/version",
    "/openapi/v2",
    "/openapi/v3",
];

impl Labels {
    /// The labels of a request. What nobody serves has no name.
    pub fn of(server: &Inner, info: &RequestInfo, method: &Method, headers: &http::HeaderMap) -> Self {
        let catalog = server.catalog();
        let resource = catalog.resource(&info.group, &info.version, &info.resource);
        let subresource = |name: &str| name.is_empty() || resource.is_some_and(|r| r.subresource(name).is_some());
        let is_served = info.resource_request && resource.is_some() && subresource(&info.subresource);
        let served = |text: &str| if is_served { text.to_owned() } else { String::new() };
        let path = PATHS.into_iter().find(|path| {
            info.path
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let scope = if !info.name.is_empty() || info.verb == "create" {
            "resource"
        } else if !info.namespace.is_empty() {
            "namespace"
        } else if info.resource_request {
            "cluster"
        } else {
            ""
        };
        Self {
            verb: verb(info, method, headers),
            group: served(&info.group),
            version: served(&info.version),
            resource: served(&info.resource),
            subresource: if info.resource_request {
                served(&info.subresource)
            } else {
                path.unwrap_or_default().to_owned()
            },
            scope,
            dry_run: dry_run(&info.query),
            field_validation: match info.query.get("fieldValidation") {
                "" => "",
                "Strict" => "Strict",
                "Warn" => "Warn",
                "Ignore" => "Ignore",
                _ => "invalid",
            },
        }
    }

    fn values(&self) -> [&str; 7] {
        [
            self.verb,
            &self.group,
            &self.version,
            &self.resource,
            &self.subresource,
            self.scope,
            COMPONENT,
        ]
    }

    fn and<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&self.values()[..], more].concat()
    }
}

/// Upstream's verbs of metrics: the method, but for lists, watches, applies and connections.
fn verb(info: &RequestInfo, method: &Method, headers: &http::HeaderMap) -> &'static str {
    let connects = ["log", "exec", "portforward", "attach", "proxy"];
    if info.resource_request && connects.contains(&info.subresource.as_str()) {
        return "CONNECT";
    }
    match method.as_str() {
        "GET" | "HEAD" => match info.verb.as_str() {
            "watch" => "WATCH",
            "list" => "LIST",
            _ => "GET",
        },
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" if negotiate::content_type(headers).starts_with("application/apply-patch") => "APPLY",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

fn dry_run(query: &Query) -> &'static str {
    let mut values = query.all("dryRun").peekable();
    if values.peek().is_none() {
        ""
    } else if values.all(|value| value == "All") {
        "All"
    } else {
        "invalid"
    }
}

impl Metrics {
    /// Counts a watch, or another request that lasts, that begins.
    pub(crate) fn start_long(&self, labels: &Labels) -> InFlight {
        let gauge = self.long_running.with_label_values(&labels.values());
        gauge.inc();
        InFlight(gauge)
    }

    /// Counts a request that ended; `queued` is how long it waited for its turn.
    pub(crate) fn finish(
        &self,
        labels: &Labels,
        code: StatusCode,
        took: Duration,
        queued: Duration,
        bytes: Option<u64>,
    ) {
        self.requests
            .with_label_values(&labels.and(&[labels.dry_run, code.as_str()]))
            .inc();
        let durations = self.durations.with_label_values(&labels.and(&[labels.dry_run]));
        durations.observe(took.as_secs_f64());
        if labels.dry_run.is_empty() {
            let own = took.saturating_sub(queued);
            self.sli_durations
                .with_label_values(&labels.values())
                .observe(own.as_secs_f64());
        }
        if matches!(labels.verb, "POST" | "PUT" | "PATCH" | "APPLY") {
            let field_validation = self.field_validation.with_label_values(&[labels.field_validation]);
            field_validation.observe(took.as_secs_f64());
        }
        if let (Some(bytes), "GET" | "LIST") = (bytes, labels.verb) {
            self.response_bytes
                .with_label_values(&labels.values())
                .observe(bytes as f64);
        }
    }

    /// Counts a request that the server did not let finish.
    pub(crate) fn terminated(&self, labels: &Labels, code: StatusCode) {
        self.terminations.with_label_values(&labels.and(&[code.as_str()])).inc();
        if code == StatusCode::GATEWAY_TIMEOUT {
            // What it was doing was dropped with it.
            self.post_timeouts.with_label_values(&["timeout-handler", "ok"]).inc();
        }
    }

    /// Notes the body of a write.
    pub(crate) fn body(&self, group: &str, resource: &str, verb: &str, bytes: usize) {
        let verb = match verb {
            "deletecollection" => "delete_collection",
            verb => verb,
        };
        self.body_bytes
            .with_label_values(&[group, resource, verb])
            .observe(bytes as f64);
    }

    /// Notes that a deprecated API was asked for.
    pub(crate) fn deprecated(&self, group: &str, version: &str, resource: &str, subresource: &str) {
        self.deprecated
            .with_label_values(&[group, version, resource, subresource, ""])
            .set(1);
    }

    /// Counts a request of one of the server's own controllers.
    pub(crate) fn own_request(&self, labels: &Labels) {
        let values = [labels.verb, &labels.group, &labels.resource, &labels.subresource];
        self.own_requests.with_label_values(&values).inc();
    }

    /// Notes the time that a step took.
    pub(crate) fn filter(&self, name: &str, took: Duration) {
        self.filters.with_label_values(&[name]).observe(took.as_secs_f64());
    }

    /// What counts the events of a watch.
    pub(crate) fn watch(&self, resource: &Resource) -> WatchCounters {
        let labels = [&*resource.group, &*resource.version, &*resource.plural];
        WatchCounters {
            events: self.watch_events.with_label_values(&labels),
            bytes: self.watch_event_bytes.with_label_values(&labels),
        }
    }

    /// Counts a list, and the objects it read, tested and gave.
    pub(crate) fn list(&self, group: &str, resource: &str, fetched: u64, evaluated: u64, returned: u64) {
        for (counter, by) in self.lists.iter().zip([1, fetched, evaluated, returned]) {
            counter.with_label_values(&[group, resource]).inc_by(by);
        }
    }

    /// Notes a step of admission: `admit` or `validate`.
    pub(crate) fn admission_step(&self, step: &str, operation: &str, rejected: bool, took: Duration) {
        let rejected = if rejected { "true" } else { "false" };
        self.admission
            .with_label_values(&[step, operation, rejected])
            .observe(took.as_secs_f64());
    }

    /// Notes what one plugin took.
    pub(crate) fn admission_plugin(&self, name: &str, step: &str, operation: &str, rejected: bool, took: Duration) {
        let rejected = if rejected { "true" } else { "false" };
        let plugin = self.plugins.with_label_values(&[name, step, operation, rejected]);
        plugin.observe(took.as_secs_f64());
    }

    /// Notes a decision about a request.
    pub(crate) fn authorization(&self, result: &str, took: Duration) {
        self.authorizations.with_label_values(&[result]).inc();
        self.authorization_durations
            .with_label_values(&[result])
            .observe(took.as_secs_f64());
    }

    /// All of them as text, with what is only counted when it is asked for.
    pub(crate) fn encode(&self, server: &Inner) -> Bytes {
        let mut families = self.registry.gather();
        families.extend(server.deps.observers.door.gather());
        if let Some(audit) = &server.deps.observers.audit {
            families.extend(audit.gather());
        }
        families.extend(server.fairness.families());
        families.extend(families::stored(server));
        families.push(families::build_info(server));
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut out = Vec::with_capacity(64 * 1024);
        if let Err(error) = TextEncoder::new().encode(&families, &mut out) {
            tracing::error!(%error, "metrics cannot be written");
        }
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_written() {
        let metrics = Metrics::default();
        metrics.list("", "pods", 5, 5, 3);
        metrics.filter("authorization", Duration::from_millis(2));
        let names: Vec<String> = metrics.registry.gather().iter().map(|f| f.name().to_owned()).collect();
        assert!(
            names.contains(&"apiserver_storage_list_returned_objects_total".to_owned()),
            "{names:?}"
        );
        assert!(names.contains(&"apiserver_request_filter_duration_seconds".to_owned()));
    }

    #[test]
    fn verbs_are_those_of_upstream() {
        let of = |method: Method, url: &str, kind: &'static str| {
            let info = RequestInfo::decode(&method, &url.parse().expect("a URL"));
            let mut headers = http::HeaderMap::new();
            headers.insert("content-type", http::HeaderValue::from_static(kind));
            verb(&info, &method, &headers)
        };
        assert_eq!(of(Method::GET, "/api/v1/pods", ""), "LIST");
        assert_eq!(of(Method::GET, "/api/v1/pods?watch=1", ""), "WATCH");
        assert_eq!(of(Method::GET, "/api/v1/namespaces/a/pods/b", ""), "GET");
        assert_eq!(of(Method::GET, "/api/v1/namespaces/a/pods/b/log", ""), "CONNECT");
        assert_eq!(of(Method::DELETE, "/api/v1/namespaces/a/pods", ""), "DELETE");
        assert_eq!(
            of(
                Method::PATCH,
                "/api/v1/namespaces/a/pods/b",
                "application/apply-patch+yaml"
            ),
            "APPLY"
        );
        assert_eq!(
            of(
                Method::PATCH,
                "/api/v1/namespaces/a/pods/b",
                "application/json-patch+json"
            ),
            "PATCH"
        );
        assert_eq!(of(Method::TRACE, "/x", ""), "other");
        let query = |text: &str| dry_run(&Query::parse(text));
        assert_eq!(
            [query(""), query("dryRun=All"), query("dryRun=x")],
            ["", "All", "invalid"]
        );
    }
}

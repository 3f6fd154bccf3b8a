//! Metrics under upstream's names, in Prometheus' text format.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::request::RequestInfo;

/// Labels of one request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: String,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    request_kind: String,
}

/// Seconds, as upstream's buckets.
const BUCKETS: [f64; 24] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0, 120.0,
];

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// The server's counters.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RequestLabels, Histogram, fn() -> Histogram>,
    in_flight: Family<KindLabels, Gauge>,
    long_running: Family<RequestLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations = Family::new_with_constructor(histogram as fn() -> Histogram);
        let (in_flight, long_running) = (Family::default(), Family::default());
        // The encoder appends `_total` to counters.
        registry.register(
            "apiserver_request",
            "Requests by verb, resource and code",
            requests.clone(),
        );
        let help = "Time from the arrival of a request to its answer, watches aside";
        registry.register("apiserver_request_duration_seconds", help, durations.clone());
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests in flight by kind",
            in_flight.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Watches by resource",
            long_running.clone(),
        );
        Self {
            registry,
            requests,
            durations,
            in_flight,
            long_running,
        }
    }
}

/// Counts a request for as long as it lives.
pub struct InFlight(Gauge);

impl InFlight {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// The labels of a request; the code is known at its end. Requests that name nothing we serve share one label set,
    /// so that garbage cannot grow the metrics.
    pub fn label(&self, info: &RequestInfo) -> RequestLabels {
        let scope = match (
            info.resource_request,
            info.namespace.is_empty(),
            info.path_name.is_empty(),
        ) {
            (false, _, _) => "",
            (true, _, false) => "resource",
            (true, false, true) => "namespace",
            (true, true, true) => "cluster",
        };
        let verb = if info.resource_request {
            info.verb.to_uppercase()
        } else {
            String::new()
        };
        RequestLabels {
            verb,
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            scope: scope.into(),
            code: String::new(),
        }
    }

    /// Counts a request that begins.
    pub fn start(&self, info: &RequestInfo) -> InFlight {
        let reads = matches!(info.verb.as_str(), "get" | "list" | "watch");
        let request_kind = if reads { "readOnly" } else { "mutating" }.into();
        InFlight::of(&self.in_flight.get_or_create(&KindLabels { request_kind }))
    }

    /// Counts a watch that begins.
    pub fn start_watch(&self, info: &RequestInfo) -> InFlight {
        InFlight::of(&self.long_running.get_or_create(&self.label(info)))
    }

    /// Counts a request that ended.
    pub fn finish(&self, mut labels: RequestLabels, code: StatusCode, took: Duration) {
        if code == StatusCode::NOT_FOUND && !labels.resource.is_empty() || labels.resource.len() > 64 {
            // The name may be anything; which resource doesn't exist is nobody's metric.
            labels.subresource = String::new();
        }
        if matches!(code.as_u16(), 401 | 403 | 404 | 405 | 429) {
            labels = RequestLabels {
                verb: labels.verb,
                group: String::new(),
                version: String::new(),
                resource: String::new(),
                subresource: String::new(),
                scope: String::new(),
                code: String::new(),
            };
        }
        if labels.verb != "WATCH" {
            self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        }
        labels.code = code.as_u16().to_string();
        self.requests.get_or_create(&labels).inc();
    }

    /// All of them as text.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing into a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut out, &self.registry);
        out
    }
}

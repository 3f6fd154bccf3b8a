//! What priority and fairness counts.

use std::time::Duration;

use engenho_flowcontrol::{Classified, Levels, Rejection};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramVec, IntCounterVec};

use super::{Family, Kind, Making};

const DURATIONS: &[f64] = &[0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

/// Counters and histograms of requests. Gauges are made of the levels when they are asked for.
#[derive(Clone)]
pub(crate) struct FlowMetrics {
    rejected: IntCounterVec,
    dispatched: IntCounterVec,
    waits: HistogramVec,
    executions: HistogramVec,
    lengths: HistogramVec,
    seats: HistogramVec,
    watch_counts: HistogramVec,
}

impl FlowMetrics {
    pub fn new(making: &Making) -> Self {
        let labels = ["priority_level", "flow_schema"];
        let with = |label| [labels[0], labels[1], label];
        let name = |name: &str| format!("apiserver_flowcontrol_{name}");
        Self {
            rejected: making.counters(
                &name("rejected_requests_total"),
                "Requests that were refused",
                &with("reason"),
            ),
            dispatched: making.counters(&name("dispatched_requests_total"), "Requests that went on", &labels),
            waits: making.histograms(
                &name("request_wait_duration_seconds"),
                "Time that requests waited in their queues",
                &with("execute"),
                DURATIONS,
            ),
            executions: making.histograms(
                &name("request_execution_seconds"),
                "Time that requests were executed, watches while they began",
                &with("type"),
                DURATIONS,
            ),
            lengths: making.histograms(
                &name("request_queue_length_after_enqueue"),
                "Length of the queue that a request found, with itself",
                &labels,
                &[0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0],
            ),
            seats: making.histograms(
                &name("work_estimated_seats"),
                "Seats that requests were thought to need",
                &labels,
                &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0],
            ),
            watch_counts: making.histograms(
                &name("watch_count_samples"),
                "Watches that a change would reach",
                &labels,
                &[0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0],
            ),
        }
    }

    pub fn rejected(&self, at: &Classified, why: Rejection) {
        self.rejected
            .with_label_values(&[&*at.level, &*at.schema, why.as_str()])
            .inc();
    }

    pub fn dispatched(&self, at: &Classified) {
        self.dispatched.with_label_values(&[&*at.level, &*at.schema]).inc();
    }

    pub fn waited(&self, at: &Classified, executed: bool, took: Duration) {
        let executed = if executed { "true" } else { "false" };
        let waits = self.waits.with_label_values(&[&*at.level, &*at.schema, executed]);
        waits.observe(took.as_secs_f64());
    }

    pub fn executed(&self, at: &Classified, watch: bool, took: Duration) {
        let kind = if watch { "watch" } else { "regular" };
        let executions = self.executions.with_label_values(&[&*at.level, &*at.schema, kind]);
        executions.observe(took.as_secs_f64());
    }

    pub fn queued(&self, at: &Classified, length: usize) {
        self.lengths
            .with_label_values(&[&*at.level, &*at.schema])
            .observe(length as f64);
    }

    pub fn estimated(&self, at: &Classified, seats: u64, watches: Option<u64>) {
        self.seats
            .with_label_values(&[&*at.level, &*at.schema])
            .observe(seats as f64);
        if let Some(watches) = watches {
            let counts = self.watch_counts.with_label_values(&[&*at.level, &*at.schema]);
            counts.observe(watches as f64);
        }
    }
}

/// The gauges, as of `now_ns`.
pub(crate) fn families(levels: &Levels, now_ns: u64) -> Vec<MetricFamily> {
    let gauge = |name: &str, help: &str| Family::new(Kind::Gauge, &format!("apiserver_flowcontrol_{name}"), help);
    let histogram =
        |name: &str, help: &str| Family::new(Kind::Histogram, &format!("apiserver_flowcontrol_{name}"), help);
    let mut of_schema = [
        gauge("current_inqueue_requests", "Requests that wait"),
        gauge("current_inqueue_seats", "Seats that waiting requests need"),
        gauge(
            "current_executing_requests",
            "Requests that are executed, watches while they begin",
        ),
        gauge("current_executing_seats", "Seats in use"),
    ];
    let mut of_level = [
        gauge("nominal_limit_seats", "A level's part of the seats"),
        gauge("lower_limit_seats", "Seats that nobody else gets"),
        gauge("upper_limit_seats", "Seats that a level gets at most"),
        gauge("current_limit_seats", "Seats that a level has now"),
        gauge(
            "demand_seats_high_watermark",
            "Most seats that a level could have used in the last period",
        ),
        gauge(
            "demand_seats_average",
            "Seats that a level could have used on average in the last period",
        ),
        gauge(
            "demand_seats_stdev",
            "Standard deviation of the seats that a level could have used",
        ),
        gauge("demand_seats_smoothed", "Demand smoothed over several periods"),
        gauge("target_seats", "Seats that a level was to get"),
        gauge("current_r", "Progress of the virtual world"),
        gauge("dispatch_r", "Progress of the virtual world at the last dispatch"),
        gauge(
            "latest_s",
            "Beginning of the last dispatched request in the virtual world",
        ),
    ];
    let mut bounds = gauge(
        "next_s_bounds",
        "Earliest and latest beginning of the next requests of queues",
    );
    let mut discounted = gauge(
        "next_discounted_s_bounds",
        "Earliest and latest beginning of the next requests of queues, less what is being executed",
    );
    let mut narrow = Family::new(
        Kind::Counter,
        "apiserver_flowcontrol_request_dispatch_no_accommodation_total",
        "Times that the next request found too few seats",
    );
    let mut demand = histogram(
        "demand_seats",
        "Seats a level could use, in parts of its limit, by nanoseconds",
    );
    let mut seats = histogram(
        "priority_level_seat_utilization",
        "Seats in use, in parts of the limit, by nanoseconds",
    );
    let mut requests = histogram(
        "priority_level_request_utilization",
        "Requests in parts of their limit, by nanoseconds",
    );
    let mut kinds = histogram(
        "read_vs_write_current_requests",
        "Reading and mutating requests in parts of the limit, by nanoseconds",
    );
    for (name, level) in levels.iter() {
        let label = ("priority_level", name);
        for (schema, gauges) in level.schemas() {
            let labels = [label, ("flow_schema", schema)];
            let values = [
                gauges.waiting,
                gauges.seats_waiting,
                gauges.executing,
                gauges.seats_in_use,
            ];
            for (family, value) in of_schema.iter_mut().zip(values) {
                family.value(&labels, value as f64);
            }
        }
        let (adjusted, gauges) = (&level.adjusted, level.gauges());
        let values = [
            level.nominal as f64,
            level.lower as f64,
            level.upper as f64,
            level.current as f64,
            adjusted.high_watermark as f64,
            adjusted.average,
            adjusted.deviation,
            adjusted.smoothed,
            adjusted.target,
            gauges.current_r,
            gauges.dispatch_r,
            gauges.latest_s,
        ];
        for (family, value) in of_level.iter_mut().zip(values) {
            family.value(&[label], value);
        }
        for (family, (least, most)) in [
            (&mut bounds, gauges.next_s),
            (&mut discounted, gauges.next_discounted_s),
        ] {
            family.value(&[("bound", "min"), label], least);
            family.value(&[("bound", "max"), label], most);
        }
        for (schema, count) in &gauges.no_accommodation {
            narrow.value(&[("flow_schema", schema), label], *count as f64);
        }
        let [timed_demand, timed_seats, waiting, executing] = level.timed().map(|timed| timed.at(now_ns));
        demand.ratio(&[label], &timed_demand);
        seats.ratio(&[("phase", "executing"), label], &timed_seats);
        requests.ratio(&[("phase", "waiting"), label], &waiting);
        requests.ratio(&[("phase", "executing"), label], &executing);
    }
    let phases = [
        ("waiting", "readOnly"),
        ("waiting", "mutating"),
        ("executing", "readOnly"),
        ("executing", "mutating"),
    ];
    for ((phase, kind), timed) in phases.into_iter().zip(levels.read_write()) {
        kinds.ratio(&[("phase", phase), ("request_kind", kind)], &timed.at(now_ns));
    }
    let mut fair = gauge("seat_fair_frac", "Multiple of their targets that levels get");
    fair.value(&[], levels.fair_fraction());
    let mut current = ["inflight", "inqueue"].map(|what| {
        let help = "Requests that are executed or wait, now";
        Family::new(Kind::Gauge, &format!("apiserver_current_{what}_requests"), help)
    });
    for (family, (reading, mutating)) in current.iter_mut().zip([levels.executing(), levels.waiting()]) {
        family.value(&[("request_kind", "mutating")], mutating as f64);
        family.value(&[("request_kind", "readOnly")], reading as f64);
    }
    let all = of_schema.into_iter().chain(of_level).chain(current);
    let rest = [bounds, discounted, narrow, demand, seats, requests, kinds, fair];
    all.chain(rest).filter_map(Family::done).collect()
}

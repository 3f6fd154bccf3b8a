//! Families of metrics that are made when they are asked for.

use engenho_store::{KeyRange, RangeRequest};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::server::Inner;

/// What kind of figure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Gauge,
    Counter,
    Histogram,
}

/// A family in the making.
pub(crate) struct Family(MetricFamily);

impl Family {
    /// One without figures.
    pub fn new(kind: Kind, name: &str, help: &str) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(match kind {
            Kind::Gauge => MetricType::GAUGE,
            Kind::Counter => MetricType::COUNTER,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        Self(family)
    }

    fn labelled(&mut self, labels: &[(&str, &str)]) -> &mut Metric {
        let pair = |(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut pairs: Vec<LabelPair> = labels.iter().map(pair).collect();
        pairs.sort_by(|a, b| a.name().cmp(b.name()));
        let metrics = self.0.mut_metric();
        metrics.push(Metric::from_label(pairs));
        let last = metrics.len() - 1;
        &mut metrics[last]
    }

    /// Adds a figure.
    pub fn value(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let is_counter = self.0.get_field_type() == MetricType::COUNTER;
        let metric = self.labelled(labels);
        if is_counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self
    }

    /// Adds a histogram that was counted elsewhere.
    pub fn ratio(&mut self, labels: &[(&str, &str)], ratio: &engenho_flowcontrol::Ratio) -> &mut Self {
        let buckets = ratio.bounds.iter().zip(&ratio.cumulative).map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(*count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(ratio.count);
        histogram.set_sample_sum(ratio.sum);
        self.labelled(labels).set_histogram(histogram);
        self
    }

    /// The family; the writer refuses those without figures.
    pub fn done(self) -> Option<MetricFamily> {
        (!self.0.get_metric().is_empty()).then_some(self.0)
    }
}

/// What is stored: objects of each resource, and bytes of all.
pub(super) fn stored(server: &Inner) -> Vec<MetricFamily> {
    let store = &server.deps.store.store;
    let mut objects = Family::new(Kind::Gauge, "apiserver_resource_objects", "Stored objects");
    let mut old = Family::new(Kind::Gauge, "apiserver_storage_objects", "Stored objects by resource");
    let mut size = Family::new(
        Kind::Gauge,
        "apiserver_resource_size_estimate_bytes",
        "Bytes that are stored of a resource, estimated",
    );
    let catalog = server.catalog();
    let mut seen = std::collections::BTreeSet::new();
    for resource in catalog.resources().filter(|r| r.is_stored()) {
        let (group, plural) = (&*resource.group, &*resource.plural);
        // Versions of a resource share what is stored.
        if !seen.insert(resource.storage_prefix()) {
            continue;
        }
        let request = RangeRequest {
            count_only: true,
            ..RangeRequest::new(KeyRange::prefix(resource.storage_prefix()))
        };
        let Ok(counted) = store.range(&request) else { continue };
        let labels = [("group", group), ("resource", plural)];
        objects.value(&labels, counted.count as f64);
        let name = if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        old.value(&[("resource", &name)], counted.count as f64);
        if let Some(stats) = server.fairness.list_stats(server, resource) {
            size.value(&labels, (stats.objects * stats.bytes_each) as f64);
        }
    }
    let mut bytes = Family::new(
        Kind::Gauge,
        "apiserver_storage_size_bytes",
        "Bytes of all keys and values of this replica",
    );
    bytes.value(&[("storage_cluster_id", "etcd-0")], store.stats().bytes as f64);
    [objects, old, size, bytes]
        .into_iter()
        .filter_map(Family::done)
        .collect()
}

/// Which build this is.
pub(super) fn build_info(server: &Inner) -> MetricFamily {
    let value = serde_json::to_value(&server.deps.version).unwrap_or_default();
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let labels = [
        ("build_date", text("buildDate")),
        ("compiler", text("compiler")),
        ("git_commit", text("gitCommit")),
        ("git_tree_state", text("gitTreeState")),
        ("git_version", text("gitVersion")),
        ("go_version", text("goVersion")),
        ("major", text("major")),
        ("minor", text("minor")),
        ("platform", text("platform")),
    ];
    let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut family = Family::new(Kind::Gauge, "kubernetes_build_info", "Which build this is");
    family.value(&labels, 1.0);
    family.0
}

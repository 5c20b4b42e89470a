//! Families of samples in the making, and their text.

use std::collections::BTreeMap;

use cordboard_model::measure::Histogram;
use prometheus::TextEncoder;
use prometheus::proto;

use super::catalogue::{ALL, Metric, Type};

/// The samples of one scrape.
#[derive(Default)]
pub(super) struct Exposition {
    families: BTreeMap<&'static str, Vec<proto::Metric>>,
}

impl Exposition {
    /// Adds a sample of a counter or gauge.
    pub(super) fn number(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let mut sample = labelled(metric, labels);
        match metric.kind {
            Type::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            }
            Type::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
            Type::Histogram => unreachable!("`{}` is declared as a histogram", metric.name),
        }
        self.families.entry(metric.name).or_default().push(sample);
    }

    /// Adds a count. Metrics are floating-point numbers: exact up to 2^53.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn count(&mut self, metric: &'static Metric, labels: &[&str], count: u64) {
        self.number(metric, labels, count as f64);
    }

    /// Adds how many there are now.
    pub(super) fn size(&mut self, metric: &'static Metric, labels: &[&str], size: usize) {
        self.count(metric, labels, size as u64);
    }

    /// Adds a histogram.
    pub(super) fn histogram(&mut self, metric: &'static Metric, labels: &[&str], values: &Histogram) {
        assert_eq!(metric.kind, Type::Histogram, "{}", metric.name);
        let mut below = 0;
        let buckets = values.bounds().iter().zip(values.counts()).map(|(bound, count)| {
            below += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(values.count());
        histogram.set_sample_sum(values.sum());
        let mut sample = labelled(metric, labels);
        sample.set_histogram(histogram);
        self.families.entry(metric.name).or_default().push(sample);
    }

    /// The text format of Prometheus, in the order of the catalogue; a metric without samples is left out.
    pub(super) fn text(mut self) -> String {
        let mut families = Vec::with_capacity(self.families.len());
        for metric in ALL {
            let Some(samples) = self.families.remove(metric.name) else {
                continue;
            };
            let mut family = proto::MetricFamily::default();
            family.set_name(metric.name.into());
            family.set_help(metric.help.into());
            family.set_field_type(match metric.kind {
                Type::Counter => proto::MetricType::COUNTER,
                Type::Gauge => proto::MetricType::GAUGE,
                Type::Histogram => proto::MetricType::HISTOGRAM,
            });
            family.set_metric(samples);
            families.push(family);
        }
        TextEncoder::new()
            .encode_to_string(&families)
            .expect("every family has a name and a sample")
    }
}

fn labelled(metric: &'static Metric, labels: &[&str]) -> proto::Metric {
    assert_eq!(metric.labels.len(), labels.len(), "labels of {}", metric.name);
    let pairs = metric.labels.iter().zip(labels).map(|(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    });
    proto::Metric::from_label(pairs.collect())
}

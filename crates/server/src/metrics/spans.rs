//! What became of the spans, where requests are traced.

use crate::traces::Stats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The exporter's counters, read when Prometheus asks.
#[derive(Debug)]
pub struct Spans(pub Arc<Stats>);

impl Collector for Spans {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for (name, help, counter) in [
            ("orrery_trace_spans_exported", "Spans that the collector has taken", &self.0.exported),
            ("orrery_trace_spans_lost", "Spans that found the queue full or that no collector took", &self.0.lost),
        ] {
            let counter = ConstCounter::new(counter.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

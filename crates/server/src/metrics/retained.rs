//! Requests and answers that should have been retained and were not.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use std::fmt;

/// The count, read when Prometheus asks.
pub struct Retained {
    lost: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Retained {
    pub fn new(lost: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { lost: Box::new(lost) }
    }
}

impl fmt::Debug for Retained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Retained")
    }
}

impl Collector for Retained {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "Requests whose tenant keeps them and that could not be kept";
        let counter = ConstCounter::new((self.lost)());
        counter.encode(encoder.encode_descriptor("orrery_retained_lost", help, None, counter.metric_type())?)
    }
}

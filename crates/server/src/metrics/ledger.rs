//! How usage gets into the ledger, where this process meters.

use orrery_platform::metering::MeterStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

/// The meter's statistics, read when Prometheus asks.
pub struct Ledger {
    read: Box<dyn Fn() -> Option<MeterStats> + Send + Sync>,
}

impl Ledger {
    pub fn new(read: impl Fn() -> Option<MeterStats> + Send + Sync + 'static) -> Self {
        Self { read: Box::new(read) }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ledger")
    }
}

type Row = (&'static str, &'static str, fn(&MeterStats) -> u64);

const GAUGES: &[Row] = &[
    ("orrery_ledger_pending", "Requests that have ended and are not in the ledger", |stats| stats.waiting),
    ("orrery_journal_bytes", "Bytes of the files that hold usage until the ledger has it", |stats| stats.journal_bytes),
];

const COUNTERS: &[Row] = &[
    ("orrery_ledger_rows", "Rows written to the ledger", |stats| stats.rows_written),
    ("orrery_ledger_retries", "Attempts to write to the ledger that failed", |stats| stats.retries),
];

impl Collector for Ledger {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        // Without a meter a zero would say that all is well.
        let Some(stats) = (self.read)() else { return Ok(()) };
        for (name, help, read) in GAUGES {
            let gauge = ConstGauge::new(read(&stats) as f64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, help, read) in COUNTERS {
            let counter = ConstCounter::new(read(&stats));
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    fn scrape(stats: Option<MeterStats>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Ledger::new(move || stats.clone())));
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        text
    }

    #[test]
    fn each_number_has_its_name() {
        let stats = MeterStats {
            running: 9,
            waiting: 1,
            journal_bytes: 2,
            rows_written: 3,
            retries: 4,
            ..MeterStats::default()
        };
        let text = scrape(Some(stats));
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "orrery_ledger_pending 1.0",
            "orrery_journal_bytes 2.0",
            "orrery_ledger_rows_total 3",
            "orrery_ledger_retries_total 4",
        ];
        assert_eq!(samples, expected);
    }

    #[test]
    fn without_a_meter_there_is_no_zero() {
        assert!(!scrape(None).contains("orrery_"));
    }
}

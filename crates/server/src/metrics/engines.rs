//! Gauges and counters of the engines, by model.

use crate::backend::Backend;
use orrery_platform::ModelStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::Arc;

/// The engines' statistics, read when Prometheus asks.
pub struct Engines {
    pub backend: Arc<dyn Backend>,
}

impl fmt::Debug for Engines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Engines")
    }
}

type Row<T> = (&'static str, &'static str, fn(&ModelStats) -> T);

const GAUGES: &[Row<f64>] = &[
    ("vllm:num_requests_running", "Requests that are being computed", |stats| stats.running as f64),
    ("vllm:num_requests_waiting", "Requests in the queue", |stats| stats.waiting as f64),
    ("vllm:kv_cache_usage_perc", "Share of the KV blocks in use, 0 to 1", kv_usage),
    ("orrery_kv_blocks_total", "KV blocks of the model", |stats| stats.blocks_total as f64),
    ("orrery_kv_blocks_cached", "KV blocks that only the prefix cache holds", |stats| stats.blocks_cached as f64),
];

const COUNTERS: &[Row<u64>] = &[
    ("vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache", |stats| stats.prefix_queries_tokens),
    ("vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache", |stats| stats.prefix_hits_tokens),
    ("vllm:prompt_tokens", "Prompt tokens processed", |stats| stats.prompt_tokens),
    ("vllm:generation_tokens", "Tokens generated", |stats| stats.generation_tokens),
    ("vllm:num_preemptions", "Requests put back for lack of KV blocks", |stats| stats.preemptions),
    ("vllm:spec_decode_num_drafts", "Drafts that were verified", |stats| stats.drafts),
    ("vllm:spec_decode_num_draft_tokens", "Tokens of these drafts", |stats| stats.drafts_tokens),
    ("vllm:spec_decode_num_accepted_tokens", "Draft tokens that were accepted", |stats| stats.drafts_accepted_tokens),
    ("orrery_engine_steps", "Steps of the engine", |stats| stats.steps),
];

fn kv_usage(stats: &ModelStats) -> f64 {
    if stats.blocks_total == 0 { 0.0 } else { stats.blocks_used as f64 / stats.blocks_total as f64 }
}

impl Collector for Engines {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let stats = self.backend.stats();
        for (name, help, read) in GAUGES {
            let kind = ConstGauge::new(0.0_f64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for model in &stats {
                let labels = [("model_name", model.model.as_str())];
                ConstGauge::new(read(model)).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, read) in COUNTERS {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for model in &stats {
                let labels = [("model_name", model.model.as_str())];
                ConstCounter::new(read(model)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

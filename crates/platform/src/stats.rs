//! Figures of the models that run, for the metrics.

/// One model's gauges and counters since start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelStats {
    pub model: String,
    pub running: usize,
    pub waiting: usize,
    pub blocks_total: usize,
    pub blocks_used: usize,
    pub blocks_cached: usize,
    pub block_tokens: usize,
    pub prefix_queries_tokens: u64,
    pub prefix_hits_tokens: u64,
    pub prompt_tokens: u64,
    pub generation_tokens: u64,
    pub preemptions: u64,
    pub steps: u64,
    pub drafts: u64,
    pub drafts_tokens: u64,
    pub drafts_accepted_tokens: u64,
}

impl ModelStats {
    pub(crate) fn new(model: &str, stats: &orrery_engine::Stats) -> Self {
        Self {
            model: model.to_owned(),
            running: stats.running,
            waiting: stats.waiting,
            blocks_total: stats.blocks_total,
            blocks_used: stats.blocks_used,
            blocks_cached: stats.blocks_cached,
            block_tokens: stats.block_tokens,
            prefix_queries_tokens: stats.prefix_queries_tokens,
            prefix_hits_tokens: stats.prefix_hits_tokens,
            prompt_tokens: stats.prompt_tokens,
            generation_tokens: stats.generation_tokens,
            preemptions: stats.preemptions,
            steps: stats.steps,
            drafts: stats.drafts,
            drafts_tokens: stats.drafts_tokens,
            drafts_accepted_tokens: stats.drafts_accepted_tokens,
        }
    }
}

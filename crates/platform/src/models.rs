//! The models that run: loading, state, lookup, draining.

use crate::{Admission, ChatRequest, CompletionRequest, Error, Reply};
use std::path::PathBuf;

/// Settings of the serving side.
#[derive(Debug, Clone)]
pub struct Settings {
    pub data_dir: PathBuf,
    /// Catalogue names or paths; the id of a path is its file stem.
    pub models: Vec<String>,
    pub isa: Option<String>,
    pub threads: Option<usize>,
    pub kv_memory_bytes: u64,
    pub quantize_q8_0: bool,
    /// Requests waiting per model; one more is refused.
    pub queue_max: usize,
    /// Sequences that run at the same time.
    pub sequences_max: usize,
    /// Tokens per step, decode and prefill together.
    pub step_tokens_max: usize,
    pub prefix_cache: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ModelState {
    /// 0 to 1, and what is being done ("downloading", "loading").
    Loading { progress: f32, step: &'static str },
    Ready,
    Failed(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    pub id: String,
    /// Unix seconds.
    pub created: u64,
    pub state: ModelState,
    pub context: Option<usize>,
}

/// The running service. Shared by all handlers.
pub struct Platform {}

impl Platform {
    /// Starts loading the models in the background and returns at once.
    pub fn start(_settings: Settings) -> Result<std::sync::Arc<Self>, Error> {
        todo!()
    }

    pub fn models(&self) -> Vec<ModelInfo> {
        todo!()
    }

    /// All models are ready and nothing is draining.
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// Waits until every model is ready, or one has failed.
    pub async fn wait_ready(&self) -> Result<(), Error> {
        todo!()
    }

    /// Takes a permit; refused with `Unavailable` while draining and `Overloaded` past the limit.
    pub fn admit(&self) -> Result<Admission, Error> {
        todo!()
    }

    pub async fn chat(&self, _admission: &Admission, _request: ChatRequest) -> Result<Reply, Error> {
        todo!()
    }

    pub async fn complete(&self, _admission: &Admission, _request: CompletionRequest) -> Result<Reply, Error> {
        todo!()
    }

    /// Engine statistics by model id, of the models that are ready.
    pub fn stats(&self) -> Vec<ModelStats> {
        todo!()
    }

    /// Token ids of a text, or of a rendered chat.
    pub fn tokenize(&self, _model: &str, _text: &str, _add_special: bool) -> Result<Vec<u32>, Error> {
        todo!()
    }

    pub fn tokenize_chat(&self, _model: &str, _messages: &[crate::ChatMessage]) -> Result<Vec<u32>, Error> {
        todo!()
    }

    pub fn detokenize(&self, _model: &str, _tokens: &[u32]) -> Result<String, Error> {
        todo!()
    }

    /// Not ready from now on; `admit` refuses. Requests that run go on.
    pub fn start_draining(&self) {}

    /// Waits until no admission is out, then stops the engines; `false` when `grace` ran out first (what was left is
    /// then cancelled).
    pub async fn drain(&self, _grace: std::time::Duration) -> bool {
        todo!()
    }
}

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
}

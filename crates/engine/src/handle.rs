//! The async face of the engine: submit a request, read its events.

use crate::executor::{Executor, Shape};
use crate::request::{Error, Event, Request};
use orrery_model::text::{ChatTemplate, Tokenizer};
use std::path::Path;
use std::sync::Arc;

/// Limits of one engine, with defaults for a small machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Requests waiting; one more is refused.
    pub queue_max: usize,
    /// Sequences that run at the same time.
    pub sequences_max: usize,
    /// Tokens per step, decode and prefill together.
    pub step_tokens_max: usize,
    /// Reuse the KV blocks of equal prefixes.
    pub prefix_cache: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queue_max: 1024, sequences_max: 256, step_tokens_max: 512, prefix_cache: true }
    }
}

/// How a model is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// Name of an instruction set; `None` takes the best that the processor has.
    pub isa: Option<String>,
    pub threads: Option<usize>,
    pub kv_memory_bytes: u64,
    pub quantize_q8_0: bool,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    pub role: String,
    pub content: String,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Model(#[from] orrery_model::Error),
    #[error("{0}")]
    Settings(String),
}

/// A running engine thread; dropping it stops the thread after failing what is left with `ShuttingDown`.
pub struct Engine {}

impl Engine {
    /// Loads a model (GGUF file or Hugging Face folder) and starts its engine. Blocking. `progress`: 0 to 1.
    pub fn load(_path: &Path, _load: &Load, _settings: Settings, _progress: &mut dyn FnMut(f32)) -> Result<(Self, Handle), LoadError> {
        todo!()
    }

    /// Starts an engine over any executor; tests bring a fake one.
    pub fn start<E: Executor>(_executor: E, _tokenizer: Arc<Tokenizer>, _template: Arc<ChatTemplate>, _settings: Settings) -> (Self, Handle) {
        todo!()
    }

    /// Stops the thread and joins it.
    pub fn stop(self) {}
}

/// Cheap to clone; lives on async workers.
#[derive(Clone)]
pub struct Handle {}

impl Handle {
    /// Checks the request and queues it. Fails at once when it is invalid or the queue is full.
    pub fn submit(&self, _request: Request) -> Result<Generation, Error> {
        todo!()
    }

    /// Token ids of a chat, rendered by the model's template up to the start of the assistant's turn.
    pub fn chat_prompt(&self, _messages: &[ChatMessage]) -> Result<Vec<u32>, Error> {
        todo!()
    }

    /// Token ids of plain text.
    pub fn encode(&self, _text: &str, _add_special: bool) -> Result<Vec<u32>, Error> {
        todo!()
    }

    pub fn decode(&self, _tokens: &[u32]) -> Result<String, Error> {
        todo!()
    }

    /// A printable form and the bytes of one token.
    pub fn token(&self, _token: u32) -> (String, Vec<u8>) {
        todo!()
    }

    pub fn shape(&self) -> Shape {
        todo!()
    }

    pub fn stats(&self) -> Stats {
        todo!()
    }
}

/// The events of one request. Dropping it cancels the request; its blocks are free within one step.
pub struct Generation {}

impl Generation {
    /// The next event, detokenised; `None` after the terminal one.
    pub async fn next(&mut self) -> Option<Event> {
        todo!()
    }
}

/// Gauges and counters since start, read without blocking the engine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
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

//! The async face of the engine: load, submit, read statistics.

use crate::check::check;
use crate::executor::{Executor, ModelExecutor, Shape};
use crate::generation::Generation;
use crate::request::{Error, Request};
use crate::settings::Settings;
use crate::shared::{Command, Shared, Submission};
use crate::text::{ModelText, Text};
use crate::worker::Worker;
use orrery_model::text::{ChatTemplate, Tokenizer};
use orrery_model::{LoadSettings, Model};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::sync::mpsc::unbounded_channel;

/// Fewest tokens that the KV memory must hold: less serves no useful request. A shorter context needs only itself.
const KV_TOKENS_MIN: usize = 512;

/// How a model is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// Name of an instruction set; `None` takes the best that the processor has.
    pub isa: Option<String>,
    pub threads: Option<usize>,
    pub kv_memory_bytes: u64,
    pub quantize_q8_0: bool,
}

impl Load {
    /// Refuses what can be refused before there is a model: an instruction set or threads that this machine does not have,
    /// and limits with which nothing could run. `Engine::load` checks the same again.
    pub fn check(&self, settings: &Settings) -> Result<(), LoadError> {
        orrery_model::compute(self.isa.as_deref(), self.threads)?;
        settings.check()
    }

    /// What this machine can do at best: names and figures, bytes and operations in 10⁹ a second. Takes about a second.
    pub fn roofline(&self) -> Result<Roofline, LoadError> {
        let compute = orrery_model::compute(self.isa.as_deref(), self.threads)?;
        let figures = orrery_model::roofline(&compute);
        Ok(Roofline { isa: compute.isa().name(), threads: compute.threads(), figures })
    }
}

/// The limits of a machine with one instruction set.
#[derive(Debug, Clone, PartialEq)]
pub struct Roofline {
    pub isa: &'static str,
    pub threads: usize,
    pub figures: Vec<(&'static str, f64)>,
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
    #[error("the engine's thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// A running engine thread; dropping it stops the thread after failing what is left with `ShuttingDown`. That blocks until
/// the step under way has ended.
pub struct Engine {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Loads a model (GGUF file or Hugging Face folder) and starts its engine. Blocking. `progress`: 0 to 1.
    pub fn load(
        path: &Path,
        load: &Load,
        settings: Settings,
        progress: &mut dyn FnMut(f32),
    ) -> Result<(Self, Handle), LoadError> {
        let compute = orrery_model::compute(load.isa.as_deref(), load.threads)?;
        let model = Model::load(path, LoadSettings { quantize_q8_0: load.quantize_q8_0 }, compute, progress)?;
        let blocks = kv_blocks(&model, load.kv_memory_bytes)?;
        let text = ModelText { tokenizer: model.tokenizer().clone(), template: model.template().clone() };
        Self::start_with_text(ModelExecutor::new(model, blocks)?, Arc::new(text), settings)
    }

    /// Starts an engine over any executor.
    pub fn start<E: Executor>(
        executor: E,
        tokenizer: Arc<Tokenizer>,
        template: Arc<ChatTemplate>,
        settings: Settings,
    ) -> Result<(Self, Handle), LoadError> {
        Self::start_with_text(executor, Arc::new(ModelText { tokenizer, template }), settings)
    }

    /// Starts an engine over any executor and any text; tests bring fakes of both.
    pub fn start_with_text<E: Executor>(
        executor: E,
        text: Arc<dyn Text>,
        settings: Settings,
    ) -> Result<(Self, Handle), LoadError> {
        settings.check()?;
        let mut shape = executor.shape();
        if shape.blocks == 0 || shape.block_tokens == 0 || shape.vocabulary == 0 || shape.context == 0 {
            return Err(LoadError::Settings(format!("an engine needs memory and a vocabulary; it has {shape:?}")));
        }
        let model_context = shape.context;
        shape.context = shape.context.min(shape.blocks * shape.block_tokens);
        let (commands, receiver) = mpsc::channel();
        let shared = Arc::new(Shared::new(commands));
        let worker = Worker::new(executor, &settings, receiver, shared.clone());
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || worker.run())?;
        let inner = Inner { shared: shared.clone(), text, shape, model_context, settings };
        Ok((Self { shared, thread: Some(thread) }, Handle { inner: Arc::new(inner) }))
    }

    /// Stops the thread and joins it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A thread that ended by itself takes no command. Sent first: who sees that the engine is closed knows that it will
        // take no other command before this one.
        let _ = self.shared.commands.send(Command::Stop);
        self.shared.set_stopping();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the engine's thread had panicked");
        }
    }
}

/// Blocks that the memory holds.
fn kv_blocks(model: &Model, memory_bytes: u64) -> Result<usize, LoadError> {
    let block_bytes = model.kv_block_bytes().max(1);
    let blocks = usize::try_from(memory_bytes / block_bytes as u64).unwrap_or(usize::MAX);
    let least = KV_TOKENS_MIN.min(model.context()).div_ceil(model.block_tokens());
    if blocks < least {
        let (needed, tokens) = (least * block_bytes, least * model.block_tokens());
        return Err(LoadError::Settings(format!(
            "a KV memory of {memory_bytes} bytes holds {blocks} blocks of {} tokens; this model needs at least {needed} \
             bytes ({tokens} tokens at {block_bytes} bytes a block)",
            model.block_tokens()
        )));
    }
    // Blocks are numbered in 32 bits.
    Ok(blocks.min(u32::MAX as usize))
}

/// Cheap to clone; lives on async workers.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    text: Arc<dyn Text>,
    /// `context` is what the KV memory holds where that is less than the model's.
    shape: Shape,
    model_context: usize,
    settings: Settings,
}

impl Handle {
    /// Checks the request and queues it. Fails at once when it is invalid, or the queue or its flow's part of it is full.
    pub fn submit(&self, mut request: Request) -> Result<Generation, Error> {
        let Inner { shared, text, shape, model_context, settings } = self.inner.as_ref();
        check(&request, shape, *model_context, settings)?;
        if let Some(error) = shared.closed() {
            return Err(error);
        }
        shared.enter_queue(settings.queue_max, &request.flow)?;
        if !request.ignore_eos {
            request.stop_tokens.extend_from_slice(text.stop_tokens());
        }
        let seed = request.sampling.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        let (events, raw) = unbounded_channel();
        let id = shared.next_id();
        let generation = Generation::new(id, shared.clone(), raw, &request, text.as_ref());
        let flow = request.flow.id;
        let submission = Submission { id, request, seed, events };
        if shared.commands.send(Command::Submit(Box::new(submission))).is_err() {
            shared.leave_queue(flow);
            return Err(shared.closed().unwrap_or(Error::ShuttingDown));
        }
        Ok(generation)
    }

    /// Token ids of a chat, rendered by the model's template up to the start of the assistant's turn.
    pub fn chat_prompt(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, Error> {
        self.inner.text.chat(messages)
    }

    /// Token ids of plain text.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Error> {
        self.inner.text.encode(text, add_special)
    }

    pub fn decode(&self, tokens: &[u32]) -> Result<String, Error> {
        let vocabulary = self.inner.shape.vocabulary;
        if let Some(token) = tokens.iter().find(|token| **token as usize >= vocabulary) {
            let message = format!("`tokens` has token {token}; this model's tokens are 0 to {}", vocabulary - 1);
            return Err(Error::Invalid { param: "tokens", message });
        }
        Ok(self.inner.text.decode(tokens))
    }

    /// A printable form and the bytes of one token; empty outside the vocabulary.
    pub fn token(&self, token: u32) -> (String, Vec<u8>) {
        if token as usize >= self.inner.shape.vocabulary {
            return Default::default();
        }
        self.inner.text.token(token)
    }

    /// Sizes of the engine. `context` is the longest sequence that it can serve: the model's, or less where the KV memory
    /// does not hold that much.
    pub fn shape(&self) -> Shape {
        self.inner.shape
    }

    /// Why the engine accepts nothing any more, if it does not.
    pub fn closed(&self) -> Option<Error> {
        self.inner.shared.closed()
    }

    pub fn stats(&self) -> Stats {
        let counters = &self.inner.shared.counters;
        let shape = &self.inner.shape;
        Stats {
            running: counters.running.load(Relaxed),
            waiting: counters.queued.load(Relaxed) + counters.preempted.load(Relaxed),
            blocks_total: shape.blocks,
            blocks_used: counters.blocks_used.load(Relaxed),
            blocks_cached: counters.blocks_cached.load(Relaxed),
            block_tokens: shape.block_tokens,
            prefix_queries_tokens: counters.prefix_queries_tokens.load(Relaxed),
            prefix_hits_tokens: counters.prefix_hits_tokens.load(Relaxed),
            prompt_tokens: counters.prompt_tokens.load(Relaxed),
            generation_tokens: counters.generation_tokens.load(Relaxed),
            preemptions: counters.preemptions.load(Relaxed),
            steps: counters.steps.load(Relaxed),
            drafts: counters.drafts.load(Relaxed),
            drafts_tokens: counters.drafts_tokens.load(Relaxed),
            drafts_accepted_tokens: counters.drafts_accepted_tokens.load(Relaxed),
        }
    }
}

/// Gauges and counters since start, read without blocking the engine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Sequences (choices) that run.
    pub running: usize,
    /// Requests that have not run yet, and preempted sequences.
    pub waiting: usize,
    pub blocks_total: usize,
    /// Blocks that sequences hold.
    pub blocks_used: usize,
    /// Blocks that nobody holds but whose contents may be hit again.
    pub blocks_cached: usize,
    pub block_tokens: usize,
    /// Prompt tokens looked up in the prefix cache, and found there.
    pub prefix_queries_tokens: u64,
    pub prefix_hits_tokens: u64,
    /// Tokens of prompts that began to run.
    pub prompt_tokens: u64,
    /// Tokens sampled.
    pub generation_tokens: u64,
    pub preemptions: u64,
    pub steps: u64,
    /// Drafts of speculation that were verified, their tokens, and those that were accepted.
    pub drafts: u64,
    pub drafts_tokens: u64,
    pub drafts_accepted_tokens: u64,
}

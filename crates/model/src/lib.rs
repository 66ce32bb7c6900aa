//! Language models: reading GGUF files and Hugging Face folders, tokenizers, chat templates, layers, architectures
//! and the forward pass of a batch.
//!
//! Must not know: requests, scheduling, HTTP, the environment. No async. Start at [`Model`].
#![forbid(unsafe_code)]

pub mod arch;
pub mod batch;
mod compute;
mod error;
pub mod layers;
pub mod text;
pub mod weights;

pub use batch::{Batch, BatchError, BlockCopy, Span};
pub use compute::{LogitMath, compute, roofline};
pub use error::Error;

use layers::{Decoder, Loader};
use orrery_kernels::{Compute, attention::KvCache};
use std::path::Path;
use std::sync::Arc;

/// How weights are turned into the packed form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadSettings {
    /// Quantise F32, F16 and BF16 matrices to Q8_0 on loading.
    pub quantize_q8_0: bool,
}

/// A loaded model, ready to run.
pub struct Model {
    compute: Compute,
    hyper: weights::Hyper,
    tokenizer: Arc<text::Tokenizer>,
    template: Arc<text::ChatTemplate>,
    decoder: Decoder,
    weight_bytes: usize,
}

impl Model {
    /// Reads a GGUF file or a Hugging Face folder. `progress` gets values from 0 to 1.
    pub fn load(
        path: &Path,
        settings: LoadSettings,
        compute: Compute,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Self, Error> {
        let checkpoint = weights::Checkpoint::open(path)?;
        let hyper = checkpoint.hyper().clone();
        let (tokenizer, template) = read_text(&checkpoint)?;
        let mut loader = Loader::new(&checkpoint, settings, &compute, progress);
        let decoder = arch::build(&mut loader)?;
        let weight_bytes = loader.packed_bytes();
        loader.finish()?;
        Ok(Self { compute, hyper, tokenizer: Arc::new(tokenizer), template: Arc::new(template), decoder, weight_bytes })
    }

    /// Reads everything but the weights and checks it as [`Model::load`] does. What it has found, as names and values to show.
    ///
    /// # Errors
    /// As [`Model::load`], but for what only its weights can tell.
    pub fn inspect(path: &Path) -> Result<Vec<(&'static str, String)>, Error> {
        let checkpoint = weights::Checkpoint::open(path)?;
        let (tokenizer, template) = read_text(&checkpoint)?;
        let hyper = checkpoint.hyper();
        Ok(vec![
            ("architecture", hyper.architecture.clone()),
            ("layers", hyper.layers.to_string()),
            ("context", hyper.context.to_string()),
            ("vocabulary", tokenizer.vocabulary().to_string()),
            ("tensors", checkpoint.tensors().count().to_string()),
            (
                "parameters",
                checkpoint.tensors().map(|tensor| tensor.shape.iter().product::<usize>()).sum::<usize>().to_string(),
            ),
            ("chat template", if template.is_there() { "yes" } else { "no" }.to_owned()),
        ])
    }

    pub fn hyper(&self) -> &weights::Hyper {
        &self.hyper
    }

    pub fn compute(&self) -> &Compute {
        &self.compute
    }

    pub fn tokenizer(&self) -> &Arc<text::Tokenizer> {
        &self.tokenizer
    }

    pub fn template(&self) -> &Arc<text::ChatTemplate> {
        &self.template
    }

    /// Bytes of memory that the packed weights take.
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// A cache of `blocks` KV blocks for this model.
    pub fn kv_cache(&self, blocks: usize) -> Result<KvCache, Error> {
        Ok(KvCache::new(self.hyper.layers, blocks, self.hyper.kv_heads, self.hyper.head_dim)?)
    }

    /// Bytes of one KV block over all layers.
    pub fn kv_block_bytes(&self) -> usize {
        KvCache::block_bytes(self.hyper.layers, self.hyper.kv_heads, self.hyper.head_dim)
    }

    /// Runs the batch: stores its keys and values, and leaves one row of logits for each of `batch.logits_rows` in
    /// `logits` (resized). The caller guarantees what [`Batch::check`] checks.
    pub fn forward(&mut self, batch: &Batch, kv: &mut KvCache, logits: &mut Vec<f32>) {
        debug_assert_eq!(batch.check(self.hyper.vocabulary, self.hyper.context, kv.blocks()), Ok(()));
        self.decoder.forward(&self.compute, batch, kv, logits);
    }
}

/// Tokenizer and template, which fit the model.
fn read_text(checkpoint: &weights::Checkpoint) -> Result<(text::Tokenizer, text::ChatTemplate), Error> {
    let tokenizer = text::Tokenizer::new(checkpoint.text())?;
    let vocabulary = checkpoint.hyper().vocabulary;
    if tokenizer.vocabulary() > vocabulary {
        let reason = format!("{} tokens, but the model has {vocabulary}", tokenizer.vocabulary());
        return Err(Error::Tokenizer(reason));
    }
    let template = text::ChatTemplate::new(checkpoint.text(), &tokenizer)?;
    Ok((tokenizer, template))
}

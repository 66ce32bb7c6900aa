//! A model that computes nothing: each byte is a token, and each answer is `aaa…`. For measurements of what is around a model:
//! everything else, scheduler and sampler included, is the real thing. Only with the feature `mock`.

use crate::{ChatMessage, Detokenize, Engine, Error, Executor, Handle, LoadError, Settings, Shape, Text};
use orrery_model::Batch;
use std::sync::Arc;
use std::time::Duration;

const VOCABULARY: usize = 256;
const ANSWER: u8 = b'a';

/// Starts an engine whose steps take so long; zero: no time at all.
///
/// # Errors
/// As [`Engine::start_with_text`].
pub fn start(settings: Settings, step: Duration) -> Result<(Engine, Handle), LoadError> {
    Engine::start_with_text(Idle { step }, Arc::new(Letters), settings)
}

struct Idle {
    step: Duration,
}

impl Executor for Idle {
    fn shape(&self) -> Shape {
        Shape { vocabulary: VOCABULARY, context: 8192, blocks: 16_384, block_tokens: 16 }
    }

    fn step(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), String> {
        if !self.step.is_zero() {
            std::thread::sleep(self.step);
        }
        logits.clear();
        logits.resize(batch.logits_rows.len() * VOCABULARY, 0.0);
        for row in logits.chunks_exact_mut(VOCABULARY) {
            row[usize::from(ANSWER)] = 100.0;
        }
        Ok(())
    }
}

struct Letters;

impl Text for Letters {
    fn encode(&self, text: &str, _add_special: bool) -> Result<Vec<u32>, Error> {
        Ok(text.bytes().map(u32::from).collect())
    }

    fn chat(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, Error> {
        Ok(messages.iter().flat_map(|message| message.content.bytes()).map(u32::from).collect())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().map(|token| letter(*token)).collect()
    }

    fn token(&self, token: u32) -> (String, Vec<u8>) {
        (letter(token).to_string(), vec![token as u8])
    }

    fn stop_tokens(&self) -> &[u32] {
        &[]
    }

    fn detokenizer(&self) -> Box<dyn Detokenize> {
        Box::new(Self)
    }
}

impl Detokenize for Letters {
    fn push(&mut self, token: u32) -> String {
        letter(token).to_string()
    }

    fn finish(&mut self) -> String {
        String::new()
    }
}

fn letter(token: u32) -> char {
    char::from(token as u8)
}

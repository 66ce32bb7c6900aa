//! A fake executor and a fake text, whose results are easy to compute by other means.
//!
//! The executor keeps one number for each token slot of each KV block. The number chains the token, its position and the
//! number before it, read through the sequence's block table; logits hash all the sequence's numbers, read the same way.
//! So a wrong table, a stale cache hit or a token that was not recomputed changes the output. [`reference`] computes the same
//! from the tokens alone.

use orrery_engine::{ChatMessage, Detokenize, Error, Executor, Shape, Text};
use orrery_model::Batch;
use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, channel};

pub const VOCABULARY: usize = 256;
pub const EOS: u32 = 0;
/// A step that holds this token fails.
pub const FAILING: u32 = 250;
/// A step that holds this token panics.
pub const PANICKING: u32 = 251;

pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn entry(before: u64, token: u32, position: usize) -> u64 {
    mix(before ^ mix(u64::from(token) << 32 | position as u64))
}

fn row(entries: impl Iterator<Item = u64>) -> Vec<f32> {
    let state = entries.fold(7, |state, entry| mix(state ^ entry));
    (0..VOCABULARY as u64).map(|token| (mix(state ^ token) >> 40) as f32 / (1 << 24) as f32 * 8.0 - 4.0).collect()
}

/// The logits after these tokens.
pub fn reference(tokens: &[u32]) -> Vec<f32> {
    let mut before = 1;
    row(tokens.iter().enumerate().map(|(position, token)| {
        before = entry(before, *token, position);
        before
    }))
}

/// Lets a gated executor run one step for each permit.
pub type Permits = Sender<()>;

pub struct FakeExecutor {
    shape: Shape,
    kv: Vec<u64>,
    permits: Option<Receiver<()>>,
}

pub fn shape(blocks: usize, context: usize) -> Shape {
    Shape { vocabulary: VOCABULARY, context, blocks, block_tokens: 4 }
}

impl FakeExecutor {
    pub fn new(shape: Shape) -> Self {
        Self { shape, kv: vec![u64::MAX; shape.blocks * shape.block_tokens], permits: None }
    }

    /// Each step waits for a permit; dropping the sender opens the gate for good.
    pub fn gated(shape: Shape) -> (Self, Permits) {
        let (sender, receiver) = channel();
        (Self { permits: Some(receiver), ..Self::new(shape) }, sender)
    }

    fn slot(&self, blocks: &[u32], position: usize) -> usize {
        blocks[position / self.shape.block_tokens] as usize * self.shape.block_tokens
            + position % self.shape.block_tokens
    }
}

impl Executor for FakeExecutor {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn step(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), String> {
        if let Some(permits) = &self.permits {
            // A closed gate that lost its keeper is open.
            let _ = permits.recv();
        }
        assert!(!batch.tokens.contains(&PANICKING), "told to panic");
        if batch.tokens.contains(&FAILING) {
            return Err("told to fail".into());
        }
        let tokens = self.shape.block_tokens;
        for copy in &batch.copies {
            assert_ne!(copy.from, copy.to);
            let from = copy.from as usize * tokens;
            self.kv.copy_within(from..from + tokens, copy.to as usize * tokens);
        }
        let mut written = HashSet::new();
        let mut rows = Vec::new();
        let mut next_row = 0;
        for span in &batch.spans {
            assert_eq!(span.row, next_row, "spans follow each other");
            next_row += span.count;
            for offset in 0..span.count {
                let position = span.position + offset;
                let before = if position == 0 { 1 } else { self.kv[self.slot(&span.blocks, position - 1)] };
                let slot = self.slot(&span.blocks, position);
                let entry = entry(before, batch.tokens[span.row + offset], position);
                if offset < span.stored {
                    assert_eq!(self.kv[slot], entry, "what is stored is right");
                } else {
                    assert!(written.insert(slot), "two rows of a step write one slot");
                    self.kv[slot] = entry;
                }
                if batch.logits_rows.contains(&(span.row + offset)) {
                    rows.push(row((0..=position).map(|position| self.kv[self.slot(&span.blocks, position)])));
                }
            }
        }
        assert_eq!(next_row, batch.tokens.len(), "every token has a span");
        assert!(batch.logits_rows.is_sorted_by(|a, b| a < b), "rows ascend");
        *logits = rows.concat();
        Ok(())
    }
}

/// Plays a fixed text, whatever the prompt: the token after position p is `script[p % len]`.
pub struct Script(pub Vec<u32>);

impl Executor for Script {
    fn shape(&self) -> Shape {
        Shape { vocabulary: VOCABULARY, context: 1000, blocks: 1000, block_tokens: 4 }
    }

    fn step(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), String> {
        logits.clear();
        for row in &batch.logits_rows {
            let span = batch.spans.iter().find(|span| (span.row..span.row + span.count).contains(row)).expect("a span");
            let token = self.0[(span.position + row - span.row) % self.0.len()];
            logits.extend((0..VOCABULARY as u32).map(|other| if other == token { 9.0 } else { 0.0 }));
        }
        Ok(())
    }
}

/// One byte per token; token 0 ends a text and has no bytes.
pub struct Bytes;

pub fn bytes_of(token: u32) -> Vec<u8> {
    if token == EOS { Vec::new() } else { vec![token as u8] }
}

impl Text for Bytes {
    fn encode(&self, text: &str, _add_special: bool) -> Result<Vec<u32>, Error> {
        Ok(text.bytes().map(u32::from).collect())
    }

    fn chat(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, Error> {
        self.encode(&messages.iter().map(|message| message.content.as_str()).collect::<String>(), false)
    }

    fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| bytes_of(*token)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn token(&self, token: u32) -> (String, Vec<u8>) {
        (format!("<{token}>"), bytes_of(token))
    }

    fn stop_tokens(&self) -> &[u32] {
        &[EOS]
    }

    fn detokenizer(&self) -> Box<dyn Detokenize> {
        Box::new(ByteStream(Vec::new()))
    }
}

struct ByteStream(Vec<u8>);

impl Detokenize for ByteStream {
    fn push(&mut self, token: u32) -> String {
        self.0.extend(bytes_of(token));
        match std::str::from_utf8(&self.0) {
            Ok(text) => {
                let text = text.to_owned();
                self.0.clear();
                text
            }
            Err(error) if error.error_len().is_none() => String::new(),
            Err(_) => {
                let text = String::from_utf8_lossy(&self.0).into_owned();
                self.0.clear();
                text
            }
        }
    }

    fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.0).into_owned();
        self.0.clear();
        text
    }
}

/// A small seeded generator for workloads.
pub struct Random(pub u64);

impl Random {
    /// 0..n
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) % n as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

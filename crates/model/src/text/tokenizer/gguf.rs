//! Tokenizers from GGUF's `tokenizer.ggml.*` keys. Start at [`build`].
//!
//! Source: the GGUF specification and what llama.cpp does with the keys (`src/llama-vocab.cpp`). Where llama.cpp differs
//! from the model's own tokenizer, the model's own wins: text for Qwen is composed to NFC first.

use super::split::{Cut, Pattern, Splitter};
use super::vocabulary::{Entry, Kind, Strip, Vocabulary, makes_turns};
use super::{Merges, Prefix, Space, Symbols, Tokenizer, byte_level, fallback_byte};
use crate::Error;
use crate::weights::GgufText;
use std::collections::HashMap;

/// Tokens that end a generation wherever a vocabulary has them as control tokens, as in llama.cpp.
const END_NAMES: [&str; 14] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<|return|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<end_of_utterance>",
    "<EOT>",
    "[EOT]",
    "[EOS]",
    "</s>",
];

/// What the name of a pre-tokenizer stands for.
struct Pre {
    cuts: Vec<Cut>,
    nfc: bool,
    whole_pieces: bool,
    /// Llama 3 has BOS added where its file says nothing.
    add_bos: bool,
}

impl Pre {
    fn named(name: &str) -> Result<Self, Error> {
        let plain = |cuts| Self { cuts, nfc: false, whole_pieces: false, add_bos: false };
        Ok(match name {
            "smollm" => plain(vec![Cut::SingleDigits, Cut::pattern(Pattern::Gpt2)]),
            "gpt-2" | "gpt2" | "default" => plain(vec![Cut::pattern(Pattern::Gpt2)]),
            "llama-bpe" | "llama3" | "llama-v3" => {
                Self { whole_pieces: true, add_bos: true, ..plain(vec![Cut::pattern(Pattern::Llama3)]) }
            }
            "qwen2" | "deepseek-r1-qwen" => Self { nfc: true, ..plain(vec![Cut::pattern(Pattern::Qwen2)]) },
            _ => {
                return Err(Error::Unsupported {
                    what: "pre-tokenizer (`tokenizer.ggml.pre`)",
                    found: name.to_owned(),
                    supported: "smollm, gpt-2, default, llama-bpe, llama3, qwen2, deepseek-r1-qwen".to_owned(),
                });
            }
        })
    }
}

pub(super) fn build(text: &GgufText) -> Result<Tokenizer, Error> {
    check_lengths(text)?;
    let mut tokenizer = match text.model.as_str() {
        "gpt2" => byte_level_bpe(text)?,
        "llama" => sentence_piece(text)?,
        other => {
            return Err(Error::Unsupported {
                what: "tokenizer (`tokenizer.ggml.model`)",
                found: other.to_owned(),
                supported: "gpt2 (byte-level BPE), llama (SentencePiece BPE)".to_owned(),
            });
        }
    };
    tokenizer.stop.extend(tokenizer.eos);
    tokenizer.stop.extend(text.eot.into_iter().chain(text.eom));
    for name in END_NAMES {
        tokenizer.stop.extend(tokenizer.vocabulary.named(name).filter(|token| tokenizer.is_control(*token)));
    }
    tokenizer.stop.sort_unstable();
    tokenizer.stop.dedup();
    Ok(tokenizer)
}

fn check_lengths(text: &GgufText) -> Result<(), Error> {
    let tokens = text.tokens.len();
    for (what, len) in [("token_type", text.token_types.len()), ("scores", text.scores.len())] {
        if len != 0 && len != tokens {
            return Err(Error::Tokenizer(format!("`tokenizer.ggml.{what}` has {len} entries for {tokens} tokens")));
        }
    }
    let ids = [("bos", text.bos), ("eos", text.eos), ("eot", text.eot), ("eom", text.eom), ("unknown", text.unknown)];
    for (what, id) in ids {
        if let Some(id) = id.filter(|id| *id as usize >= tokens) {
            return Err(Error::Tokenizer(format!("the {what} token {id} is outside the vocabulary of {tokens}")));
        }
    }
    Ok(())
}

fn byte_level_bpe(text: &GgufText) -> Result<Tokenizer, Error> {
    let pre = Pre::named(text.pre.as_deref().unwrap_or("default"))?;
    let entries = entries(text, |name| byte_level(name).unwrap_or_else(|| name.as_bytes().to_vec()));
    Ok(Tokenizer {
        merges: listed_merges(text)?,
        symbols: Symbols::Bytes,
        nfc: pre.nfc,
        space: Space::default(),
        splitter: Splitter::new(pre.cuts),
        whole_pieces: pre.whole_pieces,
        unknown: None,
        strip_first_space: false,
        ..common(text, Vocabulary::new(entries, false)?, pre.add_bos, false)
    })
}

fn sentence_piece(text: &GgufText) -> Result<Tokenizer, Error> {
    if text.scores.is_empty() {
        return Err(Error::Tokenizer("a SentencePiece vocabulary needs `tokenizer.ggml.scores`".to_owned()));
    }
    let entries = entries(text, |name| name.replace('▁', " ").into_bytes());
    let prefix = text.add_space_prefix.unwrap_or(true);
    Ok(Tokenizer {
        merges: Merges::Scored(score_ranks(&text.scores)),
        symbols: Symbols::Characters,
        space: Space {
            metaspace: true,
            prefix: if prefix { Prefix::Every } else { Prefix::Never },
            prefix_once: false,
        },
        unknown: text.unknown.or_else(|| text.token_types.iter().position(|kind| *kind == 2).map(|id| id as u32)),
        strip_first_space: prefix,
        ..common(text, Vocabulary::new(entries, true)?, true, false)
    })
}

/// What both kinds share. `add_bos` and `add_eos` hold where the file says nothing.
fn common(text: &GgufText, vocabulary: Vocabulary, add_bos: bool, add_eos: bool) -> Tokenizer {
    let around = |id: Option<u32>, add: bool| id.filter(|_| add).into_iter().collect();
    Tokenizer {
        vocabulary,
        merges: Merges::Listed(HashMap::new()),
        symbols: Symbols::Bytes,
        nfc: false,
        space: Space::default(),
        splitter: Splitter::default(),
        whole_pieces: false,
        unknown: None,
        before: around(text.bos, text.add_bos.unwrap_or(add_bos)),
        after: around(text.eos, text.add_eos.unwrap_or(add_eos)),
        bos: text.bos,
        eos: text.eos,
        stop: Vec::new(),
        strip_first_space: false,
    }
}

fn entries(text: &GgufText, bytes: impl Fn(&str) -> Vec<u8>) -> Vec<Entry> {
    let one = |(id, name): (usize, &String)| {
        let kind = text.token_types.get(id).copied().unwrap_or(1);
        let (kind, bytes) = match (kind, fallback_byte(name)) {
            (2 | 3, _) => (Kind::Control, name.as_bytes().to_vec()),
            _ if makes_turns(name) => (Kind::Control, name.as_bytes().to_vec()),
            (4, _) => (Kind::Whole, name.as_bytes().to_vec()),
            (6, Some(byte)) => (Kind::Byte, vec![byte]),
            _ => (Kind::Normal, bytes(name)),
        };
        Entry { name: name.clone(), bytes, kind, strip: Strip::default() }
    };
    text.tokens.iter().enumerate().map(one).collect()
}

fn listed_merges(text: &GgufText) -> Result<Merges, Error> {
    let ids: HashMap<&str, u32> = text.tokens.iter().map(String::as_str).zip(0..).collect();
    let listed = |token: u32| matches!(text.token_types.get(token as usize), Some(2 | 3));
    let control = |token: u32| listed(token) || text.tokens.get(token as usize).is_some_and(|name| makes_turns(name));
    let pairs = text.merges.iter().map(|merge| {
        // A merge may contain only the space between its two sides.
        merge.split_once(' ').ok_or_else(|| Error::Tokenizer(format!("the merge {merge:?} is not two tokens")))
    });
    super::listed(pairs, &ids, control)
}

/// The place of each token's score among all scores, highest first; equal scores have the same place.
fn score_ranks(scores: &[f32]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut ranks = vec![0; scores.len()];
    let mut rank = 0;
    for pair in order.windows(2) {
        if scores[pair[0]].total_cmp(&scores[pair[1]]).is_ne() {
            rank += 1;
        }
        ranks[pair[1]] = rank;
    }
    ranks
}

//! A vocabulary, as `tokenizer.json` or as GGUF's keys, and then a text through it and back.
//!
//! The parts of an input are set apart by bytes that are in no UTF-8 text: the first byte says which of the two it is.

use orrery_model::text::{Detokenizer, Tokenizer};
use orrery_model::weights::{GgufText, TextSource};
use std::sync::Arc;

/// Ends a part of the input, and an entry of a list.
const END: u8 = 0xff;
const NEXT: u8 = 0xfe;

pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let mut parts = data.split(|byte| *byte == END);
    let mut part = || parts.next().unwrap_or_default();
    let source = if kind % 2 == 0 { hugging_face(&mut part) } else { gguf(&mut part) };
    let text = String::from_utf8_lossy(part()).into_owned();
    let Ok(tokenizer) = Tokenizer::new(&source) else { return };
    check(&Arc::new(tokenizer), &text);
}

fn check(tokenizer: &Arc<Tokenizer>, text: &str) {
    let ids = tokenizer.encode(text, false).expect("a short text");
    // No vocabulary of this size has the character: what stands for the unknown may be a control token, by the model's wish.
    let unknown = tokenizer.encode("\u{10fffd}", false).expect("a short text").pop();
    for id in &ids {
        assert!((*id as usize) < tokenizer.vocabulary(), "token {id} of {}", tokenizer.vocabulary());
        assert!(!tokenizer.is_control(*id) || unknown == Some(*id), "text became the control token {id}");
        let _ = tokenizer.token_text(*id);
    }
    let whole = tokenizer.decode(&ids);
    let mut detokenizer = Detokenizer::new(tokenizer.clone());
    let mut pieces: String = ids.iter().map(|id| detokenizer.push(*id)).collect();
    pieces.push_str(&detokenizer.finish());
    assert_eq!(whole, pieces, "a stream is not the whole");
    let framed = tokenizer.encode(text, true).expect("a short text");
    assert!(framed.len() >= ids.len());
}

fn hugging_face<'d>(part: &mut impl FnMut() -> &'d [u8]) -> TextSource {
    let mut text = || String::from_utf8_lossy(part()).into_owned();
    let optional = |text: String| (!text.is_empty()).then_some(text);
    TextSource::HuggingFace {
        tokenizer: text(),
        tokenizer_config: optional(text()),
        generation_config: optional(text()),
        config: "{}".to_owned(),
        chat_template: None,
    }
}

/// Numbers are single bytes: ids and types are small, and scores only have an order.
fn gguf<'d>(part: &mut impl FnMut() -> &'d [u8]) -> TextSource {
    let list = |bytes: &[u8]| -> Vec<String> {
        bytes.split(|byte| *byte == NEXT).map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
    };
    let kind = part();
    let model = match kind.first() {
        Some(b'g') => "gpt2",
        Some(b'l') => "llama",
        _ => "other",
    };
    let pre = kind.get(1..).filter(|name| !name.is_empty()).map(|name| String::from_utf8_lossy(name).into_owned());
    let tokens = list(part());
    // Of the right lengths where they are too long: what a file claims is checked before, by the reader.
    let fit = |bytes: &[u8]| bytes.iter().copied().take(tokens.len()).collect::<Vec<u8>>();
    let types = fit(part());
    let scores = fit(part());
    let merges = part();
    let numbers = part();
    // As the reader leaves them: inside the vocabulary.
    let id = |at: usize| numbers.get(at).copied().filter(|value| usize::from(*value) < tokens.len()).map(u32::from);
    let flags = numbers.get(6).copied();
    let flag = |bit: u8| flags.and_then(|flags| (flags >> bit & 1 == 1).then_some(flags >> (bit + 1) & 1 == 1));
    TextSource::Gguf(GgufText {
        model: model.to_owned(),
        pre,
        token_types: if types.len() == tokens.len() {
            types.into_iter().map(|kind| i32::from(kind % 8)).collect()
        } else {
            vec![]
        },
        scores: if scores.len() == tokens.len() {
            scores.into_iter().map(|score| -f32::from(score)).collect()
        } else {
            vec![]
        },
        merges: if merges.is_empty() { vec![] } else { list(merges) },
        bos: id(0),
        eos: id(1),
        eot: id(2),
        eom: id(3),
        unknown: id(4),
        padding: id(5),
        add_bos: flag(0),
        add_eos: flag(2),
        add_space_prefix: flag(4),
        chat_template: None,
        tokens,
    })
}

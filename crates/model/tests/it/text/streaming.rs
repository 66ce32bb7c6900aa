//! The stream of a detokenizer is what decoding the whole gives.

use super::{fixture, gguf};
use orrery_model::text::{Detokenizer, Tokenizer};
use orrery_model::weights::TextSource;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

fn tokenizer(name: &str) -> Arc<Tokenizer> {
    Arc::new(Tokenizer::new(&TextSource::Gguf(gguf(&fixture(name)))).unwrap())
}

fn stream(mut detokenizer: Detokenizer, tokens: &[u32]) -> String {
    let mut text: String = tokens.iter().map(|token| detokenizer.push(*token)).collect();
    text.push_str(&detokenizer.finish());
    text
}

/// Built once for all cases.
static TOKENIZERS: LazyLock<Vec<(&str, Arc<Tokenizer>)>> =
    LazyLock::new(|| ["gpt2", "smollm", "llama3", "spm"].map(|name| (name, tokenizer(name))).to_vec());

proptest! {
    #[test]
    fn the_stream_is_the_whole(tokens in prop::collection::vec(0u32..900, 0..60)) {
        for (_, tokenizer) in TOKENIZERS.iter() {
            prop_assert_eq!(stream(Detokenizer::new(tokenizer.clone()), &tokens), tokenizer.decode(&tokens));
        }
    }

    #[test]
    fn what_was_encoded_comes_back(text in "\\PC{0,40}|[ \\n\\ta-z0-9é😀]{0,40}") {
        for (name, tokenizer) in TOKENIZERS.iter() {
            let tokens = tokenizer.encode(&text, false).unwrap();
            let expected = if *name == "spm" { text.replace('▁', " ") } else { text.clone() };
            prop_assert_eq!(tokenizer.decode(&tokens), expected, "{}", name);
        }
    }
}

#[test]
fn a_character_comes_out_whole() {
    let tokenizer = tokenizer("spm");
    // 🦉 is in no corpus: four byte tokens (id of byte b is b + 3).
    let tokens: Vec<u32> = "🦉".bytes().map(|byte| u32::from(byte) + 3).collect();
    let mut detokenizer = Detokenizer::new(tokenizer);
    let pieces: Vec<String> = tokens.iter().map(|token| detokenizer.push(*token)).collect();
    assert_eq!(pieces, ["", "", "", "🦉"]);
    // A beginning that nothing finishes is let go at once when the next byte shows it.
    assert_eq!(detokenizer.push(0xf0 + 3), "");
    assert_eq!(detokenizer.push(u32::from(b'a') + 3), "\u{fffd}a");
    assert_eq!(detokenizer.push(0xe2 + 3), "");
    assert_eq!(detokenizer.finish(), "\u{fffd}");
    assert_eq!(detokenizer.finish(), "");
}

#[test]
fn the_first_space_is_the_tokenizers_only_where_a_text_begins() {
    let tokenizer = tokenizer("spm");
    let tokens = tokenizer.encode("the  dog", false).unwrap();
    assert_eq!(stream(Detokenizer::new(tokenizer.clone()), &tokens), "the  dog");
    assert_eq!(stream(Detokenizer::following(tokenizer.clone()), &tokens), " the  dog");
    // A control token before the text does not use the rule up.
    let with_bos = tokenizer.encode("the  dog", true).unwrap();
    assert_eq!(stream(Detokenizer::new(tokenizer), &with_bos), "the  dog");
}

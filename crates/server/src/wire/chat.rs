//! `POST /v1/chat/completions`: the request, the whole answer, and the chunks of a streamed one.

use crate::Limits;
use crate::error::ApiError;
use crate::sse::{Encode, Frames};
use crate::wire::chat_messages;
use crate::wire::choices::{Choices, Grid};
use crate::wire::fields::Fields;
use crate::wire::generate::{self, Delivery};
use crate::wire::params::{self, RequestSchema};
use crate::wire::usage::{FINGERPRINT, Identity, StreamUsage, UsageBody, finish_name, finite};
use orrery_platform::chat::{Logprob, TokenLogprobs};
use orrery_platform::{ChatRequest, Event, Usage};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

/// A chat request, read and checked.
#[derive(Debug)]
pub struct ChatBody {
    pub request: ChatRequest,
    pub delivery: Delivery,
    /// The client counts on finding it again.
    pub store: bool,
    /// By which name the client knows `max_tokens`.
    pub max_tokens_name: &'static str,
}

impl ChatBody {
    pub fn read(mut fields: Fields, limits: &Limits) -> Result<Self, ApiError> {
        let model = generate::model(&mut fields)?;
        let store = fields.flag(&params::STORE)?;
        let (mut generate, delivery) = generate::read(&mut fields, limits)?;
        let (max_tokens, max_tokens_name) = max_tokens(&mut fields)?;
        generate.max_tokens = max_tokens;
        generate.logprobs = logprobs(&mut fields, limits)?;
        let messages = chat_messages::read(&mut fields)?;
        Ok(Self { request: ChatRequest { model, messages, generate }, delivery, store, max_tokens_name })
    }
}

/// The number, and the name of the field that it came in.
fn max_tokens(fields: &mut Fields) -> Result<(Option<usize>, &'static str), ApiError> {
    let old = fields.count(&params::MAX_TOKENS)?;
    let new = fields.count(&params::MAX_COMPLETION_TOKENS)?;
    match (old, new) {
        (Some(old), Some(new)) if old != new => {
            let message = format!("`max_tokens` is {old} but `max_completion_tokens` is {new}; send one of them.");
            Err(ApiError::invalid("max_tokens", message))
        }
        (None, Some(new)) => Ok((Some(new), "max_completion_tokens")),
        (old, _) => Ok((old, "max_tokens")),
    }
}

fn logprobs(fields: &mut Fields, limits: &Limits) -> Result<Option<usize>, ApiError> {
    let wanted = fields.flag(&params::LOGPROBS)?;
    match fields.count(&params::TOP_LOGPROBS.up_to(limits.logprobs_max))? {
        Some(count) if count > 0 && !wanted => {
            Err(ApiError::invalid("top_logprobs", "`top_logprobs` needs `logprobs: true`."))
        }
        count => Ok(wanted.then(|| count.unwrap_or(0))),
    }
}

impl PartialSchema for ChatBody {
    fn schema() -> RefOr<Schema> {
        RequestSchema::new("A chat: messages in, the assistant's next message out.")
            .text("model", "An id of `GET /v1/models`.")
            .property("messages", chat_messages::schema())
            .generation()
            .integer(&params::MAX_TOKENS)
            .integer(&params::MAX_COMPLETION_TOKENS)
            .flag(&params::LOGPROBS)
            .flag(&params::STORE)
            .integer(&params::TOP_LOGPROBS)
            .required("model")
            .required("messages")
            .build()
    }
}

impl ToSchema for ChatBody {
    fn name() -> Cow<'static, str> {
        "CreateChatCompletionRequest".into()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatLogprobs {
    pub content: Vec<ChatLogprob>,
    /// Always null: this server does not refuse in words of its own.
    pub refusal: Option<()>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatLogprob {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
    pub top_logprobs: Vec<ChatTopLogprob>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatTopLogprob {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
}

impl ChatLogprobs {
    fn new(tokens: Vec<TokenLogprobs>) -> Self {
        Self { content: tokens.into_iter().map(ChatLogprob::from).collect(), refusal: None }
    }
}

impl From<TokenLogprobs> for ChatLogprob {
    fn from(tokens: TokenLogprobs) -> Self {
        let Logprob { text, bytes, logprob, .. } = tokens.chosen;
        let top = |top: Logprob| ChatTopLogprob { token: top.text, logprob: finite(top.logprob), bytes: top.bytes };
        let top_logprobs = tokens.top.into_iter().map(top).collect();
        Self { token: text, logprob: finite(logprob), bytes, top_logprobs }
    }
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatCompletion {
    pub id: String,
    pub object: &'static str,
    pub created: u64,
    pub model: String,
    pub choices: Vec<ChatChoice>,
    pub usage: UsageBody,
    pub system_fingerprint: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatChoice {
    pub index: usize,
    pub message: AssistantMessage,
    pub logprobs: Option<ChatLogprobs>,
    pub finish_reason: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AssistantMessage {
    pub role: &'static str,
    pub content: String,
    pub refusal: Option<String>,
}

impl ChatCompletion {
    pub fn new(identity: Identity, choices: Choices, with_logprobs: bool) -> Self {
        let usage = choices.usage.into();
        let choice = |(index, choice): (usize, crate::wire::choices::Choice)| ChatChoice {
            index,
            message: AssistantMessage { role: "assistant", content: choice.text, refusal: None },
            logprobs: with_logprobs.then(|| ChatLogprobs::new(choice.logprobs)),
            finish_reason: choice.finish.map(finish_name),
        };
        Self {
            id: identity.id,
            object: "chat.completion",
            created: identity.created,
            model: identity.model,
            choices: choices.choices.into_iter().enumerate().map(choice).collect(),
            usage,
            system_fingerprint: FINGERPRINT,
        }
    }
}

/// One chunk of a streamed answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatChunk<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub system_fingerprint: &'static str,
    pub choices: Vec<ChatChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<StreamUsage>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatChunkChoice {
    pub index: usize,
    pub delta: Delta,
    pub logprobs: Option<ChatLogprobs>,
    pub finish_reason: Option<&'static str>,
}

/// Role in the first, content in the following, nothing in the last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// Turns events into chunks.
pub struct ChatStream {
    identity: Identity,
    include_usage: bool,
    grid: Grid,
    /// Choices whose first delta has gone out.
    started: Vec<bool>,
}

impl ChatStream {
    pub fn new(identity: Identity, n: usize, include_usage: bool) -> Self {
        let grid = Grid { prompts: 1, n };
        Self { identity, include_usage, grid, started: vec![false; grid.choices()] }
    }

    fn chunk(&self, choices: Vec<ChatChunkChoice>, usage: Option<UsageBody>) -> ChatChunk<'_> {
        let not_yet = self.include_usage.then_some(StreamUsage::NotYet(None));
        ChatChunk {
            id: &self.identity.id,
            object: "chat.completion.chunk",
            created: self.identity.created,
            model: &self.identity.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage: usage.map(StreamUsage::Total).or(not_yet),
        }
    }

    fn send(&self, index: usize, delta: Delta, rest: Rest, out: &mut Frames) {
        let choice = ChatChunkChoice { index, delta, logprobs: rest.logprobs, finish_reason: rest.finish };
        out.json(&self.chunk(vec![choice], None));
    }

    fn start(&mut self, index: usize, out: &mut Frames) {
        let Some(started) = self.started.get_mut(index) else { return };
        if !std::mem::replace(started, true) {
            let delta = Delta { role: Some("assistant"), content: Some(String::new()) };
            self.send(index, delta, Rest::default(), out);
        }
    }

    fn content(&self, index: usize, text: String, logprobs: Option<TokenLogprobs>, out: &mut Frames) {
        // A token whose text is still held back and that carries nothing else needs no chunk.
        if text.is_empty() && logprobs.is_none() {
            return;
        }
        let logprobs = logprobs.map(|token| ChatLogprobs::new(vec![token]));
        let delta = Delta { role: None, content: Some(text) };
        self.send(index, delta, Rest { logprobs, finish: None }, out);
    }
}

#[derive(Default)]
struct Rest {
    logprobs: Option<ChatLogprobs>,
    finish: Option<&'static str>,
}

impl Encode for ChatStream {
    fn event(&mut self, prompt: usize, event: Event, out: &mut Frames) -> Result<(), ApiError> {
        match event {
            Event::Token { choice, text, logprobs, .. } => {
                let index = self.grid.index(prompt, choice).ok_or_else(ApiError::internal)?;
                self.start(index, out);
                self.content(index, text, logprobs, out);
            }
            Event::Finished { choice, text, reason } => {
                let index = self.grid.index(prompt, choice).ok_or_else(ApiError::internal)?;
                self.start(index, out);
                self.content(index, text, None, out);
                self.send(index, Delta::default(), Rest { logprobs: None, finish: Some(finish_name(reason)) }, out);
            }
            Event::Failed(error) => return Err(error.into()),
            Event::Prompt { .. } | Event::Done { .. } => {}
        }
        Ok(())
    }

    fn finish(&mut self, usage: Usage, out: &mut Frames) {
        if self.include_usage {
            out.json(&self.chunk(Vec::new(), Some(usage.into())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use serde_json::{Value, json};

    fn identity() -> Identity {
        Identity { id: "chatcmpl-1".into(), created: 1_700_000_000, model: "tiny".into() }
    }

    fn read(body: Value) -> Result<ChatBody, ApiError> {
        let Value::Object(map) = body else { panic!("an object") };
        ChatBody::read(Fields::new(map), &Limits::default())
    }

    fn frames(n: usize, include_usage: bool, events: Vec<Event>) -> String {
        let mut stream = ChatStream::new(identity(), n, include_usage);
        samples::encode(&mut stream, events)
    }

    #[test]
    fn a_stream_of_one_choice() {
        insta::assert_snapshot!(frames(1, true, samples::one_choice()));
    }

    #[test]
    fn choices_interleave_and_each_has_its_role_once() {
        let out = frames(2, false, samples::two_choices());
        assert_eq!(out.matches("\"role\":\"assistant\"").count(), 2);
        assert!(!out.contains("\"usage\""));
        insta::assert_snapshot!(out);
    }

    #[test]
    fn logprobs_of_a_whole_answer() {
        let mut choices = Choices::new(Grid { prompts: 1, n: 1 });
        let done = samples::with_logprobs().into_iter().map(|event| choices.push(0, event).expect("an event")).last();
        assert_eq!(done, Some(true));
        let answer = ChatCompletion::new(identity(), choices, true);
        insta::assert_snapshot!(serde_json::to_string_pretty(&answer).expect("JSON"));
    }

    #[test]
    fn logprobs_in_a_stream() {
        insta::assert_snapshot!(frames(1, false, samples::with_logprobs()));
    }

    #[test]
    fn everything_that_a_request_can_say() {
        let body = json!({
            "model": "tiny", "max_completion_tokens": 5, "temperature": 0, "top_p": 0.5, "n": 2, "stop": ["a", "b"],
            "seed": -1, "logprobs": true, "top_logprobs": 3, "logit_bias": {"7": -100, "8": 1.5}, "presence_penalty": 1,
            "frequency_penalty": -1, "top_k": -1, "min_p": 0.1, "repetition_penalty": 1.1, "ignore_eos": true,
            "priority": -3, "cache_salt": "s", "stream": true, "stream_options": {"include_usage": true}, "unknown": {},
            "messages": [
                {"role": "developer", "content": "d"},
                {"role": "user", "name": "u", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": null, "refusal": "no", "tool_calls": []},
            ],
        });
        insta::assert_debug_snapshot!(read(body).expect("valid"));
    }

    #[test]
    fn messages_at_fault_are_named() {
        let check = |messages: Value, param: &str| {
            let error = read(json!({"model": "m", "messages": messages})).expect_err("refused");
            assert_eq!(
                (error.status.as_u16(), error.body.param.as_deref()),
                (400, Some(param)),
                "{}",
                error.body.message
            );
        };
        check(json!([]), "messages");
        check(json!("hi"), "messages");
        check(json!(null), "messages");
        check(json!(["hi"]), "messages[0]");
        check(json!([{"content": "x"}]), "messages[0].role");
        check(json!([{"role": "king", "content": "x"}]), "messages[0].role");
        check(json!([{"role": "tool", "content": "x"}]), "messages[0].role");
        check(json!([{"role": "user"}]), "messages[0].content");
        check(json!([{"role": "user", "content": null}]), "messages[0].content");
        check(json!([{"role": "user", "content": []}]), "messages[0].content");
        check(json!([{"role": "user", "content": 5}]), "messages[0].content");
        check(json!([{"role": "user", "content": "a\u{0}b"}]), "messages[0].content");
        check(json!([{"role": "user", "content": "x", "name": 5}]), "messages[0].name");
        check(json!([{"role": "user", "content": ["x"]}]), "messages[0].content[0]");
        check(json!([{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text");
        let image = json!({"type": "image_url", "image_url": {"url": "http://x"}});
        check(
            json!([{"role": "user", "content": "x"}, {"role": "user", "content": [image]}]),
            "messages[1].content[0].type",
        );
        check(json!([{"role": "assistant", "content": "x", "tool_calls": [{}]}]), "messages[0].tool_calls");
    }

    #[test]
    fn a_prompt_is_never_quoted_in_an_error() {
        let secret = "my secret";
        for messages in [json!(secret), json!([secret]), json!([{"role": secret, "content": "x"}])] {
            let error = read(json!({"model": "m", "messages": messages})).expect_err("refused");
            assert!(!error.body.message.contains(secret));
        }
    }
}

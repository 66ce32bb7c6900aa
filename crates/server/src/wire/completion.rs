//! `POST /v1/completions`: the request (one or many prompts), the whole answer, and the chunks of a streamed one.

use crate::Limits;
use crate::error::ApiError;
use crate::sse::{Encode, Frames};
use crate::wire::choices::{Choice, Choices, Grid};
use crate::wire::completion_logprobs::{Logprobs, Offsets};
use crate::wire::fields::{Fields, checked_text, token_ids};
use crate::wire::generate::{self, Delivery};
use crate::wire::params::{self, RequestSchema, string};
use crate::wire::usage::{FINGERPRINT, Identity, StreamUsage, UsageBody, finish_name};
use orrery_platform::chat::{PromptToken, TokenLogprobs};
use orrery_platform::{CompletionRequest, Event, Generate, Prompt, Usage};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

/// A completion request, read and checked.
#[derive(Debug)]
pub struct CompletionBody {
    pub model: String,
    pub prompts: Vec<Prompt>,
    pub echo: bool,
    pub generate: Generate,
    pub delivery: Delivery,
}

impl CompletionBody {
    pub fn read(mut fields: Fields, limits: &Limits) -> Result<Self, ApiError> {
        let model = generate::model(&mut fields)?;
        let (mut generate, delivery) = generate::read(&mut fields, limits)?;
        generate.max_tokens = Some(fields.count(&params::TEXT_MAX_TOKENS)?.unwrap_or(16));
        generate.logprobs = fields.count(&params::TEXT_LOGPROBS.up_to(limits.logprobs_max))?;
        let echo = fields.flag(&params::ECHO)?;
        check_best_of(&mut fields, generate.n)?;
        let prompts = prompts(&mut fields)?;
        Ok(Self { model, prompts, echo, generate, delivery })
    }

    pub fn grid(&self) -> Grid {
        Grid { prompts: self.prompts.len(), n: self.generate.n }
    }

    /// One domain request for each prompt.
    pub fn into_requests(self) -> Vec<CompletionRequest> {
        let Self { model, prompts, echo, generate, .. } = self;
        let prompt_logprobs = generate.logprobs.filter(|_| echo);
        let request =
            |prompt| CompletionRequest { model: model.clone(), prompt, prompt_logprobs, generate: generate.clone() };
        prompts.into_iter().map(request).collect()
    }
}

/// `best_of` samples more than it shows; only the values that ask for no more than `n` mean the same here.
fn check_best_of(fields: &mut Fields, n: usize) -> Result<(), ApiError> {
    match fields.count(&params::BEST_OF)? {
        Some(best_of) if best_of != n && best_of != 1 => {
            let message =
                format!("`best_of` {best_of} is not built yet in this server; leave it out or send `n`, {n}.");
            Err(ApiError::unsupported("best_of", message))
        }
        Some(1) if n > 1 => Err(ApiError::invalid("best_of", format!("`best_of` is 1; it must be at least `n`, {n}."))),
        _ => Ok(()),
    }
}

fn prompts(fields: &mut Fields) -> Result<Vec<Prompt>, ApiError> {
    let values = match fields.take("prompt") {
        None => return Err(fields.missing("prompt")),
        Some(Value::String(text)) => return Ok(vec![Prompt::Text(checked_text(text, || "prompt".to_owned())?)]),
        Some(Value::Array(values)) => values,
        Some(other) => return Err(fields.wrong_type("prompt", PROMPT_TYPES, &other)),
    };
    match values.first() {
        None => return Err(ApiError::invalid("prompt", "`prompt` is an empty array; send at least one prompt.")),
        Some(Value::Number(_)) => return Ok(vec![Prompt::Tokens(token_ids(&values, "prompt")?)]),
        Some(_) => {}
    }
    if values.len() > params::PROMPTS_MAX {
        let message = format!("`prompt` has {} prompts; at most {} are allowed.", values.len(), params::PROMPTS_MAX);
        return Err(ApiError::invalid("prompt", message));
    }
    values.into_iter().enumerate().map(|(index, value)| prompt(index, value)).collect()
}

fn prompt(index: usize, value: Value) -> Result<Prompt, ApiError> {
    let path = format!("prompt[{index}]");
    match value {
        Value::String(text) => checked_text(text, || path).map(Prompt::Text),
        Value::Array(ids) if ids.is_empty() => {
            let message = format!("`{path}` is an empty array; send at least one token.");
            Err(ApiError::invalid(path, message))
        }
        Value::Array(ids) => token_ids(&ids, &path).map(Prompt::Tokens),
        _ => {
            let message = format!("`{path}`: `prompt` must be {PROMPT_TYPES}.");
            Err(ApiError::invalid(path, message))
        }
    }
}

const PROMPT_TYPES: &str = "a string, an array of token ids, or an array of either";

impl PartialSchema for CompletionBody {
    fn schema() -> RefOr<Schema> {
        let ids = || ArrayBuilder::new().items(ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer)));
        let prompt = OneOfBuilder::new()
            .item(string("Text."))
            .item(ids())
            .item(ArrayBuilder::new().items(string("Texts.")))
            .item(ArrayBuilder::new().items(ids()));
        RequestSchema::new("A completion: the text that follows a prompt.")
            .text("model", "An id of `GET /v1/models`.")
            .property("prompt", Schema::OneOf(prompt.build()))
            .generation()
            .integer(&params::TEXT_MAX_TOKENS)
            .integer(&params::TEXT_LOGPROBS)
            .integer(&params::BEST_OF)
            .flag(&params::ECHO)
            .required("model")
            .required("prompt")
            .build()
    }
}

impl ToSchema for CompletionBody {
    fn name() -> Cow<'static, str> {
        "CreateCompletionRequest".into()
    }
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Completion {
    pub id: String,
    pub object: &'static str,
    pub created: u64,
    pub model: String,
    pub choices: Vec<CompletionChoice>,
    pub usage: UsageBody,
    pub system_fingerprint: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CompletionChoice {
    pub index: usize,
    pub text: String,
    pub logprobs: Option<Logprobs>,
    pub finish_reason: Option<&'static str>,
}

/// What of the prompt belongs in front of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown {
    /// Texts of the prompts with `echo`, else empty.
    pub echo: Option<Vec<String>>,
    pub logprobs: bool,
}

impl Completion {
    pub fn new(identity: Identity, choices: Choices, grid: Grid, shown: &Shown) -> Self {
        let Choices { choices, prompts, usage, .. } = choices;
        let choice = |(index, choice): (usize, Choice)| {
            let prompt = index / grid.n;
            let echoed = shown.echo.as_ref().and_then(|texts| texts.get(prompt)).map_or("", String::as_str);
            let mut offsets = Offsets::default();
            let logprobs = shown.logprobs.then(|| {
                let tokens = prompts.get(prompt).map_or(&[][..], Vec::as_slice);
                let mut logprobs = Logprobs::of_prompt(tokens, echoed, &mut offsets);
                choice.logprobs.iter().for_each(|token| logprobs.push(token, &mut offsets));
                logprobs
            });
            let finish_reason = choice.finish.map(finish_name);
            CompletionChoice { index, text: format!("{echoed}{}", choice.text), logprobs, finish_reason }
        };
        Self {
            id: identity.id,
            object: "text_completion",
            created: identity.created,
            model: identity.model,
            choices: choices.into_iter().enumerate().map(choice).collect(),
            usage: usage.into(),
            system_fingerprint: FINGERPRINT,
        }
    }
}

/// One chunk of a streamed answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CompletionChunk<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub system_fingerprint: &'static str,
    pub choices: Vec<CompletionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<StreamUsage>,
}

/// Turns events into chunks.
pub struct CompletionStream {
    identity: Identity,
    include_usage: bool,
    grid: Grid,
    shown: Shown,
    /// By prompt.
    prompts: Vec<Vec<PromptToken>>,
    /// By choice: where its next token stands; `None` before its first chunk.
    offsets: Vec<Option<Offsets>>,
}

impl CompletionStream {
    pub fn new(identity: Identity, grid: Grid, shown: Shown, include_usage: bool) -> Self {
        let prompts = vec![Vec::new(); grid.prompts];
        Self { identity, include_usage, grid, shown, prompts, offsets: vec![None; grid.choices()] }
    }

    fn send(&self, choices: Vec<CompletionChoice>, usage: Option<UsageBody>, out: &mut Frames) {
        let not_yet = self.include_usage.then_some(StreamUsage::NotYet(None));
        out.json(&CompletionChunk {
            id: &self.identity.id,
            object: "text_completion",
            created: self.identity.created,
            model: &self.identity.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage: usage.map(StreamUsage::Total).or(not_yet),
        });
    }

    /// Before a choice's first text comes the prompt, where it was asked for.
    fn start(&mut self, prompt: usize, index: usize, out: &mut Frames) {
        if !matches!(self.offsets.get(index), Some(None)) {
            return;
        }
        let mut offsets = Offsets::default();
        if let Some(text) = self.shown.echo.as_ref().and_then(|texts| texts.get(prompt)) {
            let tokens = self.prompts.get(prompt).map_or(&[][..], Vec::as_slice);
            let logprobs = self.shown.logprobs.then(|| Logprobs::of_prompt(tokens, text, &mut offsets));
            let choice = CompletionChoice { index, text: text.clone(), logprobs, finish_reason: None };
            self.send(vec![choice], None, out);
        }
        self.offsets[index] = Some(offsets);
    }

    fn text(&mut self, index: usize, text: String, token: Option<TokenLogprobs>, out: &mut Frames) {
        if text.is_empty() && token.is_none() {
            return;
        }
        let offsets = self.offsets.get_mut(index).and_then(Option::as_mut);
        let logprobs = token.zip(offsets).map(|(token, offsets)| {
            let mut logprobs = Logprobs::default();
            logprobs.push(&token, offsets);
            logprobs
        });
        self.send(vec![CompletionChoice { index, text, logprobs, finish_reason: None }], None, out);
    }
}

impl Encode for CompletionStream {
    fn event(&mut self, prompt: usize, event: Event, out: &mut Frames) -> Result<(), ApiError> {
        match event {
            Event::Prompt { tokens } => *self.prompts.get_mut(prompt).ok_or_else(ApiError::internal)? = tokens,
            Event::Token { choice, text, logprobs, .. } => {
                let index = self.grid.index(prompt, choice).ok_or_else(ApiError::internal)?;
                self.start(prompt, index, out);
                self.text(index, text, logprobs, out);
            }
            Event::Finished { choice, text, reason } => {
                let index = self.grid.index(prompt, choice).ok_or_else(ApiError::internal)?;
                self.start(prompt, index, out);
                self.text(index, text, None, out);
                let finish_reason = Some(finish_name(reason));
                let last = CompletionChoice { index, text: String::new(), logprobs: None, finish_reason };
                self.send(vec![last], None, out);
            }
            Event::Failed(error) => return Err(error.into()),
            Event::Done { .. } => {}
        }
        Ok(())
    }

    fn finish(&mut self, usage: Usage, out: &mut Frames) {
        if self.include_usage {
            self.send(Vec::new(), Some(usage.into()), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use serde_json::json;

    fn identity() -> Identity {
        Identity { id: "cmpl-1".into(), created: 1_700_000_000, model: "tiny".into() }
    }

    fn read(body: Value) -> Result<CompletionBody, ApiError> {
        let Value::Object(map) = body else { panic!("an object") };
        CompletionBody::read(Fields::new(map), &Limits::default())
    }

    fn echo() -> Shown {
        Shown { echo: Some(vec!["Hé".into()]), logprobs: true }
    }

    #[test]
    fn echo_with_logprobs() {
        let grid = Grid { prompts: 1, n: 1 };
        let mut choices = Choices::new(grid);
        for event in samples::echoed() {
            choices.push(0, event).expect("an event");
        }
        let answer = Completion::new(identity(), choices, grid, &echo());
        insta::assert_snapshot!(serde_json::to_string_pretty(&answer).expect("JSON"));
    }

    #[test]
    fn echo_with_logprobs_streamed() {
        let mut stream = CompletionStream::new(identity(), Grid { prompts: 1, n: 1 }, echo(), true);
        insta::assert_snapshot!(samples::encode(&mut stream, samples::echoed()));
    }

    #[test]
    fn a_plain_stream() {
        let mut stream = CompletionStream::new(identity(), Grid { prompts: 1, n: 1 }, Shown::default(), false);
        insta::assert_snapshot!(samples::encode(&mut stream, samples::one_choice()));
    }

    #[test]
    fn choices_of_many_prompts_are_numbered_prompt_by_prompt() {
        let grid = Grid { prompts: 2, n: 2 };
        let mut stream = CompletionStream::new(identity(), grid, Shown::default(), false);
        let mut out = Frames::default();
        let token = Event::Token { choice: 1, token: 5, text: "x".into(), logprobs: None };
        stream.event(1, token, &mut out).expect("an event");
        assert!(String::from_utf8_lossy(&out.take()).contains("\"index\":3,\"text\":\"x\""));
        let beyond = Event::Token { choice: 2, token: 5, text: "x".into(), logprobs: None };
        assert!(stream.event(0, beyond, &mut out).is_err());
    }

    #[test]
    fn the_four_forms_of_a_prompt() {
        let check = |prompt: Value, expected: &[Prompt]| {
            assert_eq!(read(json!({"model": "m", "prompt": prompt})).expect("valid").prompts, expected);
        };
        let text = |text: &str| Prompt::Text(text.to_owned());
        check(json!("a"), &[text("a")]);
        check(json!(""), &[text("")]);
        check(json!(["a", "b"]), &[text("a"), text("b")]);
        check(json!([1, 2]), &[Prompt::Tokens(vec![1, 2])]);
        check(json!([[1, 2], [3]]), &[Prompt::Tokens(vec![1, 2]), Prompt::Tokens(vec![3])]);
    }

    #[test]
    fn prompts_at_fault_are_named() {
        let check = |prompt: Value, param: &str| {
            let error = read(json!({"model": "m", "prompt": prompt})).expect_err("refused");
            assert_eq!(
                (error.status.as_u16(), error.body.param.as_deref()),
                (400, Some(param)),
                "{}",
                error.body.message
            );
        };
        check(json!(null), "prompt");
        check(json!([]), "prompt");
        check(json!(5), "prompt");
        check(json!([[]]), "prompt[0]");
        check(json!([1, -2]), "prompt[1]");
        check(json!([1, 4_294_967_296_u64]), "prompt[1]");
        check(json!([[1, 2.5]]), "prompt[0][1]");
        check(json!(["a", {}]), "prompt[1]");
        check(json!(["a", "b\u{0}"]), "prompt[1]");
        check(json!(vec!["a"; 129]), "prompt");
    }

    #[test]
    fn best_of_may_only_ask_for_n() {
        let check = |n: usize, best_of: usize| {
            read(json!({"model": "m", "prompt": "a", "n": n, "best_of": best_of}))
                .err()
                .and_then(|error| error.body.param)
        };
        assert_eq!(check(1, 1), None);
        assert_eq!(check(3, 3), None);
        assert_eq!(check(1, 2).as_deref(), Some("best_of"));
        assert_eq!(check(2, 1).as_deref(), Some("best_of"));
    }

    #[test]
    fn prompt_logprobs_are_asked_for_with_echo_only() {
        let check = |echo: bool| {
            let body = read(json!({"model": "m", "prompt": "a", "logprobs": 2, "echo": echo})).expect("valid");
            body.into_requests().remove(0).prompt_logprobs
        };
        assert_eq!((check(true), check(false)), (Some(2), None));
    }
}

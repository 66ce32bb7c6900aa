//! Chat and text completion on a running model: requests in, events with their texts out.
//!
//! Must not know: wire types. Start at [`Platform::chat`].

use crate::accounts::Sale;
use crate::filter::{self, Filter};
use crate::pull::blocking;
use crate::retained;
use crate::{Admission, Error, Platform, Principal, Reply};
use orrery_engine::{Flow, Handle, Request, Sampling};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Texts of more bytes are tokenised off the async workers.
const INLINE_BYTES_MAX: usize = 4096;

/// What chat and completion have in common. `server` checks the ranges of OpenAI's API, the engine the model's limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Generate {
    /// `None`: up to the end of the context.
    pub max_tokens: Option<usize>,
    pub n: usize,
    /// 0 is greedy.
    pub temperature: f32,
    /// 0 keeps all.
    pub top_k: usize,
    pub top_p: f32,
    pub min_p: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    pub repetition_penalty: f32,
    pub logit_bias: Vec<(u32, f32)>,
    pub seed: Option<u64>,
    pub stop: Vec<String>,
    pub ignore_eos: bool,
    /// Report each token's log-probability with this many alternatives.
    pub logprobs: Option<usize>,
    pub cache_salt: Option<String>,
    pub priority: i32,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    pub role: String,
    pub content: String,
}

#[derive(Debug, Clone)]
pub struct ChatRequest {
    pub model: String,
    pub messages: Vec<ChatMessage>,
    pub generate: Generate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}

#[derive(Debug, Clone)]
pub struct CompletionRequest {
    pub model: String,
    pub prompt: Prompt,
    /// Report the prompt's log-probabilities with this many alternatives.
    pub prompt_logprobs: Option<usize>,
    pub generate: Generate,
}

/// One token with its log-probability, its text and its bytes (a token may be a part of a character).
#[derive(Debug, Clone, PartialEq)]
pub struct Logprob {
    pub token: u32,
    pub text: String,
    pub bytes: Vec<u8>,
    pub logprob: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    pub chosen: Logprob,
    /// Best first.
    pub top: Vec<Logprob>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    Stop,
    Length,
    /// The answer had personal data, and the tenant's are refused for it.
    ContentFilter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub cached_tokens: usize,
}

/// Where a request's time went: waiting, computing its prompt up to the first token, and the tokens after that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    pub queue: Duration,
    pub prefill: Duration,
    pub decode: Duration,
}

/// `Prompt` at most once and first, then `Token`s and one `Finished` for each choice, then exactly one of `Done` and
/// `Failed`.
#[derive(Debug)]
pub enum Event {
    /// One entry for each prompt token; the first has no log-probability.
    Prompt {
        tokens: Vec<PromptToken>,
    },
    Token {
        choice: usize,
        token: u32,
        text: String,
        logprobs: Option<TokenLogprobs>,
    },
    /// `text` is what had been kept back.
    Finished {
        choice: usize,
        text: String,
        reason: FinishReason,
    },
    Done {
        usage: Usage,
        timings: Timings,
    },
    Failed(Error),
}

#[derive(Debug, Clone, PartialEq)]
pub struct PromptToken {
    pub token: u32,
    pub text: String,
    pub logprobs: Option<TokenLogprobs>,
}

impl Platform {
    /// Starts a chat: the messages are rendered by the model's template.
    ///
    /// # Errors
    /// What the request asks for cannot be done, a limit is in the way, or the model is not ready.
    pub async fn chat(&self, admission: Admission, request: ChatRequest) -> Result<Reply, Error> {
        if request.messages.is_empty() {
            return Err(Error::BadInput {
                param: Some("messages"),
                message: "`messages` is empty; send at least one message".into(),
            });
        }
        let (handle, model, version) = self.served(&request.model)?;
        let bytes = request.messages.iter().map(|message| message.content.len()).sum();
        let (by, mut messages) = (admission.by().clone(), request.messages);
        let tokens = on_text(&handle, bytes, move |handle| {
            filter::messages(&by, &mut messages)?;
            let tokens = handle.chat_prompt(&engine_messages(&messages)).map_err(engine_error)?;
            Ok((tokens, by.retains().then_some(messages)))
        });
        let (tokens, messages) = tokens.await?;
        let sale = Sale { model, version, endpoint: "chat.completions" };
        let asked = Asked { tokens, text: None, messages, prompt_logprobs: None };
        self.submit(handle, admission, sale, asked, request.generate).map_err(of_messages)
    }

    /// Starts a text completion.
    ///
    /// # Errors
    /// As [`Platform::chat`].
    pub async fn complete(&self, admission: Admission, request: CompletionRequest) -> Result<Reply, Error> {
        let (handle, model, version) = self.served(&request.model)?;
        let by = admission.by().clone();
        let (tokens, text) = match request.prompt {
            Prompt::Tokens(tokens) => (filter::tokens(&by, "prompt").map(|()| tokens)?, None),
            Prompt::Text(mut text) => {
                on_text(&handle, text.len(), move |handle| {
                    filter::text(&by, "prompt", &mut text)?;
                    Ok((handle.encode(&text, true).map_err(engine_error)?, Some(text)))
                })
                .await?
            }
        };
        let sale = Sale { model, version, endpoint: "completions" };
        let asked = Asked { tokens, text, messages: None, prompt_logprobs: request.prompt_logprobs };
        self.submit(handle, admission, sale, asked, request.generate)
    }

    fn submit(
        &self,
        handle: Handle,
        mut admission: Admission,
        sale: Sale,
        asked: Asked,
        generate: Generate,
    ) -> Result<Reply, Error> {
        let permit = admission.take_permit()?;
        let by = admission.by().clone();
        filter::logprobs(&by, generate.logprobs.is_some())?;
        let filter = Filter::of_answers(&by, generate.n);
        // The engine refuses a prompt that leaves no room, with its own numbers.
        let Asked { tokens, text, messages, prompt_logprobs } = asked;
        let room = handle.shape().context.saturating_sub(tokens.len()).max(1);
        let request = engine_request(&by, tokens.clone(), generate.clone(), prompt_logprobs, room);
        let output_max = request.max_tokens.min(room).saturating_mul(request.n);
        let reserved = self.accounts().reserve(permit, &sale.model, tokens.len(), output_max)?;
        let generation = handle.submit(request).map_err(engine_error)?;
        let standing = self.accounts().stand(&by, generation.canceller());
        let tab = self.accounts().bill(&by, sale.clone(), reserved)?;
        let prompt_text = match text {
            Some(text) => text,
            None => handle.decode(&tokens).map_err(engine_error)?,
        };
        let messages =
            messages.unwrap_or_else(|| vec![ChatMessage { role: "user".into(), content: prompt_text.clone() }]);
        let asked = retained::Asked { model: &sale.model, endpoint: sale.endpoint, messages, generate: &generate };
        let recorder = self.accounts().files().recorder(&by, asked)?;
        Ok(Reply::new(admission, prompt_text, tokens, handle, generation, filter, (tab, standing)).recorded(recorder))
    }
}

/// A prompt on its way to the engine.
struct Asked {
    tokens: Vec<u32>,
    /// What the tokens were made of, where it was text.
    text: Option<String>,
    /// A chat's, where they are kept.
    messages: Option<Vec<ChatMessage>>,
    prompt_logprobs: Option<usize>,
}

/// Works on a text of `bytes` bytes: here when it is short, else on a blocking thread.
pub(crate) async fn on_text<T: Send + 'static>(
    handle: &Handle,
    bytes: usize,
    work: impl FnOnce(&Handle) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if bytes <= INLINE_BYTES_MAX {
        return work(handle);
    }
    let handle = handle.clone();
    blocking(move || work(&handle)).await
}

fn engine_request(
    by: &Principal,
    prompt: Vec<u32>,
    generate: Generate,
    prompt_logprobs: Option<usize>,
    room: usize,
) -> Request {
    Request {
        prompt,
        max_tokens: generate.max_tokens.unwrap_or(room),
        n: generate.n,
        sampling: Sampling {
            temperature: generate.temperature,
            top_k: generate.top_k,
            top_p: generate.top_p,
            min_p: generate.min_p,
            presence_penalty: generate.presence_penalty,
            frequency_penalty: generate.frequency_penalty,
            repetition_penalty: generate.repetition_penalty,
            logit_bias: generate.logit_bias,
            seed: generate.seed,
        },
        stop: generate.stop,
        stop_tokens: Vec::new(),
        ignore_eos: generate.ignore_eos,
        logprobs: generate.logprobs,
        prompt_logprobs,
        cache_salt: cache_salt(by.tenant_id(), generate.cache_salt.as_deref()),
        flow: flow(by),
        priority: generate.priority,
    }
}

/// The engine shares its time between flows: each tenant is one.
fn flow(by: &Principal) -> Flow {
    let hash = Sha256::digest(by.tenant_id());
    let share = by.tenant.limits.queue_share_percent.unwrap_or(100);
    Flow {
        id: u64::from_le_bytes(std::array::from_fn(|index| hash[index])),
        weight: by.tenant.weight,
        floor_blocks_percent: by.tenant.kv_floor_percent,
        queue_share_percent: u32::try_from(share).unwrap_or(100),
    }
}

/// The prefix cache's salt: made here from the tenant; what a client sends only narrows it. Both parts carry their
/// lengths, so that no tenant and salt together look like another pair.
fn cache_salt(tenant: &str, client: Option<&str>) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in [Some(tenant), client].into_iter().flatten() {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().to_vec()
}

pub(crate) fn engine_messages(messages: &[ChatMessage]) -> Vec<orrery_engine::ChatMessage> {
    messages
        .iter()
        .map(|message| orrery_engine::ChatMessage { role: message.role.clone(), content: message.content.clone() })
        .collect()
}

/// A chat's prompt is made of its messages, and that is the field to mend.
fn of_messages(error: Error) -> Error {
    match error {
        Error::TooLong { param: "prompt", message } => Error::TooLong { param: "messages", message },
        other => other,
    }
}

pub(crate) fn engine_error(error: orrery_engine::Error) -> Error {
    use orrery_engine::Error as From;
    match error {
        From::Invalid { param, message } => Error::BadInput { param: Some(param), message },
        From::TooLong { param, message } => Error::TooLong { param, message },
        From::Overloaded { retry_after_s, .. } => Error::Overloaded { message: error.to_string(), retry_after_s },
        From::ShuttingDown => Error::Unavailable("the server is shutting down".into()),
        From::Internal(_) => Error::Internal { message: error.to_string(), source: Some(Box::new(error)) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_belongs_to_one_pair_of_tenant_and_client() {
        let pairs = [
            ("", None),
            ("", Some("")),
            ("", Some("a")),
            ("a", None),
            ("a", Some("")),
            ("a", Some("b")),
            ("ab", None),
            ("", Some("ab")),
        ];
        let salts: std::collections::BTreeSet<Vec<u8>> =
            pairs.iter().map(|(tenant, client)| cache_salt(tenant, *client)).collect();
        assert_eq!(salts.len(), pairs.len());
        assert_eq!(cache_salt("a", Some("b")), cache_salt("a", Some("b")));
    }

    #[test]
    fn what_does_not_fit_is_told_of_the_field_that_the_client_sent() {
        let too_long = |param| engine_error(orrery_engine::Error::TooLong { param, message: "x".into() });
        assert!(matches!(too_long("prompt"), Error::TooLong { param: "prompt", .. }));
        assert!(matches!(of_messages(too_long("prompt")), Error::TooLong { param: "messages", .. }));
        assert!(matches!(of_messages(too_long("max_tokens")), Error::TooLong { param: "max_tokens", .. }));
    }

    #[test]
    fn engine_errors_keep_their_parameter_and_their_wait() {
        let invalid = engine_error(orrery_engine::Error::Invalid { param: "max_tokens", message: "too many".into() });
        assert!(matches!(invalid, Error::BadInput { param: Some("max_tokens"), .. }));
        let full = engine_error(orrery_engine::Error::Overloaded { limit: 7, retry_after_s: 3 });
        assert!(matches!(full, Error::Overloaded { retry_after_s: 3, message } if message.contains('7')));
        assert!(matches!(engine_error(orrery_engine::Error::ShuttingDown), Error::Unavailable(_)));
    }
}

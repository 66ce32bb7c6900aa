//! The scripted backend: the text of the prompt says what happens.

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use orrery_platform::accounts::Keys;
use orrery_platform::chat::{Logprob, PromptToken, TokenLogprobs};
use orrery_platform::{
    Accounts, ChatMessage, ChatRequest, CompletionRequest, Error, Event, FileSettings, FinishReason, Generate,
    ModelInfo, ModelState, ModelStats, Principal, Prompt, Timings, Usage,
};
use orrery_server::backend::{Backend, Running};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Model `tiny` (also `alias`) is ready, `slow` is loading. With `unready` set, `slow` is listed, and `broken`,
/// which has failed.
///
/// | prompt | what happens |
/// |---|---|
/// | `wait` | accepted, then nothing, until it is dropped |
/// | `drip` | one token, then nothing until `release`, then the rest |
/// | `fail` | one token, then `Failed` |
/// | `vanish` | one token, then an end without a terminal event |
/// | `endless` | tokens without end |
/// | `short` | one token, and one more that only the usage tells of |
/// | `busy` | refused with `Overloaded` |
/// | `often`, `spent` | refused with `Limited`: by a rate, by a budget |
/// | `crash` | refused with `Internal` |
/// | anything else | the tokens "Hel", "lo" for each choice |
pub struct Scripted {
    running: watch::Sender<usize>,
    pub release: Arc<Semaphore>,
    pub unready: AtomicBool,
    /// So many run at the same time; one more is refused as under `busy`.
    pub capacity: AtomicUsize,
    draining: AtomicBool,
    /// The last generation asked for.
    pub seen: Mutex<Option<Generate>>,
    pub accounts: Arc<Accounts>,
    /// The first key: a platform admin's.
    pub key: String,
}

impl Scripted {
    pub async fn new() -> Self {
        Self::asking(Keys::Asked).await
    }

    pub async fn asking(keys: Keys) -> Self {
        let (accounts, key) = Accounts::ephemeral_with(keys).await.expect("accounts");
        Self::over(accounts, key)
    }

    /// With accounts in a data folder, new or not.
    pub async fn in_folder(data: &Path, files: FileSettings) -> Self {
        let opened = Accounts::open_with(data, Keys::Asked, files, Default::default()).await.expect("accounts");
        let key = Accounts::first_key(data).expect("read").expect("a first key");
        Self::over(opened.accounts, key)
    }

    fn over(accounts: Arc<Accounts>, key: String) -> Self {
        Self {
            accounts,
            key,
            running: watch::Sender::new(0),
            release: Arc::new(Semaphore::new(0)),
            unready: AtomicBool::new(false),
            capacity: AtomicUsize::new(usize::MAX),
            draining: AtomicBool::new(false),
            seen: Mutex::new(None),
        }
    }
}

/// Where the time of every scripted request went.
pub const TIMINGS: Timings = Timings {
    queue: Duration::from_millis(750),
    prefill: Duration::from_millis(250),
    decode: Duration::from_millis(1250),
};

/// Counts one running generation.
struct Guard(watch::Sender<usize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

impl Scripted {
    pub fn running(&self) -> usize {
        *self.running.borrow()
    }

    /// Waits until so many generations run.
    pub async fn wait_running(&self, count: usize) {
        let mut running = self.running.subscribe();
        let waited = tokio::time::timeout(super::PATIENCE, running.wait_for(|running| *running == count)).await;
        waited.expect("in time").expect("the backend lives");
    }

    fn check_model(model: &str) -> Result<(), Error> {
        match model {
            "tiny" | "alias" => Ok(()),
            "slow" => Err(Error::Unavailable("the model `slow` is loading".into())),
            _ => Err(Error::NotFound(format!("the model `{model}` is not served here"))),
        }
    }

    fn run(
        &self,
        script: &str,
        generate: &Generate,
        prompt_tokens: Option<Vec<PromptToken>>,
    ) -> Result<Running, Error> {
        *self.seen.lock().expect("no panic") = Some(generate.clone());
        if self.draining.load(Ordering::Acquire) {
            return Err(Error::Unavailable("the server is draining".into()));
        }
        let full = self.running() >= self.capacity.load(Ordering::Acquire);
        match script {
            script if full || script == "busy" => {
                return Err(Error::Overloaded { message: "the queue of 4 requests is full".into(), retry_after_s: 2 });
            }
            "often" | "spent" => {
                let is_budget = script == "spent";
                return Err(Error::Limited { message: "over the limit of 4".into(), retry_after_ms: None, is_budget });
            }
            "crash" => return Err(Error::Internal { message: "at /srv/secret".into(), source: None }),
            _ => {}
        }
        self.running.send_modify(|running| *running += 1);
        let guard = Guard(self.running.clone());
        let prompt = stream::iter(prompt_tokens.map(|tokens| Event::Prompt { tokens }));
        let events = prompt.chain(self.script(script, generate)).map(move |event| {
            let _alive = &guard;
            event
        });
        Ok(Running { id: None, prompt_text: script.to_owned(), events: events.boxed() })
    }

    fn script(&self, script: &str, generate: &Generate) -> BoxStream<'static, Event> {
        let first = stream::iter([token(0, "Hel", generate)]);
        match script {
            "wait" => stream::pending().boxed(),
            "endless" => {
                let words = std::iter::repeat_with(|| Step::Token(0, "on and on ", None));
                stream::iter(words.map(Event::from)).boxed()
            }
            "fail" => {
                let error = Error::Internal { message: "at /srv/secret".into(), source: None };
                first.chain(stream::iter([Event::Failed(error)])).boxed()
            }
            "vanish" => first.boxed(),
            "short" => first.chain(stream::iter(answer(generate).skip(2))).boxed(),
            "drip" => {
                let release = self.release.clone();
                let rest = answer(generate).skip(1);
                let gate = stream::once(async move {
                    release.acquire().await.expect("an open gate").forget();
                });
                first.chain(gate.map(move |()| stream::iter(rest.clone())).flatten()).boxed()
            }
            _ => stream::iter(answer(generate)).boxed(),
        }
    }
}

fn token(choice: usize, text: &str, generate: &Generate) -> Event {
    let logprobs = generate.logprobs.map(|count| scored(text, count));
    Event::Token { choice, token: text.len() as u32, text: text.to_owned(), logprobs }
}

fn scored(text: &str, count: usize) -> TokenLogprobs {
    let logprob = |text: &str, value: f32| Logprob {
        token: text.len() as u32,
        text: text.to_owned(),
        bytes: text.as_bytes().to_vec(),
        logprob: value,
    };
    let top = [logprob("the", -0.25), logprob(text, -0.5)].into_iter().take(count).collect();
    TokenLogprobs { chosen: logprob(text, -0.5), top }
}

/// `Event` cannot be cloned, for errors cannot; an answer has none.
#[derive(Clone)]
struct Answer(std::vec::IntoIter<Step>);

#[derive(Clone)]
enum Step {
    Token(usize, &'static str, Option<TokenLogprobs>),
    Finished(usize),
    Done(Usage),
}

impl Iterator for Answer {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.next().map(Event::from)
    }
}

impl From<Step> for Event {
    fn from(step: Step) -> Self {
        match step {
            Step::Token(choice, text, logprobs) => {
                Self::Token { choice, token: text.len() as u32, text: text.to_owned(), logprobs }
            }
            Step::Finished(choice) => Self::Finished { choice, text: String::new(), reason: FinishReason::Stop },
            Step::Done(usage) => Self::Done { usage, timings: TIMINGS },
        }
    }
}

fn answer(generate: &Generate) -> Answer {
    let texts: &[&'static str] = if generate.max_tokens == Some(0) { &[] } else { &["Hel", "lo"] };
    let mut steps = Vec::new();
    for text in texts {
        for choice in 0..generate.n {
            steps.push(Step::Token(choice, text, generate.logprobs.map(|count| scored(text, count))));
        }
    }
    steps.extend((0..generate.n).map(Step::Finished));
    let usage = Usage { prompt_tokens: 3, completion_tokens: texts.len() * generate.n, cached_tokens: 1 };
    steps.push(Step::Done(usage));
    Answer(steps.into_iter())
}

impl Backend for Scripted {
    fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    fn models(&self) -> Vec<ModelInfo> {
        let model = |id: &str, state, context| ModelInfo { id: id.to_owned(), created: 1_700_000_000, state, context };
        let mut models = vec![model("tiny", ModelState::Ready, Some(64))];
        if self.unready.load(Ordering::Acquire) {
            models.push(model("slow", ModelState::Loading { progress: 0.5, step: "loading" }, None));
            models.push(model("broken", ModelState::Failed("at /srv/secret".into()), None));
        }
        models
    }

    fn is_ready(&self) -> bool {
        !self.unready.load(Ordering::Acquire) && !self.draining.load(Ordering::Acquire)
    }

    fn stats(&self) -> Vec<ModelStats> {
        vec![ModelStats {
            model: "tiny".into(),
            running: self.running(),
            blocks_total: 100,
            blocks_used: 25,
            block_tokens: 16,
            prompt_tokens: 7,
            drafts: 3,
            drafts_tokens: 20,
            drafts_accepted_tokens: 11,
            ..ModelStats::default()
        }]
    }

    fn chat(&self, _by: &Principal, request: ChatRequest) -> BoxFuture<'_, Result<Running, Error>> {
        let script = request.messages.last().map(|message| message.content.clone()).unwrap_or_default();
        Box::pin(async move {
            Self::check_model(&request.model)?;
            self.run(&script, &request.generate, None)
        })
    }

    fn complete(&self, _by: &Principal, request: CompletionRequest) -> BoxFuture<'_, Result<Running, Error>> {
        let script = match &request.prompt {
            Prompt::Text(text) => text.clone(),
            Prompt::Tokens(tokens) => format!("{tokens:?}"),
        };
        let first = PromptToken { token: 1, text: script.clone(), logprobs: None };
        let prompt = request
            .prompt_logprobs
            .map(|count| vec![first, PromptToken { token: 2, text: "!".into(), logprobs: Some(scored("!", count)) }]);
        Box::pin(async move {
            Self::check_model(&request.model)?;
            self.run(&script, &request.generate, prompt)
        })
    }

    fn tokenize(
        &self,
        _by: &Principal,
        model: String,
        text: String,
        add_special: bool,
    ) -> BoxFuture<'_, Result<Vec<u32>, Error>> {
        let bos = add_special.then_some(1);
        Box::pin(async move {
            Self::check_model(&model)?;
            Ok(bos.into_iter().chain(text.bytes().map(u32::from)).collect())
        })
    }

    fn tokenize_chat(
        &self,
        _by: &Principal,
        _model: String,
        messages: Vec<ChatMessage>,
    ) -> BoxFuture<'_, Result<Vec<u32>, Error>> {
        Box::pin(async move { Ok(messages.iter().map(|message| message.content.len() as u32).collect()) })
    }

    fn detokenize(&self, _by: &Principal, _model: String, tokens: Vec<u32>) -> BoxFuture<'_, Result<String, Error>> {
        let letter = |token: &u32| u8::try_from(*token).ok().map(char::from);
        let text: Option<String> = tokens.iter().map(letter).collect();
        let refused =
            || Error::BadInput { param: Some("tokens"), message: "a token is over the vocabulary of 256".into() };
        Box::pin(async move { text.ok_or_else(refused) })
    }

    fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn drain(&self, grace: Duration) -> BoxFuture<'_, bool> {
        let mut running = self.running.subscribe();
        Box::pin(async move { tokio::time::timeout(grace, running.wait_for(|running| *running == 0)).await.is_ok() })
    }
}

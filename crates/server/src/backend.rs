//! What the HTTP side needs of the platform, as one object-safe trait.
//!
//! [`Platform`] is the only implementation in the product; the tests of this crate bring a scripted one, so that the
//! wire can be tested without a model. Nothing here knows HTTP.

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use orrery_platform::{
    Accounts, ChatMessage, ChatRequest, CompletionRequest, Error, Event, ModelInfo, ModelStats, Platform, Principal,
};
use std::sync::Arc;
use std::time::Duration;

/// A generation that has been accepted. Dropping `events` cancels it.
pub struct Running {
    /// The prompt's text as the model sees it, for `echo`.
    pub prompt_text: String,
    /// Ends after exactly one `Done` or `Failed`.
    pub events: BoxStream<'static, Event>,
}

/// The use cases behind the routes. Each method that can wait returns a future; none blocks, but for the three that
/// work on text (`tokenize`, `tokenize_chat`, `detokenize`), which the routes call off the async workers.
pub trait Backend: Send + Sync + 'static {
    /// Who may use the service.
    fn accounts(&self) -> &Arc<Accounts>;
    fn models(&self) -> Vec<ModelInfo>;
    fn is_ready(&self) -> bool;
    fn stats(&self) -> Vec<ModelStats>;
    fn chat(&self, by: &Principal, request: ChatRequest) -> BoxFuture<'_, Result<Running, Error>>;
    fn complete(&self, by: &Principal, request: CompletionRequest) -> BoxFuture<'_, Result<Running, Error>>;
    fn tokenize(&self, model: &str, text: &str, add_special: bool) -> Result<Vec<u32>, Error>;
    fn tokenize_chat(&self, model: &str, messages: &[ChatMessage]) -> Result<Vec<u32>, Error>;
    fn detokenize(&self, model: &str, tokens: &[u32]) -> Result<String, Error>;
    /// Not ready from now on; new requests are refused with `Unavailable`.
    fn start_draining(&self);
    /// Waits until nothing runs; `false` when `grace` ran out first.
    fn drain(&self, grace: Duration) -> BoxFuture<'_, bool>;
}

impl Backend for Platform {
    fn accounts(&self) -> &Arc<Accounts> {
        Platform::accounts(self)
    }

    fn models(&self) -> Vec<ModelInfo> {
        Platform::models(self)
    }

    fn is_ready(&self) -> bool {
        Platform::is_ready(self)
    }

    fn stats(&self) -> Vec<ModelStats> {
        Platform::stats(self)
    }

    fn chat(&self, by: &Principal, request: ChatRequest) -> BoxFuture<'_, Result<Running, Error>> {
        let by = by.clone();
        Box::pin(async move {
            let admission = self.admit(by).await?;
            Ok(running(Platform::chat(self, admission, request).await?))
        })
    }

    fn complete(&self, by: &Principal, request: CompletionRequest) -> BoxFuture<'_, Result<Running, Error>> {
        let by = by.clone();
        Box::pin(async move {
            let admission = self.admit(by).await?;
            Ok(running(Platform::complete(self, admission, request).await?))
        })
    }

    fn tokenize(&self, model: &str, text: &str, add_special: bool) -> Result<Vec<u32>, Error> {
        Platform::tokenize(self, model, text, add_special)
    }

    fn tokenize_chat(&self, model: &str, messages: &[ChatMessage]) -> Result<Vec<u32>, Error> {
        Platform::tokenize_chat(self, model, messages)
    }

    fn detokenize(&self, model: &str, tokens: &[u32]) -> Result<String, Error> {
        Platform::detokenize(self, model, tokens)
    }

    fn start_draining(&self) {
        Platform::start_draining(self);
    }

    fn drain(&self, grace: Duration) -> BoxFuture<'_, bool> {
        Box::pin(Platform::drain(self, grace))
    }
}

/// The reply lives as long as the events, and with it all that the request holds.
fn running(mut reply: orrery_platform::Reply) -> Running {
    let prompt_text = std::mem::take(&mut reply.prompt_text);
    let events = unfold(reply, |mut reply| async move { Some((reply.next().await?, reply)) });
    Running { prompt_text, events: events.boxed() }
}

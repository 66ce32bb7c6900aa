//! What the HTTP side needs of the platform, as one object-safe trait.
//!
//! [`Platform`] is the only implementation in the product; the tests of this crate bring a scripted one, so that the
//! wire can be tested without a model. Nothing here knows HTTP.

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use orrery_platform::predict::{TensorAnswer, TensorRequest};
use orrery_platform::{
    Accounts, ChatMessage, ChatRequest, CompletionRequest, Error, Event, ModelInfo, ModelStats, Platform, Principal,
};
use std::sync::Arc;
use std::time::Duration;

/// A generation that has been accepted. Dropping `events` cancels it.
pub struct Running {
    /// The id under which request and answer will be found, where they are kept.
    pub id: Option<String>,
    /// The prompt's text as the model sees it, for `echo`.
    pub prompt_text: String,
    /// Ends after exactly one `Done` or `Failed`.
    pub events: BoxStream<'static, Event>,
}

/// The use cases behind the routes. Each method that can wait returns a future; none blocks.
pub trait Backend: Send + Sync + 'static {
    /// Who may use the service.
    fn accounts(&self) -> &Arc<Accounts>;
    fn models(&self) -> Vec<ModelInfo>;
    fn is_ready(&self) -> bool;
    fn stats(&self) -> Vec<ModelStats>;
    fn chat(&self, by: &Principal, request: ChatRequest) -> BoxFuture<'_, Result<Running, Error>>;
    fn complete(&self, by: &Principal, request: CompletionRequest) -> BoxFuture<'_, Result<Running, Error>>;
    fn tokenize(
        &self,
        by: &Principal,
        model: String,
        text: String,
        add_special: bool,
    ) -> BoxFuture<'_, Result<Vec<u32>, Error>>;
    fn tokenize_chat(
        &self,
        by: &Principal,
        model: String,
        messages: Vec<ChatMessage>,
    ) -> BoxFuture<'_, Result<Vec<u32>, Error>>;
    fn detokenize(&self, by: &Principal, model: String, tokens: Vec<u32>) -> BoxFuture<'_, Result<String, Error>>;
    /// Computes tensors with a model of the tenant's registry.
    fn infer(&self, by: &Principal, request: TensorRequest) -> BoxFuture<'_, Result<TensorAnswer, Error>> {
        let by = by.clone();
        Box::pin(async move { self.accounts().infer(&by, request).await })
    }
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

    fn tokenize(
        &self,
        by: &Principal,
        model: String,
        text: String,
        add_special: bool,
    ) -> BoxFuture<'_, Result<Vec<u32>, Error>> {
        let by = by.clone();
        Box::pin(async move { Platform::tokenize(self, self.admit(by).await?, &model, text, add_special).await })
    }

    fn tokenize_chat(
        &self,
        by: &Principal,
        model: String,
        messages: Vec<ChatMessage>,
    ) -> BoxFuture<'_, Result<Vec<u32>, Error>> {
        let by = by.clone();
        Box::pin(async move { Platform::tokenize_chat(self, self.admit(by).await?, &model, messages).await })
    }

    fn detokenize(&self, by: &Principal, model: String, tokens: Vec<u32>) -> BoxFuture<'_, Result<String, Error>> {
        let by = by.clone();
        Box::pin(async move { Platform::detokenize(self, self.admit(by).await?, &model, tokens).await })
    }

    fn infer(&self, by: &Principal, request: TensorRequest) -> BoxFuture<'_, Result<TensorAnswer, Error>> {
        let by = by.clone();
        Box::pin(async move { Platform::infer(self, &by, request).await })
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
    let id = reply.retained_id().map(str::to_owned);
    let events = unfold(reply, |mut reply| async move { Some((reply.next().await?, reply)) });
    Running { id, prompt_text, events: events.boxed() }
}

//! Writes down one request and its answer while it runs, in memory.

use super::{Record, RecordedChoice, RecordedMessage};
use crate::accounts::now_ms;
use crate::chat::{Event, FinishReason, Generate, Usage};
use crate::{ChatMessage, Error, Files, Principal};
use orrery_store::{DAY_MS, FileId, Outcome, TenantId};

/// What a request asked.
pub(crate) struct Asked<'a> {
    pub model: &'a str,
    pub endpoint: &'static str,
    pub messages: Vec<ChatMessage>,
    pub generate: &'a Generate,
}

/// Follows one request.
#[derive(Debug)]
pub(crate) struct Recorder {
    files: Files,
    tenant: TenantId,
    keep_ms: i64,
    record: Record,
}

impl Files {
    /// `None` where the tenant keeps nothing.
    pub(crate) fn recorder(&self, by: &Principal, asked: Asked<'_>) -> Result<Option<Recorder>, Error> {
        if !by.retains() {
            return Ok(None);
        }
        let prefix = if asked.endpoint == "chat.completions" { "chatcmpl-" } else { "cmpl-" };
        let message = |message: ChatMessage| RecordedMessage { role: message.role, content: message.content };
        let record = Record {
            id: FileId::with_prefix(prefix)?.into(),
            key: by.key_id().to_owned(),
            model: asked.model.to_owned(),
            endpoint: asked.endpoint.to_owned(),
            created_at_ms: now_ms(),
            messages: asked.messages.into_iter().map(message).collect(),
            temperature: asked.generate.temperature,
            top_p: asked.generate.top_p,
            seed: asked.generate.seed,
            choices: vec![RecordedChoice::default(); asked.generate.n],
            prompt_tokens: 0,
            completion_tokens: 0,
            cached_tokens: 0,
            outcome: String::new(),
        };
        let keep_ms = i64::from(by.tenant.retention_days) * DAY_MS;
        Ok(Some(Recorder { files: self.clone(), tenant: by.tenant.id.clone(), keep_ms, record }))
    }
}

impl Recorder {
    /// The id under which it will be found.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// What is given out to the client.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Token { choice, text, .. } => {
                if let Some(choice) = self.record.choices.get_mut(*choice) {
                    choice.text.push_str(text);
                }
            }
            Event::Finished { choice, text, reason } => {
                if let Some(choice) = self.record.choices.get_mut(*choice) {
                    choice.text.push_str(text);
                    choice.finish_reason = Some(name(*reason).to_owned());
                }
            }
            Event::Prompt { .. } | Event::Done { .. } | Event::Failed(_) => {}
        }
    }

    /// The request has ended. Waits for nothing.
    pub fn finish(mut self, outcome: Outcome, usage: Usage) {
        self.record.outcome = outcome.as_str().to_owned();
        self.record.prompt_tokens = usage.prompt_tokens as u64;
        self.record.completion_tokens = usage.completion_tokens as u64;
        self.record.cached_tokens = usage.cached_tokens as u64;
        self.files.retain(self.tenant, self.keep_ms, self.record);
    }
}

fn name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
    }
}

//! What is retained, in the shapes of OpenAI's stored chat completions. Times are seconds since 1970.

use crate::error::ApiError;
use crate::wire::files::oldest_first;
use crate::wire::query::Query;
use crate::wire::usage::{FINGERPRINT, UsageBody};
use axum::extract::Request;
use orrery_platform::Usage;
use orrery_platform::retained::{Record, RecordedChoice, RetainedInfo, RetainedPage};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Records of one page: each is decrypted.
const LIMIT_MAX: i64 = 100;
const LIMIT_DEFAULT: i64 = 20;

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StoredCompletion {
    pub id: String,
    pub object: &'static str,
    pub created: i64,
    pub model: String,
    pub choices: Vec<StoredChoice>,
    pub usage: UsageBody,
    pub system_fingerprint: &'static str,
    pub temperature: f32,
    pub top_p: f32,
    pub seed: Option<u64>,
    /// Always empty: a request's own is not kept.
    pub metadata: Map<String, Value>,
    /// `chat.completions`; or `completions`: then the prompt is the only message.
    pub endpoint: String,
    /// The id of the key that asked.
    pub key: String,
    /// As in the ledger: `completed`, `cancelled` or `failed`.
    pub outcome: String,
    /// When it is deleted.
    pub expires_at: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StoredChoice {
    pub index: usize,
    pub message: StoredAnswer,
    /// Always null: they are not kept.
    pub logprobs: Option<()>,
    /// Null where the answer was cut off.
    pub finish_reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StoredAnswer {
    pub role: &'static str,
    pub content: String,
    pub refusal: Option<String>,
}

impl From<RetainedInfo> for StoredCompletion {
    fn from(info: RetainedInfo) -> Self {
        let RetainedInfo { record, expires_at_ms } = info;
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let usage = Usage {
            prompt_tokens: count(record.prompt_tokens),
            completion_tokens: count(record.completion_tokens),
            cached_tokens: count(record.cached_tokens),
        };
        let choice = |(index, choice): (usize, RecordedChoice)| StoredChoice {
            index,
            message: StoredAnswer { role: "assistant", content: choice.text, refusal: None },
            logprobs: None,
            finish_reason: choice.finish_reason,
        };
        Self {
            id: record.id,
            object: "chat.completion",
            created: record.created_at_ms / 1000,
            model: record.model,
            choices: record.choices.into_iter().enumerate().map(choice).collect(),
            usage: usage.into(),
            system_fingerprint: FINGERPRINT,
            temperature: record.temperature,
            top_p: record.top_p,
            seed: record.seed,
            metadata: Map::new(),
            endpoint: record.endpoint,
            key: record.key,
            outcome: record.outcome,
            expires_at: expires_at_ms / 1000,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StoredMessage {
    /// The answer's id and the message's index.
    pub id: String,
    pub role: String,
    pub content: String,
    pub name: Option<String>,
}

/// A page with the ids of its ends.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StoredList<T> {
    pub object: &'static str,
    pub data: Vec<T>,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
    pub has_more: bool,
}

impl StoredList<StoredCompletion> {
    pub fn completions(records: Vec<RetainedInfo>, has_more: bool) -> Self {
        let data: Vec<StoredCompletion> = records.into_iter().map(StoredCompletion::from).collect();
        Self::new(data, has_more, |one| &one.id)
    }
}

impl StoredList<StoredMessage> {
    /// The page of a record's messages that the query asks for.
    pub fn messages(record: Record, query: MessagesQuery) -> Result<Self, ApiError> {
        let id = record.id;
        let messages = record.messages.into_iter().enumerate().map(|(index, message)| StoredMessage {
            id: format!("{id}-{index}"),
            role: message.role,
            content: message.content,
            name: None,
        });
        let mut messages: Vec<StoredMessage> = messages.collect();
        if !query.oldest_first {
            messages.reverse();
        }
        if let Some(after) = query.after {
            let at = messages.iter().position(|message| message.id == after);
            let at = at.ok_or_else(|| ApiError::invalid("after", "`after` is no message of this answer."))?;
            messages.drain(..=at);
        }
        let has_more = messages.len() > query.limit;
        messages.truncate(query.limit);
        Ok(Self::new(messages, has_more, |one| &one.id))
    }
}

impl<T> StoredList<T> {
    fn new(data: Vec<T>, has_more: bool, id: fn(&T) -> &String) -> Self {
        let (first_id, last_id) = (data.first().map(id).cloned(), data.last().map(id).cloned());
        Self { object: "list", data, first_id, last_id, has_more }
    }
}

/// The query of a list of answers.
pub struct RetainedQuery;

impl RetainedQuery {
    pub fn read(request: &Request) -> Result<RetainedPage, ApiError> {
        let mut query = Query::of(request)?;
        let page = RetainedPage {
            model: query.text("model"),
            after: query.text("after"),
            newest_first: !oldest_first(&mut query)?.unwrap_or(true),
            records_max: limit(&mut query)?,
        };
        query.finish()?;
        Ok(page)
    }
}

/// The query of a list of messages.
pub struct MessagesQuery {
    after: Option<String>,
    oldest_first: bool,
    limit: usize,
}

impl MessagesQuery {
    pub fn read(request: &Request) -> Result<Self, ApiError> {
        let mut query = Query::of(request)?;
        let read = Self {
            after: query.text("after"),
            oldest_first: oldest_first(&mut query)?.unwrap_or(true),
            limit: limit(&mut query)?,
        };
        query.finish()?;
        Ok(read)
    }
}

fn limit(query: &mut Query) -> Result<usize, ApiError> {
    let limit = query.integer("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    Ok(usize::try_from(limit).unwrap_or(1))
}

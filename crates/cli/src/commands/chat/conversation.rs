//! The history of a conversation, and one turn of it.

use crate::client::{Client, message};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};

/// What the user set for replies; `None` leaves it to the server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub max_tokens: Option<u32>,
    pub temperature: Option<f64>,
    pub seed: Option<u64>,
}

/// How a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Whole,
    /// By Ctrl-C; what had come is kept in the history.
    Stopped,
}

/// Messages so far; the system message, if any, comes first.
#[derive(Debug, Clone)]
pub struct Conversation {
    pub model: String,
    options: Options,
    system: Option<String>,
    turns: Vec<Value>,
}

impl Conversation {
    pub fn new(model: String, system: Option<String>, options: Options) -> Self {
        Self { model, options, system, turns: Vec::new() }
    }

    /// Forgets the turns, not the system message.
    pub fn reset(&mut self) {
        self.turns.clear();
    }

    /// Sets or (empty) removes the system message.
    pub fn set_system(&mut self, text: &str) {
        self.system = Some(text.to_owned()).filter(|text| !text.is_empty());
    }

    /// Asks, and writes the reply to the standard output as it comes. After a failure the question is not in the
    /// history, so that it can be asked again.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or fails in the middle.
    pub async fn ask(&mut self, client: &Client, question: String) -> anyhow::Result<Reply> {
        self.turns.push(json!({"role": "user", "content": question}));
        let body = self.body();
        let mut text = String::new();
        let result = tokio::select! {
            result = receive(client, &body, &mut text) => result.map(|()| Reply::Whole),
            _ = tokio::signal::ctrl_c() => Ok(Reply::Stopped),
        };
        writeln!(std::io::stdout())?;
        match &result {
            Err(_) => drop(self.turns.pop()),
            Ok(_) => self.turns.push(json!({"role": "assistant", "content": text})),
        }
        result
    }

    fn body(&self) -> Value {
        let system = self.system.iter().map(|text| json!({"role": "system", "content": text}));
        let messages: Vec<Value> = system.chain(self.turns.iter().cloned()).collect();
        let mut body = json!({"model": self.model, "messages": messages, "stream": true});
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body[key] = value;
            }
        };
        set("max_tokens", self.options.max_tokens.map(Value::from));
        set("temperature", self.options.temperature.map(Value::from));
        set("seed", self.options.seed.map(Value::from));
        body
    }
}

/// Streams one reply to the standard output and into `text`.
async fn receive(client: &Client, body: &Value, text: &mut String) -> anyhow::Result<()> {
    let mut events = client.stream("/v1/chat/completions", body).await?;
    while let Some(data) = events.next().await? {
        let chunk: Value = serde_json::from_str(&data)?;
        if !chunk["error"].is_null() {
            anyhow::bail!("the server failed in the middle of the reply: {}", message(&data));
        }
        if let Some(piece) = chunk["choices"][0]["delta"]["content"].as_str() {
            text.push_str(piece);
            let mut out = std::io::stdout().lock();
            let shown = if out.is_terminal() { harmless(piece) } else { Cow::Borrowed(piece) };
            out.write_all(shown.as_bytes())?;
            out.flush()?;
        }
    }
    Ok(())
}

/// A reply without the characters that steer a terminal: what a model says must not move the cursor, or worse.
fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    if text.contains(steers) { Cow::Owned(text.replace(steers, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_does_not_steer_the_terminal() {
        assert_eq!(
            harmless("a\u{1b}]52;c;eA==\u{7}b\u{9b}2J\r\n\tc é"),
            "a\u{fffd}]52;c;eA==\u{fffd}b\u{fffd}2J\u{fffd}\n\tc é"
        );
        assert!(matches!(harmless("plain\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_request_carries_the_history_and_what_was_set() {
        let options = Options { max_tokens: Some(5), temperature: Some(0.0), seed: None };
        let mut conversation = Conversation::new("m".into(), Some("Be brief.".into()), options);
        conversation.turns.push(json!({"role": "user", "content": "Hi"}));
        let body = conversation.body();
        let expected = json!({
            "model": "m",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            "stream": true, "max_tokens": 5, "temperature": 0.0,
        });
        assert_eq!(body, expected);
        conversation.set_system("");
        conversation.reset();
        assert_eq!(conversation.body()["messages"], json!([]));
    }
}

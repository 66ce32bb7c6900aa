//! `orrery chat`: a conversation with a model, in the terminal or as one question.

mod conversation;
mod repl;

use crate::args::Chat;
use crate::config::Settings;
use crate::failure::{Interrupted, Usage};
use crate::target::{self, Ready};
use conversation::{Conversation, Options, Reply};
use std::io::{IsTerminal as _, Read as _};

/// Asks once when there is a prompt or piped input, else starts a conversation.
///
/// # Errors
/// No server can be had, or (asking once) the reply failed.
pub async fn run(chat: Chat, settings: Settings) -> anyhow::Result<()> {
    if chat.temperature.is_some_and(|temperature| !temperature.is_finite() || temperature < 0.0) {
        return Err(Usage("--temperature: write a number from 0, such as 0.7".to_owned()).into());
    }
    let terminal = std::io::stdin().is_terminal();
    let prompt = if terminal { chat.prompt.clone() } else { Some(piped(chat.prompt.as_deref())?) };
    let ready = target::find(&chat.target, &chat.engine, settings).await?;
    let options = Options { max_tokens: chat.max_tokens, temperature: chat.temperature, seed: chat.seed };
    let mut conversation = Conversation::new(ready.model.clone(), chat.system.clone(), options);
    let result = match prompt {
        Some(prompt) => once(&ready, &mut conversation, prompt).await,
        None => repl::run(&ready, conversation).await,
    };
    ready.stop().await?;
    result
}

/// The prompt with what is piped in after it.
fn piped(prompt: Option<&str>) -> anyhow::Result<String> {
    const PIPED_MAX: u64 = 4 << 20;
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(PIPED_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > PIPED_MAX {
        return Err(Usage(format!("the piped input is over {PIPED_MAX} bytes; ask about less of it")).into());
    }
    let input = String::from_utf8(bytes).map_err(|_| Usage("the piped input is not UTF-8 text".to_owned()))?;
    let parts: Vec<&str> = prompt.into_iter().chain([input.trim()]).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err(Usage("there is nothing to ask: give a prompt, or pipe one in".to_owned()).into());
    }
    Ok(parts.join("\n\n"))
}

async fn once(ready: &Ready, conversation: &mut Conversation, prompt: String) -> anyhow::Result<()> {
    match conversation.ask(&ready.client, prompt).await? {
        Reply::Whole => Ok(()),
        Reply::Stopped => Err(Interrupted.into()),
    }
}

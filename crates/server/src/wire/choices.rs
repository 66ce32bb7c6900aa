//! Gathers the events of all prompts of a request into whole choices, for an answer that is not streamed.

use crate::error::ApiError;
use orrery_platform::chat::{PromptToken, TokenLogprobs};
use orrery_platform::{Event, FinishReason, Usage};

/// The events of prompt `p`, choice `c` belong to choice `p · n + c` of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    pub prompts: usize,
    pub n: usize,
}

impl Grid {
    /// `None` when the event names a choice that was not asked for.
    pub fn index(self, prompt: usize, choice: usize) -> Option<usize> {
        (prompt < self.prompts && choice < self.n).then(|| prompt * self.n + choice)
    }

    pub fn choices(self) -> usize {
        self.prompts * self.n
    }
}

/// One choice as it grows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    pub text: String,
    pub logprobs: Vec<TokenLogprobs>,
    pub finish: Option<FinishReason>,
}

/// All choices of a request.
#[derive(Debug)]
pub struct Choices {
    grid: Grid,
    pub choices: Vec<Choice>,
    /// The prompt's tokens by prompt, where they were asked for.
    pub prompts: Vec<Vec<PromptToken>>,
    pub usage: Usage,
    done: usize,
}

impl Choices {
    pub fn new(grid: Grid) -> Self {
        Self {
            grid,
            choices: vec![Choice::default(); grid.choices()],
            prompts: vec![Vec::new(); grid.prompts],
            usage: Usage::default(),
            done: 0,
        }
    }

    /// Takes one event; `true` once every prompt is done.
    pub fn push(&mut self, prompt: usize, event: Event) -> Result<bool, ApiError> {
        match event {
            Event::Prompt { tokens } => *self.prompts.get_mut(prompt).ok_or_else(ApiError::internal)? = tokens,
            Event::Token { choice, text, logprobs, .. } => {
                let choice = self.choice(prompt, choice)?;
                choice.text.push_str(&text);
                choice.logprobs.extend(logprobs);
            }
            Event::Finished { choice, text, reason } => {
                let choice = self.choice(prompt, choice)?;
                choice.text.push_str(&text);
                choice.finish = Some(reason);
            }
            Event::Done { usage, .. } => {
                add_usage(&mut self.usage, usage);
                self.done += 1;
            }
            Event::Failed(error) => return Err(error.into()),
        }
        Ok(self.done == self.grid.prompts)
    }

    fn choice(&mut self, prompt: usize, choice: usize) -> Result<&mut Choice, ApiError> {
        let index = self.grid.index(prompt, choice).ok_or_else(ApiError::internal)?;
        self.choices.get_mut(index).ok_or_else(ApiError::internal)
    }
}

pub fn add_usage(total: &mut Usage, usage: Usage) {
    total.prompt_tokens += usage.prompt_tokens;
    total.completion_tokens += usage.completion_tokens;
    total.cached_tokens += usage.cached_tokens;
}

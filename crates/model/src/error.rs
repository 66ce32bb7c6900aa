//! What reading and running a model can refuse.

use std::fmt::{self, Write};
use std::path::PathBuf;

/// Every message names the bad value and, where there is one, the way out. What comes from a model's files is shown cut
/// to a readable length and without control characters.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: not a model that can be read: {}", Shown(reason))]
    Malformed { path: PathBuf, reason: String },
    #[error("{what} `{}` is not supported; supported: {supported}", Shown(found))]
    Unsupported { what: &'static str, found: String, supported: String },
    #[error("tensor `{}`: {}", Shown(name), Shown(reason))]
    Tensor { name: String, reason: String },
    #[error("chat template: {}", Shown(.0))]
    Template(String),
    /// The template works and does not take these messages: the caller's to mend.
    #[error("the model's chat template refuses these messages: {}", Shown(.0))]
    TemplateRefused(String),
    #[error("tokenizer: {}", Shown(.0))]
    Tokenizer(String),
    #[error(transparent)]
    Kernels(#[from] orrery_kernels::Error),
}

/// Most characters of a text from a model's files in a message.
const SHOWN_MAX: usize = 1_000;

/// A text that may come from a hostile file.
struct Shown<'t>(&'t str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(SHOWN_MAX) {
            let hidden = character.is_control() && character != '\n';
            formatter.write_char(if hidden { char::REPLACEMENT_CHARACTER } else { character })?;
        }
        if characters.next().is_some() { formatter.write_char('…') } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_short_and_harmless() {
        let found = format!("\u{1b}[2J{}", "x".repeat(1 << 20));
        let message = Error::Unsupported { what: "architecture", found, supported: "llama".to_owned() }.to_string();
        assert!(message.starts_with("architecture `\u{fffd}[2Jxxx") && message.contains("x…` is not"), "{message}");
        assert!(message.len() < 1_200);
        assert_eq!(Error::Template("a\nb".to_owned()).to_string(), "chat template: a\nb");
    }
}

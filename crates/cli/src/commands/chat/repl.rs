//! The conversation loop on a terminal.

use super::conversation::{Conversation, Reply};
use crate::target::Ready;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use std::time::Duration;

const HELP: &str = "\
/system TEXT  set the system message; without TEXT, remove it
/model NAME   change the model; without NAME, list the server's models
/reset        forget the conversation
/help         show this
/exit         leave; so does Ctrl-D, or Ctrl-C twice
Ctrl-C stops a reply.";

/// A line that begins with a slash.
#[derive(Debug, PartialEq, Eq)]
enum Input<'a> {
    Nothing,
    Question(&'a str),
    Help,
    Reset,
    Exit,
    System(&'a str),
    Model(&'a str),
    Unknown(&'a str),
}

impl<'a> Input<'a> {
    fn parse(line: &'a str) -> Self {
        let line = line.trim();
        if !line.starts_with('/') {
            return if line.is_empty() { Self::Nothing } else { Self::Question(line) };
        }
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match command {
            "/help" | "/?" => Self::Help,
            "/reset" => Self::Reset,
            "/exit" | "/quit" => Self::Exit,
            "/system" => Self::System(rest.trim()),
            "/model" => Self::Model(rest.trim()),
            _ => Self::Unknown(command),
        }
    }
}

/// Reads lines and answers them until the user leaves.
///
/// # Errors
/// The terminal cannot be read.
pub async fn run(ready: &Ready, mut conversation: Conversation) -> anyhow::Result<()> {
    println!("{} (/help for commands, Ctrl-D to leave)", conversation.model);
    let mut editor = Some(DefaultEditor::new()?);
    let mut interrupts = 0;
    loop {
        // The editor blocks, so it goes to a thread of its own and comes back.
        let mut reading = editor.take().expect("invariant: it comes back each time");
        let (back, line) = tokio::task::spawn_blocking(move || {
            let line = reading.readline("> ");
            (reading, line)
        })
        .await?;
        let editor = editor.insert(back);
        let line = match line {
            Ok(line) => line,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(ReadlineError::Interrupted) if interrupts > 0 => return Ok(()),
            Err(ReadlineError::Interrupted) => {
                interrupts += 1;
                println!("(Ctrl-C again leaves)");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        interrupts = 0;
        if !line.trim().is_empty() {
            editor.add_history_entry(line.as_str())?;
        }
        if !answer(ready, &mut conversation, Input::parse(&line)).await {
            return Ok(());
        }
    }
}

/// Does what a line asks for; `false` to leave. A failure is shown and does not end the conversation.
async fn answer(ready: &Ready, conversation: &mut Conversation, input: Input<'_>) -> bool {
    match input {
        Input::Nothing => {}
        Input::Exit => return false,
        Input::Help => println!("{HELP}"),
        Input::Reset => {
            conversation.reset();
            println!("(forgotten)");
        }
        Input::System(text) => {
            conversation.set_system(text);
            println!("{}", if text.is_empty() { "(no system message)" } else { "(system message set)" });
        }
        Input::Model("") => match ready.client.models(Duration::from_secs(10)).await {
            Ok(models) => println!("{}", models.join("\n")),
            Err(error) => eprintln!("error: {error:#}"),
        },
        Input::Model(name) => {
            name.clone_into(&mut conversation.model);
            println!("(model {name})");
        }
        Input::Unknown(command) => eprintln!("{command} is no command; /help lists them"),
        Input::Question(question) => match conversation.ask(&ready.client, question.to_owned()).await {
            Ok(Reply::Whole) => {}
            Ok(Reply::Stopped) => println!("(stopped)"),
            Err(error) => eprintln!("error: {error:#}"),
        },
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (line, input) in [
            ("  ", Input::Nothing),
            (" hello /there ", Input::Question("hello /there")),
            ("/help", Input::Help),
            ("/reset", Input::Reset),
            ("/exit", Input::Exit),
            ("/system  Be brief. ", Input::System("Be brief.")),
            ("/system", Input::System("")),
            ("/model m", Input::Model("m")),
            ("/rest", Input::Unknown("/rest")),
        ] {
            assert_eq!(Input::parse(line), input, "{line}");
        }
    }
}

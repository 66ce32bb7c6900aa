//! Chat templates by minijinja, with caps on work, memory and output. Start at [`ChatTemplate::render`].
//!
//! A template comes with the model and is not trusted: it can call nothing outside its own text but the few pure
//! functions of [`functions`], the fuel that it is given bounds its steps and its memory (64 bytes each), and a clock
//! bounds what is left. What it sees: `messages` (role and content, both strings), `add_generation_prompt`, `bos_token`,
//! `eos_token`, and `tools` and `documents` as none. Messages are marked so that their text cannot become special
//! tokens: see `escape`.

mod functions;
mod guard;

use super::Tokenizer;
use super::escape::{Escape, StandIns};
use crate::Error;
use crate::weights::TextSource;
use functions::Refusal;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};
use serde_json::Value as Json;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const NAME: &str = "chat";

/// Longest template.
const SOURCE_BYTES_MAX: usize = 1 << 18;
/// Steps that a rendering has for each message and each 64 bytes of content, besides [`Caps::fuel`].
const FUEL_PER_MESSAGE: u64 = 2_000;
const FUEL_PER_CONTENT_UNIT: u64 = 32;
/// The same of output and of values.
const OUTPUT_PER_CONTENT_BYTE: usize = 4;
const VALUE_BYTES_PER_MESSAGE: usize = 512;
const VALUE_BYTES_PER_CONTENT_BYTE: usize = 2;
/// Nesting of macros and blocks.
const RECURSION: usize = 200;

/// Roles that templates may build special tokens of (`<|user|>`); any other is marked as content is.
const ROLES: [&str; 8] = ["system", "developer", "user", "assistant", "model", "tool", "function", "ipython"];

/// ChatML, for a vocabulary that has its tokens and a file that has no template.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + \
    '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// What every rendering may take. What a chat's length adds to it is the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Steps, and units of 64 bytes of memory.
    pub fuel: u64,
    pub output_bytes: usize,
    /// Weight of the largest value inside a template: see `guard`.
    pub value_bytes: usize,
    /// An honest template takes milliseconds, and a second for the longest chats.
    pub time_ms: u64,
    /// Stack for parsing, which recurses as deep as an expression is long. 0: the caller's own.
    pub parser_stack_bytes: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            fuel: 200_000,
            output_bytes: 1 << 20,
            value_bytes: 1 << 20,
            time_ms: 5_000,
            parser_stack_bytes: 64 << 20,
        }
    }
}

impl Caps {
    fn end(self) -> Instant {
        Instant::now() + Duration::from_millis(self.time_ms)
    }
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Message {
    pub role: String,
    pub content: String,
}

/// A rendered prompt whose user text cannot turn into special tokens; only `Tokenizer::encode_rendered` reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// With the marks of `escape`.
    pub(super) text: String,
    pub(super) stand_ins: StandIns,
}

impl Rendered {
    /// The prompt to look at. Encoding this text would lose what keeps the users' text apart.
    pub fn plain_text(&self) -> String {
        self.stand_ins.restore(&self.text).into_owned()
    }
}

/// The model's own template, or ChatML where it has none.
#[derive(Debug)]
pub struct ChatTemplate {
    /// Holds the one template; none where the model is not made for chats.
    environment: Option<Environment<'static>>,
    escape: Escape,
    bos: String,
    eos: String,
    caps: Caps,
}

impl ChatTemplate {
    /// A model without a template is not an error here: it can complete text, and `render` says that it cannot chat.
    ///
    /// # Errors
    /// [`Error::Template`] for a template that does not parse.
    pub fn new(source: &TextSource, tokenizer: &Tokenizer) -> Result<Self, Error> {
        Self::with_caps(source, tokenizer, Caps::default())
    }

    /// The same with other caps.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`].
    pub fn with_caps(source: &TextSource, tokenizer: &Tokenizer, caps: Caps) -> Result<Self, Error> {
        let template = match template_of(source)? {
            Some(template) => Some(template),
            None => tokenizer.named("<|im_start|>").map(|_| CHATML.to_owned()),
        };
        let literals = template.as_deref().map(string_literals).unwrap_or_default();
        let special = tokenizer.control_names().map(str::to_owned).collect();
        let whole = tokenizer.whole_names().map(str::to_owned);
        let name = |token: Option<u32>| token.map(|token| tokenizer.token_text(token)).unwrap_or_default();
        Ok(Self {
            environment: template.map(|template| compile(template, caps)).transpose()?,
            escape: Escape::new(special, literals.into_iter().chain(whole)),
            bos: name(tokenizer.bos()),
            eos: name(tokenizer.eos()),
            caps,
        })
    }

    /// Whether the model can chat.
    pub fn is_there(&self) -> bool {
        self.environment.is_some()
    }

    /// Renders `messages`, ending with the start of the assistant's turn when `add_generation_prompt`.
    ///
    /// # Errors
    /// [`Error::TemplateRefused`] where the template itself refuses the messages (say, a role that it does not know),
    /// [`Error::Template`] where the model has no template or a faulty one.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Rendered, Error> {
        let Some(environment) = &self.environment else {
            return Err(Error::Template(
                "this model has none and its vocabulary has no <|im_start|>: use a model made for chats, or text completion"
                    .to_owned(),
            ));
        };
        let content_bytes: usize = messages.iter().map(|message| message.role.len() + message.content.len()).sum();
        let mut environment = environment.clone();
        environment.set_fuel(Some(fuel(self.caps, messages.len(), content_bytes)));
        let value_bytes = self.caps.value_bytes
            + VALUE_BYTES_PER_MESSAGE * messages.len()
            + VALUE_BYTES_PER_CONTENT_BYTE * content_bytes;
        functions::add_guards(&mut environment, value_bytes, self.caps.end());
        let output_bytes = self.caps.output_bytes + OUTPUT_PER_CONTENT_BYTE * content_bytes;
        let mut output = Capped { bytes: Vec::new(), max: output_bytes };
        let messages: Vec<Value> = messages.iter().map(|message| self.mark(message)).collect();
        let context = context! {
            messages => messages,
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            tools => Value::from(()),
            documents => Value::from(()),
        };
        let template = environment.get_template(NAME).map_err(|error| broken(&error))?;
        caught("it cannot be rendered", || template.render_captured_to(context, &mut output).map(drop))?
            .map_err(|error| broken(&error))?;
        let text = String::from_utf8(output.bytes).map_err(|error| Error::Template(error.to_string()))?;
        Ok(Rendered { text, stand_ins: self.escape.stand_ins().clone() })
    }

    /// The message as templates see it.
    fn mark(&self, message: &Message) -> Value {
        let role = message.role.as_str();
        let role = if ROLES.contains(&role) { role.into() } else { self.escape.mark(role) };
        Value::from_pairs([("role", role), ("content", self.escape.mark(&message.content))])
    }
}

fn fuel(caps: Caps, messages: usize, content_bytes: usize) -> u64 {
    caps.fuel + FUEL_PER_MESSAGE * messages as u64 + FUEL_PER_CONTENT_UNIT * (content_bytes as u64 / 64)
}

fn compile(source: String, caps: Caps) -> Result<Environment<'static>, Error> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(Error::Template(format!("{} bytes are over the limit of {SOURCE_BYTES_MAX}", source.len())));
    }
    on_stack(caps.parser_stack_bytes, move || parse(&source, caps))?.map_err(|error| broken(&error))
}

fn parse(source: &str, caps: Caps) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    let source = guard::rewrite(&without_generation_tags(source), &syntax)?;
    environment.set_syntax(syntax);
    environment.set_recursion_limit(RECURSION);
    functions::add(&mut environment);
    functions::add_guards(&mut environment, caps.value_bytes, caps.end());
    environment.add_template_owned(NAME, source)?;
    Ok(environment)
}

/// A panic of the template engine is the template's fault, and no reason to lose more than its rendering.
fn caught<T>(reason: &str, work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Error::Template(reason.to_owned()))
}

/// Panics of the parser (on an error far to the right of a line, where arithmetic is checked) are errors too.
fn on_stack<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    if bytes == 0 {
        return caught("it cannot be parsed", work);
    }
    let thread = std::thread::Builder::new().name("chat template".to_owned()).stack_size(bytes);
    let thread = thread.spawn(work).map_err(|error| Error::Template(format!("no thread to parse it: {error}")))?;
    thread.join().map_err(|_| Error::Template("it cannot be parsed".to_owned()))
}

/// `{% generation %}` marks what a trainer learns from; here it stands for nothing.
fn without_generation_tags(source: &str) -> String {
    let mut text = source.to_owned();
    for (tag, instead) in [("generation", "if true"), ("endgeneration", "endif")] {
        for open in ["{%", "{%-"] {
            for close in ["%}", "-%}"] {
                text = text.replace(&format!("{open} {tag} {close}"), &format!("{open} {instead} {close}"));
            }
        }
    }
    text
}

fn broken(error: &minijinja::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(Refusal(message)) = current.downcast_ref::<Refusal>() {
            return Error::TemplateRefused(message.clone());
        }
        cause = current.source();
    }
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    match error.kind() {
        ErrorKind::OutOfFuel => Error::Template(format!("it takes more steps or memory than are allowed{line}")),
        ErrorKind::WriteFailure => Error::Template(format!("its output is longer than is allowed{line}")),
        _ => Error::Template(format!("{}{line}", error.detail().map_or(error.kind().to_string(), str::to_owned))),
    }
}

/// The template's text as the source holds it.
fn template_of(source: &TextSource) -> Result<Option<String>, Error> {
    match source {
        TextSource::Gguf(text) => Ok(text.chat_template.clone()),
        TextSource::HuggingFace { chat_template: Some(template), .. } => Ok(Some(template.clone())),
        TextSource::HuggingFace { tokenizer_config: Some(config), .. } => {
            let config: Json = serde_json::from_str(config)
                .map_err(|error| Error::Template(format!("tokenizer_config.json is not as expected: {error}")))?;
            Ok(match &config["chat_template"] {
                Json::String(template) => Some(template.clone()),
                Json::Array(named) => named
                    .iter()
                    .find(|entry| entry["name"] == "default")
                    .and_then(|entry| entry["template"].as_str())
                    .map(str::to_owned),
                _ => None,
            })
        }
        TextSource::HuggingFace { .. } => Ok(None),
    }
}

/// The text between quotes in a template; a rough reading is enough, since `Escape` takes only what is harmless.
fn string_literals(template: &str) -> Vec<String> {
    let mut literals = Vec::new();
    for quote in ['\'', '"'] {
        literals.extend(template.split(quote).filter(|text| (3..=40).contains(&text.len())).map(str::to_owned));
    }
    literals.sort_unstable();
    literals.dedup();
    literals
}

/// A writer that fails past a number of bytes.
struct Capped {
    bytes: Vec<u8>,
    max: usize,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the output is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(caught("no", || 5).expect("no panic"), 5);
        let error = caught("it cannot be rendered", || -> () { panic!("of somebody else's code") });
        assert!(error.expect_err("a panic").to_string().contains("it cannot be rendered"));
    }
}

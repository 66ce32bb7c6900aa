//! Personal data in what a tenant sends and gets: left, masked or refused, as its settings say.

use crate::chat::ChatMessage;
use crate::redact::{self, Kind, Stream};
use crate::{Error, Principal};
use orrery_store::RedactionMode;

/// Looks through the answers of one request.
#[derive(Debug)]
pub(crate) struct Filter {
    refuses: bool,
    choices: Vec<Stream>,
}

impl Filter {
    /// `None` where the tenant's answers are left as they are.
    pub fn of_answers(by: &Principal, choices: usize) -> Option<Self> {
        let refuses = match by.tenant.redaction.response {
            RedactionMode::Off => return None,
            RedactionMode::Mask => false,
            RedactionMode::Refuse => true,
        };
        Some(Self { refuses, choices: (0..choices).map(|_| Stream::new()).collect() })
    }

    /// What may be given out after more of a choice's text; `None` when the choice is refused for what was found.
    pub fn push(&mut self, choice: usize, text: &str) -> Option<String> {
        self.step(choice, |stream| stream.push(text))
    }

    /// The same at the choice's end.
    pub fn finish(&mut self, choice: usize, text: &str) -> Option<String> {
        self.step(choice, |stream| stream.push(text) + &stream.finish())
    }

    fn step(&mut self, choice: usize, step: impl FnOnce(&mut Stream) -> String) -> Option<String> {
        let Some(stream) = self.choices.get_mut(choice) else { return Some(String::new()) };
        let text = step(stream);
        (!self.refuses || stream.counts().is_empty()).then_some(text)
    }
}

/// Masks or refuses personal data in a chat's messages.
pub(crate) fn messages(by: &Principal, messages: &mut [ChatMessage]) -> Result<(), Error> {
    for message in messages {
        text(by, "messages", &mut message.content)?;
    }
    Ok(())
}

/// Token ids cannot be masked, so a prompt of them is refused where text would be looked through.
pub(crate) fn tokens(by: &Principal, param: &'static str) -> Result<(), Error> {
    if by.tenant.redaction.request == RedactionMode::Off {
        return Ok(());
    }
    Err(Error::BadInput {
        param: Some(param),
        message: format!(
            "`{param}` is token ids, and this tenant's requests are looked through for personal data; send text"
        ),
    })
}

/// Log-probabilities name tokens, and so spell what an answer's text masks.
pub(crate) fn logprobs(by: &Principal, wanted: bool) -> Result<(), Error> {
    if !wanted || by.tenant.redaction.response == RedactionMode::Off {
        return Ok(());
    }
    Err(Error::BadInput {
        param: Some("logprobs"),
        message: "`logprobs` would spell what is masked in this tenant's answers; leave it out".into(),
    })
}

/// The same in one text, which came in the field `param`. It takes time in proportion to the text.
pub(crate) fn text(by: &Principal, param: &'static str, text: &mut String) -> Result<(), Error> {
    match by.tenant.redaction.request {
        RedactionMode::Off => {}
        RedactionMode::Mask => *text = redact::mask(text).0,
        RedactionMode::Refuse => {
            if let Some(found) = redact::find(text).first() {
                return Err(refused(param, found.kind));
            }
        }
    }
    Ok(())
}

/// Masks or refuses personal data in a whole text that is given out.
pub(crate) fn answer(by: &Principal, text: String) -> Result<String, Error> {
    match by.tenant.redaction.response {
        RedactionMode::Off => Ok(text),
        RedactionMode::Mask => Ok(redact::mask(&text).0),
        RedactionMode::Refuse => match redact::find(&text).first() {
            Some(found) => Err(Error::bad_input(format!(
                "the answer has personal data of the kind {}, which this tenant's answers may not carry",
                found.kind.name()
            ))),
            None => Ok(text),
        },
    }
}

/// Names the kind, and nothing of what was found.
fn refused(param: &'static str, kind: Kind) -> Error {
    let message = format!(
        "`{param}` has personal data of the kind {}, which this tenant's requests may not carry; take it out",
        kind.name()
    );
    Error::BadInput { param: Some(param), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::TenantChange;

    async fn tenant(request: &str, response: &str) -> Principal {
        let (accounts, key) = crate::Accounts::ephemeral().await.expect("accounts");
        let by = accounts.authenticate(Some(&key)).await.expect("a good key");
        let change = TenantChange {
            redaction_request: Some(request.into()),
            redaction_response: Some(response.into()),
            ..TenantChange::default()
        };
        accounts.change_tenant(&by, "default", change).await.expect("changed");
        accounts.authenticate(Some(&key)).await.expect("a good key")
    }

    fn message(content: &str) -> Vec<ChatMessage> {
        vec![ChatMessage { role: "user".into(), content: content.into() }]
    }

    const MAIL: &str = "write to ada@example.org, please";

    #[tokio::test]
    async fn requests_are_left_masked_or_refused() {
        for (mode, wanted) in [("off", Some(MAIL)), ("mask", Some("write to [EMAIL], please")), ("refuse", None)] {
            let by = tenant(mode, "off").await;
            let mut chat = message(MAIL);
            let found = messages(&by, &mut chat).map(|()| chat[0].content.clone());
            assert_eq!(found.as_deref().ok(), wanted, "{mode}");
            let mut prompt = MAIL.to_owned();
            assert_eq!(text(&by, "prompt", &mut prompt).ok().map(|()| prompt).as_deref(), wanted);
            assert_eq!(tokens(&by, "prompt").is_ok(), mode == "off");
            if let Err(error) = found {
                assert!(matches!(&error, Error::BadInput { param: Some("messages"), .. }));
                assert!(!error.to_string().contains("ada@"), "{error}");
            }
            assert!(messages(&by, &mut message("no names here")).is_ok());
        }
    }

    #[tokio::test]
    async fn answers_are_masked_across_their_pieces() {
        let by = tenant("off", "mask").await;
        let mut filter = Filter::of_answers(&by, 2).expect("on");
        let (mut text, mut other) = (String::new(), String::new());
        for piece in ["write to a", "da@exam", "ple.org, pl"] {
            text += &filter.push(0, piece).expect("masked");
            other += &filter.push(1, "x ").expect("nothing to mask");
        }
        other += &filter.finish(1, "").expect("nothing to mask");
        assert_eq!(other, "x x x ", "choices do not mix");
        text += &filter.finish(0, "ease").expect("masked");
        assert_eq!(text, "write to [EMAIL], please");
        assert!(logprobs(&by, true).is_err() && logprobs(&by, false).is_ok());
        assert!(Filter::of_answers(&tenant("mask", "off").await, 1).is_none());
    }

    #[tokio::test]
    async fn a_refused_answer_ends_before_what_was_found() {
        let by = tenant("off", "refuse").await;
        let mut filter = Filter::of_answers(&by, 1).expect("on");
        let given = filter.push(0, "write to ada@exam").expect("nothing found yet");
        assert!(!given.contains("ada"), "{given}");
        assert_eq!(filter.push(0, "ple.org, please "), None);
        assert_eq!(filter.finish(0, ""), None);
    }
}

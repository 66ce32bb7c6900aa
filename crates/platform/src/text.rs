//! Token ids of texts, and texts of token ids, under the same limits and the same look for personal data as a request.
//!
//! Must not know: wire types.

use crate::chat::{engine_error, engine_messages, on_text};
use crate::{Admission, ChatMessage, Error, Platform, filter};

impl Platform {
    /// Token ids of a text, as a completion would have them: personal data is masked or refused first.
    ///
    /// # Errors
    /// `BadInput`; `NotFound`, `Unavailable`: the model is not there, or not ready.
    pub async fn tokenize(
        &self,
        admission: Admission,
        model: &str,
        mut text: String,
        add_special: bool,
    ) -> Result<Vec<u32>, Error> {
        on_text(&self.handle(model)?, text.len(), move |handle| {
            filter::text(admission.by(), "prompt", &mut text)?;
            handle.encode(&text, add_special).map_err(engine_error)
        })
        .await
    }

    /// Token ids of a chat, rendered by the model's template.
    ///
    /// # Errors
    /// As [`Platform::tokenize`].
    pub async fn tokenize_chat(
        &self,
        admission: Admission,
        model: &str,
        mut messages: Vec<ChatMessage>,
    ) -> Result<Vec<u32>, Error> {
        let bytes = messages.iter().map(|message| message.content.len()).sum();
        on_text(&self.handle(model)?, bytes, move |handle| {
            filter::messages(admission.by(), &mut messages)?;
            handle.chat_prompt(&engine_messages(&messages)).map_err(engine_error)
        })
        .await
    }

    /// The text of token ids. Refused where the tenant's requests are looked through, as every prompt of ids is; the text
    /// is treated as an answer.
    ///
    /// # Errors
    /// As [`Platform::tokenize`].
    pub async fn detokenize(&self, admission: Admission, model: &str, tokens: Vec<u32>) -> Result<String, Error> {
        on_text(&self.handle(model)?, 4 * tokens.len(), move |handle| {
            filter::tokens(admission.by(), "tokens")?;
            filter::answer(admission.by(), handle.decode(&tokens).map_err(engine_error)?)
        })
        .await
    }
}

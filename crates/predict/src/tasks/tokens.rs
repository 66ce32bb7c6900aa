//! Texts become token ids, for models that take them.

use super::Parts;
use crate::error::{Error, Result};
use crate::model::Request;
use crate::tensor::{Data, DataType, Tensor};
use std::sync::Arc;
use tokenizers::{Tokenizer, TruncationParams};

/// Fewer leave a text no token beside the special ones.
const TOKENS_MIN: usize = 8;

/// A tokenizer and the model's inputs that take what it gives.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    /// Name, and what it takes.
    inputs: Vec<(String, Field)>,
    text_bytes_max: usize,
}

#[derive(Clone, Copy)]
enum Field {
    Ids,
    Mask,
    Types,
}

impl Tokens {
    pub fn of(parts: &Parts<'_>) -> Result<Arc<Self>> {
        let bad = |reason: String| Error::BadArtefact(reason);
        let text = parts.manifest.pipeline.text.as_ref();
        let text = text.ok_or_else(|| bad("field `pipeline.text` is missing: the task needs a tokenizer".into()))?;
        let file = parts.artefact.file(&text.tokenizer)?;
        let mut tokenizer =
            Tokenizer::from_bytes(&**file).map_err(|error| bad(format!("the file `{}`: {error}", text.tokenizer)))?;
        if text.max_tokens < TOKENS_MIN {
            return Err(bad(format!("field `pipeline.text.max_tokens` is below {TOKENS_MIN}")));
        }
        let cut = TruncationParams { max_length: text.max_tokens, ..TruncationParams::default() };
        tokenizer
            .with_truncation(Some(cut))
            .map_err(|error| bad(format!("field `pipeline.text.max_tokens`: {error}")))?;
        // Nothing is padded: a text's result is not to depend on its neighbours' length.
        tokenizer.with_padding(None);
        let inputs = parts.signature.inputs.iter().map(|port| {
            let field = match &*port.name {
                "input_ids" => Field::Ids,
                "attention_mask" => Field::Mask,
                "token_type_ids" => Field::Types,
                other => return Err(bad(format!("its input `{other}` is none that a tokenizer gives"))),
            };
            let fits = port.dtype == DataType::Int64 && port.dims.len() == 2;
            fits.then(|| (port.name.clone(), field))
                .ok_or_else(|| bad(format!("its input `{}` has to take INT64 of [N, tokens]", port.name)))
        });
        let inputs = inputs.collect::<Result<_>>()?;
        Ok(Arc::new(Self { tokenizer, inputs, text_bytes_max: parts.settings.text_bytes_max }))
    }

    /// One run for each text: the queue puts those of one length together. Also the tokens of all.
    pub fn runs(&self, texts: &[String], output: &str) -> Result<(Vec<Request>, usize)> {
        let mut tokens = 0;
        let mut runs = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let limit = self.text_bytes_max;
            let bad = |reason: String| Error::bad_input("inputs", format!("text {index} {reason}"));
            if text.len() > limit {
                return Err(bad(format!("has {} bytes; at most {limit} are taken (`text_bytes_max`)", text.len())));
            }
            let encoding = self.tokenizer.encode_fast(text.as_str(), true);
            let encoding = encoding.map_err(|error| bad(format!("cannot be tokenised: {error}")))?;
            let count = encoding.get_ids().len();
            if count == 0 {
                return Err(bad("has no tokens".into()));
            }
            tokens += count;
            let inputs = self.inputs.iter().map(|(name, field)| {
                let values = match field {
                    Field::Ids => encoding.get_ids(),
                    Field::Mask => encoding.get_attention_mask(),
                    Field::Types => encoding.get_type_ids(),
                };
                Tensor::made(&**name, [1, count], Data::Int64(values.iter().map(|value| i64::from(*value)).collect()))
            });
            runs.push(Request { inputs: inputs.collect(), outputs: vec![output.to_owned()], deadline: None });
        }
        Ok((runs, tokens))
    }
}

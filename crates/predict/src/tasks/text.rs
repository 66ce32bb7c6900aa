//! text-classification. A model that was trained here takes the text itself; a foreign one takes tokens.

use super::classes::Classes;
use super::tokens::Tokens;
use super::{Input, Parts, Pipeline, Plan, check_count, wrong_kind};
use crate::error::{Error, Result};
use crate::model::Request;
use crate::tensor::{Data, DataType, Tensor};
use std::sync::Arc;

struct Classification {
    takes: Takes,
    classes: Classes,
    texts_max: usize,
}

enum Takes {
    Tokens(Arc<Tokens>),
    /// The name of the input, which takes text of `[N, 1]`.
    Text(String),
}

/// text-classification.
pub(super) fn classification(parts: &Parts<'_>) -> Result<Arc<dyn Pipeline>> {
    let takes = if parts.manifest.pipeline.text.is_some() {
        Takes::Tokens(Tokens::of(parts)?)
    } else {
        let input = parts.only_input()?;
        let is_text = parts.signature.inputs.iter().all(|port| port.dtype == DataType::Bytes && port.dims.len() == 2);
        let bad =
            || Error::BadArtefact(format!("its input `{input}` takes no text; name a tokenizer in `pipeline.text`"));
        Takes::Text(is_text.then(|| input.clone()).ok_or_else(bad)?)
    };
    Ok(Arc::new(Classification { takes, classes: Classes::of(parts)?, texts_max: parts.settings.items_max }))
}

impl Pipeline for Classification {
    fn plan(&self, input: Input) -> Result<Plan> {
        let Input::Texts(texts) = input else { return Err(wrong_kind("texts", &input)) };
        check_count(texts.len(), self.texts_max)?;
        let classes = self.classes.clone();
        let runs = match &self.takes {
            Takes::Tokens(tokens) => tokens.runs(&texts, &classes.output)?.0,
            Takes::Text(_) if texts.is_empty() => Vec::new(),
            Takes::Text(input) => {
                let tensor = Tensor::made(&**input, [texts.len(), 1], Data::Bytes(texts));
                vec![Request { inputs: vec![tensor], outputs: vec![classes.output.clone()], deadline: None }]
            }
        };
        Ok(Plan { runs, finish: Box::new(move |results| classes.answer(&results)) })
    }
}

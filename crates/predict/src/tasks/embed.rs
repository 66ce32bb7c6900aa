//! feature-extraction: one vector for each text. Such a model compares sentences too.

use super::tokens::Tokens;
use super::{Answer, Input, Parts, Pipeline, Plan, check_count, numbers, odd, similarity, wrong_kind};
use crate::artefact::Pooling;
use crate::error::Result;
use crate::model::Request;
use crate::tensor::Tensor;
use std::sync::Arc;

/// Texts to vectors; sentence-similarity is made of it too.
#[derive(Clone)]
pub(super) struct Embedder {
    tokens: Arc<Tokens>,
    output: String,
    pooling: Pooling,
    normalize: bool,
    texts_max: usize,
}

impl Embedder {
    /// The output is called `embedding`, or as the artefact says; it has a vector for each token, or one for each text.
    pub fn of(parts: &Parts<'_>) -> Result<Self> {
        let tokens = Tokens::of(parts)?;
        let text = parts.manifest.pipeline.text.as_ref();
        let (pooling, normalize) = text.map_or((Pooling::Mean, false), |text| (text.pooling, text.normalize));
        Ok(Self { tokens, output: parts.output("embedding")?, pooling, normalize, texts_max: parts.settings.items_max })
    }

    pub fn runs(&self, texts: &[String]) -> Result<(Vec<Request>, usize)> {
        check_count(texts.len(), self.texts_max)?;
        self.tokens.runs(texts, &self.output)
    }

    pub fn vectors(&self, results: &[Vec<Tensor>], normalize: bool) -> Result<Vec<Vec<f32>>> {
        results.iter().map(|outputs| self.vector(outputs, normalize || self.normalize)).collect()
    }

    fn vector(&self, outputs: &[Tensor], normalize: bool) -> Result<Vec<f32>> {
        let (shape, values) = numbers(outputs, &self.output)?;
        let mut vector = match (self.pooling, &shape[..]) {
            (Pooling::None, [1, _]) => values,
            (Pooling::Cls, [1, count, width]) if *count > 0 => values.get(..*width).unwrap_or_default().to_vec(),
            (Pooling::Mean, [1, count, width]) if count * width > 0 => mean(&values, *count, *width),
            _ => return Err(odd(&self.output, &format!("has the shape {shape:?}, which `pooling` does not fit"))),
        };
        if normalize {
            let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            vector.iter_mut().for_each(|value| *value /= norm);
        }
        Ok(vector)
    }
}

/// No token is padding, so all count.
fn mean(values: &[f32], count: usize, width: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f32; width];
    for row in values.chunks_exact(width) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "few tokens")]
    let count = count as f32;
    sums.into_iter().map(|sum| sum / count).collect()
}

struct Extraction(Embedder);

/// feature-extraction.
pub(super) fn extraction(parts: &Parts<'_>) -> Result<Arc<dyn Pipeline>> {
    Ok(Arc::new(Extraction(Embedder::of(parts)?)))
}

impl Pipeline for Extraction {
    fn plan(&self, input: Input) -> Result<Plan> {
        let texts = match input {
            Input::Texts(texts) => texts,
            // Embeddings are all that it takes.
            Input::Comparison { source, sentences } => return similarity::plan(&self.0, source, sentences),
            other => return Err(wrong_kind("texts", &other)),
        };
        let (runs, tokens) = self.0.runs(&texts)?;
        let embedder = self.0.clone();
        let finish = move |results: Vec<Vec<Tensor>>| {
            let vectors = embedder.vectors(&results, false)?;
            Ok(Answer::Embeddings { vectors, tokens })
        };
        Ok(Plan { runs, finish: Box::new(finish) })
    }
}

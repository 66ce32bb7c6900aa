//! sentence-similarity: the cosine of one sentence's embedding with those of others.

use super::embed::Embedder;
use super::{Answer, Input, Parts, Pipeline, Plan, wrong_kind};
use crate::error::Result;
use crate::tensor::Tensor;
use std::sync::Arc;

struct Similarity(Embedder);

/// sentence-similarity. A model for feature-extraction does it too.
pub(super) fn similarity(parts: &Parts<'_>) -> Result<Arc<dyn Pipeline>> {
    Ok(Arc::new(Similarity(Embedder::of(parts)?)))
}

impl Pipeline for Similarity {
    fn plan(&self, input: Input) -> Result<Plan> {
        match input {
            Input::Comparison { source, sentences } => plan(&self.0, source, sentences),
            other => Err(wrong_kind("a sentence and others to compare it with", &other)),
        }
    }
}

/// Compares `source` with each of `sentences`.
pub(super) fn plan(embedder: &Embedder, source: String, sentences: Vec<String>) -> Result<Plan> {
    let texts: Vec<String> = std::iter::once(source).chain(sentences).collect();
    let (runs, tokens) = embedder.runs(&texts)?;
    let embedder = embedder.clone();
    let finish = move |results: Vec<Vec<Tensor>>| {
        let vectors = embedder.vectors(&results, true)?;
        let (source, others) =
            vectors.split_first().map_or((&[][..], &[][..]), |(source, others)| (&source[..], others));
        let cosine =
            |other: &Vec<f32>| source.iter().zip(other).map(|(left, right)| left * right).sum::<f32>().clamp(-1.0, 1.0);
        Ok(Answer::Similarities { scores: others.iter().map(cosine).collect(), tokens })
    };
    Ok(Plan { runs, finish: Box::new(finish) })
}

//! Probabilities become labels.

use super::{Answer, Class, Parts, numbers, odd};
use crate::error::Result;
use crate::tensor::Tensor;
use std::sync::Arc;

/// Reads a classifier's output `[N, labels]`.
#[derive(Clone)]
pub(super) struct Classes {
    pub output: String,
    labels: Arc<[String]>,
    softmax: bool,
}

impl Classes {
    /// The output is called `probabilities`, or as the artefact says.
    pub fn of(parts: &Parts<'_>) -> Result<Self> {
        let output = parts.output("probabilities")?;
        let port = parts.signature.outputs.iter().find(|port| port.name == output);
        let width = port.and_then(|port| port.dims.last()).and_then(|width| usize::try_from(*width).ok());
        let labels = &parts.manifest.labels;
        if let Some(width) = width.filter(|width| *width != labels.len()) {
            let reason = format!("field `labels` has {} entries, the output `{output}` {width}", labels.len());
            return Err(crate::Error::BadArtefact(reason));
        }
        Ok(Self { output, labels: labels.clone().into(), softmax: parts.manifest.pipeline.softmax })
    }

    pub fn answer(&self, runs: &[Vec<Tensor>]) -> Result<Answer> {
        let mut items = Vec::new();
        for outputs in runs {
            let (shape, mut values) = numbers(outputs, &self.output)?;
            let [_, width] = shape[..] else { return Err(odd(&self.output, "is not a row of numbers for each item")) };
            if width != self.labels.len() || width == 0 {
                let reason = format!("has {width} numbers for each item, and the model {} labels", self.labels.len());
                return Err(odd(&self.output, &reason));
            }
            for row in values.chunks_exact_mut(width) {
                if self.softmax {
                    softmax(row);
                }
                items.push(self.ranked(row));
            }
        }
        Ok(Answer::Classes(items))
    }

    fn ranked(&self, row: &[f32]) -> Vec<Class> {
        let pairs = self.labels.iter().zip(row);
        let mut classes: Vec<Class> =
            pairs.map(|(label, score)| Class { label: label.clone(), score: *score }).collect();
        classes.sort_by(|left, right| right.score.total_cmp(&left.score));
        classes
    }
}

/// In place.
pub(super) fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0_f32;
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    for value in row.iter_mut() {
        *value /= sum;
    }
}

//! A network with what it learnt, as a model.

use super::logistic::softmax;
use super::{Model, Splits};
use crate::fit::descent::{Learnt, descend, predict};
use crate::fit::network::{Bench, Network};
use crate::fit::{DescentSettings, Run, shape};
use crate::onnx::{Graph, Value};
use crate::{Dataset, Error, Inputs, Matrix, Result, Target};

/// A network with weights.
pub struct LearntModel {
    network: Box<dyn Network>,
    learnt: Learnt,
    /// Kind and width of the rows it learnt from.
    takes: (std::mem::Discriminant<Inputs>, usize),
    outputs: usize,
    bench: Bench,
}

/// How many sums a network has to make for a target.
pub fn outputs(target: &Target) -> usize {
    match target {
        Target::Classes { count, .. } => *count as usize,
        Target::Numbers(numbers) => numbers.width,
    }
}

/// Lets `network` learn.
///
/// # Errors
/// As [`super::Trainer::fit`].
pub fn learn(
    network: Box<dyn Network>,
    settings: &DescentSettings,
    splits: Splits,
    run: &mut Run,
) -> Result<Box<dyn Model>> {
    let learnt = descend(network.as_ref(), settings, splits, run)?;
    Ok(Box::new(LearntModel::new(network, learnt, splits.train, &run.settings.pictures)))
}

/// Bytes that learning takes: weights, gradients and two moments, all twice for the tensors; activations and their gradients.
pub fn bytes(network: &dyn Network, settings: &DescentSettings) -> u64 {
    let weights: usize = network.parameters().iter().map(|parameter| parameter.size()).sum();
    (weights * 8 + network.activations() * settings.batch_size.max(256) * 3) as u64 * 4
}

impl LearntModel {
    /// A model of `network` that learnt from rows like those of `train`, and from pictures with these tables.
    pub fn new(network: Box<dyn Network>, learnt: Learnt, train: &Dataset, pictures: &[[f32; 256]]) -> LearntModel {
        let takes = (std::mem::discriminant(&train.inputs), shape(&train.inputs).1);
        LearntModel { network, learnt, takes, outputs: outputs(&train.target), bench: Bench::predicting(pictures) }
    }
}

impl Model for LearntModel {
    fn predict(&self, inputs: &Inputs) -> Result<Matrix> {
        let given = (std::mem::discriminant(inputs), shape(inputs).1);
        if given != self.takes {
            let message = format!("rows of {} numbers, and the model learnt from rows of {}", given.1, self.takes.1);
            return Err(Error::BadData(message));
        }
        let mut values = predict(self.network.as_ref(), &self.learnt.weights, inputs, &self.bench);
        match &self.learnt.scale {
            Some(scale) => scale.restore(&mut values),
            None => values.chunks_exact_mut(self.outputs).for_each(softmax),
        }
        Ok(Matrix { rows: inputs.rows(), width: self.outputs, values })
    }

    fn export(&self, graph: &mut Graph, input: &Value) -> Value {
        let sums = self.network.export(&self.learnt.weights, graph, input);
        match &self.learnt.scale {
            Some(scale) => scale.export(graph, &sums),
            None => sums,
        }
    }

    fn notes(&self) -> serde_json::Value {
        self.learnt.notes.clone()
    }
}

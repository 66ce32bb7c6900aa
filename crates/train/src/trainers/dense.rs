//! Dense layers: the multi-layer perceptron, and without hidden layers the linear models that learn by steps.

use super::learnt::{bytes, learn, outputs};
use super::{Model, Row, Splits, Trainer};
use crate::fit::network::{Batch, Network, Parameter, Start, Tap, dropout};
use crate::fit::random::Random;
use crate::fit::{Defaults, DescentSettings, Run, shape, table};
use crate::onnx::{Graph, Value};
use crate::spec::{Bounds, Fields};
use crate::{Dataset, Result, Task};
use burn::tensor::{Tensor, activation};
use serde::Serialize;
use serde_json::json;

/// The registry's row.
pub const ROW: Row = Row {
    name: "mlp",
    tasks: &[Task::TabularClassification, Task::TabularRegression, Task::TimeSeriesForecasting],
    private: true,
    vary: |random| {
        json!({
            "hidden": random.one_of(&[&[32][..], &[64], &[128], &[256], &[64, 32], &[128, 64], &[256, 128]]),
            "activation": random.one_of(&["relu", "relu", "tanh"]),
            "dropout": random.one_of(&[0.0, 0.1, 0.3]),
            "learning_rate": random.magnitude(-3.5, -1.8),
            "weight_decay": random.one_of(&[0.0, 1e-4, 1e-3, 1e-2]),
            "optimizer": "adamw", "schedule": random.one_of(&["constant", "cosine"]),
        })
    },
    read,
};

const LAYERS_MAX: usize = 16;
const UNITS_MAX: u64 = 16_384;

/// What a hidden unit does with its sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// The sum where it is over 0.
    Relu,
    /// Its hyperbolic tangent.
    Tanh,
}

#[derive(Debug, Serialize)]
struct Mlp {
    hidden: Vec<usize>,
    activation: Activation,
    dropout: f64,
    #[serde(flatten)]
    descent: DescentSettings,
}

fn read(fields: &mut Fields) -> Result<Box<dyn Trainer>> {
    let defaults = Defaults { learning_rate: 1e-3, batch_size: 64, epochs: 100, clip_norm: 0.0, early_stopping: 10 };
    Ok(Box::new(Mlp {
        hidden: fields.sizes("hidden", LAYERS_MAX, UNITS_MAX, &[100])?,
        activation: fields.choice("activation", &[("relu", Activation::Relu), ("tanh", Activation::Tanh)])?,
        dropout: fields.number("dropout", Bounds::within(0.0, 0.95), 0.0)?,
        descent: DescentSettings::read(fields, defaults)?,
    }))
}

impl Mlp {
    fn network(&self, train: &Dataset) -> Dense {
        let mut widths = vec![shape(&train.inputs).1];
        widths.extend(&self.hidden);
        widths.push(outputs(&train.target));
        Dense { widths, activation: self.activation, dropout: self.dropout }
    }
}

impl Trainer for Mlp {
    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("invariant: plain settings")
    }

    fn bytes(&self, train: &Dataset) -> u64 {
        bytes(&self.network(train), &self.descent)
    }

    fn fit(&self, splits: Splits, run: &mut Run) -> Result<Box<dyn Model>> {
        table(&splits.train.inputs)?;
        learn(Box::new(self.network(splits.train)), &self.descent, splits, run)
    }
}

/// Learns a linear map by steps.
///
/// # Errors
/// As [`Trainer::fit`].
pub fn learn_linear(settings: &DescentSettings, splits: Splits, run: &mut Run) -> Result<Box<dyn Model>> {
    table(&splits.train.inputs)?;
    let widths = vec![shape(&splits.train.inputs).1, outputs(&splits.train.target)];
    learn(Box::new(Dense { widths, activation: Activation::Relu, dropout: 0.0 }), settings, splits, run)
}

/// Dense layers of these widths, the inputs' first.
#[derive(Clone, Debug)]
pub struct Dense {
    /// Inputs, hidden units, outputs.
    pub widths: Vec<usize>,
    /// Of the hidden units.
    pub activation: Activation,
    /// The chance of a hidden unit to be dropped in a step.
    pub dropout: f64,
}

impl Dense {
    fn run(
        &self,
        weights: &[Tensor<1>],
        inputs: &Batch,
        mut training: Option<&mut Random>,
        mut taps: Option<&mut Vec<Tap>>,
    ) -> Tensor<2> {
        let Batch::Rows(rows) = inputs else { unreachable!("invariant: the trainer checks the inputs' kind") };
        let (mut values, layers) = (rows.clone(), self.widths.len() - 1);
        for (layer, pair) in self.widths.windows(2).enumerate() {
            let inputs = values.clone();
            values = affine(values, &weights[2 * layer..2 * layer + 2], [pair[0], pair[1]]);
            if let Some(taps) = taps.as_deref_mut() {
                let sums = values.clone().detach().zeros_like().require_grad();
                values = values + sums.clone();
                taps.push(Tap { inputs, sums });
            }
            if layer + 1 < layers {
                values = match self.activation {
                    Activation::Relu => activation::relu(values),
                    Activation::Tanh => activation::tanh(values),
                };
                values = dropout(values, self.dropout, training.as_deref_mut());
            }
        }
        values
    }
}

/// `values · weights + offsets` of a layer `[inputs][outputs]`.
pub fn affine(values: Tensor<2>, layer: &[Tensor<1>], shape: [usize; 2]) -> Tensor<2> {
    values.matmul(layer[0].clone().reshape(shape)) + layer[1].clone().reshape([1, shape[1]])
}

/// The same as nodes.
pub fn export_affine(graph: &mut Graph, values: &Value, layer: &[Vec<f32>], shape: [usize; 2]) -> Value {
    let weights = graph.floats(&shape, &layer[0]);
    let offsets = graph.floats(&[shape[1]], &layer[1]);
    let product = graph.node("MatMul", &[values, &weights], &[]);
    graph.node("Add", &[&product, &offsets], &[])
}

/// Weights and offsets of a layer. He's deviation before a rectifier, Glorot's elsewhere.
pub fn layer(name: &str, shape: [usize; 2], rectified: bool) -> [Parameter; 2] {
    let fan = if rectified { shape[0] as f64 } else { 0.5 * (shape[0] + shape[1]) as f64 };
    let gain = if rectified { 6.0 } else { 3.0 };
    [
        Parameter::weight(format!("{name}.weight"), &shape, Start::Uniform((gain / fan.max(1.0)).sqrt())),
        Parameter::offset(format!("{name}.offset"), &shape[1..], Start::Constant(0.0)),
    ]
}

impl Network for Dense {
    fn parameters(&self) -> Vec<Parameter> {
        let last = self.widths.len() - 2;
        let layers = self.widths.windows(2).enumerate();
        layers
            .flat_map(|(index, pair)| {
                let rectified = index < last && self.activation == Activation::Relu;
                layer(&format!("layer{index}"), [pair[0], pair[1]], rectified)
            })
            .collect()
    }

    fn forward(&self, weights: &[Tensor<1>], inputs: &Batch, training: Option<&mut Random>) -> Tensor<2> {
        self.run(weights, inputs, training, None)
    }

    fn forward_tapped(&self, weights: &[Tensor<1>], inputs: &Batch) -> Option<(Tensor<2>, Vec<Tap>)> {
        let mut taps = Vec::new();
        let sums = self.run(weights, inputs, None, Some(&mut taps));
        Some((sums, taps))
    }

    fn export(&self, weights: &[Vec<f32>], graph: &mut Graph, input: &Value) -> Value {
        let (mut values, layers) = (input.clone(), self.widths.len() - 1);
        for (layer, pair) in self.widths.windows(2).enumerate() {
            values = export_affine(graph, &values, &weights[2 * layer..2 * layer + 2], [pair[0], pair[1]]);
            if layer + 1 < layers {
                let operator = if self.activation == Activation::Relu { "Relu" } else { "Tanh" };
                values = graph.node(operator, &[&values], &[]);
            }
        }
        values
    }

    fn activations(&self) -> usize {
        self.widths.iter().sum::<usize>() * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::gradients::{check, classes, rows};
    use crate::fit::network::{Bench, first_weights};
    use crate::fit::private::Cut;
    use crate::fit::random::Purpose;
    use crate::fit::{Distance, Loss};
    use crate::{Matrix, Target};

    fn dense(activation: Activation) -> Dense {
        Dense { widths: vec![4, 6, 5, 3], activation, dropout: 0.0 }
    }

    fn examples() -> Dataset {
        let mut random = Random::new(2, Purpose::Start, 5);
        Dataset { inputs: rows(9, 4, &mut random), target: classes(9, 3, &mut random) }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let loss = Loss::CrossEntropy { weights: vec![1.0, 2.0, 0.5] };
        check(&dense(Activation::Relu), &loss, &examples());
        check(&dense(Activation::Tanh), &loss, &examples());
        let mut random = Random::new(2, Purpose::Start, 6);
        let values = (0..27).map(|_| 2.0 * random.normal()).collect();
        let numbers = Dataset { target: Target::Numbers(Matrix { rows: 9, width: 3, values }), ..examples() };
        for distance in [Distance::Squared, Distance::Absolute, Distance::Huber] {
            check(&dense(Activation::Tanh), &Loss::Distance(distance), &numbers);
        }
    }

    /// The sum of cut gradients is that of gradients taken and cut one by one.
    #[test]
    fn gradients_are_cut_example_by_example() {
        let (network, loss, train) =
            (dense(Activation::Relu), Loss::CrossEntropy { weights: vec![1.0; 3] }, examples());
        let (bench, weights) = (Bench::training(&[]), first_weights(&network, 1));
        let cut = |longest| Cut { network: &network, bench: &bench, loss: &loss, train: &train, longest };
        let length = |gradients: &[Vec<f32>]| {
            gradients.iter().flatten().map(|&slope| f64::from(slope).powi(2)).sum::<f64>().sqrt()
        };
        let singles: Vec<_> = (0..9).map(|row| cut(1e9).gradients(&weights, &[row]).1).collect();
        let mut lengths: Vec<f64> = singles.iter().map(|single| length(single)).collect();
        lengths.sort_by(f64::total_cmp);
        let longest = lengths[4]; // some are cut and some are not
        let (_, found) = cut(longest).gradients(&weights, &(0..9).collect::<Vec<_>>());
        for (parameter, found) in found.iter().enumerate() {
            for (place, &found) in found.iter().enumerate() {
                let parts = singles
                    .iter()
                    .map(|single| f64::from(single[parameter][place]) * (longest / length(single)).min(1.0));
                let expected: f64 = parts.sum();
                assert!((f64::from(found) - expected).abs() < 1e-5, "{parameter} {place}: {found} {expected}");
            }
        }
        for row in 0..9 {
            assert!(length(&cut(longest).gradients(&weights, &[row]).1) < longest * 1.00001);
        }
    }
}

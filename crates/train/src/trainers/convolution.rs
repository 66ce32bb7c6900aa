//! Convolutional networks for pictures, in the manner of small residual ones: stages of a convolution, residual blocks and a
//! halving of the picture; then dense layers.
//!
//! A block adds a scaled correction to what goes through it (De and Smith, "Batch Normalization Biases Residual Blocks Towards
//! the Identity Function", 2020), so that no statistics of batches are needed, neither in learning nor in serving.

use super::dense::{affine, export_affine, layer};
use super::learnt::{bytes, learn, outputs};
use super::{Model, Row, Splits, Trainer};
use crate::fit::network::{Batch, Network, Parameter, Start, dropout};
use crate::fit::random::Random;
use crate::fit::{Defaults, DescentSettings, Run};
use crate::onnx::{Graph, Setting, Value};
use crate::spec::{Bounds, Fields};
use crate::{Dataset, Error, Inputs, Result, Task};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use serde::Serialize;
use serde_json::json;

/// The registry's row.
pub const ROW: Row = Row {
    name: "cnn",
    tasks: &[Task::ImageClassification],
    private: false,
    vary: |random| {
        json!({
            "channels": random.one_of(&[&[16, 32][..], &[32, 64], &[16, 32, 64], &[32, 64, 128]]),
            "blocks": random.below(2), "hidden": random.one_of(&[64, 128, 256]),
            "dropout": random.one_of(&[0.1, 0.2, 0.4]),
            "learning_rate": random.magnitude(-3.5, -2.3), "schedule": random.one_of(&["constant", "cosine"]),
        })
    },
    read,
};

/// What a block's correction is scaled by before the first step.
const FIRST_GAIN: f32 = 0.2;

#[derive(Debug, Serialize)]
struct Cnn {
    channels: Vec<usize>,
    blocks: usize,
    hidden: usize,
    dropout: f64,
    #[serde(flatten)]
    descent: DescentSettings,
}

fn read(fields: &mut Fields) -> Result<Box<dyn Trainer>> {
    let defaults = Defaults { learning_rate: 1e-3, batch_size: 64, epochs: 10, clip_norm: 0.0, early_stopping: 3 };
    Ok(Box::new(Cnn {
        channels: fields.sizes("channels", 6, 1024, &[32, 64])?,
        blocks: fields.count("blocks", (0, 8), 1)? as usize,
        hidden: fields.count("hidden", (1, 8192), 128)? as usize,
        dropout: fields.number("dropout", Bounds::within(0.0, 0.95), 0.2)?,
        descent: DescentSettings::read(fields, defaults)?,
    }))
}

impl Cnn {
    fn network(&self, train: &Dataset) -> Result<Convolutions> {
        let Inputs::Pixels(pixels) = &train.inputs else {
            return Err(Error::BadData("this algorithm takes pictures, and the examples are none".into()));
        };
        Ok(Convolutions {
            picture: [pixels.channels, pixels.height, pixels.width],
            channels: self.channels.clone(),
            blocks: self.blocks,
            hidden: self.hidden,
            outputs: outputs(&train.target),
            dropout: self.dropout,
        })
    }
}

impl Trainer for Cnn {
    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("invariant: plain settings")
    }

    fn bytes(&self, train: &Dataset) -> u64 {
        self.network(train).map_or(0, |network| bytes(&network, &self.descent))
    }

    fn fit(&self, splits: Splits, run: &mut Run) -> Result<Box<dyn Model>> {
        learn(Box::new(self.network(splits.train)?), &self.descent, splits, run)
    }
}

/// The network.
#[derive(Clone, Debug)]
pub struct Convolutions {
    /// Channels, height and width of a picture.
    pub picture: [usize; 3],
    /// Channels of each stage.
    pub channels: Vec<usize>,
    /// Residual blocks in a stage.
    pub blocks: usize,
    /// Units of the dense layer.
    pub hidden: usize,
    /// Classes.
    pub outputs: usize,
    /// The chance of a dense unit to be dropped in a step.
    pub dropout: f64,
}

/// One stage: what comes in, what goes on, and whether the picture is halved at its end.
#[derive(Clone, Copy)]
struct Stage {
    inputs: usize,
    channels: usize,
    halved: bool,
}

impl Convolutions {
    /// The stages, and the numbers of a picture after the last one.
    fn stages(&self) -> (Vec<Stage>, usize) {
        let [mut inputs, mut height, mut width] = self.picture;
        let mut stages = Vec::new();
        for &channels in &self.channels {
            let halved = height >= 2 && width >= 2;
            stages.push(Stage { inputs, channels, halved });
            inputs = channels;
            (height, width) = if halved { (height / 2, width / 2) } else { (height, width) };
        }
        (stages, inputs * height * width)
    }

    fn stage(&self, mut values: Tensor<4>, stage: Stage, weights: &mut std::slice::Iter<Tensor<1>>) -> Tensor<4> {
        values = relu(convolve(values, stage.inputs, stage.channels, weights));
        for _ in 0..self.blocks {
            let inner = relu(convolve(values.clone(), stage.channels, stage.channels, weights));
            let correction = convolve(inner, stage.channels, stage.channels, weights);
            let gain = take(weights).clone().reshape([1, 1, 1, 1]);
            values = relu(values + correction * gain);
        }
        if stage.halved { max_pool2d(values, MaxPoolOptions::new([2, 2])) } else { values }
    }

    fn export_stage(
        &self,
        graph: &mut Graph,
        input: Value,
        stage: Stage,
        weights: &mut std::slice::Iter<Vec<f32>>,
    ) -> Value {
        let sums = export_convolution(graph, &input, stage.inputs, stage.channels, weights);
        let mut values = graph.node("Relu", &[&sums], &[]);
        for _ in 0..self.blocks {
            let sums = export_convolution(graph, &values, stage.channels, stage.channels, weights);
            let inner = graph.node("Relu", &[&sums], &[]);
            let correction = export_convolution(graph, &inner, stage.channels, stage.channels, weights);
            let gain = graph.floats(&[1], next(weights));
            let correction = graph.node("Mul", &[&correction, &gain], &[]);
            let sums = graph.node("Add", &[&values, &correction], &[]);
            values = graph.node("Relu", &[&sums], &[]);
        }
        let two = || Setting::Ints(vec![2, 2]);
        match stage.halved {
            true => graph.node("MaxPool", &[&values], &[("kernel_shape", two()), ("strides", two())]),
            false => values,
        }
    }
}

impl Network for Convolutions {
    fn parameters(&self) -> Vec<Parameter> {
        let (stages, flat) = self.stages();
        let mut parameters = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            parameters.extend(convolution(&format!("stage{index}.in"), stage.inputs, stage.channels));
            for block in 0..self.blocks {
                let name = format!("stage{index}.block{block}");
                parameters.extend(convolution(&format!("{name}.first"), stage.channels, stage.channels));
                parameters.extend(convolution(&format!("{name}.second"), stage.channels, stage.channels));
                parameters.push(Parameter::offset(format!("{name}.gain"), &[1], Start::Constant(FIRST_GAIN)));
            }
        }
        parameters.extend(layer("hidden", [flat, self.hidden], true));
        parameters.extend(layer("out", [self.hidden, self.outputs], false));
        parameters
    }

    fn forward(&self, weights: &[Tensor<1>], inputs: &Batch, training: Option<&mut Random>) -> Tensor<2> {
        let Batch::Pixels(pixels) = inputs else { unreachable!("invariant: the trainer checks the inputs' kind") };
        let (stages, flat) = self.stages();
        let mut values = pixels.clone();
        let mut left = weights.iter();
        for stage in stages {
            values = self.stage(values, stage, &mut left);
        }
        let (rows, left) = (values.dims()[0], left.as_slice());
        let hidden = relu(affine(values.reshape([rows, flat]), &left[..2], [flat, self.hidden]));
        affine(dropout(hidden, self.dropout, training), &left[2..4], [self.hidden, self.outputs])
    }

    fn export(&self, weights: &[Vec<f32>], graph: &mut Graph, input: &Value) -> Value {
        let (stages, flat) = self.stages();
        let mut values = input.clone();
        let mut left = weights.iter();
        for stage in stages {
            values = self.export_stage(graph, values, stage, &mut left);
        }
        let left = left.as_slice();
        let rows = graph.node("Flatten", &[&values], &[("axis", Setting::Int(1))]);
        let sums = export_affine(graph, &rows, &left[..2], [flat, self.hidden]);
        let hidden = graph.node("Relu", &[&sums], &[]);
        export_affine(graph, &hidden, &left[2..4], [self.hidden, self.outputs])
    }

    fn activations(&self) -> usize {
        let [_, mut height, mut width] = self.picture;
        let mut numbers = self.hidden * 3;
        for stage in self.stages().0 {
            numbers += height * width * (stage.inputs + stage.channels * (3 + 6 * self.blocks));
            (height, width) = if stage.halved { (height / 2, width / 2) } else { (height, width) };
        }
        numbers
    }
}

/// Weights `[channels][inputs][3][3]` and offsets of a convolution.
fn convolution(name: &str, inputs: usize, channels: usize) -> [Parameter; 2] {
    let bound = (6.0 / (inputs as f64 * 9.0)).sqrt();
    [
        Parameter::weight(format!("{name}.weight"), &[channels, inputs, 3, 3], Start::Uniform(bound)),
        Parameter::offset(format!("{name}.offset"), &[channels], Start::Constant(0.0)),
    ]
}

fn convolve(values: Tensor<4>, inputs: usize, channels: usize, weights: &mut std::slice::Iter<Tensor<1>>) -> Tensor<4> {
    let kernel = take(weights).clone().reshape([channels, inputs, 3, 3]);
    let offsets = take(weights).clone();
    conv2d(values, kernel, Some(offsets), ConvOptions::new([1, 1], [1, 1], [1, 1], 1))
}

fn export_convolution(
    graph: &mut Graph,
    values: &Value,
    inputs: usize,
    channels: usize,
    weights: &mut std::slice::Iter<Vec<f32>>,
) -> Value {
    let kernel = graph.floats(&[channels, inputs, 3, 3], next(weights));
    let offsets = graph.floats(&[channels], next(weights));
    graph.node("Conv", &[values, &kernel, &offsets], &[("pads", Setting::Ints(vec![1; 4]))])
}

fn take<'a>(weights: &mut std::slice::Iter<'a, Tensor<1>>) -> &'a Tensor<1> {
    weights.next().expect("invariant: as many as parameters")
}

fn next<'a>(weights: &mut std::slice::Iter<'a, Vec<f32>>) -> &'a Vec<f32> {
    weights.next().expect("invariant: as many as parameters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pixels;
    use crate::fit::Loss;
    use crate::fit::gradients::{check, classes};
    use crate::fit::random::Purpose;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let network =
            Convolutions { picture: [3, 7, 5], channels: vec![3, 4], blocks: 1, hidden: 6, outputs: 3, dropout: 0.0 };
        let mut random = Random::new(3, Purpose::Start, 1);
        let values = (0..5 * 105).map(|_| random.below(256) as u8).collect();
        let inputs = Inputs::Pixels(Pixels { rows: 5, height: 7, width: 5, channels: 3, values });
        let dataset = Dataset { inputs, target: classes(5, 3, &mut random) };
        check(&network, &Loss::CrossEntropy { weights: vec![1.0; 3] }, &dataset);
    }
}

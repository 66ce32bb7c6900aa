//! What the loop over batches needs of a network, and how examples become tensors.

use super::random::{Purpose, Random};
use crate::onnx::{Graph, Value};
use crate::{Inputs, Target};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// What a parameter is before the first step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// All alike.
    Constant(f32),
    /// Even between minus this and this.
    Uniform(f64),
    /// Of the normal distribution with this deviation.
    Normal(f64),
}

/// One parameter of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in checkpoints.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its first values.
    pub start: Start,
    /// Whether penalties draw it to zero: so with weights, not with offsets.
    pub decays: bool,
}

impl Parameter {
    /// A parameter that penalties draw to zero.
    pub fn weight(name: String, shape: &[usize], start: Start) -> Parameter {
        Parameter { name, shape: shape.to_vec(), start, decays: true }
    }

    /// A parameter that they leave.
    pub fn offset(name: String, shape: &[usize], start: Start) -> Parameter {
        Parameter { name, shape: shape.to_vec(), start, decays: false }
    }

    /// How many numbers it has.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A network: a function of parameters and examples. It holds neither.
pub trait Network: Send + Sync {
    /// The parameters, in the order in which they are handed in everywhere.
    fn parameters(&self) -> Vec<Parameter>;

    /// `[rows][outputs]`: sums before any softmax. `weights` are flat. `training` gives the numbers for what only happens while
    /// learning, such as dropout.
    fn forward(&self, weights: &[Tensor<1>], inputs: &Batch, training: Option<&mut Random>) -> Tensor<2>;

    /// The same as nodes: from what [`crate::trainers::Model::export`] says of the input, to 32-bit floats `[rows][outputs]`.
    fn export(&self, weights: &[Vec<f32>], graph: &mut Graph, input: &Value) -> Value;

    /// For networks of dense layers alone: [`Network::forward`] with what gradients of single examples are made of.
    fn forward_tapped(&self, weights: &[Tensor<1>], inputs: &Batch) -> Option<(Tensor<2>, Vec<Tap>)> {
        let _ = (weights, inputs);
        None
    }

    /// Numbers that [`Network::forward`] keeps for each example until the gradients are there.
    fn activations(&self) -> usize;
}

/// The place where a dense layer's sums arise. Its parameters are a weight matrix `[inputs][outputs]` and offsets.
#[derive(Debug)]
pub struct Tap {
    /// What goes in: `[rows][inputs]`.
    pub inputs: Tensor<2>,
    /// Zeros added to the sums `[rows][outputs]`: the gradient by them is the gradient by each example's sums.
    pub sums: Tensor<2>,
}

/// The first weights of a network.
pub fn first_weights(network: &dyn Network, seed: u64) -> Vec<Vec<f32>> {
    let start = |(index, parameter): (usize, &Parameter)| -> Vec<f32> {
        let mut random = Random::new(seed, Purpose::Start, index as u64);
        let one = |_| match parameter.start {
            Start::Constant(value) => value,
            Start::Uniform(bound) => ((2.0 * random.uniform() - 1.0) * bound) as f32,
            Start::Normal(deviation) => (random.normal() * deviation) as f32,
        };
        (0..parameter.size()).map(one).collect()
    };
    network.parameters().iter().enumerate().map(start).collect()
}

/// Where tensors live, and how exact they are.
#[derive(Clone, Debug)]
pub struct Bench {
    device: Device,
    dtype: DType,
    /// What bytes of pictures become, by channel; none: −1 to 1.
    pictures: Vec<[f32; 256]>,
}

impl Bench {
    /// The device that jobs learn on, in 32 bits.
    pub fn training(pictures: &[[f32; 256]]) -> Bench {
        Bench { device: device().autodiff(), dtype: DType::F32, pictures: pictures.to_vec() }
    }

    /// The same without gradients.
    pub fn predicting(pictures: &[[f32; 256]]) -> Bench {
        Bench { device: device(), dtype: DType::F32, pictures: pictures.to_vec() }
    }

    /// With gradients in 64 bits, to check them against differences.
    pub fn exact() -> Bench {
        Bench { device: Device::flex().autodiff(), dtype: DType::F64, pictures: Vec::new() }
    }

    /// A tensor of numbers.
    pub fn floats<const D: usize>(&self, values: impl Iterator<Item = f64>, dims: [usize; D]) -> Tensor<D> {
        let data = match self.dtype {
            DType::F64 => TensorData::new(values.collect::<Vec<f64>>(), dims),
            _ => TensorData::new(values.map(|value| value as f32).collect::<Vec<f32>>(), dims),
        };
        Tensor::from_data(data, (&self.device, self.dtype))
    }

    /// A tensor of whole numbers.
    pub fn ints<const D: usize>(&self, values: Vec<i64>, dims: [usize; D]) -> Tensor<D, Int> {
        Tensor::from_data(TensorData::new(values, dims), &self.device)
    }

    /// Weights, without the wish for gradients.
    pub fn weights(&self, weights: &[Vec<f32>]) -> Vec<Tensor<1>> {
        let tensor = |values: &Vec<f32>| {
            Tensor::from_data(TensorData::new(values.clone(), [values.len()]), (&self.device, self.dtype))
        };
        weights.iter().map(tensor).collect()
    }

    /// Some rows of the inputs.
    pub fn batch(&self, inputs: &Inputs, rows: &[usize]) -> Batch {
        match inputs {
            Inputs::Matrix(matrix) => Batch::Rows(self.rows(&matrix.values, matrix.width, rows)),
            Inputs::Windows(windows) => Batch::Rows(self.rows(&windows.values, windows.length, rows)),
            Inputs::Tokens(tokens) => {
                let row = |&row: &usize| &tokens.ids[row * tokens.length..(row + 1) * tokens.length];
                let ids: Vec<i64> = rows.iter().flat_map(row).map(|&id| i64::from(id)).collect();
                // A text without words is one of an empty word.
                let counts = |(place, &id): (usize, &i64)| f64::from(u8::from(id != 0 || place % tokens.length == 0));
                let filled = self.floats(ids.iter().enumerate().map(counts), [rows.len(), tokens.length]);
                Batch::Tokens { ids: self.ints(ids, [rows.len(), tokens.length]), filled }
            }
            Inputs::Pixels(pixels) => {
                let (plane, channels) = (pixels.height * pixels.width, pixels.channels);
                let picture = |&row: &usize| &pixels.values[row * plane * channels..(row + 1) * plane * channels];
                let mut values = Vec::with_capacity(rows.len() * plane * channels);
                for picture in rows.iter().map(picture) {
                    for channel in 0..channels {
                        let table = self.pictures.get(channel).unwrap_or(&EVEN);
                        let bytes = picture[channel..].iter().step_by(channels);
                        values.extend(bytes.map(|&byte| table[usize::from(byte)]));
                    }
                }
                let data = TensorData::new(values, [rows.len(), channels, pixels.height, pixels.width]);
                Batch::Pixels(Tensor::from_data(data, (&self.device, self.dtype)))
            }
        }
    }

    /// Some rows of the target.
    pub fn wanted(&self, target: &Target, rows: &[usize]) -> Wanted {
        match target {
            Target::Classes { of_row, .. } => {
                Wanted::Classes(self.ints(rows.iter().map(|&row| i64::from(of_row[row])).collect(), [rows.len(), 1]))
            }
            Target::Numbers(matrix) => Wanted::Numbers(self.rows(&matrix.values, matrix.width, rows)),
        }
    }

    fn rows(&self, values: &[f64], width: usize, rows: &[usize]) -> Tensor<2> {
        let row = |&row: &usize| &values[row * width..(row + 1) * width];
        self.floats(rows.iter().flat_map(row).copied(), [rows.len(), width])
    }
}

/// Bytes from −1 to 1.
const EVEN: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte as f32 / 127.5 - 1.0;
        byte += 1;
    }
    table
};

/// CUDA where the crate is built with it and not told otherwise, the processor elsewhere.
fn device() -> Device {
    #[cfg(feature = "cuda")]
    return Device::cuda(0);
    #[cfg(not(feature = "cuda"))]
    Device::flex()
}

/// Examples as tensors.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one lives at a time, and not for long")]
pub enum Batch {
    /// `[rows][width]`.
    Rows(Tensor<2>),
    /// Texts.
    Tokens {
        /// `[rows][length]`.
        ids: Tensor<2, Int>,
        /// 1 where there is a token, 0 where a row is filled up.
        filled: Tensor<2>,
    },
    /// `[rows][channels][height][width]`.
    Pixels(Tensor<4>),
}

/// What is to be told of them.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// `[rows][1]`.
    Classes(Tensor<2, Int>),
    /// `[rows][outputs]`.
    Numbers(Tensor<2>),
}

/// Drops units with the chance `rate`, and makes the others larger, so that sums stay as they are in the mean.
pub fn dropout<const D: usize>(values: Tensor<D>, rate: f64, training: Option<&mut Random>) -> Tensor<D> {
    let Some(random) = training.filter(|_| rate > 0.0) else { return values };
    let (dims, kept) = (values.dims(), 1.0 / (1.0 - rate));
    let draw = |_| if random.uniform() < rate { 0.0 } else { kept };
    let mask: Vec<f64> = (0..dims.iter().product()).map(draw).collect();
    let mask = Tensor::from_data(TensorData::new(mask, dims), (&values.device(), values.dtype()));
    values * mask
}

//! Recurrent networks (LSTM, GRU) for texts and series.
//!
//! Cells and the order of their gates are those of ONNX's operators: LSTM with input, output, forget and cell gate; GRU with
//! update, reset and hidden gate, the reset applied after the product (`linear_before_reset`).

use super::dense::{affine, export_affine, layer};
use super::learnt::{bytes, learn, outputs};
use super::{Model, Row, Splits, Trainer};
use crate::fit::network::{Batch, Network, Parameter, Start, dropout};
use crate::fit::random::Random;
use crate::fit::{Defaults, DescentSettings, Run, cast};
use crate::onnx::{Element, Graph, Setting, Value};
use crate::spec::{Bounds, Fields};
use crate::{Dataset, Error, Inputs, Result, Task};
use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, tanh};
use burn::tensor::module::embedding;
use serde::Serialize;
use serde_json::json;

/// The registry's row of GRU.
pub const GRU: Row = Row {
    name: "gru",
    tasks: &[Task::TextClassification, Task::TimeSeriesForecasting],
    private: false,
    vary,
    read: |fields| read(fields, Cell::Gru),
};

/// The registry's row of LSTM.
pub const LSTM: Row = Row {
    name: "lstm",
    tasks: &[Task::TextClassification, Task::TimeSeriesForecasting],
    private: false,
    vary,
    read: |fields| read(fields, Cell::Lstm),
};

/// What a step of the series does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Long short-term memory (Hochreiter and Schmidhuber).
    Lstm,
    /// Gated recurrent unit (Cho and others).
    Gru,
}

/// Added to the forget gate's sums: at first a cell remembers.
const REMEMBER: f32 = 1.0;

fn vary(random: &mut Random) -> serde_json::Value {
    json!({
        "hidden": random.one_of(&[32, 64, 128]), "embedding": random.one_of(&[16, 32, 64]),
        "layers": 1 + random.below(2), "dropout": random.one_of(&[0.0, 0.2, 0.4]),
        "learning_rate": random.magnitude(-3.3, -1.8), "schedule": random.one_of(&["constant", "cosine"]),
    })
}

#[derive(Debug, Serialize)]
struct Rnn {
    #[serde(skip)]
    cell: Cell,
    embedding: usize,
    hidden: usize,
    layers: usize,
    dropout: f64,
    #[serde(flatten)]
    descent: DescentSettings,
}

fn read(fields: &mut Fields, cell: Cell) -> Result<Box<dyn Trainer>> {
    let defaults = Defaults { learning_rate: 3e-3, batch_size: 32, epochs: 20, clip_norm: 1.0, early_stopping: 5 };
    Ok(Box::new(Rnn {
        cell,
        embedding: fields.count("embedding", (1, 1024), 32)? as usize,
        hidden: fields.count("hidden", (1, 4096), 64)? as usize,
        layers: fields.count("layers", (1, 8), 1)? as usize,
        dropout: fields.number("dropout", Bounds::within(0.0, 0.95), 0.2)?,
        descent: DescentSettings::read(fields, defaults)?,
    }))
}

impl Rnn {
    fn network(&self, train: &Dataset) -> Result<Recurrent> {
        let (words, length) = match &train.inputs {
            Inputs::Tokens(tokens) => (Some((tokens.vocabulary as usize, self.embedding)), tokens.length),
            Inputs::Windows(windows) => (None, windows.length),
            _ => {
                return Err(Error::BadData(
                    "this algorithm takes texts or series, and the examples are neither".into(),
                ));
            }
        };
        let outputs = outputs(&train.target);
        Ok(Recurrent {
            cell: self.cell,
            words,
            length,
            hidden: self.hidden,
            layers: self.layers,
            outputs,
            dropout: self.dropout,
        })
    }
}

impl Trainer for Rnn {
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

/// The network: words become vectors; layers of cells run along the row; a dense layer takes the mean of the states of a text,
/// or the last state of a series.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// The cells.
    pub cell: Cell,
    /// Count of words and length of their vectors; `None` for series.
    pub words: Option<(usize, usize)>,
    /// Steps of a row.
    pub length: usize,
    /// Numbers of a state.
    pub hidden: usize,
    /// Layers of cells.
    pub layers: usize,
    /// Classes or numbers.
    pub outputs: usize,
    /// The chance of a number before the dense layer to be dropped in a step.
    pub dropout: f64,
}

/// Parameters of a layer of cells: of inputs, of states, and the offsets of both.
const OF_LAYER: usize = 4;

impl Recurrent {
    fn gates(&self) -> usize {
        if self.cell == Cell::Gru { 3 } else { 4 }
    }

    fn inputs(&self, layer: usize) -> usize {
        if layer > 0 { self.hidden } else { self.words.map_or(1, |words| words.1) }
    }

    /// The states of one layer along the row: for each step `[rows][hidden]`.
    fn layer(
        &self,
        steps: Tensor<3>,
        weights: &[Tensor<1>],
        inputs: usize,
        filled: Option<&[Tensor<2>]>,
    ) -> Vec<Tensor<2>> {
        let ([rows, length, _], width) = (steps.dims(), self.gates() * self.hidden);
        let sums =
            affine(steps.reshape([rows * length, inputs]), &[weights[0].clone(), weights[2].clone()], [inputs, width]);
        let recurrent = weights[1].clone().reshape([self.hidden, width]);
        let offsets = weights[3].clone().reshape([1, width]);
        let zeros = || sums.clone().inner().narrow(0, 0, 1).narrow(1, 0, 1).zeros_like().expand([rows, self.hidden]);
        let (mut state, mut memory) = (zeros(), zeros());
        let mut states = Vec::with_capacity(length);
        for (step, own) in along(sums.clone().reshape([rows, length, width])).into_iter().enumerate() {
            let from_state = state.clone().matmul(recurrent.clone()) + offsets.clone();
            let (new, remembered) = match self.cell {
                Cell::Gru => (self.gru(own, from_state, state.clone()), memory.clone()),
                Cell::Lstm => self.lstm(own + from_state, memory),
            };
            // Beyond a text's end the state stays.
            state = match filled {
                Some(filled) => state.clone() + (new - state) * filled[step].clone(),
                None => new,
            };
            memory = remembered;
            states.push(state.clone());
        }
        states
    }

    fn gate(&self, sums: &Tensor<2>, index: usize) -> Tensor<2> {
        sums.clone().narrow(1, index * self.hidden, self.hidden)
    }

    fn gru(&self, own: Tensor<2>, from_state: Tensor<2>, state: Tensor<2>) -> Tensor<2> {
        let gate = |index| sigmoid(self.gate(&own, index) + self.gate(&from_state, index));
        let (update, reset) = (gate(0), gate(1));
        let hidden = tanh(self.gate(&own, 2) + reset * self.gate(&from_state, 2));
        hidden.clone() + update * (state - hidden)
    }

    fn lstm(&self, sums: Tensor<2>, memory: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let (input, output) = (sigmoid(self.gate(&sums, 0)), sigmoid(self.gate(&sums, 1)));
        let forget = sigmoid(self.gate(&sums, 2) + REMEMBER);
        let memory = forget * memory + input * tanh(self.gate(&sums, 3));
        (output * tanh(memory.clone()), memory)
    }

    fn export_layer(
        &self,
        graph: &mut Graph,
        steps: &Value,
        weights: &[Vec<f32>],
        inputs: usize,
        lengths: &Value,
    ) -> Value {
        let (hidden, width) = (self.hidden, self.gates() * self.hidden);
        let mut offsets = weights[2].clone();
        if self.cell == Cell::Lstm {
            offsets[2 * hidden..3 * hidden].iter_mut().for_each(|offset| *offset += REMEMBER);
        }
        offsets.extend(&weights[3]);
        let of_inputs = graph.floats(&[1, width, inputs], &transposed(&weights[0], width));
        let of_states = graph.floats(&[1, width, hidden], &transposed(&weights[1], width));
        let offsets = graph.floats(&[1, 2 * width], &offsets);
        let mut settings = vec![("hidden_size", Setting::Int(hidden as i64))];
        let operator = match self.cell {
            Cell::Lstm => "LSTM",
            Cell::Gru => {
                settings.push(("linear_before_reset", Setting::Int(1)));
                "GRU"
            }
        };
        let states = graph.node(operator, &[steps, &of_inputs, &of_states, &offsets, lengths], &settings);
        let axis = graph.ints(&[1], &[1]);
        graph.node("Squeeze", &[&states, &axis], &[])
    }

    /// The rows as steps `[length][rows][inputs]`, and how many steps of each count (absent: all).
    fn export_steps(&self, weights: &[Vec<f32>], graph: &mut Graph, input: &Value) -> (Value, Value) {
        let Some((count, width)) = self.words else {
            let turned = graph.node("Transpose", &[input], &[("perm", Setting::Ints(vec![1, 0]))]);
            let axis = graph.ints(&[1], &[2]);
            return (graph.node("Unsqueeze", &[&turned, &axis], &[]), Graph::absent());
        };
        let table = graph.floats(&[count, width], &weights[0]);
        let vectors = graph.node("Gather", &[&table, input], &[]);
        let steps = graph.node("Transpose", &[&vectors], &[("perm", Setting::Ints(vec![1, 0, 2]))]);
        let (zero, one, axis) = (graph.ints(&[1], &[0]), graph.ints(&[1], &[1]), graph.ints(&[1], &[1]));
        let empty = graph.node("Equal", &[input, &zero], &[]);
        let filled = graph.node("Not", &[&empty], &[]);
        let filled = cast(graph, &filled, Element::I64);
        let lengths = graph.node("ReduceSum", &[&filled, &axis], &[("keepdims", Setting::Int(0))]);
        let lengths = graph.node("Max", &[&lengths, &one], &[]);
        (steps, cast(graph, &lengths, Element::I32))
    }

    /// What the dense layer takes `[rows][hidden]` of the states `[length][rows][hidden]`.
    fn export_pooled(&self, graph: &mut Graph, states: &Value, lengths: &Value) -> Value {
        if self.words.is_none() {
            let last = graph.ints(&[], &[self.length as i64 - 1]);
            return graph.node("Gather", &[states, &last], &[("axis", Setting::Int(0))]);
        }
        // States beyond a row's end are zeros here.
        let (first, second) = (graph.ints(&[1], &[0]), graph.ints(&[1], &[1]));
        let sums = graph.node("ReduceSum", &[states, &first], &[("keepdims", Setting::Int(0))]);
        let lengths = cast(graph, lengths, Element::F32);
        let lengths = graph.node("Unsqueeze", &[&lengths, &second], &[]);
        graph.node("Div", &[&sums, &lengths], &[])
    }

    fn first_of_layers(&self) -> usize {
        usize::from(self.words.is_some())
    }
}

impl Network for Recurrent {
    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        if let Some((count, width)) = self.words {
            parameters.push(Parameter::weight("words".to_owned(), &[count, width], Start::Uniform(0.1)));
        }
        let (width, bound) = (self.gates() * self.hidden, Start::Uniform((1.0 / self.hidden as f64).sqrt()));
        for index in 0..self.layers {
            let name = |what: &str| format!("layer{index}.{what}");
            parameters.push(Parameter::weight(name("inputs"), &[self.inputs(index), width], bound));
            parameters.push(Parameter::weight(name("states"), &[self.hidden, width], bound));
            parameters.push(Parameter::offset(name("inputs.offset"), &[width], Start::Constant(0.0)));
            parameters.push(Parameter::offset(name("states.offset"), &[width], Start::Constant(0.0)));
        }
        parameters.extend(layer("out", [self.hidden, self.outputs], false));
        parameters
    }

    fn forward(&self, weights: &[Tensor<1>], inputs: &Batch, training: Option<&mut Random>) -> Tensor<2> {
        let (mut steps, filled) = match (inputs, self.words) {
            (Batch::Tokens { ids, filled }, Some((count, width))) => {
                (embedding(weights[0].clone().reshape([count, width]), ids.clone()), Some(filled))
            }
            (Batch::Rows(rows), None) => (rows.clone().unsqueeze_dim::<3>(2), None),
            _ => unreachable!("invariant: the trainer checks the inputs' kind"),
        };
        let filled_steps: Option<Vec<Tensor<2>>> =
            filled.map(|filled| (0..self.length).map(|step| filled.clone().narrow(1, step, 1)).collect());
        let layers = weights[self.first_of_layers()..].chunks_exact(OF_LAYER).take(self.layers);
        let mut states = Vec::new();
        for (index, weights) in layers.enumerate() {
            states = self.layer(steps.clone(), weights, self.inputs(index), filled_steps.as_deref());
            if index + 1 < self.layers {
                steps = Tensor::stack(states.clone(), 1);
            }
        }
        let pooled = match (filled, &filled_steps) {
            (Some(filled), Some(filled_steps)) => {
                let sums = states.into_iter().zip(filled_steps).map(|(state, filled)| state * filled.clone());
                sums.reduce(|a, b| a + b).expect("invariant: a row has a step") / filled.clone().sum_dim(1)
            }
            _ => states.pop().expect("invariant: a row has a step"),
        };
        let out = &weights[weights.len() - 2..];
        affine(dropout(pooled, self.dropout, training), out, [self.hidden, self.outputs])
    }

    fn export(&self, weights: &[Vec<f32>], graph: &mut Graph, input: &Value) -> Value {
        let (mut steps, lengths) = self.export_steps(weights, graph, input);
        let layers = weights[self.first_of_layers()..].chunks_exact(OF_LAYER).take(self.layers);
        for (index, weights) in layers.enumerate() {
            steps = self.export_layer(graph, &steps, weights, self.inputs(index), &lengths);
        }
        let pooled = self.export_pooled(graph, &steps, &lengths);
        export_affine(graph, &pooled, &weights[weights.len() - 2..], [self.hidden, self.outputs])
    }

    fn activations(&self) -> usize {
        let of_step = |layer| self.inputs(layer) + self.hidden * (4 * self.gates() + 8);
        self.length * (0..self.layers).map(of_step).sum::<usize>()
    }
}

/// The steps `[rows][length][width]` one by one. In two cuts: a cut's gradient is as large as what it was cut from, so that one
/// cut for each step would take the square of the length.
fn along(steps: Tensor<3>) -> Vec<Tensor<2>> {
    let [rows, length, width] = steps.dims();
    let part = (length as f64).sqrt().ceil() as usize;
    let parts = (0..length).step_by(part).map(|start| steps.clone().narrow(1, start, part.min(length - start)));
    let steps =
        parts.flat_map(|part| (0..part.dims()[1]).map(move |step| part.clone().narrow(1, step, 1)).collect::<Vec<_>>());
    steps.map(|step| step.reshape([rows, width])).collect()
}

/// `[rows][width]` as `[width][rows]`.
fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| values.iter().skip(column).step_by(width).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::gradients::{check, classes};
    use crate::fit::random::Purpose;
    use crate::fit::{Distance, Loss};
    use crate::{Matrix, Target, Tokens, Windows};

    fn network(cell: Cell, words: Option<(usize, usize)>, layers: usize) -> Recurrent {
        Recurrent { cell, words, length: 5, hidden: 4, layers, outputs: 2, dropout: 0.0 }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let mut random = Random::new(3, Purpose::Start, 2);
        let ids = vec![3, 1, 4, 0, 0, 2, 2, 5, 6, 1, 1, 0, 0, 0, 0];
        let texts = Dataset {
            inputs: Inputs::Tokens(Tokens { rows: 3, length: 5, ids, vocabulary: 7 }),
            target: classes(3, 2, &mut random),
        };
        let values = (0..15).map(|_| random.normal()).collect();
        let numbers = Matrix { rows: 3, width: 2, values: (0..6).map(|_| random.normal()).collect() };
        let series = Dataset {
            inputs: Inputs::Windows(Windows { rows: 3, length: 5, values }),
            target: Target::Numbers(numbers),
        };
        for cell in [Cell::Gru, Cell::Lstm] {
            check(&network(cell, Some((7, 3)), 1), &Loss::CrossEntropy { weights: vec![1.0; 2] }, &texts);
            check(&network(cell, None, 2), &Loss::Distance(Distance::Squared), &series);
        }
    }
}

//! What trainers write as ONNX. ONNX Runtime has run these very files (`fixtures/check_train.py`), whose digests are frozen;
//! their weights come from sums and products alone, so that they are the same on every machine.

use crate::fixture::{self, fit, matrix, onnx, regression};
use orrery_train::artefact::digest;
use orrery_train::fit::Scale;
use orrery_train::fit::descent::Learnt;
use orrery_train::fit::network::{Network, first_weights};
use orrery_train::fit::random::{Purpose, Random};
use orrery_train::trainers::convolution::Convolutions;
use orrery_train::trainers::dense::{Activation, Dense};
use orrery_train::trainers::recurrent::{Cell, Recurrent};
use orrery_train::trainers::{LearntModel, Model};
use orrery_train::{Dataset, Inputs, Matrix, Pixels, Target, Tokens, Windows};
use serde_json::json;

fn uniform(count: usize, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed, Purpose::Order, 1);
    (0..count).map(|_| 2.0 * random.uniform() - 1.0).collect()
}

fn rows() -> Inputs {
    Inputs::Matrix(Matrix { rows: 5, width: 4, values: uniform(20, 1) })
}

fn series() -> Inputs {
    Inputs::Windows(Windows { rows: 5, length: 9, values: uniform(45, 2) })
}

/// Texts of all lengths, an empty one too.
fn texts() -> Inputs {
    let mut random = Random::new(3, Purpose::Order, 1);
    let id = |row: usize, place: usize, random: &mut Random| if place < row { 1 + random.below(10) as u32 } else { 0 };
    let ids = (0..8 * 7).map(|index| id(index / 7, index % 7, &mut random)).collect();
    Inputs::Tokens(Tokens { rows: 8, length: 7, ids, vocabulary: 11 })
}

fn pictures() -> Inputs {
    let mut random = Random::new(4, Purpose::Order, 1);
    let values = (0..3 * 9 * 6 * 3).map(|_| random.below(256) as u8).collect();
    Inputs::Pixels(Pixels { rows: 3, height: 9, width: 6, channels: 3, values })
}

fn classes(count: u32) -> Target {
    Target::Classes { count, of_row: Vec::new() }
}

fn numbers(width: usize) -> Target {
    Target::Numbers(Matrix { rows: 0, width, values: Vec::new() })
}

fn untrained(network: impl Network + 'static, inputs: Inputs, target: Target) -> (Box<dyn Model>, Dataset) {
    let scale = match &target {
        Target::Numbers(numbers) => {
            Some(Scale { means: vec![3.0; numbers.width], deviations: vec![0.5; numbers.width] })
        }
        Target::Classes { .. } => None,
    };
    let mut weights = first_weights(&network, 6);
    weights.iter_mut().flatten().zip(uniform(1 << 16, 7)).for_each(|(weight, change)| *weight += 0.25 * change as f32);
    let train = Dataset { inputs, target };
    let learnt = Learnt { weights, scale, notes: json!({}) };
    (Box::new(LearntModel::new(Box::new(network), learnt, &train, &[])), train)
}

fn dense(activation: Activation, outputs: usize) -> Dense {
    Dense { widths: vec![4, 8, 5, outputs], activation, dropout: 0.5 }
}

fn recurrent(cell: Cell, words: Option<(usize, usize)>, layers: usize) -> Recurrent {
    let length = if words.is_some() { 7 } else { 9 };
    Recurrent { cell, words, length, hidden: 6, layers, outputs: 3, dropout: 0.5 }
}

/// A model and the examples that it is asked about.
type Asked = (Box<dyn Model>, Dataset);

fn models() -> Vec<(&'static str, Asked)> {
    let convolutions =
        Convolutions { picture: [3, 9, 6], channels: vec![4, 6], blocks: 1, hidden: 8, outputs: 3, dropout: 0.5 };
    let four = regression(matrix(&[&[1.0, 2.0], &[2.0, 3.0], &[3.0, 4.0], &[4.0, 5.0]]), vec![1.0, 2.0, 3.0, 4.0]);
    vec![
        ("linear", (fit("linear-regression", json!({}), &four), four)),
        ("mlp-relu", untrained(dense(Activation::Relu, 3), rows(), classes(3))),
        ("mlp-tanh", untrained(dense(Activation::Tanh, 2), rows(), numbers(2))),
        ("cnn", untrained(convolutions, pictures(), classes(3))),
        ("gru-texts", untrained(recurrent(Cell::Gru, Some((11, 5)), 2), texts(), classes(3))),
        ("lstm-texts", untrained(recurrent(Cell::Lstm, Some((11, 5)), 1), texts(), classes(3))),
        ("gru-series", untrained(recurrent(Cell::Gru, None, 1), series(), numbers(3))),
        ("lstm-series", untrained(recurrent(Cell::Lstm, None, 2), series(), numbers(3))),
    ]
}

/// What the input `x` of the file takes.
fn fed(inputs: &Inputs) -> serde_json::Value {
    let (kind, shape, values): (_, Vec<usize>, Vec<f64>) = match inputs {
        Inputs::Matrix(matrix) => ("float32", vec![matrix.rows, matrix.width], matrix.values.clone()),
        Inputs::Windows(windows) => ("float32", vec![windows.rows, windows.length], windows.values.clone()),
        Inputs::Tokens(tokens) => {
            ("int64", vec![tokens.rows, tokens.length], tokens.ids.iter().map(|&id| f64::from(id)).collect())
        }
        Inputs::Pixels(pixels) => {
            let Pixels { rows, height, width, channels, .. } = *pixels;
            let place = |row, channel, at| (row * height * width + at) * channels + channel;
            let values = (0..rows).flat_map(|row| {
                (0..channels).flat_map(move |channel| (0..height * width).map(move |at| place(row, channel, at)))
            });
            let values = values.map(|place| f64::from(pixels.values[place]) / 127.5 - 1.0).collect();
            ("float32", vec![rows, channels, height, width], values)
        }
    };
    json!({ "type": kind, "shape": shape, "values": values })
}

#[test]
fn files_are_those_that_onnx_runtime_has_run() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("exports");
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut found = serde_json::Map::new();
    for (name, (model, dataset)) in models() {
        let bytes = onnx(model.as_ref(), &dataset);
        let told = model.predict(&dataset.inputs).expect("answers");
        std::fs::write(folder.join(format!("{name}.onnx")), &bytes).expect("written");
        let facts = json!({ "x": fed(&dataset.inputs), "y": told.values, "width": told.width });
        std::fs::write(folder.join(format!("{name}.json")), facts.to_string()).expect("written");
        found.insert(name.to_owned(), json!(digest(&bytes)));
    }
    let frozen = fixture::json("exports.json");
    for (name, digest) in &found {
        assert_eq!(frozen["models"][name]["sha256"], *digest, "{name}: run fixtures/check_train.py on the new files");
    }
    assert_eq!(frozen["models"].as_object().expect("models").len(), found.len());
}

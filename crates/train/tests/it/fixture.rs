//! Data and figures under `fixtures/train/`, and what several tests need to train.

use orrery_train::fit::{Run, RunSettings};
use orrery_train::onnx::{Dim, Element, Graph, Setting};
use orrery_train::trainers::{Model, Splits, of_name};
use orrery_train::{Control, Dataset, Inputs, Matrix, Spec, Target};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/train").join(name)
}

pub fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).expect("a fixture")).expect("JSON")
}

pub fn matrix(rows: &[&[f64]]) -> Matrix {
    Matrix { rows: rows.len(), width: rows[0].len(), values: rows.concat() }
}

/// The columns of a file of numbers with a header; the last column is the target.
pub fn csv(name: &str) -> (Matrix, Vec<f64>) {
    let text = std::fs::read_to_string(path(&format!("{name}.csv"))).expect("a fixture");
    let (mut inputs, mut target) = (Matrix::default(), Vec::new());
    for line in text.lines().skip(1) {
        let mut row: Vec<f64> = line.split(',').map(|cell| cell.parse().expect("a number")).collect();
        target.push(row.pop().expect("a target"));
        inputs.width = row.len();
        inputs.rows += 1;
        inputs.values.extend(row);
    }
    (inputs, target)
}

/// The rows for learning: those whose number does not leave 4 when divided by 5.
pub fn learning(table: (Matrix, Vec<f64>)) -> (Matrix, Vec<f64>) {
    part(table, |row| row % 5 != 4)
}

/// The others.
pub fn testing(table: (Matrix, Vec<f64>)) -> (Matrix, Vec<f64>) {
    part(table, |row| row % 5 == 4)
}

pub fn part((inputs, target): (Matrix, Vec<f64>), keep: impl Fn(usize) -> bool) -> (Matrix, Vec<f64>) {
    let rows: Vec<usize> = (0..inputs.rows).filter(|&row| keep(row)).collect();
    let width = inputs.width;
    let values = rows.iter().flat_map(|row| &inputs.values[row * width..(row + 1) * width]).copied().collect();
    (Matrix { rows: rows.len(), width, values }, rows.iter().map(|&row| target[row]).collect())
}

/// That numbers in lists of lists are within `tolerance`.
pub fn near(found: &Value, expected: &Value, tolerance: f64, what: &str) {
    match (found, expected) {
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{what}");
            found.iter().zip(expected).for_each(|(found, expected)| near(found, expected, tolerance, what));
        }
        _ => {
            let (found, expected) = (found.as_f64().expect("a number"), expected.as_f64().expect("a number"));
            assert!((found - expected).abs() <= tolerance, "{what}: {found} and {expected}");
        }
    }
}

/// The share of rows whose likeliest class is right.
pub fn accuracy(model: &dyn Model, dataset: &Dataset) -> f64 {
    let found = model.predict(&dataset.inputs).expect("answers");
    let Target::Classes { of_row, .. } = &dataset.target else { panic!("numbers") };
    let best = |row: &[f64]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("a class");
    let right = found.values.chunks_exact(found.width).zip(of_row).filter(|(row, class)| best(row) == **class as usize);
    right.count() as f64 / of_row.len() as f64
}

pub fn regression(inputs: Matrix, target: Vec<f64>) -> Dataset {
    let target = Matrix { rows: target.len(), width: 1, values: target };
    Dataset { inputs: Inputs::Matrix(inputs), target: Target::Numbers(target) }
}

pub fn classification(inputs: Matrix, target: &[f64]) -> Dataset {
    let of_row: Vec<u32> = target.iter().map(|class| *class as u32).collect();
    let count = of_row.iter().max().expect("a class") + 1;
    Dataset { inputs: Inputs::Matrix(inputs), target: Target::Classes { count, of_row } }
}

/// What a trainer makes of `train`.
pub fn fit(algorithm: &str, hyperparameters: Value, train: &Dataset) -> Box<dyn Model> {
    fit_with(algorithm, hyperparameters, Splits { train, validation: None }, RunSettings::default())
}

pub fn fit_with(algorithm: &str, hyperparameters: Value, splits: Splits, settings: RunSettings) -> Box<dyn Model> {
    assert!(of_name(algorithm).is_some());
    let trainer = Spec::trainer(algorithm, &hyperparameters).expect("settings");
    let mut on_event = |_: orrery_train::Event| Control::Continue;
    trainer.fit(splits, &mut Run::new(settings, &mut on_event)).expect("a model")
}

/// The model's file, with the prepared rows as its input `x`, and what it predicts as its output `y`.
pub fn onnx(model: &dyn Model, Dataset { inputs, target }: &Dataset) -> Vec<u8> {
    let (element, shape) = match inputs {
        Inputs::Matrix(matrix) => (Element::F32, vec![matrix.width]),
        Inputs::Windows(windows) => (Element::F32, vec![windows.length]),
        Inputs::Tokens(tokens) => (Element::I64, vec![tokens.length]),
        Inputs::Pixels(pixels) => (Element::F32, vec![pixels.channels, pixels.height, pixels.width]),
    };
    let dims: Vec<Dim> = std::iter::once(Dim::Batch).chain(shape.into_iter().map(Dim::Fixed)).collect();
    let mut graph = Graph::new("test");
    let x = graph.input("x", element, &dims);
    let mut y = model.export(&mut graph, &x);
    if let Target::Classes { .. } = target {
        y = graph.node("Softmax", &[&y], &[("axis", Setting::Int(-1))]);
    }
    let width = model.predict(inputs).expect("predictions").width;
    graph.output(&y, "y", Element::F32, &[Dim::Batch, Dim::Fixed(width)]);
    graph.finish(&[])
}

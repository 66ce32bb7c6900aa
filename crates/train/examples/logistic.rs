//! Times logistic regression on a file of numbers, whose name it reads from the standard input: `echo FIXTURE.csv | logistic`.
//! `bench/train/logistic.py` times scikit-learn on the same rows.

use orrery_train::fit::{Run, RunSettings};
use orrery_train::trainers::Splits;
use orrery_train::{Control, Dataset, Inputs, Matrix, Spec, Target};
use std::time::Instant;

fn read(path: &str) -> std::io::Result<Dataset> {
    let (mut matrix, mut of_row) = (Matrix::default(), Vec::new());
    for line in std::fs::read_to_string(path)?.lines().skip(1) {
        let mut row: Vec<f64> = line.split(',').filter_map(|cell| cell.parse().ok()).collect();
        of_row.push(row.pop().unwrap_or_default() as u32);
        matrix.width = row.len();
        matrix.rows += 1;
        matrix.values.extend(row);
    }
    let count = of_row.iter().max().map_or(0, |most| most + 1);
    Ok(Dataset { inputs: Inputs::Matrix(matrix), target: Target::Classes { count, of_row } })
}

fn main() {
    const REPEATS: usize = 21;
    let name = std::io::read_to_string(std::io::stdin()).unwrap_or_default();
    let train = read(name.trim()).expect("a file of numbers");
    let trainer = Spec::trainer("logistic-regression", &serde_json::json!({ "tolerance": 1e-6 })).expect("settings");
    let mut times = Vec::new();
    let mut notes = serde_json::Value::Null;
    for _ in 0..REPEATS {
        let started = Instant::now();
        let mut on_event = |_: orrery_train::Event| Control::Continue;
        let splits = Splits { train: &train, validation: None };
        let model = trainer.fit(splits, &mut Run::new(RunSettings::default(), &mut on_event)).expect("a model");
        times.push(started.elapsed().as_secs_f64() * 1e3);
        notes = model.notes();
    }
    times.sort_by(f64::total_cmp);
    println!("{:.2} ms, loss {}, {} iterations", times[times.len() / 2], notes["loss"], notes["iterations"]);
}

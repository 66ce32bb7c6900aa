//! Linear regression.

use crate::fixture::{self, csv, fit, learning, matrix, near, onnx, regression};
use orrery_train::Target;
use orrery_train::artefact::{Part, publish};
use serde_json::json;

#[test]
fn the_smallest_example_is_answered_exactly() {
    let rows = matrix(&[&[1.0, 2.0], &[2.0, 3.0], &[3.0, 4.0], &[4.0, 5.0]]);
    let train = regression(rows, vec![1.0, 2.0, 3.0, 4.0]);
    let model = fit("linear-regression", json!({}), &train);
    let answers = model.predict(&train.inputs).expect("answers");
    for (answer, expected) in answers.values.iter().zip([1.0, 2.0, 3.0, 4.0]) {
        assert!((answer - expected).abs() < 1e-12, "{answers:?}");
    }
    // Both columns grow alike: the smallest weights are halves.
    let coefficients = &model.notes()["coefficients"][0];
    assert!((coefficients[0].as_f64().expect("a number") - 0.5).abs() < 1e-12, "{coefficients}");

    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("smallest");
    let _ = std::fs::remove_dir_all(&folder);
    let bytes = onnx(model.as_ref(), &train);
    publish(&folder, &[Part { name: "model.onnx", bytes: &bytes }]).expect("published");
    assert_eq!(std::fs::read(folder.join("model.onnx")).expect("the file"), bytes);
}

#[test]
fn coefficients_are_those_of_scikit_learn() {
    let (inputs, target) = learning(csv("diabetes"));
    let train = regression(inputs, target);
    let expected = fixture::json("expected.json");
    for (penalty, alpha, tolerance) in [("none", 0.0, 1e-6), ("ridge", 0.5, 1e-6), ("lasso", 0.2, 1e-6)] {
        let model = fit("linear-regression", json!({ "penalty": penalty, "alpha": alpha }), &train);
        let (found, expected) = (model.notes(), &expected["linear"][penalty]);
        near(&found["coefficients"][0], &expected["coefficients"], tolerance, penalty);
        near(&found["intercepts"][0], &expected["intercept"], tolerance, penalty);
    }
}

#[test]
fn steps_come_to_the_exact_solution() {
    let (mut inputs, target) = learning(csv("diabetes"));
    inputs.values.iter_mut().for_each(|value| *value *= 20.0); // deviations near 1, as the preparation makes them
    let train = regression(inputs, target);
    let exact = fit("linear-regression", json!({}), &train).predict(&train.inputs).expect("answers");
    let steps = json!({ "solver": "gradient-descent", "optimizer": "sgd", "learning_rate": 0.1, "epochs": 600,
        "batch_size": 400, "schedule": "cosine" });
    let model = fit("linear-regression", steps, &train).predict(&train.inputs).expect("answers");
    let error = |answers: &[f64]| -> f64 {
        let Target::Numbers(numbers) = &train.target else { unreachable!() };
        answers.iter().zip(&numbers.values).map(|(a, b)| (a - b).powi(2)).sum()
    };
    let (exact, steps) = (error(&exact.values), error(&model.values));
    assert!(steps >= exact * 0.999_99 && steps < exact * 1.02, "{steps} {exact}");
}

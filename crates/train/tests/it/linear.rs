//! Linear regression.

use crate::fixture::{fit, matrix, onnx, regression};
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
    let bytes = onnx(model.as_ref(), &train.inputs);
    publish(&folder, &[Part { name: "model.onnx", bytes: &bytes }]).expect("published");
    assert_eq!(std::fs::read(folder.join("model.onnx")).expect("the file"), bytes);
}

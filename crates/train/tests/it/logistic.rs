//! Logistic regression.

use crate::fixture::{self, classification, csv, fit, learning, near};
use orrery_train::{Dataset, Inputs, Matrix, Target};
use serde_json::json;

#[test]
fn coefficients_are_those_of_scikit_learn() {
    let expected = fixture::json("expected.json");
    for name in ["iris", "wine", "breast_cancer"] {
        let (inputs, target) = learning(csv(name));
        let train = classification(inputs, &target);
        for weight in ["none", "balanced"] {
            let model = fit("logistic-regression", json!({ "class_weight": weight }), &train);
            let (found, case) = (model.notes(), format!("{name}-{weight}"));
            near(&found["coefficients"], &expected["logistic"][&case]["coefficients"], 1e-3, &case);
            near(&found["intercepts"], &expected["logistic"][&case]["intercepts"], 1e-3, &case);
        }
    }
}

/// Ten classes of 64 columns have too many coefficients for Newton's method.
#[test]
fn many_coefficients_come_to_a_flat_place_too() {
    let (inputs, target) = learning(csv("digits"));
    let train = classification(inputs, &target);
    let model = fit("logistic-regression", json!({ "tolerance": 1e-7 }), &train);
    assert!(fixture::accuracy(model.as_ref(), &train) > 0.98);
    assert!(model.notes()["iterations"].as_u64().expect("a count") < 500, "{}", model.notes()["iterations"]);
}

/// Classes that a line parts have no least loss without a penalty; columns that are alike share the weight with one.
#[test]
fn hostile_columns_give_numbers() {
    let inputs = Matrix { rows: 4, width: 3, values: vec![0., 0., 0., 1., 1., 0., 2., 2., 0., 3., 3., 0.] };
    let target = Target::Classes { count: 3, of_row: vec![0, 0, 2, 2] };
    let train = Dataset { inputs: Inputs::Matrix(inputs), target };
    for penalty in ["none", "l2"] {
        let model = fit("logistic-regression", json!({ "penalty": penalty }), &train);
        let answers = model.predict(&train.inputs).expect("answers");
        assert!(answers.values.iter().all(|value| value.is_finite()), "{penalty}: {answers:?}");
        assert!(answers.values.chunks(3).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12), "{answers:?}");
    }
}

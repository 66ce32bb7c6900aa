//! Differential privacy.

use crate::fixture::{self, accuracy, classification, csv, fit_with};
use orrery_train::fit::RunSettings;
use orrery_train::privacy::{Mechanism, epsilon, noise_for};
use orrery_train::trainers::Splits;
use orrery_train::{Error, PrivacySpec};
use serde_json::json;

fn cases() -> Vec<(Mechanism, f64, f64, f64)> {
    let expected = fixture::json("expected.json");
    let number = |case: &serde_json::Value, name: &str| case[name].as_f64().expect("a number");
    let case = |case: &serde_json::Value| {
        let mechanism = Mechanism {
            sample_rate: number(case, "sample_rate"),
            noise_multiplier: number(case, "noise_multiplier"),
            steps: case["steps"].as_u64().expect("a count"),
        };
        (mechanism, number(case, "delta"), number(case, "rdp"), number(case, "prv"))
    };
    expected["privacy"].as_array().expect("cases").iter().map(case).collect()
}

#[test]
fn epsilon_is_that_of_opacus() {
    for (mechanism, delta, rdp, prv) in cases() {
        let found = epsilon(mechanism, delta).expect("an epsilon");
        assert!((found / rdp - 1.0).abs() < 1e-3, "{mechanism:?}: {found}, and RDPAccountant {rdp}");
        // The numeric accountant is tighter, never by much: what is promised holds by both.
        assert!(found >= prv && found < prv * 1.25, "{mechanism:?}: {found}, and PRVAccountant {prv}");
    }
}

#[test]
fn the_noise_for_an_epsilon_keeps_to_it_closely() {
    for (mechanism, delta, rdp, _) in cases() {
        let noise = noise_for(rdp, delta, mechanism.sample_rate, mechanism.steps).expect("a noise");
        assert!((noise / mechanism.noise_multiplier - 1.0).abs() < 2e-3, "{mechanism:?}: {noise}");
        let spent = epsilon(Mechanism { noise_multiplier: noise, ..mechanism }, delta).expect("an epsilon");
        assert!(spent <= rdp && spent > 0.99 * rdp, "{spent} of {rdp}");
    }
}

#[test]
fn numbers_that_promise_nothing_are_refused() {
    for epsilon in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        assert!(matches!(noise_for(epsilon, 1e-5, 0.1, 100), Err(Error::BadSpec { .. })), "{epsilon}");
    }
    let good = Mechanism { sample_rate: 0.1, noise_multiplier: 1.0, steps: 10 };
    for delta in [f64::NAN, 0.0, 1.0, -1.0] {
        assert!(epsilon(good, delta).is_err(), "{delta}");
    }
    for sample_rate in [f64::NAN, -0.1, 1.1] {
        assert!(epsilon(Mechanism { sample_rate, ..good }, 1e-5).is_err(), "{sample_rate}");
    }
    for noise_multiplier in [f64::NAN, -1.0] {
        assert!(epsilon(Mechanism { noise_multiplier, ..good }, 1e-5).is_err(), "{noise_multiplier}");
    }
    assert_eq!(epsilon(Mechanism { noise_multiplier: 0.0, ..good }, 1e-5).expect("no noise"), f64::INFINITY);
}

fn private(algorithm: &str, epsilon: f64) -> (f64, serde_json::Value) {
    let (inputs, target) = csv("breast_cancer");
    let train = classification(inputs, &target);
    let privacy = Some(PrivacySpec { epsilon, delta: 1e-4, max_grad_norm: 1.0 });
    let settings = RunSettings { privacy, ..RunSettings::default() };
    let splits = Splits { train: &train, validation: None };
    let model = fit_with(algorithm, json!({ "epochs": 30, "learning_rate": 0.02 }), splits, settings);
    (accuracy(model.as_ref(), &train), model.notes()["privacy"].clone())
}

#[test]
fn noisy_steps_learn_and_tell_what_they_spent() {
    for algorithm in ["logistic-regression", "mlp"] {
        let (found, spent) = private(algorithm, 8.0);
        assert!(found > 0.9, "{algorithm}: {found}");
        let epsilon = spent["epsilon"].as_f64().expect("an epsilon");
        assert!(epsilon <= 8.0 && epsilon > 7.9, "{spent}");
    }
    let multiplier = |epsilon| private("mlp", epsilon).1["noise_multiplier"].as_f64().expect("a multiplier");
    let (strict, loose) = (multiplier(0.3), multiplier(8.0));
    assert!(strict > 4.0 * loose, "a smaller epsilon needs more noise: {strict} against {loose}");
}

//! Metrics against scikit-learn's on random and degenerate predictions (`fixtures/metrics`).

use orrery_train::metrics::{Metric, Scores, mase, precision_recall_curve, roc_auc, roc_curve, seasonal_naive};
use orrery_train::{Matrix, Task};
use serde_json::Value;

fn cases(kind: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/metrics/cases.json");
    let all: Value = serde_json::from_slice(&std::fs::read(path).expect("the fixture")).expect("JSON");
    all[kind].as_array().expect("cases").clone()
}

/// A number; `null` is NaN.
fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("numbers").iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
}

fn assert_close(ours: Option<f64>, theirs: &Value, what: &str) {
    match (ours, theirs.as_f64()) {
        (None, None) => {}
        (Some(ours), Some(theirs)) => {
            assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{what}: {ours}, not {theirs}")
        }
        (ours, theirs) => panic!("{what}: {ours:?}, not {theirs:?}"),
    }
}

#[test]
fn metrics_of_classes_are_those_of_scikit_learn() {
    let cases = cases("classification");
    assert_eq!(cases.len(), 70);
    for (index, case) in cases.iter().enumerate() {
        let truth: Vec<u32> = numbers(&case["truth"]).into_iter().map(|class| class as u32).collect();
        let rows: Vec<Vec<f64>> = case["probabilities"].as_array().expect("rows").iter().map(numbers).collect();
        let width = case["classes"].as_u64().expect("classes") as usize;
        let probabilities = Matrix { rows: rows.len(), width, values: rows.concat() };
        let scores = Scores::of_classes(&truth, &probabilities).expect("scores");
        let expected = &case["expected"];
        for metric in Metric::ALL.into_iter().filter(|metric| metric.is_of(Task::TabularClassification)) {
            let what = format!("case {index}, {}", metric.name());
            assert!(expected.get(metric.name()).is_some(), "{what} is in the fixture");
            assert_close(scores.get(metric), &expected[metric.name()], &what);
        }
        let Scores::Classification(scores) = scores else { panic!("classes") };
        let confusion: Vec<Vec<f64>> = expected["confusion"].as_array().expect("rows").iter().map(numbers).collect();
        let ours: Vec<Vec<f64>> =
            scores.confusion.iter().map(|row| row.iter().map(|&count| count as f64).collect()).collect();
        assert_eq!(ours, confusion, "case {index}");
        for (class, score) in scores.per_class.iter().enumerate() {
            for (name, ours) in [("precision", score.precision), ("recall", score.recall), ("f1", score.f1)] {
                let theirs = &expected[format!("{name}_per_class")][class];
                assert_close(Some(ours), theirs, &format!("case {index}, {name} of class {class}"));
            }
        }
        check_curves(&truth, &rows, expected, index);
    }
}

fn check_curves(truth: &[u32], rows: &[Vec<f64>], expected: &Value, index: usize) {
    let Some(points) = expected.get("pr_curve") else { return };
    let last = rows[0].len() - 1;
    let is_last: Vec<bool> = truth.iter().map(|&class| class as usize == last).collect();
    let scores: Vec<f64> = rows.iter().map(|row| row[last]).collect();
    let roc = roc_curve(&is_last, &scores).expect("a curve");
    let area: f64 = roc.windows(2).map(|pair| (pair[1].x - pair[0].x) * (pair[1].y + pair[0].y) / 2.0).sum();
    assert_close(Some(area), &expected["roc_curve_area"], &format!("case {index}, area of the curve"));
    assert_close(roc_auc(&is_last, &scores), &expected["roc_curve_area"], &format!("case {index}, area"));
    let ours = precision_recall_curve(&is_last, &scores).expect("a curve");
    let theirs: Vec<Vec<f64>> = points.as_array().expect("points").iter().map(numbers).collect();
    assert_eq!(ours.len(), theirs.len(), "case {index}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours.x - theirs[0]).abs() < 1e-12 && (ours.y - theirs[1]).abs() < 1e-12, "case {index}");
    }
}

#[test]
fn metrics_of_numbers_are_those_of_scikit_learn() {
    let cases = cases("regression");
    assert_eq!(cases.len(), 45);
    for (index, case) in cases.iter().enumerate() {
        let column = |values: Vec<f64>| Matrix { rows: values.len(), width: 1, values };
        let (truth, predicted) = (column(numbers(&case["truth"])), column(numbers(&case["predicted"])));
        let scores = Scores::of_numbers(&truth, &predicted).expect("scores");
        for metric in [Metric::Mae, Metric::Mse, Metric::Rmse, Metric::R2, Metric::Mape] {
            let what = format!("case {index}, {}", metric.name());
            assert_close(scores.get(metric), &case["expected"][metric.name()], &what);
        }
    }
}

#[test]
fn a_forecast_is_measured_by_the_season_before() {
    assert_eq!(seasonal_naive(&[1.0, 2.0, 3.0, 4.0, 5.0], 2, 5), [4.0, 5.0, 4.0, 5.0, 4.0]);
    assert_eq!(seasonal_naive(&[7.0], 12, 2), [7.0, 7.0]);
    assert!(seasonal_naive(&[], 12, 2).is_empty());
    // The series differs from the season before by 2 at each step.
    assert_eq!(mase(1.0, &[1.0, 2.0, 3.0, 4.0], 2), Some(0.5));
    assert_eq!(mase(1.0, &[1.0, 1.0, 1.0], 1), None);
    assert_eq!(mase(1.0, &[1.0], 1), None);
    let column = |values: &[f64]| Matrix { rows: values.len(), width: 1, values: values.to_vec() };
    let scores = Scores::of_numbers(&column(&[0.0, 1.0]), &column(&[0.0, 3.0])).expect("scores");
    assert_eq!(scores.get(Metric::Smape), Some(0.5));
}

#[test]
fn each_metric_has_a_name_and_a_direction() {
    for task in Task::ALL {
        for metric in Metric::ALL.into_iter().filter(|metric| metric.is_of(task)) {
            assert_eq!(Metric::of_name(metric.name(), task).expect("its name"), metric);
        }
        assert!(Metric::default_of(task).is_of(task));
    }
    let message = Metric::of_name("mae", Task::TextClassification).expect_err("of numbers").to_string();
    assert!(message.contains("`mae`") && message.contains("accuracy"), "{message}");
    assert!(Metric::F1Macro.is_better(Some(0.9), Some(0.8)) && !Metric::F1Macro.is_better(Some(0.8), Some(0.9)));
    assert!(Metric::Rmse.is_better(Some(0.8), Some(0.9)) && !Metric::Rmse.is_better(Some(0.9), Some(0.9)));
    assert!(Metric::Rmse.is_better(Some(1.0), Some(f64::NAN)) && !Metric::Rmse.is_better(Some(f64::NAN), None));
}

//! Jobs as they are written, and refusals that name field, value and way out.

use orrery_train::{Algorithm, Error, Spec, Task};

fn refusal(job: &str) -> (String, String) {
    match Spec::from_json(job) {
        Err(Error::BadSpec { field, message }) => (field, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_is_read() {
    let job = r#"{"task": "tabular-regression", "target": "y", "algorithm": "linear-regression",
        "hyperparameters": {"penalty": "ridge"}, "seed": 7}"#;
    let spec = Spec::from_json(job).expect("a job");
    assert_eq!((spec.task, spec.target.as_deref(), spec.seed), (Task::TabularRegression, Some("y"), 7));
    assert!(matches!(spec.algorithm, Algorithm::Named { name: "linear-regression", .. }));
    assert_eq!(spec.to_value()["hyperparameters"]["alpha"], 1.0);
    assert_eq!(Spec::from_value(spec.to_value()).expect("again").to_value(), spec.to_value());
}

/// What is shown of a job is a job: a worker reads it again.
#[test]
fn the_complete_job_of_every_trainer_reads_as_itself() {
    for row in orrery_train::trainers::TRAINERS {
        for task in row.tasks {
            let job = serde_json::json!({ "task": task.name(), "algorithm": row.name });
            let complete = Spec::from_value(job).expect("the defaults").to_value();
            let again = Spec::from_value(complete.clone()).map(|spec| spec.to_value());
            assert_eq!(again.expect("complete"), complete, "{}", row.name);
        }
    }
}

#[test]
fn a_refusal_names_field_value_and_way_out() {
    let linear = |rest: &str| format!(r#"{{"task": "tabular-regression", "algorithm": "linear-regression", {rest}}}"#);
    let cases = [
        (r#"{"target": "y"}"#.to_owned(), "task", "give one of tabular-classification"),
        (r#"{"task": "chess"}"#.to_owned(), "task", "\"chess\"; give one of \"tabular-classification\""),
        (
            r#"{"task": "tabular-regression", "tarket": "y"}"#.to_owned(),
            "tarket",
            "not a field of the job; it takes task, target",
        ),
        (r#"{"task": "tabular-regression", "seed": -1}"#.to_owned(), "seed", "-1; give a whole number"),
        (linear(r#""hyperparameters": {"alpha": -1}"#), "hyperparameters.alpha", "-1; give a number from 0"),
        (linear(r#""hyperparameters": {"alfa": 1}"#), "hyperparameters.alfa", "it takes solver, penalty, alpha"),
        (
            linear(r#""hyperparameters": {"penalty": "elastic"}"#),
            "hyperparameters.penalty",
            "\"none\", \"ridge\", \"lasso\"",
        ),
        (linear(r#""hyperparameters": [1]"#), "hyperparameters", "must be an object"),
        (linear(r#""privacy": {"epsilon": 1, "delta": 1e-5}"#), "privacy", "not possible with \"linear-regression\""),
        (linear(r#""privacy": {"epsilon": 0, "delta": 1e-5}"#), "privacy.epsilon", "0; give a number over 0"),
        (linear(r#""privacy": {"epsilon": null, "delta": 1e-5}"#), "privacy.epsilon", "missing"),
        (linear(r#""privacy": {"epsilon": "NaN", "delta": 1e-5}"#), "privacy.epsilon", "\"NaN\"; give a number"),
        (
            r#"{"task": "image-classification", "algorithm": "linear-regression"}"#.to_owned(),
            "algorithm",
            "for image-classification",
        ),
        ("{".to_owned(), "", "not JSON"),
    ];
    for (job, field, words) in cases {
        let (found, message) = refusal(&job);
        assert_eq!(found, field, "{job}: {message}");
        assert!(message.contains(words), "{job}: {message}");
    }
}

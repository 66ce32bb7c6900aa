//! Networks that learn by steps.

use crate::fixture::{accuracy, classification, csv, fit, fit_with, learning, onnx, regression, testing};
use orrery_train::fit::RunSettings;
use orrery_train::trainers::Splits;
use orrery_train::{Control, Dataset, Error, Event, Spec, Target};
use serde_json::{Value, json};

#[test]
fn a_perceptron_reads_digits() {
    let (inputs, target) = learning(csv("digits"));
    let train = classification(inputs, &target);
    let (inputs, target) = testing(csv("digits"));
    let test = classification(inputs, &target);
    let model = fit(
        "mlp",
        json!({ "hidden": [256], "dropout": 0.3, "epochs": 50, "learning_rate": 3e-3, "batch_size": 32, "schedule": "cosine" }),
        &train,
    );
    let found = accuracy(model.as_ref(), &test);
    assert!(found >= 0.97, "{found}");
}

fn wine() -> Dataset {
    let (inputs, target) = csv("wine");
    classification(inputs, &target)
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_one_others() {
    let train = wine();
    let file = |seed, settings: &Value| {
        let settings = (settings.clone(), RunSettings { seed, ..RunSettings::default() });
        let model = fit_with("mlp", settings.0, Splits { train: &train, validation: None }, settings.1);
        onnx(model.as_ref(), &train)
    };
    let settings = json!({ "epochs": 5, "dropout": 0.3, "hidden": [64, 32] });
    assert_eq!(file(1, &settings), file(1, &settings));
    assert_ne!(file(1, &settings), file(2, &settings));
}

#[test]
fn learning_stops_when_the_validation_loss_rises() {
    let (train, mut validation) = (wine(), wine());
    let Target::Classes { of_row, .. } = &mut validation.target else { panic!("numbers") };
    of_row.iter_mut().step_by(3).for_each(|class| *class = (*class + 1) % 3); // the surer, the worse
    let settings = json!({ "epochs": 500, "early_stopping": 5 });
    let splits = Splits { train: &train, validation: Some(&validation) };
    let model = fit_with("mlp", settings, splits, RunSettings::default());
    let notes = model.notes();
    let count = |name: &str| notes[name].as_u64().expect("a count");
    assert!(count("epochs") < 500, "{notes}");
    assert_eq!(count("best_step") + 5 * 3, count("steps"), "{notes}");
}

/// How steps over numbers end that must not end well.
fn failure(hyperparameters: Value, mut on_event: impl FnMut(Event) -> Control + Send) -> Error {
    let (inputs, target) = csv("wine");
    let train = regression(inputs, target);
    let trainer = Spec::trainer("linear-regression", &hyperparameters).expect("settings");
    let mut run = orrery_train::fit::Run::new(RunSettings::default(), &mut on_event);
    match trainer.fit(Splits { train: &train, validation: None }, &mut run) {
        Err(error) => error,
        Ok(_) => panic!("a model"),
    }
}

#[test]
fn a_loss_that_is_no_number_ends_the_job() {
    let settings = json!({ "solver": "gradient-descent", "optimizer": "sgd", "learning_rate": 50.0, "epochs": 1000 });
    let error = failure(settings, |_| Control::Continue);
    assert!(matches!(&error, Error::Diverged(message) if message.contains("learning_rate")), "{error:?}");
}

#[test]
fn the_step_is_finished_when_the_caller_wants_the_end() {
    let mut steps = 0;
    let error = failure(json!({ "solver": "gradient-descent" }), |event| {
        steps += u64::from(matches!(event, Event::Step { .. }));
        if steps == 3 { Control::Cancel } else { Control::Continue }
    });
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    assert_eq!(steps, 3);
}

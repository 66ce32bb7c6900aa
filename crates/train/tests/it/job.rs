//! Jobs from a file to an artefact.

use crate::fixture::path;
use orrery_train::artefact::digest;
use orrery_train::job::{Files, Limits, Outcome, run};
use orrery_train::{Control, Error, Event, Result, Spec};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

fn start(job: Value, file: &Path, folder: &Path, limits: &Limits, events: &mut Vec<Event>) -> Result<Outcome> {
    let spec = Spec::from_value(job)?;
    let files = Files { training: file.to_owned().into(), validation: None };
    run(&spec, &files, folder, limits, &mut |event| {
        events.push(event);
        Control::Continue
    })
}

fn go(job: Value, file: &Path, folder: &Path) -> (Outcome, Vec<Event>) {
    let mut events = Vec::new();
    (start(job, file, folder, &Limits::default(), &mut events).expect("an outcome"), events)
}

fn named(rows: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".csv").tempfile().expect("a file");
    std::fs::write(file.path(), rows).expect("written");
    file
}

#[test]
fn the_smallest_example_goes_from_file_to_artefact() {
    let (file, folder) = (named("a,b,y\n1,2,1\n2,3,2\n3,4,3\n4,5,4\n"), tempfile::tempdir().expect("a folder"));
    let job = json!({ "task": "tabular-regression", "target": "y", "name": "line" });
    let (outcome, events) = go(job, file.path(), folder.path());
    assert!(outcome.metrics["train"]["rmse"] < 1e-9, "{outcome:?}");
    assert!(matches!(events.last(), Some(Event::Done { artefact, .. }) if *artefact == outcome.artefact));
    let read = |name: &str| std::fs::read(outcome.artefact.join(name)).expect("a file");
    let described: Value = serde_json::from_slice(&read("orrery.json")).expect("JSON");
    assert_eq!(described["name"], "line");
    assert_eq!(described["files"]["model.onnx"], digest(&read("model.onnx")));
    assert_eq!(described["inputs"][0]["name"], "a");
    assert_eq!(described["training"]["algorithm"], "linear-regression");
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["artefact"], "nothing else is left");
    // For the eye of another program.
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("line.onnx");
    std::fs::copy(outcome.artefact.join("model.onnx"), kept).expect("copied");
}

#[test]
fn the_same_job_gives_the_same_bytes_with_one_thread_or_two() {
    let job = json!({ "task": "tabular-classification", "target": "y", "algorithm": "mlp", "seed": 3,
        "hyperparameters": { "epochs": 3, "hidden": [256, 128], "batch_size": 256, "dropout": 0.1 } });
    let file = path("digits.csv");
    let bytes = |threads| {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = Limits { threads, ..Limits::default() };
        let outcome = start(job.clone(), &file, folder.path(), &limits, &mut Vec::new()).expect("an outcome");
        ["model.onnx", "orrery.json"].map(|name| digest(&std::fs::read(outcome.artefact.join(name)).expect("a file")))
    };
    let one = bytes(1);
    assert_eq!(one, bytes(2));
    assert_eq!(one, bytes(2));
}

#[test]
fn algorithms_are_tried_and_the_best_one_learns() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = json!({ "task": "tabular-classification", "target": "y", "metric": "accuracy",
        "hyperparameters": { "trials": 6 }, "split": { "validation": 0.3, "test": 0.2 } });
    let (outcome, events) = go(job, &path("iris.csv"), folder.path());
    let scores: Vec<f64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Trial { score, .. } => *score,
            _ => None,
        })
        .collect();
    assert_eq!(scores.len(), 8, "six, then the better two");
    let best = scores.iter().copied().fold(0.0, f64::max);
    assert!(best >= 0.9 && outcome.metrics["validation"]["accuracy"] >= 0.9, "{scores:?} {outcome:?}");
}

#[test]
fn limits_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = json!({ "task": "tabular-classification", "target": "y", "algorithm": "mlp", "hyperparameters": { "epochs": 100000 } });
    let fails = |limits| start(job.clone(), &path("wine.csv"), folder.path(), &limits, &mut Vec::new());
    let reached = |result: Result<Outcome>, words: &str| match result {
        Err(Error::LimitReached(message)) => assert!(message.contains(words), "{message}"),
        other => panic!("{other:?}"),
    };
    reached(fails(Limits { memory_bytes_max: 1000, ..Limits::default() }), "learning would take");
    reached(fails(Limits { disk_bytes_max: 1000, ..Limits::default() }), "checkpoints would take");
    reached(fails(Limits { time: Some(Duration::ZERO), ..Limits::default() }), "time is over");
    assert!(!folder.path().join("artefact").exists());
}

#[test]
fn events_are_lines_of_json() {
    let event = Event::Step { step: 3, epoch: 1, total: 9, loss: 0.5, learning_rate: 1e-3 };
    let line = serde_json::to_string(&event).expect("JSON");
    assert_eq!(line, r#"{"event":"step","step":3,"epoch":1,"total":9,"loss":0.5,"learning_rate":0.001}"#);
    assert_eq!(serde_json::from_str::<Event>(&line).expect("an event"), event);
}

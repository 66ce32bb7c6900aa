//! Trainings that are killed and taken up again.

use crate::fixture::{classification, csv, onnx};
use orrery_train::artefact::digest;
use orrery_train::checkpoint::Checkpoints;
use orrery_train::fit::{Every, Run, RunSettings};
use orrery_train::trainers::Splits;
use orrery_train::{Control, Dataset, Event, PrivacySpec, Spec};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const SETTINGS: &str = r#"{"epochs": 12, "batch_size": 16, "dropout": 0.2, "hidden": [24], "early_stopping": 9}"#;
/// A file in the working folder of a training that is to be killed.
const MARK: &str = "killed-training";

fn data() -> (Dataset, Dataset) {
    let split = |rest: usize| {
        let (inputs, target) = csv("wine");
        let all = crate::fixture::part((inputs, target), |row| (row % 5 == 4) == (rest == 4));
        classification(all.0, &all.1)
    };
    (split(0), split(4))
}

fn settings(folder: &Path) -> RunSettings {
    RunSettings {
        seed: 5,
        checkpoints: Some(Checkpoints::open(folder, "a job".into()).expect("a folder")),
        checkpoint_every: Every { steps: 2, time: Duration::MAX },
        ..RunSettings::default()
    }
}

fn train(settings: RunSettings, on_event: &mut (dyn FnMut(Event) -> Control + Send)) -> orrery_train::Result<String> {
    let (train, validation) = data();
    let trainer = Spec::trainer("mlp", &serde_json::from_str(SETTINGS).expect("JSON")).expect("settings");
    let splits = Splits { train: &train, validation: Some(&validation) };
    let model = trainer.fit(splits, &mut Run::new(settings, on_event))?;
    Ok(digest(&onnx(model.as_ref(), &train)))
}

fn unbroken() -> String {
    train(RunSettings { seed: 5, ..RunSettings::default() }, &mut |_| Control::Continue).expect("a model")
}

/// Also the child of the test below, which runs it in a folder of its own.
#[test]
fn a_training_with_checkpoints_is_one_without() {
    let temporary = tempfile::tempdir().expect("a folder");
    let here = Path::new(MARK);
    let folder = if here.exists() { Path::new("checkpoints") } else { temporary.path() };
    let mut tell = |event: Event| {
        if here.exists() {
            eprintln!("{}", serde_json::to_string(&event).expect("JSON"));
        }
        Control::Continue
    };
    let found = train(settings(folder), &mut tell).expect("a model");
    assert_eq!(found, unbroken());
    if here.exists() {
        std::fs::write(MARK, &found).expect("written");
    }
}

#[test]
fn a_training_killed_at_any_moment_comes_to_the_same_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join(MARK);
    std::fs::write(&mark, "").expect("a mark");
    let mut kills = 0;
    for lines in [3, 1, 7, 12, 5, 20, 9, 2, usize::MAX] {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "resume::a_training_with_checkpoints_is_one_without", "--nocapture"])
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("a child");
        let told = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let heard = told.take(lines).filter(|line| line.as_ref().is_ok_and(|line| line.starts_with('{'))).count();
        if lines == usize::MAX {
            assert!(child.wait().expect("an end").success());
        } else {
            assert!(heard > 0);
            child.kill().expect("killed"); // SIGKILL
            kills += usize::from(!child.wait().expect("an end").success());
        }
    }
    assert_eq!(kills, 8, "the training was over before the last kill");
    assert_eq!(std::fs::read_to_string(&mark).expect("a digest"), unbroken());
}

#[test]
fn a_cancelled_training_is_taken_up_where_it_was_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = Vec::new();
    for _ in 0..3 {
        let mut steps = 0;
        let ended = train(settings(folder.path()), &mut |event| {
            if let Event::Step { step, .. } = event {
                steps += 1;
                first.extend((steps == 1).then_some(step));
            }
            if steps == 5 { Control::Cancel } else { Control::Continue }
        });
        assert!(matches!(ended, Err(orrery_train::Error::Cancelled)));
    }
    assert_eq!(first, [1, 6, 11]);
    assert_eq!(train(settings(folder.path()), &mut |_| Control::Continue).expect("a model"), unbroken());
}

/// The noise of a private training is new in each job, and the same in one job that is broken off.
#[test]
fn a_private_training_goes_on_with_its_own_noise() {
    let folder = tempfile::tempdir().expect("a folder");
    let privacy = Some(PrivacySpec { epsilon: 3.0, delta: 1e-3, max_grad_norm: 1.0 });
    let settings = |name: &str| RunSettings { privacy, ..settings(&folder.path().join(name)) };
    let copy = |from: &str, to: &str| {
        std::fs::create_dir(folder.path().join(to)).expect("a folder");
        for entry in std::fs::read_dir(folder.path().join(from)).expect("a folder") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), folder.path().join(to).join(entry.file_name())).expect("copied");
        }
    };
    let mut steps = 0;
    let ended = train(settings("first"), &mut |event| {
        steps += u64::from(matches!(event, Event::Step { .. }));
        if steps == 4 { Control::Cancel } else { Control::Continue }
    });
    assert!(matches!(ended, Err(orrery_train::Error::Cancelled)));
    copy("first", "second");
    let go_on = |name| train(settings(name), &mut |_| Control::Continue).expect("a model");
    assert_eq!(go_on("first"), go_on("second"));
    assert_ne!(go_on("third"), go_on("fourth"));
}

//! Runs one job, whose files' names it reads from the standard input: `echo JOB.json DATA FOLDER [VALIDATION] | train`. Events
//! go to the standard output, a line of JSON each; the times of the job's parts go to the standard error.

use orrery_train::job::{Files, Limits, run};
use orrery_train::{Control, Event, Spec};
use std::path::PathBuf;
use std::time::Instant;

fn main() {
    let line = std::io::read_to_string(std::io::stdin()).unwrap_or_default();
    let arguments: Vec<PathBuf> = line.split_whitespace().map(PathBuf::from).collect();
    let [job, training, folder, rest @ ..] = arguments.as_slice() else {
        eprintln!("give JOB.json DATA FOLDER [VALIDATION] on the standard input");
        std::process::exit(2);
    };
    let started = Instant::now();
    let told = std::fs::read_to_string(job).map_err(|error| error.to_string());
    let spec = told.and_then(|text| Spec::from_json(&text).map_err(|error| error.to_string()));
    let files = Files { training: training.clone().into(), validation: rest.first().cloned().map(Into::into) };
    let ended = spec.and_then(|spec| {
        let mut on_event = |event: Event| {
            println!("{}", serde_json::to_string(&event).unwrap_or_default());
            if !matches!(event, Event::Step { .. }) {
                eprintln!("{:.1} s", started.elapsed().as_secs_f64());
            }
            Control::Continue
        };
        run(&spec, &files, folder, &Limits::default(), &mut on_event).map_err(|error| error.to_string())
    });
    if let Err(message) = ended {
        eprintln!("{message}");
        std::process::exit(1);
    }
}

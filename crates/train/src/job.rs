//! A training job from its file to its artefact: one call that runs to its end.
//!
//! It reads and prepares, chooses, learns, measures and publishes; each of these is somebody else's work. What a job leaves in
//! its folder is `checkpoints/` while it runs, and `artefact/` when it is done.

use crate::artefact::{DESCRIPTION_FILE, FORMAT, MODEL_FILE, Part, digest, file, publish, readable};
use crate::checkpoint::Checkpoints;
use crate::data::{Format, Limits as DataLimits, PictureSettings, Pictures, ReadSettings, Table};
use crate::event::{Control, Event, Values};
use crate::fit::{Every, Run, RunSettings};
use crate::metrics::{Metric, Scores};
use crate::onnx::Graph;
use crate::prepare::{Preparation, Roles, Settings, Source, Split, SplitSettings, prepare, usable_rows};
use crate::search::{Candidate, Search};
use crate::spec::{Algorithm, Spec, bad};
use crate::trainers::{Model, Splits};
use crate::{Dataset, Error, Result, Task};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Finished trials of a search.
const TRIALS_FILE: &str = "trials.json";

/// What a job reads.
#[derive(Clone, Debug)]
pub struct Files {
    /// The rows to learn from.
    pub training: Input,
    /// Rows for validation; without them a part of the others is.
    pub validation: Option<Input>,
}

/// One file. Its name's ending tells the format.
#[derive(Clone, Debug)]
pub enum Input {
    /// On the disk.
    Path(PathBuf),
    /// In memory, and nowhere else.
    Bytes {
        /// What its owner calls it.
        name: String,
        /// Its content.
        bytes: Arc<[u8]>,
    },
}

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Input {
        Input::Path(path)
    }
}

impl Input {
    /// Its name, and its content.
    fn open(&self) -> Result<(String, Arc<[u8]>)> {
        match self {
            Input::Bytes { name, bytes } => Ok((name.clone(), bytes.clone())),
            Input::Path(path) => {
                let bytes = fs::read(path).map_err(file("could not be read", path))?;
                let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
                Ok((name, bytes.into()))
            }
        }
    }
}

/// What a job may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long it may run; `None`: as long as it takes.
    pub time: Option<Duration>,
    /// Bytes of memory, as estimated before it learns.
    pub memory_bytes_max: u64,
    /// Bytes that its checkpoints and artefact may take on the disk, as estimated.
    pub disk_bytes_max: u64,
    /// Threads; 0: one for each processor.
    pub threads: usize,
    /// How often a checkpoint is written.
    pub checkpoint_every: Every,
    /// Bounds on what is read.
    pub data: DataLimits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            time: None,
            memory_bytes_max: 4 << 30,
            disk_bytes_max: 4 << 30,
            threads: 0,
            checkpoint_every: Every::default(),
            data: DataLimits::default(),
        }
    }
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The folder with the model and its description.
    pub artefact: PathBuf,
    /// The metrics that are defined, by split.
    pub metrics: BTreeMap<String, Values>,
}

/// Hears a job's events, and may ask for its end.
pub type Listener<'a> = &'a mut (dyn FnMut(Event) -> Control + Send);

/// Runs a job in `folder`, which is the job's own. A job that was broken off there goes on from its last checkpoint.
///
/// # Errors
/// Any of [`Error`]; nothing is published then, and the checkpoints stay.
pub fn run(spec: &Spec, files: &Files, folder: &Path, limits: &Limits, on_event: Listener) -> Result<Outcome> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(limits.threads).build();
    let pool = pool.map_err(|error| Error::Internal(format!("no threads could be started: {error}")))?;
    pool.install(|| Job { spec, files, folder, limits, started: Instant::now() }.run(on_event))
}

struct Job<'a> {
    spec: &'a Spec,
    files: &'a Files,
    folder: &'a Path,
    limits: &'a Limits,
    started: Instant,
}

/// Rows as they were read.
enum Rows {
    Table(Table),
    Pictures(Pictures),
}

impl Rows {
    fn source(&self) -> Source<'_> {
        match self {
            Rows::Table(table) => Source::Table(table),
            Rows::Pictures(pictures) => Source::Pictures(pictures),
        }
    }
}

/// Rows prepared, each split with where its rows stand.
struct Ready {
    rows: Rows,
    validation_rows: Option<Rows>,
    preparation: Preparation,
    split: Split,
    train: Dataset,
    validation: Dataset,
    test: Dataset,
    /// Digest of the files.
    sha256: String,
}

impl Ready {
    fn splits(&self) -> Splits<'_> {
        let validation = (self.validation.inputs.rows() > 0).then_some(&self.validation);
        Splits { train: &self.train, validation }
    }

    /// Name, source, rows and examples of each split that has some.
    fn measured(&self) -> impl Iterator<Item = (&'static str, Source<'_>, &[usize], &Dataset)> {
        let validation = self.validation_rows.as_ref().unwrap_or(&self.rows).source();
        let source = self.rows.source();
        [
            ("train", source, self.split.train.as_slice(), &self.train),
            ("validation", validation, self.split.validation.as_slice(), &self.validation),
            ("test", source, self.split.test.as_slice(), &self.test),
        ]
        .into_iter()
        .filter(|split| split.3.inputs.rows() > 0)
    }

    fn scores(&self, model: &dyn Model, name: &str) -> Result<Option<Scores>> {
        let Some((_, source, rows, dataset)) = self.measured().find(|split| split.0 == name) else { return Ok(None) };
        self.preparation.scores(source, rows, &model.predict(&dataset.inputs)?).map(Some)
    }
}

impl Job<'_> {
    fn run(&self, on_event: Listener) -> Result<Outcome> {
        let settings =
            RunSettings { deadline: self.limits.time.map(|time| self.started + time), ..RunSettings::default() };
        let mut run = Run::new(settings, on_event);
        let ready = self.ready(&mut run)?;
        self.settle(&ready, &mut run)?;
        let chosen = self.choose(&ready, &mut run)?;
        let trainer = Spec::trainer(chosen.name, &chosen.hyperparameters)?;
        self.check_limits(trainer.bytes(&ready.train), &ready)?;
        run.log(format!("{} learns from {} rows", chosen.name, ready.train.inputs.rows()));
        let model = trainer.fit(ready.splits(), &mut run)?;
        let metrics = self.measure(&ready, model.as_ref(), &mut run)?;
        let training = json!({
            "algorithm": chosen.name, "hyperparameters": trainer.settings(), "seed": self.spec.seed,
            "job": self.spec.to_value(), "code": env!("CARGO_PKG_VERSION"), "notes": model.notes(),
        });
        let artefact = self.publish(&ready, model.as_ref(), training, &metrics)?;
        if let Some(checkpoints) = &run.settings.checkpoints {
            checkpoints.clear()?;
            let _ = fs::remove_file(self.folder.join(TRIALS_FILE)); // there is one after a search alone
        }
        run.tell(Event::Done { artefact: artefact.clone(), metrics: metrics.clone() });
        Ok(Outcome { artefact, metrics })
    }

    fn ready(&self, run: &mut Run) -> Result<Ready> {
        let (rows, mut sha256) = self.read(&self.files.training)?;
        let roles = Roles {
            target: self.spec.target.clone(),
            features: self.spec.features.clone(),
            time: self.spec.time.clone(),
        };
        let (settings, mut shares): (Settings, SplitSettings) =
            (read("preprocessing", &self.spec.preprocessing)?, read("split", &self.spec.split)?);
        if self.spec.split.get("seed").is_none() {
            shares.seed = self.spec.seed;
        }
        let other = self.files.validation.as_ref().map(|input| self.read(input)).transpose()?;
        if other.is_some() {
            shares.validation = 0.0;
        }
        let prepared = prepare(rows.source(), self.spec.task, &roles, &settings, &shares)?;
        prepared.preparation.notes().iter().for_each(|note| run.log(note.clone()));
        let mut ready = Ready {
            rows,
            validation_rows: None,
            preparation: prepared.preparation,
            split: prepared.split,
            train: prepared.train,
            validation: prepared.validation,
            test: prepared.test,
            sha256: String::new(),
        };
        if let Some((rows, digest_of_other)) = other {
            ready.split.validation = usable_rows(rows.source(), self.spec.task, &roles, &settings)?;
            ready.validation = ready.preparation.apply(rows.source(), &ready.split.validation)?;
            ready.validation_rows = Some(rows);
            sha256 = format!("{sha256}+{digest_of_other}");
        }
        ready.sha256 = sha256;
        Ok(ready)
    }

    fn read(&self, input: &Input) -> Result<(Rows, String)> {
        let (name, bytes) = input.open()?;
        if self.spec.task == Task::ImageClassification {
            let settings = PictureSettings { limits: self.limits.data.clone(), ..PictureSettings::default() };
            return Ok((Rows::Pictures(Pictures::read(Cursor::new(&bytes), &settings)?), digest(&bytes)));
        }
        let format = Format::of_name(&name).ok_or_else(|| {
            let message = format!("`training_file` {name} is of no known format; give a .csv, .jsonl or .parquet");
            bad("training_file", message)
        })?;
        let settings = ReadSettings { limits: self.limits.data.clone(), ..ReadSettings::default() };
        Ok((Rows::Table(Table::read(Cursor::new(&bytes), format, &settings)?), digest(&bytes)))
    }

    /// What the run needs to know of the data.
    fn settle(&self, ready: &Ready, run: &mut Run) -> Result<()> {
        let job =
            digest(format!("{}\n{}\n{}", env!("CARGO_PKG_VERSION"), self.spec.to_value(), ready.sha256).as_bytes());
        run.settings.seed = self.spec.seed;
        run.settings.labels = ready.preparation.classes().to_vec();
        run.settings.privacy = self.spec.privacy;
        run.settings.checkpoint_every = self.limits.checkpoint_every;
        run.settings.checkpoints = Some(Checkpoints::open(&self.folder.join("checkpoints"), job)?);
        if let Some(scale) = ready.preparation.picture_scale() {
            run.settings.pictures = (0..scale.channels()).map(|channel| scale.values(channel)).collect();
        }
        Ok(())
    }

    fn choose(&self, ready: &Ready, run: &mut Run) -> Result<Candidate> {
        let trials = match &self.spec.algorithm {
            Algorithm::Named { name, hyperparameters } => {
                return Ok(Candidate { name, hyperparameters: hyperparameters.clone() });
            }
            Algorithm::Auto { trials } => *trials,
        };
        let metric = self.metric()?;
        if ready.validation.inputs.rows() == 0 {
            let first = crate::search::candidates(self.spec.task, 1, self.spec.seed).remove(0);
            run.log(format!("too few rows to compare algorithms: {} it is", first.name));
            return Ok(first);
        }
        let score = |model: &dyn Model| Ok(ready.scores(model, "validation")?.and_then(|scores| scores.get(metric)));
        let memory = Some(self.folder.join(TRIALS_FILE));
        let search = Search { task: self.spec.task, trials, metric, splits: ready.splits(), score: &score, memory };
        let best = search.best(run)?;
        run.log(format!("the best by {} is {} with {}", metric.name(), best.name, best.hyperparameters));
        Ok(best)
    }

    fn metric(&self) -> Result<Metric> {
        let own = if self.spec.task.is_classification() { "log_loss" } else { "rmse" };
        Metric::of_name(self.spec.metric.as_deref().unwrap_or(own), self.spec.task)
    }

    fn check_limits(&self, bytes: u64, ready: &Ready) -> Result<()> {
        let data: usize =
            ready.measured().map(|split| split.2.len()).sum::<usize>() * crate::fit::shape(&ready.train.inputs).1 * 8;
        let (needed, most) = (bytes + 2 * data as u64, self.limits.memory_bytes_max);
        if needed > most {
            return Err(Error::LimitReached(format!(
                "learning would take about {} MB, and the job has {} MB; take fewer rows or columns, a smaller model or batch",
                needed >> 20,
                most >> 20
            )));
        }
        if bytes > self.limits.disk_bytes_max {
            return Err(Error::LimitReached(format!(
                "checkpoints would take up to {} MB, and the job has {} MB; take a smaller model",
                bytes >> 20,
                self.limits.disk_bytes_max >> 20
            )));
        }
        Ok(())
    }

    fn measure(&self, ready: &Ready, model: &dyn Model, run: &mut Run) -> Result<BTreeMap<String, Values>> {
        let mut metrics = BTreeMap::new();
        for (split, source, rows, dataset) in ready.measured() {
            let scores = ready.preparation.scores(source, rows, &model.predict(&dataset.inputs)?)?;
            let values: Values =
                scores.listed().into_iter().map(|(metric, value)| (metric.name().to_owned(), value)).collect();
            run.tell(Event::Metrics { split: split.to_owned(), step: 0, values: values.clone() });
            metrics.insert(split.to_owned(), values);
        }
        Ok(metrics)
    }

    fn publish(
        &self,
        ready: &Ready,
        model: &dyn Model,
        training: Value,
        metrics: &BTreeMap<String, Values>,
    ) -> Result<PathBuf> {
        let mut graph = Graph::new("orrery");
        let input = ready.preparation.export_inputs(&mut graph);
        let raw = model.export(&mut graph, &input);
        ready.preparation.export_outputs(&mut graph, &raw);
        let bytes = graph.finish(&[("task", self.spec.task.name())]);
        let description = self.description(ready, training, metrics, &digest(&bytes));
        let folder = self.folder.join("artefact");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(file("could not be removed", &folder))?;
        }
        let parts =
            [Part { name: MODEL_FILE, bytes: &bytes }, Part { name: DESCRIPTION_FILE, bytes: &readable(&description) }];
        publish(&folder, &parts)?;
        Ok(folder)
    }

    fn description(&self, ready: &Ready, training: Value, metrics: &BTreeMap<String, Values>, sha256: &str) -> Value {
        let said = ready.preparation.describe();
        let inputs: Vec<Value> = said["inputs"].as_array().into_iter().flatten().map(input_of).collect();
        let outputs: serde_json::Map<String, Value> =
            said["outputs"].as_array().into_iter().flatten().filter_map(role).collect();
        json!({
            "format": FORMAT, "name": self.spec.name.as_deref().unwrap_or("model"), "task": self.spec.task.name(),
            "model": MODEL_FILE, "files": { MODEL_FILE: sha256 },
            "inputs": inputs, "outputs": outputs, "labels": ready.preparation.classes(),
            "metrics": metrics,
            "data": {
                "sha256": ready.sha256,
                "rows": ready.measured().map(|split| split.2.len()).sum::<usize>(),
                "split": { "train": rows(&ready.train), "validation": rows(&ready.validation), "test": rows(&ready.test) },
                "preparation": said,
            },
            "training": training,
            "card": {},
        })
    }
}

fn rows(dataset: &Dataset) -> usize {
    dataset.inputs.rows()
}

/// What predictions are made from, in the words of the artefact's description.
fn input_of(input: &Value) -> Value {
    let kind = match input["kind"].as_str() {
        Some("boolean") => "number",
        Some("picture") => "image",
        Some(kind) => kind,
        None => "number",
    };
    let mut described = json!({ "name": input["name"], "kind": kind, "shape": input["shape"] });
    if input["categories"].is_array() {
        described["values"] = input["categories"].clone();
    }
    described
}

fn role(output: &Value) -> Option<(String, Value)> {
    let name = output["name"].as_str()?;
    Some((name.to_owned(), json!(name)))
}

/// A part of the job that has a reader of its own.
fn read<T: serde::de::DeserializeOwned + Default>(field: &str, value: &Value) -> Result<T> {
    if value.is_null() {
        return Ok(T::default());
    }
    serde_json::from_value(value.clone()).map_err(|error| bad(field, format!("`{field}`: {error}")))
}

//! A training job as its owner writes it: JSON, read strictly.
//!
//! Defaults are filled in here and in the trainers' rows; what comes out is complete, and is what stands in the model's card.

mod fields;

pub use fields::{Bounds, Fields, bad};

use crate::trainers::{self, Row, Trainer};
use crate::{Result, Task};
use serde_json::{Value, json};

/// Columns that a job can name.
const FEATURES_MAX: usize = 100_000;

/// What is to be trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// What for.
    pub task: Task,
    /// The column that is to be told; `None` where the data have but one (pictures in folders, a single series).
    pub target: Option<String>,
    /// The column by which a series is ordered; `None` for the file's order.
    pub time: Option<String>,
    /// The columns it is told from; `None` for all others.
    pub features: Option<Vec<String>>,
    /// How.
    pub algorithm: Algorithm,
    /// Settings of the preparation, which reads them itself.
    pub preprocessing: Value,
    /// Settings of the splits, which the preparation reads as well.
    pub split: Value,
    /// The metric by which candidates are compared; `None` for the task's own.
    pub metric: Option<String>,
    /// Where all randomness comes from.
    pub seed: u64,
    /// Differential privacy, where it is asked for.
    pub privacy: Option<PrivacySpec>,
    /// What the model is to be called.
    pub name: Option<String>,
}

/// How a model is found.
#[derive(Clone, Debug, PartialEq)]
pub enum Algorithm {
    /// With one trainer.
    Named {
        /// The trainer's name.
        name: &'static str,
        /// Its settings as they were given.
        hyperparameters: Value,
    },
    /// By trying several.
    Auto {
        /// How many candidates.
        trials: u64,
    },
}

/// What a learner under differential privacy must keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrivacySpec {
    /// ε: the most that may be spent.
    pub epsilon: f64,
    /// δ: the chance that ε does not hold.
    pub delta: f64,
    /// Length to which an example's gradient is cut.
    pub max_grad_norm: f64,
}

impl Spec {
    /// Reads a job.
    ///
    /// # Errors
    /// [`crate::Error::BadSpec`] naming the field, its value and the way out.
    pub fn from_json(text: &str) -> Result<Spec> {
        let value = serde_json::from_str(text).map_err(|error| bad("", format!("the job is not JSON: {error}")))?;
        Spec::from_value(value)
    }

    /// Reads a job that is parsed already.
    ///
    /// # Errors
    /// As [`Spec::from_json`].
    pub fn from_value(value: Value) -> Result<Spec> {
        let mut fields = Fields::of("", value)?;
        let task = task(&mut fields)?;
        let spec = Spec {
            task,
            target: fields.text("target")?,
            time: fields.text("time")?,
            features: features(&mut fields)?,
            algorithm: algorithm(&mut fields, task)?,
            preprocessing: fields.take("preprocessing").unwrap_or(Value::Null),
            split: fields.take("split").unwrap_or(Value::Null),
            metric: fields.text("metric")?,
            seed: fields.count("seed", (0, u64::MAX), 0)?,
            privacy: privacy(&mut fields)?,
            name: fields.text("name")?,
        };
        fields.finish()?;
        spec.check()?;
        Ok(spec)
    }

    /// The trainer of a job with a named algorithm.
    ///
    /// # Errors
    /// [`crate::Error::BadSpec`] for settings that cannot be.
    pub fn trainer(name: &str, hyperparameters: &Value) -> Result<Box<dyn Trainer>> {
        let row =
            trainers::of_name(name).ok_or_else(|| bad("algorithm", format!("`algorithm` \"{name}\" is unknown")))?;
        let mut fields = Fields::of("hyperparameters", hyperparameters.clone())?;
        let trainer = (row.read)(&mut fields)?;
        fields.finish()?;
        Ok(trainer)
    }

    /// The job as JSON, complete.
    pub fn to_value(&self) -> Value {
        let (algorithm, hyperparameters) = match &self.algorithm {
            Algorithm::Auto { trials } => ("auto", json!({ "trials": trials })),
            Algorithm::Named { name, hyperparameters } => {
                let full = Spec::trainer(name, hyperparameters).map(|trainer| trainer.settings());
                (*name, full.unwrap_or_else(|_| hyperparameters.clone()))
            }
        };
        let privacy = self.privacy.map(|privacy| {
            json!({ "epsilon": privacy.epsilon, "delta": privacy.delta, "max_grad_norm": privacy.max_grad_norm })
        });
        json!({
            "task": self.task.name(), "target": self.target, "time": self.time, "features": self.features, "algorithm": algorithm,
            "hyperparameters": hyperparameters, "preprocessing": self.preprocessing, "split": self.split,
            "metric": self.metric, "seed": self.seed, "privacy": privacy, "name": self.name,
        })
    }

    /// What two fields say together.
    fn check(&self) -> Result<()> {
        let Algorithm::Named { name, hyperparameters } = &self.algorithm else {
            return match self.privacy {
                None => Ok(()),
                Some(_) => {
                    let able = names(|row| row.private && row.tasks.contains(&self.task));
                    let message =
                        format!("`privacy` cannot be kept while several algorithms are tried; name one of {able}");
                    Err(bad("privacy", message))
                }
            };
        };
        Spec::trainer(name, hyperparameters)?;
        let private = trainers::of_name(name).is_some_and(|row| row.private);
        match self.privacy.is_some() && !private {
            true => {
                let able = names(|row| row.private && row.tasks.contains(&self.task));
                Err(bad("privacy", format!("`privacy` is not possible with \"{name}\"; choose one of {able}")))
            }
            false => Ok(()),
        }
    }
}

fn task(fields: &mut Fields) -> Result<Task> {
    let choices = Task::ALL.map(|task| (task.name(), task));
    match fields.take("task") {
        None => {
            let names: Vec<_> = Task::ALL.iter().map(|task| task.name()).collect();
            Err(bad("task", format!("`task` is missing; give one of {}", names.join(", "))))
        }
        Some(value) => Fields::of("", json!({ "task": value }))?.choice("task", &choices),
    }
}

fn features(fields: &mut Fields) -> Result<Option<Vec<String>>> {
    let Some(value) = fields.take("features") else { return Ok(None) };
    let items = value.as_array().filter(|items| (1..=FEATURES_MAX).contains(&items.len()));
    let text = |item: &Value| item.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
    let names: Option<Vec<String>> = items.and_then(|items| items.iter().map(text).collect());
    names.map(Some).ok_or_else(|| {
        fields.refuse(
            "features",
            &value,
            &format!("give a list of 1 to {FEATURES_MAX} names of columns, or leave it out"),
        )
    })
}

fn algorithm(fields: &mut Fields, task: Task) -> Result<Algorithm> {
    let value = fields.take("algorithm").unwrap_or_else(|| json!("auto"));
    let hyperparameters = fields.take("hyperparameters").unwrap_or(Value::Null);
    if value == "auto" {
        let mut given = Fields::of("hyperparameters", hyperparameters)?;
        let trials = given.count("trials", (1, 1000), 16)?;
        given.finish()?;
        return Ok(Algorithm::Auto { trials });
    }
    let row = value.as_str().and_then(trainers::of_name).filter(|row| row.tasks.contains(&task));
    match row {
        Some(row) => Ok(Algorithm::Named { name: row.name, hyperparameters }),
        None => {
            let able = names(|row| row.tasks.contains(&task));
            Err(fields.refuse("algorithm", &value, &format!("for {} give \"auto\" or one of {able}", task.name())))
        }
    }
}

fn privacy(fields: &mut Fields) -> Result<Option<PrivacySpec>> {
    let Some(value) = fields.take("privacy") else { return Ok(None) };
    let mut given = Fields::of("privacy", value)?;
    for name in ["epsilon", "delta"] {
        if given.absent(name) {
            let message = format!("`privacy.{name}` is missing; without it nothing is promised");
            return Err(bad(&format!("privacy.{name}"), message));
        }
    }
    let privacy = PrivacySpec {
        epsilon: given.number("epsilon", Bounds::over(0.0, 1000.0), 0.0)?,
        delta: given.number("delta", Bounds::over(0.0, 0.1), 0.0)?,
        max_grad_norm: given.number("max_grad_norm", Bounds::over(0.0, 1e6), 1.0)?,
    };
    given.finish()?;
    Ok(Some(privacy))
}

fn names(able: impl Fn(&Row) -> bool) -> String {
    let names: Vec<_> =
        trainers::TRAINERS.iter().filter(|row| able(row)).map(|row| format!("\"{}\"", row.name)).collect();
    if names.is_empty() { "nothing, as no algorithm here can".to_owned() } else { names.join(", ") }
}

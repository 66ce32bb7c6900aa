//! Settings of learning by steps against the gradient, and what follows from them for each step.

use crate::spec::{Bounds, Fields, bad};
use crate::{Error, Result};
use serde::Serialize;
use serde_json::Value;

/// Which rule makes a step of a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Adam (Kingma and Ba); the decay is a part of the gradient.
    Adam,
    /// Adam with the decay apart from the gradient (Loshchilov and Hutter).
    AdamW,
    /// Plain steps with momentum.
    Sgd,
}

/// How the learning rate goes after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It falls to 0 along half a cosine.
    Cosine,
    /// It falls by a factor every few epochs.
    Step,
}

/// What is minimised where the target is numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    /// The squared error.
    Squared,
    /// The absolute error.
    Absolute,
    /// Squared up to one deviation, absolute from there.
    Huber,
}

/// How much the examples of a class count.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Balance {
    /// All the same, or all classes the same.
    Named(&'static str),
    /// By label.
    Weights(serde_json::Map<String, Value>),
}

/// All settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DescentSettings {
    /// The rule.
    pub optimizer: Rule,
    /// The learning rate.
    pub learning_rate: f64,
    /// Share of the last step in the next one (plain steps only).
    pub momentum: f64,
    /// L2: how strongly weights are drawn to zero.
    pub weight_decay: f64,
    /// L1: the same with a pull that does not depend on the weight.
    pub l1: f64,
    /// Examples in a step.
    pub batch_size: usize,
    /// How often every example is seen.
    pub epochs: u64,
    /// The learning rate's way.
    pub schedule: Schedule,
    /// Steps in which the learning rate grows from 0.
    pub warmup_steps: u64,
    /// Epochs between two falls ([`Schedule::Step`]).
    pub step_epochs: u64,
    /// What it falls by then.
    pub step_factor: f64,
    /// Longest gradient; longer ones are cut. 0: no limit.
    pub clip_norm: f64,
    /// Epochs without a better validation loss after which learning ends; 0: never.
    pub early_stopping: u64,
    /// Weights of the classes.
    pub class_weight: Balance,
    /// The loss of numbers.
    #[serde(rename = "loss")]
    pub distance: Distance,
}

/// What a trainer has as defaults of its own.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// The learning rate.
    pub learning_rate: f64,
    /// Examples in a step.
    pub batch_size: u64,
    /// Passes over the data.
    pub epochs: u64,
    /// Longest gradient.
    pub clip_norm: f64,
    /// Patience.
    pub early_stopping: u64,
}

impl DescentSettings {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`Error::BadSpec`].
    pub fn read(fields: &mut Fields, defaults: Defaults) -> Result<DescentSettings> {
        Ok(DescentSettings {
            optimizer: fields
                .choice("optimizer", &[("adam", Rule::Adam), ("adamw", Rule::AdamW), ("sgd", Rule::Sgd)])?,
            learning_rate: fields.number("learning_rate", Bounds::over(0.0, 100.0), defaults.learning_rate)?,
            momentum: fields.number("momentum", Bounds::within(0.0, 0.9999), 0.9)?,
            weight_decay: fields.number("weight_decay", Bounds::within(0.0, 1e3), 0.0)?,
            l1: fields.number("l1", Bounds::within(0.0, 1e3), 0.0)?,
            batch_size: fields.count("batch_size", (1, 65_536), defaults.batch_size)? as usize,
            epochs: fields.count("epochs", (1, 100_000), defaults.epochs)?,
            schedule: fields.choice(
                "schedule",
                &[("constant", Schedule::Constant), ("cosine", Schedule::Cosine), ("step", Schedule::Step)],
            )?,
            warmup_steps: fields.count("warmup_steps", (0, 1_000_000), 0)?,
            step_epochs: fields.count("step_epochs", (1, 100_000), 10)?,
            step_factor: fields.number("step_factor", Bounds::over(0.0, 1.0), 0.1)?,
            clip_norm: fields.number("clip_norm", Bounds::within(0.0, 1e9), defaults.clip_norm)?,
            early_stopping: fields.count("early_stopping", (0, 100_000), defaults.early_stopping)?,
            class_weight: Balance::read(fields)?,
            distance: fields.choice(
                "loss",
                &[("squared", Distance::Squared), ("absolute", Distance::Absolute), ("huber", Distance::Huber)],
            )?,
        })
    }

    /// Reads the few that a solver without steps has for the case that it must be private.
    ///
    /// # Errors
    /// [`Error::BadSpec`].
    pub fn read_private(fields: &mut Fields) -> Result<DescentSettings> {
        let mut none = Fields::of("hyperparameters", Value::Null)?;
        let defaults = Defaults { learning_rate: 0.05, batch_size: 64, epochs: 20, clip_norm: 0.0, early_stopping: 0 };
        let mut settings = DescentSettings::read(&mut none, defaults)?;
        settings.learning_rate = fields.number("learning_rate", Bounds::over(0.0, 100.0), settings.learning_rate)?;
        settings.batch_size = fields.count("batch_size", (1, 65_536), settings.batch_size as u64)? as usize;
        settings.epochs = fields.count("epochs", (1, 100_000), settings.epochs)?;
        Ok(settings)
    }

    /// Adds those few to the settings that are shown.
    pub fn add_private_to(&self, settings: &mut Value) {
        settings["learning_rate"] = self.learning_rate.into();
        settings["batch_size"] = self.batch_size.into();
        settings["epochs"] = self.epochs.into();
    }

    /// The learning rate of a step, counted from 0, of `total` steps with `epoch_steps` in an epoch.
    pub fn rate(&self, step: u64, epoch_steps: u64, total: u64) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * (step + 1) as f64 / self.warmup_steps as f64;
        }
        self.learning_rate
            * match self.schedule {
                Schedule::Constant => 1.0,
                Schedule::Cosine => {
                    let after = total.saturating_sub(self.warmup_steps).max(1) as f64;
                    let share = (step - self.warmup_steps) as f64 / after;
                    0.5 * (1.0 + (std::f64::consts::PI * share.min(1.0)).cos())
                }
                Schedule::Step => self.step_factor.powf((step / epoch_steps.max(1) / self.step_epochs) as f64),
            }
    }
}

impl Balance {
    /// Reads `class_weight`.
    ///
    /// # Errors
    /// [`Error::BadSpec`].
    pub fn read(fields: &mut Fields) -> Result<Balance> {
        const NAME: &str = "class_weight";
        match fields.take(NAME) {
            None => Ok(Balance::Named("none")),
            Some(Value::String(text)) if text == "none" => Ok(Balance::Named("none")),
            Some(Value::String(text)) if text == "balanced" => Ok(Balance::Named("balanced")),
            Some(Value::Object(weights)) if weights.values().all(positive) => Ok(Balance::Weights(weights)),
            Some(value) => {
                let way_out = "give \"none\", \"balanced\" or an object from labels to numbers over 0 and at most 1e6";
                Err(fields.refuse(NAME, &value, way_out))
            }
        }
    }
}

fn positive(weight: &Value) -> bool {
    weight.as_f64().is_some_and(|weight| weight > 0.0 && weight <= 1e6)
}

/// The weight of each class: balanced ones are rows / (classes · rows of the class), as scikit-learn's.
///
/// # Errors
/// [`Error::BadSpec`] for a label that is none of the classes'.
pub fn class_weights(balance: &Balance, of_row: &[u32], count: usize, labels: &[String]) -> Result<Vec<f64>> {
    match balance {
        Balance::Named("balanced") => {
            let mut rows = vec![0.0; count];
            of_row.iter().for_each(|&class| rows[class as usize] += 1.0);
            let seen = rows.iter().filter(|&&rows| rows > 0.0).count() as f64;
            Ok(rows.iter().map(|&rows| if rows > 0.0 { of_row.len() as f64 / (seen * rows) } else { 0.0 }).collect())
        }
        Balance::Named(_) => Ok(vec![1.0; count]),
        Balance::Weights(given) => {
            if let Some(label) = given.keys().find(|label| !labels.contains(label)) {
                return Err(unknown_label(label, labels));
            }
            let weight = |label: &String| given.get(label).and_then(Value::as_f64).unwrap_or(1.0);
            Ok((0..count).map(|class| labels.get(class).map_or(1.0, weight)).collect())
        }
    }
}

fn unknown_label(label: &str, labels: &[String]) -> Error {
    let some: Vec<_> = labels.iter().take(20).map(String::as_str).collect();
    let path = format!("hyperparameters.class_weight.{label}");
    bad(&path, format!("`{path}` is no class of the target's; the classes are {}", some.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(value: Value) -> DescentSettings {
        let mut fields = Fields::of("hyperparameters", value).expect("an object");
        let defaults = Defaults { learning_rate: 1.0, batch_size: 1, epochs: 1, clip_norm: 0.0, early_stopping: 0 };
        DescentSettings::read(&mut fields, defaults).expect("settings")
    }

    #[test]
    fn rates_follow_their_schedule() {
        let check = |value, expected: &[(u64, f64)]| {
            let settings = settings(value);
            for &(step, rate) in expected {
                let found = settings.rate(step, 10, 100);
                assert!((found - rate).abs() < 1e-12, "{settings:?} at {step}: {found}");
            }
        };
        check(serde_json::json!({}), &[(0, 1.0), (99, 1.0)]);
        check(serde_json::json!({"warmup_steps": 4}), &[(0, 0.25), (3, 1.0), (4, 1.0)]);
        check(serde_json::json!({"schedule": "cosine"}), &[(0, 1.0), (50, 0.5), (100, 0.0)]);
        check(
            serde_json::json!({"schedule": "step", "step_epochs": 2, "step_factor": 0.5}),
            &[(19, 1.0), (20, 0.5), (45, 0.25)],
        );
    }

    #[test]
    fn balanced_classes_weigh_the_same() {
        let weights = class_weights(&Balance::Named("balanced"), &[0, 0, 0, 1], 2, &[]).expect("weights");
        assert_eq!(weights, [4.0 / 6.0, 2.0]);
        let given = Balance::Weights(serde_json::from_str(r#"{"b": 3}"#).expect("an object"));
        let labels = ["a".to_owned(), "b".to_owned()];
        assert_eq!(class_weights(&given, &[0], 2, &labels).expect("weights"), [1.0, 3.0]);
        assert!(class_weights(&given, &[0], 1, &labels[..1]).is_err());
    }
}

//! How good predictions are, by scikit-learn's definitions, and which way a metric is better.
//!
//! It knows truth and predictions, and no model. Where a metric is not defined (no rows, one class, scores that are not
//! finite) it is `None`: scikit-learn raises or warns there. Start at [`Scores`].

mod classification;
mod curves;
mod regression;

use serde::{Deserialize, Serialize};

use crate::{Error, Matrix, Result, Task};

pub use classification::{Averages, ClassScore, ClassScores, RocAuc};
pub use curves::{Point, precision_recall_curve, roc_auc, roc_curve};
pub use regression::{NumberScores, mase, seasonal_naive};

/// All metrics of one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scores {
    /// Of predicted classes.
    Classification(ClassScores),
    /// Of predicted numbers, in the target's units.
    Regression(NumberScores),
}

/// A number to choose by: early stopping, search and the comparison of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of rows whose class is right.
    Accuracy,
    /// Mean recall of the classes that occur.
    BalancedAccuracy,
    /// Mean over classes.
    PrecisionMacro,
    /// Over all rows.
    PrecisionMicro,
    /// Mean over classes by their rows.
    PrecisionWeighted,
    /// Mean over classes.
    RecallMacro,
    /// Over all rows.
    RecallMicro,
    /// Mean over classes by their rows.
    RecallWeighted,
    /// Mean over classes.
    F1Macro,
    /// Over all rows.
    F1Micro,
    /// Mean over classes by their rows.
    F1Weighted,
    /// Area under the ROC curve; of several classes the mean of each against the rest.
    RocAuc,
    /// The same, the mean by the classes' rows.
    RocAucWeighted,
    /// Mean negative logarithm of the true class's probability.
    LogLoss,
    /// Mean absolute error.
    Mae,
    /// Mean squared error.
    Mse,
    /// Its root.
    Rmse,
    /// Coefficient of determination.
    R2,
    /// Mean absolute error in shares of the truth.
    Mape,
    /// Mean absolute error in shares of the mean of truth and prediction.
    Smape,
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 20] = [
        Metric::Accuracy,
        Metric::BalancedAccuracy,
        Metric::PrecisionMacro,
        Metric::PrecisionMicro,
        Metric::PrecisionWeighted,
        Metric::RecallMacro,
        Metric::RecallMicro,
        Metric::RecallWeighted,
        Metric::F1Macro,
        Metric::F1Micro,
        Metric::F1Weighted,
        Metric::RocAuc,
        Metric::RocAucWeighted,
        Metric::LogLoss,
        Metric::Mae,
        Metric::Mse,
        Metric::Rmse,
        Metric::R2,
        Metric::Mape,
        Metric::Smape,
    ];

    /// The name in settings and results.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::BalancedAccuracy => "balanced_accuracy",
            Metric::PrecisionMacro => "precision_macro",
            Metric::PrecisionMicro => "precision_micro",
            Metric::PrecisionWeighted => "precision_weighted",
            Metric::RecallMacro => "recall_macro",
            Metric::RecallMicro => "recall_micro",
            Metric::RecallWeighted => "recall_weighted",
            Metric::F1Macro => "f1_macro",
            Metric::F1Micro => "f1_micro",
            Metric::F1Weighted => "f1_weighted",
            Metric::RocAuc => "roc_auc",
            Metric::RocAucWeighted => "roc_auc_weighted",
            Metric::LogLoss => "log_loss",
            Metric::Mae => "mae",
            Metric::Mse => "mse",
            Metric::Rmse => "rmse",
            Metric::R2 => "r2",
            Metric::Mape => "mape",
            Metric::Smape => "smape",
        }
    }

    /// The metric of a name, if it is one of the task's.
    ///
    /// # Errors
    /// [`Error::BadSpec`] lists the names that would be right.
    pub fn of_name(name: &str, task: Task) -> Result<Metric> {
        let of_task = || Metric::ALL.into_iter().filter(|metric| metric.is_of(task));
        of_task().find(|metric| metric.name() == name).ok_or_else(|| {
            let names: Vec<&str> = of_task().map(Metric::name).collect();
            let message = format!(
                "{} is no metric of {}; use one of {}",
                crate::data::quoted(name),
                task.name(),
                names.join(", ")
            );
            Error::BadSpec { field: "metric".to_owned(), message }
        })
    }

    /// What a task is judged by where the job names no metric.
    pub fn default_of(task: Task) -> Metric {
        if task.is_classification() { Metric::LogLoss } else { Metric::Rmse }
    }

    /// Whether a task has it.
    pub fn is_of(self, task: Task) -> bool {
        let is_of_numbers =
            matches!(self, Metric::Mae | Metric::Mse | Metric::Rmse | Metric::R2 | Metric::Mape | Metric::Smape);
        is_of_numbers != task.is_classification()
    }

    /// Whether more is better.
    pub fn is_higher_better(self) -> bool {
        !matches!(self, Metric::LogLoss | Metric::Mae | Metric::Mse | Metric::Rmse | Metric::Mape | Metric::Smape)
    }

    /// Whether `new` is better than `old`. A number is better than none (`None` or NaN).
    pub fn is_better(self, new: Option<f64>, old: Option<f64>) -> bool {
        let defined = |value: Option<f64>| value.filter(|value| !value.is_nan());
        match (defined(new), defined(old)) {
            (Some(new), Some(old)) => (new > old) == self.is_higher_better() && new != old,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

impl Scores {
    /// Of probabilities, `[rows][classes]`. A row's class is the one with the highest, the first of several.
    ///
    /// # Errors
    /// [`Error::Internal`] if the shapes do not fit or a class has no column.
    pub fn of_classes(truth: &[u32], probabilities: &Matrix) -> Result<Scores> {
        classification::scores(truth, probabilities).map(Scores::Classification)
    }

    /// Of numbers of one shape, in the target's units. A forecast's steps count alike.
    ///
    /// # Errors
    /// [`Error::Internal`] if the shapes differ.
    pub fn of_numbers(truth: &Matrix, predicted: &Matrix) -> Result<Scores> {
        if (truth.rows, truth.width) != (predicted.rows, predicted.width) {
            return Err(Error::Internal("truth and prediction differ in shape".to_owned()));
        }
        Ok(Scores::Regression(regression::scores(&truth.values, &predicted.values)))
    }

    /// One metric; `None` where it is not defined, or of the other kind of task.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match self {
            Scores::Classification(scores) => scores.get(metric),
            Scores::Regression(scores) => scores.get(metric),
        }
    }

    /// All that are defined, with their names.
    pub fn listed(&self) -> Vec<(Metric, f64)> {
        Metric::ALL.into_iter().filter_map(|metric| Some((metric, self.get(metric)?))).collect()
    }
}

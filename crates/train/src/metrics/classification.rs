//! Metrics of predicted classes.
//!
//! A precision, recall or F1 without anything to divide by is 0, as scikit-learn has it with a warning. The means over
//! classes are those of classes that are in the truth or were predicted.

use serde::{Deserialize, Serialize};

use super::{Metric, curves};
use crate::prepare::statistics::sum;
use crate::{Error, Matrix, Result};

/// See [`Metric`] for what the numbers mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// How many.
    pub rows: usize,
    /// `None` without rows.
    pub accuracy: Option<f64>,
    /// `None` without rows.
    pub balanced_accuracy: Option<f64>,
    /// `None` without rows.
    pub precision: Option<Averages>,
    /// `None` without rows.
    pub recall: Option<Averages>,
    /// `None` without rows.
    pub f1: Option<Averages>,
    /// Each class, in the order of the numbers.
    pub per_class: Vec<ClassScore>,
    /// `None` without rows of two classes, or with scores that are no numbers.
    pub roc_auc: Option<RocAuc>,
    /// `None` without rows, or with scores that are no numbers.
    pub log_loss: Option<f64>,
    /// `[truth][prediction]` rows.
    pub confusion: Vec<Vec<u64>>,
}

/// Three means of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    /// Classes count alike.
    pub r#macro: f64,
    /// Rows count alike.
    pub micro: f64,
    /// Classes count by their rows.
    pub weighted: f64,
}

/// One class against all others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Share of those called so that are so.
    pub precision: f64,
    /// Share of those that are so that were called so.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
    /// Rows of the class.
    pub support: u64,
    /// `None` if all rows are of it, or none.
    pub roc_auc: Option<f64>,
}

/// Area under the ROC curve. Of two classes both are that of the second one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RocAuc {
    /// Classes count alike; `None` if one has no rows.
    pub r#macro: Option<f64>,
    /// Classes count by their rows.
    pub weighted: Option<f64>,
}

impl ClassScores {
    pub(super) fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Accuracy => self.accuracy,
            Metric::BalancedAccuracy => self.balanced_accuracy,
            Metric::PrecisionMacro => self.precision.map(|means| means.r#macro),
            Metric::PrecisionMicro => self.precision.map(|means| means.micro),
            Metric::PrecisionWeighted => self.precision.map(|means| means.weighted),
            Metric::RecallMacro => self.recall.map(|means| means.r#macro),
            Metric::RecallMicro => self.recall.map(|means| means.micro),
            Metric::RecallWeighted => self.recall.map(|means| means.weighted),
            Metric::F1Macro => self.f1.map(|means| means.r#macro),
            Metric::F1Micro => self.f1.map(|means| means.micro),
            Metric::F1Weighted => self.f1.map(|means| means.weighted),
            Metric::RocAuc => self.roc_auc.and_then(|auc| auc.r#macro),
            Metric::RocAucWeighted => self.roc_auc.and_then(|auc| auc.weighted),
            Metric::LogLoss => self.log_loss,
            Metric::Mae | Metric::Mse | Metric::Rmse | Metric::R2 | Metric::Mape | Metric::Smape => None,
        }
    }
}

pub(super) fn scores(truth: &[u32], probabilities: &Matrix) -> Result<ClassScores> {
    let classes = probabilities.width;
    let fits = probabilities.rows == truth.len() && probabilities.values.len() == truth.len() * classes;
    if !fits || classes == 0 || truth.iter().any(|&class| class as usize >= classes) {
        let shape = format!("{} rows of truth, {} × {classes}", truth.len(), probabilities.rows);
        return Err(Error::Internal(format!("truth and probabilities do not fit: {shape}")));
    }
    let predicted: Vec<usize> = probabilities.values.chunks_exact(classes).map(best).collect();
    let mut confusion = vec![vec![0_u64; classes]; classes];
    for (&class, &predicted) in truth.iter().zip(&predicted) {
        confusion[class as usize][predicted] += 1;
    }
    let is_finite = probabilities.values.iter().all(|value| value.is_finite());
    let auc = |class: usize| {
        let scores: Vec<f64> = probabilities.values.iter().skip(class).step_by(classes).copied().collect();
        let is_class: Vec<bool> = truth.iter().map(|&truth| truth as usize == class).collect();
        if is_finite { curves::roc_auc(&is_class, &scores) } else { None }
    };
    let per_class: Vec<ClassScore> = (0..classes).map(|class| class_score(&confusion, class, auc(class))).collect();
    let means = |score: &dyn Fn(&ClassScore) -> f64| averages(&confusion, &per_class, score);
    Ok(ClassScores {
        rows: truth.len(),
        accuracy: share(right(&confusion), truth.len() as u64),
        balanced_accuracy: balanced_accuracy(&per_class),
        precision: means(&|class| class.precision),
        recall: means(&|class| class.recall),
        f1: means(&|class| class.f1),
        roc_auc: mean_auc(&per_class, truth.len()),
        log_loss: if is_finite { log_loss(truth, probabilities) } else { None },
        per_class,
        confusion,
    })
}

/// The first of the highest; a score that is no number is below all others.
fn best(scores: &[f64]) -> usize {
    let mut best = 0;
    for (class, &score) in scores.iter().enumerate() {
        if score > scores[best] || (scores[best].is_nan() && !score.is_nan()) {
            best = class;
        }
    }
    best
}

fn right(confusion: &[Vec<u64>]) -> u64 {
    confusion.iter().enumerate().map(|(class, row)| row[class]).sum()
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn class_score(confusion: &[Vec<u64>], class: usize, roc_auc: Option<f64>) -> ClassScore {
    let hits = confusion[class][class];
    let support: u64 = confusion[class].iter().sum();
    let called: u64 = confusion.iter().map(|row| row[class]).sum();
    ClassScore {
        precision: share(hits, called).unwrap_or(0.0),
        recall: share(hits, support).unwrap_or(0.0),
        f1: share(2 * hits, support + called).unwrap_or(0.0),
        support,
        roc_auc,
    }
}

fn balanced_accuracy(per_class: &[ClassScore]) -> Option<f64> {
    let recalls: Vec<f64> = per_class.iter().filter(|class| class.support > 0).map(|class| class.recall).collect();
    (!recalls.is_empty()).then(|| sum(recalls.iter().copied()) / recalls.len() as f64)
}

fn averages(confusion: &[Vec<u64>], per_class: &[ClassScore], score: &dyn Fn(&ClassScore) -> f64) -> Option<Averages> {
    let rows: u64 = per_class.iter().map(|class| class.support).sum();
    let is_there = |class: &usize| per_class[*class].support > 0 || confusion.iter().any(|row| row[*class] > 0);
    let there: Vec<&ClassScore> = (0..per_class.len()).filter(is_there).map(|class| &per_class[class]).collect();
    let weighted = sum(per_class.iter().map(|class| score(class) * class.support as f64));
    Some(Averages {
        // Each row that is wrong is one too many of one class and one too few of another.
        micro: share(right(confusion), rows)?,
        r#macro: sum(there.iter().map(|class| score(class))) / there.len() as f64,
        weighted: weighted / rows as f64,
    })
}

fn mean_auc(per_class: &[ClassScore], rows: usize) -> Option<RocAuc> {
    if let [_, second] = per_class {
        return second.roc_auc.map(|auc| RocAuc { r#macro: Some(auc), weighted: Some(auc) });
    }
    let all: Option<Vec<f64>> = per_class.iter().map(|class| class.roc_auc).collect();
    let r#macro = all.filter(|all| !all.is_empty()).map(|all| sum(all.iter().copied()) / all.len() as f64);
    let there = per_class.iter().filter(|class| class.support > 0);
    let weighted: Option<Vec<f64>> = there.map(|class| Some(class.roc_auc? * class.support as f64)).collect();
    let weighted = weighted.filter(|_| rows > 0).map(|all| sum(all.iter().copied()) / rows as f64);
    (r#macro.is_some() || weighted.is_some()).then_some(RocAuc { r#macro, weighted })
}

/// Probabilities are kept the least step of a double away from 0 and 1, as scikit-learn does.
fn log_loss(truth: &[u32], probabilities: &Matrix) -> Option<f64> {
    let rows = probabilities.values.chunks_exact(probabilities.width);
    let losses = rows.zip(truth).map(|(row, &class)| {
        let probability = row[class as usize].clamp(f64::EPSILON, 1.0 - f64::EPSILON);
        -probability.ln()
    });
    (!truth.is_empty()).then(|| sum(losses) / truth.len() as f64)
}

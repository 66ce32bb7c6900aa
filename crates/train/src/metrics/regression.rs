//! Metrics of predicted numbers, and the baseline that a forecast has to beat.

use serde::{Deserialize, Serialize};

use super::Metric;
use crate::prepare::statistics::sum;

/// See [`Metric`] for what the numbers mean. All are `None` without rows or with predictions that are not finite, where
/// scikit-learn raises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberScores {
    /// How many numbers were predicted: the rows, times the horizon of a forecast.
    pub rows: usize,
    /// In the target's units.
    pub mae: Option<f64>,
    /// In their square.
    pub mse: Option<f64>,
    /// In the target's units.
    pub rmse: Option<f64>,
    /// At most 1. `None` below two numbers, where scikit-learn warns. Of a constant truth it is 1 if all predictions are
    /// right, else 0.
    pub r2: Option<f64>,
    /// 0.1 is ten per cent. Huge where a truth is 0: such a one counts as the least step of a double.
    pub mape: Option<f64>,
    /// 0 to 2. Both 0 is no error.
    pub smape: Option<f64>,
}

impl NumberScores {
    pub(super) fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Mae => self.mae,
            Metric::Mse => self.mse,
            Metric::Rmse => self.rmse,
            Metric::R2 => self.r2,
            Metric::Mape => self.mape,
            Metric::Smape => self.smape,
            _ => None,
        }
    }
}

/// Of as many predictions as there are truths.
pub(super) fn scores(truth: &[f64], predicted: &[f64]) -> NumberScores {
    let is_finite = truth.iter().chain(predicted).all(|value| value.is_finite());
    let mean = |term: &dyn Fn(f64, f64) -> f64| {
        let terms = truth.iter().zip(predicted).map(|(&truth, &predicted)| term(truth, predicted));
        (is_finite && !truth.is_empty()).then(|| sum(terms) / truth.len() as f64)
    };
    let mse = mean(&|truth, predicted| (truth - predicted) * (truth - predicted));
    let sizes = |truth: f64, predicted: f64| truth.abs() + predicted.abs();
    NumberScores {
        rows: truth.len(),
        mae: mean(&|truth, predicted| (truth - predicted).abs()),
        mse,
        rmse: mse.map(f64::sqrt),
        r2: mse.and_then(|mse| r2(truth, mse * truth.len() as f64)),
        mape: mean(&|truth, predicted| (truth - predicted).abs() / truth.abs().max(f64::EPSILON)),
        smape: mean(&|truth, predicted| match sizes(truth, predicted) {
            0.0 => 0.0,
            both => 2.0 * (truth - predicted).abs() / both,
        }),
    }
}

fn r2(truth: &[f64], residual: f64) -> Option<f64> {
    if truth.len() < 2 {
        return None;
    }
    let mean = sum(truth.iter().copied()) / truth.len() as f64;
    let total = sum(truth.iter().map(|truth| (truth - mean) * (truth - mean)));
    Some(match (residual == 0.0, total == 0.0) {
        (true, _) => 1.0,
        (false, true) => 0.0,
        (false, false) => 1.0 - residual / total,
    })
}

/// The forecast that repeats the last season: of `history`, oldest first, the number `season` steps before each of the next
/// `horizon`. A season that is longer than the history is as long as it. Empty of an empty history.
pub fn seasonal_naive(history: &[f64], season: usize, horizon: usize) -> Vec<f64> {
    let season = season.clamp(1, history.len().max(1));
    let Some(last) = history.len().checked_sub(season).map(|begin| &history[begin..]) else {
        return Vec::new();
    };
    last.iter().copied().cycle().take(horizon).collect()
}

/// The mean absolute error of a forecast in shares of the error, on the training series, of repeating the last season
/// (Hyndman and Koehler, 2006). `None` if that is 0, or the series no longer than a season.
pub fn mase(mae: f64, training: &[f64], season: usize) -> Option<f64> {
    let season = season.max(1);
    let steps = training.len().checked_sub(season).filter(|&steps| steps > 0)?;
    let errors = training.iter().zip(&training[season..]).map(|(before, now)| (now - before).abs());
    let scale = sum(errors) / steps as f64;
    (scale > 0.0 && scale.is_finite()).then(|| mae / scale)
}

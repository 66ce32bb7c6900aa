//! How much worse a model gets when it cannot see a column: the column's values are shuffled among the rows.
//!
//! Source: Breiman, "Random forests", 2001; Fisher, Rudin and Dominici, 2019, for models of any kind.

use serde::{Deserialize, Serialize};

use crate::metrics::{Metric, Scores};
use crate::prepare::{Preparation, Random};
use crate::{Dataset, Error, Inputs, Matrix, Result, Target};

/// How a column matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The column.
    pub column: String,
    /// By how much the metric gets worse, the mean of all repeats. About 0 for a column without use.
    pub mean: f64,
    /// Population standard deviation over the repeats.
    pub deviation: f64,
}

/// How often a column is shuffled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImportanceSettings {
    /// Shuffles of each column.
    pub repeats: usize,
    /// Rows that are used, from the first on.
    pub rows_max: usize,
    /// Columns that are tried, from the first on.
    pub columns_max: usize,
    /// Of the shuffles.
    pub seed: u64,
}

impl Default for ImportanceSettings {
    fn default() -> ImportanceSettings {
        ImportanceSettings { repeats: 5, rows_max: 2000, columns_max: 200, seed: 0 }
    }
}

/// The importance of each column of a tabular model, the most important one first. `predict` gives what
/// [`Preparation::scores`] takes: probabilities, or normalised numbers. All features that are made of one column are
/// shuffled together. Empty for inputs that are no matrix, or where the metric is not defined.
///
/// # Errors
/// Those of `predict`; [`Error::Internal`] if the dataset is another preparation's.
pub fn permutation_importance(
    preparation: &Preparation,
    dataset: &Dataset,
    metric: Metric,
    settings: &ImportanceSettings,
    predict: &mut dyn FnMut(&Inputs) -> Result<Matrix>,
) -> Result<Vec<Importance>> {
    let Inputs::Matrix(matrix) = &dataset.inputs else { return Ok(Vec::new()) };
    let columns = preparation.feature_columns();
    if columns.len() != matrix.width {
        return Err(Error::Internal(format!("{} features in a matrix of {}", columns.len(), matrix.width)));
    }
    let rows = matrix.rows.min(settings.rows_max);
    let matrix = Matrix { rows, values: matrix.values[..rows * matrix.width].to_vec(), ..*matrix };
    let mut score = |matrix: Matrix| -> Result<Option<f64>> {
        let predicted = predict(&Inputs::Matrix(matrix))?;
        Ok(scores(preparation, &dataset.target, rows, &predicted)?.get(metric))
    };
    let Some(whole) = score(matrix.clone())? else { return Ok(Vec::new()) };
    let mut names: Vec<&String> = columns.iter().collect();
    names.dedup();
    names.sort();
    names.dedup();
    let mut found = Vec::new();
    for (index, name) in names.into_iter().take(settings.columns_max).enumerate() {
        let features: Vec<usize> = (0..matrix.width).filter(|&feature| &columns[feature] == name).collect();
        let mut random = Random::new(settings.seed.wrapping_add(index as u64));
        let mut losses = Vec::new();
        for _ in 0..settings.repeats.max(1) {
            if let Some(without) = score(shuffled(&matrix, &features, &mut random))? {
                losses.push(if metric.is_higher_better() { whole - without } else { without - whole });
            }
        }
        let count = losses.len().max(1) as f64;
        let mean = losses.iter().sum::<f64>() / count;
        let variance = losses.iter().map(|loss| (loss - mean) * (loss - mean)).sum::<f64>() / count;
        found.push(Importance { column: name.clone(), mean, deviation: variance.sqrt() });
    }
    found.sort_by(|one, other| other.mean.total_cmp(&one.mean));
    Ok(found)
}

fn scores(preparation: &Preparation, target: &Target, rows: usize, predicted: &Matrix) -> Result<Scores> {
    match target {
        Target::Classes { of_row, .. } => Scores::of_classes(&of_row[..rows.min(of_row.len())], predicted),
        Target::Numbers(numbers) => {
            let values = numbers.values[..(rows * numbers.width).min(numbers.values.len())].to_vec();
            let truth = preparation.in_units(&Matrix { rows, width: numbers.width, values });
            Scores::of_numbers(&truth, &preparation.in_units(predicted))
        }
    }
}

fn shuffled(matrix: &Matrix, features: &[usize], random: &mut Random) -> Matrix {
    let mut order: Vec<usize> = (0..matrix.rows).collect();
    random.shuffle(&mut order);
    let mut shuffled = matrix.clone();
    for (row, &from) in order.iter().enumerate() {
        for &feature in features {
            shuffled.values[row * matrix.width + feature] = matrix.values[from * matrix.width + feature];
        }
    }
    shuffled
}

//! What a job says about roles, splits and preparation, with the defaults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which column is what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Roles {
    /// The column to predict. Pictures have none: their folder is their class. A text classification without one takes
    /// `label`.
    pub target: Option<String>,
    /// The columns to predict from. All that are of use if it is not given.
    pub features: Option<Vec<String>>,
    /// The column by which a series is ordered. The file's order if it is not given.
    pub time: Option<String>,
}

/// How rows are split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitSettings {
    /// Share of the rows that is held back from training to choose by. The number of rows is rounded.
    pub validation: f64,
    /// Share of the rows that nothing sees until the end.
    pub test: f64,
    /// Whether each split has each class in the same proportion (of a classification).
    pub stratify: bool,
    /// The order in which rows are drawn.
    pub seed: u64,
}

impl Default for SplitSettings {
    fn default() -> SplitSettings {
        SplitSettings { validation: 0.1, test: 0.1, stratify: true, seed: 0 }
    }
}

/// What becomes of a missing cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The row is left out of training. Outside training, where a row must have an answer, the mean or mode stands in.
    Drop,
    /// The training rows' mean.
    Mean,
    /// Their median.
    Median,
    /// Their most frequent value; the smallest of several.
    Mode,
    /// This value.
    Constant(Constant),
    /// A category of its own; for a number the mean, and a feature more that says that it was missing.
    Own,
}

/// A value of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Constant {
    /// Of a column of numbers.
    Number(f64),
    /// Of a column of categories.
    Text(String),
}

/// What becomes of numbers far from the others. Bounds are found on the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outliers {
    /// They stay.
    Keep,
    /// Brought to the bounds, which are two quantiles.
    ClipQuantile {
        /// Between 0 and `high`.
        low: f64,
        /// Between `low` and 1.
        high: f64,
    },
    /// Brought to the bounds, which lie `factor` interquartile ranges below and above the quartiles (Tukey: 1.5).
    ClipIqr {
        /// More than 0.
        factor: f64,
    },
    /// Rows outside the bounds of [`Outliers::ClipIqr`] are left out of training.
    DropIqr {
        /// More than 0.
        factor: f64,
    },
}

/// How a category becomes numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// A feature for each category; all 0 for one that was not in training.
    OneHot,
    /// Its place in the sorted list of categories, from 0; -1 for one that was not in training.
    Ordinal,
}

/// To what range numbers are brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// As they are.
    None,
    /// Mean 0 and (population) standard deviation 1 on the training rows.
    Standard,
    /// 0 to 1 on the training rows.
    MinMax,
    /// Of a series: each stretch less its own mean, by its own deviation, so that a trend is no surprise.
    Window,
}

/// What differs for one column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnSettings {
    /// See [`Settings::missing_numbers`].
    pub missing: Option<Missing>,
    /// See [`Settings::outliers`].
    pub outliers: Option<Outliers>,
    /// See [`Settings::categories`].
    pub categories: Option<Encoding>,
    /// See [`Settings::normalisation`].
    pub normalisation: Option<Normalisation>,
}

/// Of texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextSettings {
    /// Most tokens in the vocabulary, the filling and the unknown token counted.
    pub vocabulary_max: usize,
    /// Training texts in which a token must be, to be in the vocabulary.
    pub texts_min: usize,
    /// Tokens that are read of a text.
    pub length: usize,
}

impl Default for TextSettings {
    fn default() -> TextSettings {
        TextSettings { vocabulary_max: 20_000, texts_min: 2, length: 256 }
    }
}

/// Of series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeriesSettings {
    /// Numbers that a forecast is made from.
    pub history: usize,
    /// Numbers that a forecast has.
    pub horizon: usize,
}

impl Default for SeriesSettings {
    fn default() -> SeriesSettings {
        SeriesSettings { history: 24, horizon: 12 }
    }
}

/// How rows are prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Missing numbers, truth values and dates.
    pub missing_numbers: Missing,
    /// Missing categories.
    pub missing_categories: Missing,
    /// Whether rows that are equal in all columns are kept once only, before rows are split.
    pub drop_duplicates: bool,
    /// Of columns of numbers.
    pub outliers: Outliers,
    /// Of columns of categories.
    pub categories: Encoding,
    /// Categories of a column that are told apart: the most frequent ones.
    pub categories_max: usize,
    /// Of numbers, dates, and categories by their place. Features that are 0 or 1 stay as they are.
    pub normalisation: Normalisation,
    /// Of what a regression or forecast predicts.
    pub normalise_target: Normalisation,
    /// By column.
    pub columns: BTreeMap<String, ColumnSettings>,
    /// Of text classification.
    pub text: TextSettings,
    /// Of forecasting.
    pub series: SeriesSettings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            missing_numbers: Missing::Mean,
            missing_categories: Missing::Own,
            drop_duplicates: false,
            outliers: Outliers::Keep,
            categories: Encoding::OneHot,
            categories_max: 100,
            normalisation: Normalisation::Standard,
            normalise_target: Normalisation::Standard,
            columns: BTreeMap::new(),
            text: TextSettings::default(),
            series: SeriesSettings::default(),
        }
    }
}

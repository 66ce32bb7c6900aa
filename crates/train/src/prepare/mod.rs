//! From rows as users have them to numbers that trainers take, and back.
//!
//! It owns splits, cleaning, encoding and normalisation, and their form as a part of a model's graph. It knows no trainer.
//! Everything is found on the training rows alone. Start at [`prepare`].
//!
//! The order is: [`usable_rows`] → [`split()`] → [`Preparation::fit`] on the training rows → [`Preparation::apply`] on each
//! split; and for the model [`Preparation::export_inputs`] → the trainer's nodes → [`Preparation::export_outputs`].

mod describe;
mod pictures;
mod random;
mod series;
mod settings;
mod split;
pub(crate) mod statistics;
mod tabular;
mod tabular_export;
mod target;
mod text;

use serde::{Deserialize, Serialize};

use crate::data::{Pictures, Table, quoted};
use crate::metrics::Scores;
use crate::onnx::{Graph, Value};
use crate::{Dataset, Error, Inputs, Matrix, Result, Target, Task};

pub use pictures::PictureScale;
pub use random::Random;
use series::Series;
pub use settings::{
    ColumnSettings, Constant, Encoding, Missing, Normalisation, Outliers, Roles, SeriesSettings, Settings,
    SplitSettings, TextSettings,
};
pub use split::{Order, Split, split};
use tabular::Columns;
use target::TargetPlan;
use text::Text;

/// Rows as they were read.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Of all tasks but one.
    Table(&'a Table),
    /// Of image classification.
    Pictures(&'a Pictures),
}

impl<'a> From<&'a Table> for Source<'a> {
    fn from(table: &'a Table) -> Source<'a> {
        Source::Table(table)
    }
}

impl<'a> From<&'a Pictures> for Source<'a> {
    fn from(pictures: &'a Pictures) -> Source<'a> {
        Source::Pictures(pictures)
    }
}

/// What was found on the training rows: all that is needed to prepare others like them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preparation {
    task: Task,
    inputs: InputPlan,
    target: TargetPlan,
    /// What a user should know of, such as columns that were left out.
    notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum InputPlan {
    Columns(Columns),
    Text(Text),
    Pictures(PictureScale),
    Series(Series),
}

/// A job's rows: split, cleaned and prepared.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Fitted on the training split.
    pub preparation: Preparation,
    /// The rows of each split; of training those that cleaning left.
    pub split: Split,
    /// To learn from.
    pub train: Dataset,
    /// To choose by; may have no rows.
    pub validation: Dataset,
    /// To judge by; may have no rows.
    pub test: Dataset,
}

/// Does all of it: cleans, splits, fits and applies.
///
/// # Errors
/// [`Error::BadSpec`] on roles and settings that do not fit the rows; [`Error::BadData`] if no row is left to train on.
pub fn prepare<'a>(
    source: impl Into<Source<'a>>,
    task: Task,
    roles: &Roles,
    settings: &Settings,
    split_settings: &SplitSettings,
) -> Result<Prepared> {
    let source = source.into();
    let rows = usable_rows(source, task, roles, settings)?;
    let mut split = match source {
        _ if task == Task::TimeSeriesForecasting => split(&rows, split_settings, Order::AsGiven)?,
        _ if !task.is_classification() || !split_settings.stratify => split(&rows, split_settings, Order::Random)?,
        Source::Table(table) => {
            let of_row = target::classes_of_rows(table, task, roles)?;
            split(&rows, split_settings, Order::Stratified(&of_row))?
        }
        Source::Pictures(pictures) => split(&rows, split_settings, Order::Stratified(pictures.of_row()))?,
    };
    let preparation = Preparation::fit(source, task, roles, settings, &split.train)?;
    split.train = preparation.training_rows(source, &split.train)?;
    Ok(Prepared {
        train: preparation.apply(source, &split.train)?,
        validation: preparation.apply(source, &split.validation)?,
        test: preparation.apply(source, &split.test)?,
        preparation,
        split,
    })
}

/// The rows that can be learnt from or judged by, in the order in which they are split: those with a target, without
/// duplicates if the settings say so. Of a series all, in the order of time.
///
/// # Errors
/// [`Error::BadSpec`] if the target is no column; [`Error::BadData`] if no row has one.
pub fn usable_rows<'a>(
    source: impl Into<Source<'a>>,
    task: Task,
    roles: &Roles,
    settings: &Settings,
) -> Result<Vec<usize>> {
    let table = match source.into() {
        Source::Pictures(pictures) => {
            let rows: Vec<usize> = (0..pictures.rows()).collect();
            let key = |row: usize| (pictures.of_row()[row], pictures.picture(row));
            return Ok(if settings.drop_duplicates { split::without_duplicates(&rows, key) } else { rows });
        }
        Source::Table(table) => table,
    };
    let target = target::column(table, task, roles)?;
    if task == Task::TimeSeriesForecasting {
        return series::in_time(table, roles);
    }
    let mut rows: Vec<usize> = (0..table.rows()).filter(|&row| !target.values.is_missing(row)).collect();
    if settings.drop_duplicates {
        let key = |row: usize| table.columns().iter().map(|column| column.values.text(row)).collect::<Vec<_>>();
        rows = split::without_duplicates(&rows, key);
    }
    if rows.is_empty() {
        let name = quoted(&target.name);
        return Err(Error::BadData(format!("column {name} is empty in every row; there is nothing to learn")));
    }
    Ok(rows)
}

impl Preparation {
    /// Finds out on `rows`, the training split, how rows like these are prepared.
    ///
    /// # Errors
    /// [`Error::BadSpec`] names the role or setting that does not fit; [`Error::BadData`] if cleaning leaves no row.
    pub fn fit<'a>(
        source: impl Into<Source<'a>>,
        task: Task,
        roles: &Roles,
        settings: &Settings,
        rows: &[usize],
    ) -> Result<Preparation> {
        let source = source.into();
        let (table, is_of_task) = match source {
            Source::Table(table) => (table, task != Task::ImageClassification),
            Source::Pictures(pictures) if task == Task::ImageClassification => {
                let inputs = InputPlan::Pictures(PictureScale::fit(pictures, settings.normalisation, rows));
                let target = TargetPlan::of_pictures(pictures)?;
                return Ok(Preparation { task, inputs, target, notes: Vec::new() });
            }
            Source::Pictures(_) => (&Table::default(), false),
        };
        if !is_of_task {
            let message = format!("the file is of another kind than {} needs", task.name());
            return Err(Error::BadSpec { field: "task".to_owned(), message });
        }
        let target = TargetPlan::of(table, task, roles)?;
        let mut notes = Vec::new();
        let inputs = match task {
            Task::TimeSeriesForecasting => {
                InputPlan::Series(Series::fit(table, target.column(), roles, settings, rows)?)
            }
            Task::TextClassification => {
                InputPlan::Text(Text::fit(table, target.column(), roles, &settings.text, rows)?)
            }
            _ => InputPlan::Columns(Columns::fit(table, target.column(), roles, settings, rows, &mut notes)?),
        };
        let mut preparation = Preparation { task, inputs, target, notes };
        let rows = preparation.training_rows(table, rows)?;
        preparation.target.fit(table, settings, &rows)?;
        Ok(preparation)
    }

    /// Those of `rows` that cleaning leaves to train on: without outliers and missing cells that are to be dropped.
    ///
    /// # Errors
    /// [`Error::BadData`] if none is left, or a column is not there.
    pub fn training_rows<'a>(&self, source: impl Into<Source<'a>>, rows: &[usize]) -> Result<Vec<usize>> {
        let kept = match (&self.inputs, source.into()) {
            (InputPlan::Columns(columns), Source::Table(table)) => columns.training_rows(table, rows)?,
            _ => rows.to_vec(),
        };
        if kept.is_empty() {
            return Err(Error::BadData(
                "no row is left to train on once those with missing cells or outliers are dropped; use `missing`: \
                 `mean` or `own`, or `outliers`: `keep`"
                    .to_owned(),
            ));
        }
        Ok(kept)
    }

    /// Prepares `rows` of a source with the same columns as the one that it was fitted on. Of a series it gives the
    /// stretches whose numbers to come are all among `rows`.
    ///
    /// # Errors
    /// [`Error::BadData`] names the row and column of a missing target or unknown class, or the column that is not there
    /// or of another kind.
    pub fn apply<'a>(&self, source: impl Into<Source<'a>>, rows: &[usize]) -> Result<Dataset> {
        let (inputs, target) = match (&self.inputs, source.into()) {
            (InputPlan::Series(series), Source::Table(table)) => {
                let (windows, after) = series.apply(table, rows)?;
                (Inputs::Windows(windows), Target::Numbers(after))
            }
            (InputPlan::Columns(columns), Source::Table(table)) => {
                (Inputs::Matrix(columns.apply(table, rows)?), self.target.apply(table, rows)?)
            }
            (InputPlan::Text(text), Source::Table(table)) => {
                (Inputs::Tokens(text.apply(table, rows)?), self.target.apply(table, rows)?)
            }
            (InputPlan::Pictures(scale), Source::Pictures(pictures)) => {
                (Inputs::Pixels(scale.apply(pictures, rows)?), self.target.apply_pictures(pictures, rows)?)
            }
            _ => return Err(Error::BadData("the file is of another kind than the training file".to_owned())),
        };
        Ok(Dataset { inputs, target })
    }

    /// All metrics of predictions for `rows`: of a classification `raw` are probabilities, else what
    /// [`Preparation::in_units_of`] takes.
    ///
    /// # Errors
    /// As [`Preparation::apply`]; [`Error::Internal`] if there are not as many predictions as rows.
    pub fn scores<'a>(&self, source: impl Into<Source<'a>>, rows: &[usize], raw: &Matrix) -> Result<Scores> {
        let source = source.into();
        match self.apply(source, rows)?.target {
            Target::Classes { of_row, .. } => Scores::of_classes(&of_row, raw),
            Target::Numbers(_) => {
                Scores::of_numbers(&self.truth_of(source, rows)?, &self.in_units_of(source, rows, raw)?)
            }
        }
    }

    /// Brings the predictions of a regression or forecast for `rows`, in the order of [`Preparation::apply`], into the
    /// target's units.
    ///
    /// # Errors
    /// As [`Preparation::apply`].
    pub fn in_units_of<'a>(&self, source: impl Into<Source<'a>>, rows: &[usize], raw: &Matrix) -> Result<Matrix> {
        match (&self.inputs, source.into()) {
            (InputPlan::Series(series), Source::Table(table)) => series.forecasts_in_units(table, rows, raw),
            _ => Ok(self.in_units(raw)),
        }
    }

    /// What is true of `rows` in the target's units, of a regression or forecast.
    ///
    /// # Errors
    /// As [`Preparation::apply`].
    pub fn truth_of<'a>(&self, source: impl Into<Source<'a>>, rows: &[usize]) -> Result<Matrix> {
        let source = source.into();
        match (&self.inputs, source) {
            (InputPlan::Series(series), Source::Table(table)) => Ok(series.in_units(table, rows)?.1),
            _ => match self.apply(source, rows)?.target {
                Target::Numbers(numbers) => Ok(self.in_units(&numbers)),
                Target::Classes { .. } => Err(Error::Internal("a classification has no units".to_owned())),
            },
        }
    }

    /// What was before the forecasts of `rows`, in the series' units, `[stretches][history]`; `None` of other tasks. The
    /// baseline of [`crate::metrics::seasonal_naive`] takes it.
    ///
    /// # Errors
    /// As [`Preparation::apply`].
    pub fn history_of<'a>(&self, source: impl Into<Source<'a>>, rows: &[usize]) -> Result<Option<Matrix>> {
        match (&self.inputs, source.into()) {
            (InputPlan::Series(series), Source::Table(table)) => Ok(Some(series.in_units(table, rows)?.0)),
            _ => Ok(None),
        }
    }

    /// What the model is for.
    pub fn task(&self) -> Task {
        self.task
    }

    /// What a user should know of, such as columns that were left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Names of the features in a row of the matrix, such as `age` or `colour=red`; none of other inputs.
    pub fn feature_names(&self) -> Vec<String> {
        match &self.inputs {
            InputPlan::Columns(columns) => columns.feature_names(),
            _ => Vec::new(),
        }
    }

    /// The column that each feature is made of, as many as [`Preparation::feature_names`].
    pub fn feature_columns(&self) -> Vec<String> {
        match &self.inputs {
            InputPlan::Columns(columns) => columns.feature_columns(),
            _ => Vec::new(),
        }
    }

    /// Names of the classes, in the order of their numbers; none of a regression.
    pub fn classes(&self) -> &[String] {
        self.target.classes()
    }

    /// How bytes of pictures become numbers; `None` of other tasks.
    pub fn picture_scale(&self) -> Option<&PictureScale> {
        match &self.inputs {
            InputPlan::Pictures(scale) => Some(scale),
            _ => None,
        }
    }

    /// Brings predictions of a regression into the target's units; those of a classification stay. Forecasts need
    /// [`Preparation::in_units_of`].
    pub fn in_units(&self, raw: &Matrix) -> Matrix {
        self.target.in_units(raw)
    }

    /// A regression's target is `raw * scale + offset`, `(offset, scale)`.
    pub fn target_scale(&self) -> (f64, f64) {
        self.target.scale()
    }

    /// Adds the inputs of a served model, raw rows, and what prepares them.
    ///
    /// | task | inputs | gives |
    /// |---|---|---|
    /// | tabular | one for each column, of its name, `[batch, 1]`: 32-bit floats for numbers (NaN where one is missing) and truth values (1, 0, NaN), texts for categories and dates (empty where one is missing) | float `[batch, width]` |
    /// | text | `text`, text `[batch, 1]` | integer `[batch, length]` |
    /// | pictures | `pixels`, bytes `[batch, height, width, channels]` | float `[batch, channels, height, width]` |
    /// | series | `history`, float `[batch, history]` | float `[batch, history]` |
    pub fn export_inputs(&self, graph: &mut Graph) -> Value {
        match &self.inputs {
            InputPlan::Columns(columns) => columns.export(graph),
            InputPlan::Text(text) => text.export(graph),
            InputPlan::Pictures(scale) => scale.export(graph),
            InputPlan::Series(series) => series.export_inputs(graph),
        }
    }

    /// Adds the outputs of a served model, after [`Preparation::export_inputs`]. `raw` is what the trainer's nodes give: of
    /// a classification its logits, float `[batch, classes]`, which become `label`, text `[batch]`, and `probabilities`,
    /// float `[batch, classes]`; of a regression the normalised prediction, float `[batch, 1]`, which becomes `prediction`;
    /// of a series the normalised forecast, float `[batch, horizon]`, which becomes `forecast`.
    pub fn export_outputs(&self, graph: &mut Graph, raw: &Value) {
        match &self.inputs {
            InputPlan::Series(series) => series.export_outputs(graph, raw),
            _ => self.target.export(graph, raw),
        }
    }

    /// A regression's numbers in the target's units; `None` of a classification. A forecast needs
    /// [`Preparation::truth_of`].
    pub fn truth(&self, dataset: &Dataset) -> Option<Matrix> {
        match &dataset.target {
            Target::Numbers(numbers) => Some(self.in_units(numbers)),
            Target::Classes { .. } => None,
        }
    }
}

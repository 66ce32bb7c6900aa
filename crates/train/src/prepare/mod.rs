//! From rows as users have them to numbers that trainers take, and back.
//!
//! It owns splits, cleaning, encoding and normalisation, and their form as a part of a model's graph. It knows no trainer.
//! Everything is found on the training rows alone. Start at [`prepare`].
//!
//! The order is: [`usable_rows`] → [`split()`] → [`Preparation::fit`] on the training rows → [`Preparation::apply`] on each
//! split; and for the model [`Preparation::export_inputs`] → the trainer's nodes → [`Preparation::export_outputs`].

mod random;
mod settings;
mod split;
pub(crate) mod statistics;
mod tabular;
mod tabular_export;
mod target;

use serde::{Deserialize, Serialize};

use crate::data::{Table, quoted};
use crate::onnx::{Graph, Value};
use crate::{Dataset, Error, Inputs, Matrix, Result, Target, Task};

pub use random::Random;
pub use settings::{
    ColumnSettings, Constant, Encoding, Missing, Normalisation, Outliers, Roles, SeriesSettings, Settings, SplitSettings,
    TextSettings,
};
pub use split::{Order, Split, split};
use tabular::Columns;
use target::TargetPlan;

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
/// [`Error::BadSpec`] on roles and settings that do not fit the table; [`Error::BadData`] if no row is left to train on.
pub fn prepare(
    table: &Table,
    task: Task,
    roles: &Roles,
    settings: &Settings,
    split_settings: &SplitSettings,
) -> Result<Prepared> {
    let rows = usable_rows(table, task, roles, settings)?;
    let classes = target::classes_of_rows(table, task, roles)?;
    let order = match &classes {
        Some(of_row) if split_settings.stratify => Order::Stratified(of_row),
        _ => Order::Random,
    };
    let mut split = split(&rows, split_settings, order)?;
    let preparation = Preparation::fit(table, task, roles, settings, &split.train)?;
    split.train = preparation.training_rows(table, &split.train)?;
    Ok(Prepared {
        train: preparation.apply(table, &split.train)?,
        validation: preparation.apply(table, &split.validation)?,
        test: preparation.apply(table, &split.test)?,
        preparation,
        split,
    })
}

/// The rows that can be learnt from or judged by: those with a target, and without duplicates if the settings say so.
///
/// # Errors
/// [`Error::BadSpec`] if the target is no column; [`Error::BadData`] if no row has one.
pub fn usable_rows(table: &Table, task: Task, roles: &Roles, settings: &Settings) -> Result<Vec<usize>> {
    let target = target::column(table, task, roles)?;
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
    /// Finds out on `rows`, the training split, how rows of this table are prepared.
    ///
    /// # Errors
    /// [`Error::BadSpec`] names the role or setting that does not fit; [`Error::BadData`] if cleaning leaves no row.
    pub fn fit(table: &Table, task: Task, roles: &Roles, settings: &Settings, rows: &[usize]) -> Result<Preparation> {
        let target = TargetPlan::of(table, task, roles)?;
        let mut notes = Vec::new();
        let columns = Columns::fit(table, target.column(), roles, settings, rows, &mut notes)?;
        let mut preparation = Preparation { task, inputs: InputPlan::Columns(columns), target, notes };
        let rows = preparation.training_rows(table, rows)?;
        preparation.target.fit(table, settings, &rows)?;
        Ok(preparation)
    }

    /// Those of `rows` that cleaning leaves to train on: without outliers and missing cells that are to be dropped.
    ///
    /// # Errors
    /// [`Error::BadData`] if none is left, or a column is not there.
    pub fn training_rows(&self, table: &Table, rows: &[usize]) -> Result<Vec<usize>> {
        let kept = match &self.inputs {
            InputPlan::Columns(columns) => columns.training_rows(table, rows)?,
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

    /// Prepares `rows` of a table with the same columns as the one that it was fitted on.
    ///
    /// # Errors
    /// [`Error::BadData`] names the row and column of a missing target or unknown class, or the column that is not there
    /// or of another kind.
    pub fn apply(&self, table: &Table, rows: &[usize]) -> Result<Dataset> {
        let inputs = match &self.inputs {
            InputPlan::Columns(columns) => Inputs::Matrix(columns.apply(table, rows)?),
        };
        Ok(Dataset { inputs, target: self.target.apply(table, rows)? })
    }

    /// What the model is for.
    pub fn task(&self) -> Task {
        self.task
    }

    /// What a user should know of, such as columns that were left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Names of the features in a row of the matrix, such as `age` or `colour=red`.
    pub fn feature_names(&self) -> Vec<String> {
        match &self.inputs {
            InputPlan::Columns(columns) => columns.feature_names(),
        }
    }

    /// Names of the classes, in the order of their numbers; none of a regression.
    pub fn classes(&self) -> &[String] {
        self.target.classes()
    }

    /// Brings predictions of a regression or forecast into the target's units; those of a classification stay.
    pub fn in_units(&self, raw: &Matrix) -> Matrix {
        self.target.in_units(raw)
    }

    /// A regression's target is `raw * scale + offset`, `(offset, scale)`.
    pub fn target_scale(&self) -> (f64, f64) {
        self.target.scale()
    }

    /// Adds the inputs of a served model, raw rows, and what prepares them: float `[batch, width]` features.
    ///
    /// An input is named like its column and of the shape `[batch, 1]`: 32-bit floats for numbers (NaN where one is
    /// missing) and truth values (1, 0, NaN), texts for categories and dates (empty where one is missing).
    pub fn export_inputs(&self, graph: &mut Graph) -> Value {
        match &self.inputs {
            InputPlan::Columns(columns) => columns.export(graph),
        }
    }

    /// Adds the outputs of a served model. `raw` is what the trainer's nodes give: of a classification its logits, float
    /// `[batch, classes]`, which become `label`, text `[batch]`, and `probabilities`, float `[batch, classes]`; of a
    /// regression the normalised prediction, float `[batch, 1]`, which becomes `prediction`, float `[batch, 1]`.
    pub fn export_outputs(&self, graph: &mut Graph, raw: &Value) {
        self.target.export(graph, raw);
    }
}

/// The truth in the target's units, for metrics: what [`Preparation::in_units`] gives of a target.
impl Preparation {
    /// A dataset's numbers in the target's units; `None` of a classification.
    pub fn truth(&self, dataset: &Dataset) -> Option<Matrix> {
        match &dataset.target {
            Target::Numbers(numbers) => Some(self.in_units(numbers)),
            Target::Classes { .. } => None,
        }
    }
}

//! The target: which column it is, its classes or its scale, and the outputs of a served model.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::settings::{Normalisation, Roles, Settings};
use super::statistics;
use crate::data::{Column, Pictures, Table, Values, bad_cell, quoted, sorted_classes};
use crate::onnx::{Dim, Element, Graph, Setting, Value};
use crate::{Error, Matrix, Result, Target, Task};

/// Most classes of a target.
const CLASSES_MAX: usize = 10_000;

/// How the target is prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TargetPlan {
    Classes {
        column: String,
        classes: Vec<String>,
    },
    /// Of pictures.
    Folders {
        classes: Vec<String>,
    },
    Number {
        column: String,
        offset: f64,
        scale: f64,
    },
    /// Of a series, which itself knows more.
    Forecast {
        column: String,
    },
}

/// The column that `roles` name.
pub(super) fn column<'a>(table: &'a Table, task: Task, roles: &Roles) -> Result<&'a Column> {
    let bad = |message: String| Error::BadSpec { field: "target".to_owned(), message };
    let name = match &roles.target {
        Some(name) => name,
        None if task == Task::TextClassification => "label",
        None => return Err(bad(format!("name the column to predict, one of {}", names(table)))),
    };
    let column = table.column(name);
    column.ok_or_else(|| bad(format!("there is no column {}; the columns are {}", quoted(name), names(table))))
}

/// The table's columns as a list in a message.
pub(super) fn names(table: &Table) -> String {
    const SHOWN: usize = 20;
    let names: Vec<String> = table.columns().iter().take(SHOWN).map(|column| quoted(&column.name)).collect();
    let more = table.columns().len().saturating_sub(SHOWN);
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}

/// The class of each row; any number where the target is missing.
pub(super) fn classes_of_rows(table: &Table, task: Task, roles: &Roles) -> Result<Vec<u32>> {
    let column = column(table, task, roles)?;
    let numbers = numbered(&classes(column)?);
    let class = |row| numbers.get(&column.values.text(row)).copied().unwrap_or_default();
    Ok((0..table.rows()).map(class).collect())
}

/// The different values of a column: by size if all are numbers, else by name.
fn classes(column: &Column) -> Result<Vec<String>> {
    let texts: BTreeSet<String> = match &column.values {
        Values::Category(strings) | Values::Text(strings) => strings.levels().iter().cloned().collect(),
        values => (0..values.len()).map(|row| values.text(row)).filter(|text| !text.is_empty()).collect(),
    };
    let classes = sorted_classes(texts);
    if classes.len() < 2 || classes.len() > CLASSES_MAX {
        let message = format!(
            "column {} has {} different values; a classification needs 2 to {CLASSES_MAX}",
            quoted(&column.name),
            classes.len()
        );
        return Err(Error::BadSpec { field: "target".to_owned(), message });
    }
    Ok(classes)
}

fn numbered(classes: &[String]) -> HashMap<String, u32> {
    classes.iter().zip(0..).map(|(class, number)| (class.clone(), number)).collect()
}

impl TargetPlan {
    /// The plan without its scale. Classes are those of the whole table: a class that only a later split has is still one.
    pub(super) fn of(table: &Table, task: Task, roles: &Roles) -> Result<TargetPlan> {
        let column = column(table, task, roles)?;
        let name = column.name.clone();
        if task.is_classification() {
            return Ok(TargetPlan::Classes { column: name, classes: classes(column)? });
        }
        if !matches!(column.values, Values::Number(_)) {
            let message = format!("column {} has no numbers; a {} needs them", quoted(&name), task.name());
            return Err(Error::BadSpec { field: "target".to_owned(), message });
        }
        if task == Task::TimeSeriesForecasting {
            return Ok(TargetPlan::Forecast { column: name });
        }
        Ok(TargetPlan::Number { column: name, offset: 0.0, scale: 1.0 })
    }

    /// The classes of pictures.
    pub(super) fn of_pictures(pictures: &Pictures) -> Result<TargetPlan> {
        let classes = pictures.classes().to_vec();
        if classes.len() < 2 || classes.len() > CLASSES_MAX {
            let count = classes.len();
            let message = format!("the pictures are of {count} classes; a classification needs 2 to {CLASSES_MAX}");
            return Err(Error::BadData(message));
        }
        Ok(TargetPlan::Folders { classes })
    }

    /// Finds a regression's scale.
    pub(super) fn fit(&mut self, table: &Table, settings: &Settings, rows: &[usize]) -> Result<()> {
        let TargetPlan::Number { column, .. } = self else { return Ok(()) };
        let column = column.clone();
        let (offset, scale) = match settings.normalise_target {
            Normalisation::None => (0.0, 1.0),
            Normalisation::Standard => statistics::standard(&numbers(table, &column, rows)?),
            Normalisation::MinMax => statistics::min_max(&numbers(table, &column, rows)?),
            Normalisation::Window => {
                let message = "`window` is for series; use `standard`, `min_max` or `none`".to_owned();
                return Err(Error::BadSpec { field: "preprocessing.normalise_target".to_owned(), message });
            }
        };
        *self = TargetPlan::Number { column, offset, scale };
        Ok(())
    }

    pub(super) fn column(&self) -> &str {
        match self {
            TargetPlan::Classes { column, .. }
            | TargetPlan::Number { column, .. }
            | TargetPlan::Forecast { column } => column,
            TargetPlan::Folders { .. } => "class",
        }
    }

    pub(super) fn classes(&self) -> &[String] {
        match self {
            TargetPlan::Classes { classes, .. } | TargetPlan::Folders { classes } => classes,
            TargetPlan::Number { .. } | TargetPlan::Forecast { .. } => &[],
        }
    }

    pub(super) fn scale(&self) -> (f64, f64) {
        match self {
            TargetPlan::Number { offset, scale, .. } => (*offset, *scale),
            _ => (0.0, 1.0),
        }
    }

    pub(super) fn in_units(&self, raw: &Matrix) -> Matrix {
        let (offset, scale) = self.scale();
        Matrix { values: raw.values.iter().map(|value| value * scale + offset).collect(), ..*raw }
    }

    pub(super) fn apply(&self, table: &Table, rows: &[usize]) -> Result<Target> {
        match self {
            TargetPlan::Classes { column, classes } => classes_of(table, column, classes, rows),
            TargetPlan::Number { column, offset, scale } => {
                let numbers = numbers(table, column, rows)?;
                let values = numbers.iter().map(|number| (number - offset) / scale).collect();
                Ok(Target::Numbers(Matrix { rows: rows.len(), width: 1, values }))
            }
            TargetPlan::Folders { .. } | TargetPlan::Forecast { .. } => {
                Err(Error::Internal("a target of columns that is none".to_owned()))
            }
        }
    }

    /// The classes of pictures, which may have come with other numbers.
    pub(super) fn apply_pictures(&self, pictures: &Pictures, rows: &[usize]) -> Result<Target> {
        let numbers = numbered(self.classes());
        let class = |&row: &usize| {
            let name = &pictures.classes()[pictures.of_row()[row] as usize];
            let unknown = || {
                let message = "is a class that the training file does not have";
                Error::BadData(format!("picture {}: {} {message}", row + 1, quoted(name)))
            };
            numbers.get(name).copied().ok_or_else(unknown)
        };
        let of_row = rows.iter().map(class).collect::<Result<_>>()?;
        Ok(Target::Classes { count: numbers.len() as u32, of_row })
    }

    pub(super) fn export(&self, graph: &mut Graph, raw: &Value) {
        match self {
            TargetPlan::Classes { classes, .. } | TargetPlan::Folders { classes } => {
                export_classes(graph, classes, raw)
            }
            TargetPlan::Forecast { .. } => {}
            TargetPlan::Number { offset, scale, .. } => {
                let prediction = export_in_units(graph, raw, *offset, *scale);
                graph.output(&prediction, "prediction", Element::F32, &[Dim::Batch, Dim::Fixed(1)]);
            }
        }
    }
}

fn classes_of(table: &Table, name: &str, classes: &[String], rows: &[usize]) -> Result<Target> {
    let values = &present(table, name)?.values;
    let numbers = numbered(classes);
    let class = |&row: &usize| {
        let text = values.text(row);
        let unknown = || match text.as_str() {
            "" => bad_cell(row, name, "the class is missing"),
            text => bad_cell(row, name, &format!("{} is a class that the training file does not have", quoted(text))),
        };
        numbers.get(&text).copied().ok_or_else(unknown)
    };
    let of_row = rows.iter().map(class).collect::<Result<_>>()?;
    Ok(Target::Classes { count: classes.len() as u32, of_row })
}

fn numbers(table: &Table, name: &str, rows: &[usize]) -> Result<Vec<f64>> {
    let Values::Number(numbers) = &present(table, name)?.values else {
        return Err(Error::BadData(format!("column {} has no numbers", quoted(name))));
    };
    let number = |&row: &usize| match numbers[row] {
        number if number.is_nan() => Err(bad_cell(row, name, "the number to predict is missing")),
        number => Ok(number),
    };
    rows.iter().map(number).collect()
}

/// The column of a name, in a table that should have it.
pub(super) fn present<'a>(table: &'a Table, name: &str) -> Result<&'a Column> {
    let missing = || Error::BadData(format!("there is no column {}; the columns are {}", quoted(name), names(table)));
    table.column(name).ok_or_else(missing)
}

fn export_classes(graph: &mut Graph, classes: &[String], logits: &Value) {
    let probabilities = graph.node("Softmax", &[logits], &[("axis", Setting::Int(1))]);
    let best = graph.node("ArgMax", &[logits], &[("axis", Setting::Int(1)), ("keepdims", Setting::Int(0))]);
    let names = graph.texts(&[classes.len()], classes);
    let label = graph.node("Gather", &[&names, &best], &[("axis", Setting::Int(0))]);
    graph.output(&label, "label", Element::Text, &[Dim::Batch]);
    graph.output(&probabilities, "probabilities", Element::F32, &[Dim::Batch, Dim::Fixed(classes.len())]);
}

/// In double precision, so that the rounding is that of the result alone.
fn export_in_units(graph: &mut Graph, raw: &Value, offset: f64, scale: f64) -> Value {
    let raw = graph.node("Cast", &[raw], &[("to", Setting::Int(Element::F64 as i64))]);
    let scale = graph.doubles(&[1], &[scale]);
    let offset = graph.doubles(&[1], &[offset]);
    let scaled = graph.node("Mul", &[&raw, &scale], &[]);
    let moved = graph.node("Add", &[&scaled, &offset], &[]);
    graph.node("Cast", &[&moved], &[("to", Setting::Int(Element::F32 as i64))])
}

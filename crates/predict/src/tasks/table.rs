//! tabular-classification and tabular-regression: one input of the model for each column, `[rows, 1]`.
//!
//! All preparation is inside the model. Here cells become what an input takes: numbers for columns of numbers (missing: NaN),
//! text for all others (missing: empty).

use super::classes::Classes;
use super::{Answer, Input, Parts, Pipeline, Plan, check_count, numbers, odd, wrong_kind};
use crate::artefact::InputKind;
use crate::error::{Error, Result, shown};
use crate::model::Request;
use crate::tensor::{Data, DataType, Tensor};
use std::sync::Arc;

/// Columns of one length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// In any order.
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name: that of the model's input.
    pub name: String,
    /// From top to bottom.
    pub cells: Vec<Cell>,
}

/// What stands in one row of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Missing,
    /// A number.
    Number(f64),
    /// Text. In a column of numbers it has to be one.
    Text(String),
}

struct Tabular {
    inputs: Vec<Feature>,
    reading: Reading,
    rows_max: usize,
}

#[derive(Clone)]
struct Feature {
    name: String,
    dtype: DataType,
    rank: usize,
}

#[derive(Clone)]
enum Reading {
    Classes(Classes),
    Numbers(String),
}

/// tabular-classification.
pub(super) fn classification(parts: &Parts<'_>) -> Result<Arc<dyn Pipeline>> {
    tabular(parts, Reading::Classes(Classes::of(parts)?))
}

/// tabular-regression.
pub(super) fn regression(parts: &Parts<'_>) -> Result<Arc<dyn Pipeline>> {
    tabular(parts, Reading::Numbers(parts.output("prediction")?))
}

fn tabular(parts: &Parts<'_>, reading: Reading) -> Result<Arc<dyn Pipeline>> {
    for spec in &parts.manifest.inputs {
        let port = parts.signature.inputs.iter().find(|port| port.name == spec.name);
        let port = port.ok_or_else(|| Error::BadArtefact(format!("the model has no input `{}`", shown(&spec.name))))?;
        if (spec.kind == InputKind::Number) == (port.dtype == DataType::Bytes) {
            let reason = format!("the input `{}` is of the kind {:?}, but takes {}", spec.name, spec.kind, port.dtype);
            return Err(Error::BadArtefact(reason));
        }
    }
    let feature = |port: &crate::Port| {
        let takes = matches!(port.dtype, DataType::Fp32 | DataType::Fp64 | DataType::Int64 | DataType::Bytes);
        let one = matches!(port.dims[..], [-1] | [-1, 1 | -1]);
        (takes && one)
            .then(|| Feature { name: port.name.clone(), dtype: port.dtype, rank: port.dims.len() })
            .ok_or_else(|| {
                let reason = format!("its input `{}` is not one number or text for each row", shown(&port.name));
                Error::BadArtefact(reason)
            })
    };
    let inputs = parts.signature.inputs.iter().map(feature).collect::<Result<_>>()?;
    Ok(Arc::new(Tabular { inputs, reading, rows_max: parts.settings.items_max }))
}

impl Pipeline for Tabular {
    fn plan(&self, input: Input) -> Result<Plan> {
        let Input::Table(table) = input else { return Err(wrong_kind("a table", &input)) };
        let rows = table.columns.first().map_or(0, |column| column.cells.len());
        check_count(rows, self.rows_max)?;
        if let Some(odd) = table.columns.iter().find(|column| column.cells.len() != rows) {
            let reason = format!("the column has {} cells, the first column {rows}", odd.cells.len());
            return Err(Error::bad_input(&*odd.name, reason));
        }
        let inputs = self.inputs.iter().map(|feature| feature.tensor(&table)).collect::<Result<Vec<_>>>()?;
        let reading = self.reading.clone();
        let outputs = vec![reading.output().to_owned()];
        // No rows, no run: not every model takes an empty tensor.
        let runs = if rows == 0 { Vec::new() } else { vec![Request { inputs, outputs, deadline: None }] };
        Ok(Plan { runs, finish: Box::new(move |results| reading.answer(&results, rows)) })
    }
}

impl Feature {
    fn tensor(&self, table: &Table) -> Result<Tensor> {
        let column = table.columns.iter().find(|column| column.name == self.name).ok_or_else(|| {
            let given: Vec<String> = table.columns.iter().take(20).map(|column| shown(&column.name)).collect();
            Error::bad_input(&*self.name, format!("the column is missing; given were: {}", given.join(", ")))
        })?;
        let (cells, numbered) = (column.cells.iter(), column.cells.iter().enumerate());
        let data = match self.dtype {
            DataType::Bytes => Data::Bytes(cells.map(Cell::text).collect()),
            DataType::Int64 => Data::Int64(numbered.map(|(row, cell)| self.integer(row, cell)).collect::<Result<_>>()?),
            DataType::Fp64 => Data::Fp64(numbered.map(|(row, cell)| self.number(row, cell)).collect::<Result<_>>()?),
            #[expect(clippy::cast_possible_truncation, reason = "the model takes single precision")]
            _ => Data::Fp32(
                numbered.map(|(row, cell)| self.number(row, cell).map(|value| value as f32)).collect::<Result<_>>()?,
            ),
        };
        let shape = if self.rank == 1 { vec![data.len()] } else { vec![data.len(), 1] };
        Ok(Tensor::made(&*self.name, shape, data))
    }

    fn number(&self, row: usize, cell: &Cell) -> Result<f64> {
        match cell {
            Cell::Missing => Ok(f64::NAN),
            Cell::Number(value) => Ok(*value),
            Cell::Text(text) if text.trim().is_empty() => Ok(f64::NAN),
            Cell::Text(text) => text.trim().parse().map_err(|_| {
                let reason = format!("row {row} holds `{}`, which is no number", shown(text));
                Error::bad_input(&*self.name, reason)
            }),
        }
    }

    fn integer(&self, row: usize, cell: &Cell) -> Result<i64> {
        let value = self.number(row, cell)?;
        // 2^53: up to here each whole number has a double of its own.
        if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
            #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
            return Ok(value as i64);
        }
        Err(Error::bad_input(&*self.name, format!("row {row} holds {value}; the model takes whole numbers here")))
    }
}

impl Cell {
    /// Whole numbers have no point: `3`, as they stand in the file that the model was trained on.
    fn text(&self) -> String {
        match self {
            Self::Missing => String::new(),
            Self::Number(value) if value.is_nan() => String::new(),
            Self::Number(value) => value.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Reading {
    fn output(&self) -> &str {
        match self {
            Self::Classes(classes) => &classes.output,
            Self::Numbers(output) => output,
        }
    }

    fn answer(&self, results: &[Vec<Tensor>], rows: usize) -> Result<Answer> {
        match self {
            Self::Classes(classes) => classes.answer(results),
            Self::Numbers(output) => {
                let mut values = Vec::with_capacity(rows);
                for outputs in results {
                    values.extend(numbers(outputs, output)?.1.into_iter().map(f64::from));
                }
                let fits = values.len() == rows;
                fits.then_some(Answer::Numbers(values)).ok_or_else(|| odd(output, "is not one number for each row"))
            }
        }
    }
}

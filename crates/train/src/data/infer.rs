//! From cells of text to typed columns.
//!
//! A column is of the first kind that all its cells fit: Boolean, Number, Date. Others hold texts: sentences if they have
//! many words and seldom repeat, else categories.

use std::collections::BTreeMap;

use super::raw::{RawColumn, RawTable};
use super::{Column, DateFormat, Kind, Strings, Table, Values, bad_cell, quoted};
use crate::{Error, Result};

/// The share of numbers from which a column that is not all numbers is worth a warning.
const MIXED_SHARE: f64 = 0.5;
/// Mean words of a cell from which a column holds sentences.
const TEXT_WORDS: usize = 4;

/// Gives each column its type: the one in `kinds`, or the one that it looks like.
pub(super) fn infer(raw: RawTable, kinds: &BTreeMap<String, Kind>) -> Result<Table> {
    if let Some(unknown) = kinds.keys().find(|name| raw.columns.iter().all(|column| &column.name != *name)) {
        let message = format!("there is no column {}", quoted(unknown));
        return Err(Error::BadSpec { field: "kinds".to_owned(), message });
    }
    let mut table = Table { columns: Vec::new(), rows: raw.rows, warnings: raw.warnings };
    for column in raw.columns {
        let values = match kinds.get(&column.name) {
            Some(kind) => forced(&column, *kind)?,
            None => guessed(&column, &mut table.warnings)?,
        };
        table.columns.push(Column { name: column.name, values });
    }
    Ok(table)
}

fn guessed(column: &RawColumn, warnings: &mut Vec<String>) -> Result<Values> {
    if !column.is_text {
        if let Ok(truths) = booleans(column)
            && truths.iter().any(Option::is_some)
        {
            return Ok(Values::Boolean(truths));
        }
        match numbers(column) {
            Ok(numbers) => return finite(column, numbers),
            Err(first_bad) => warn_of_mixed(column, first_bad, warnings),
        }
    }
    if let Some(dates) = dates(column) {
        return Ok(dates);
    }
    let strings = Strings::of(column.cells());
    Ok(if are_sentences(&strings) { Values::Text(strings) } else { Values::Category(strings) })
}

fn forced(column: &RawColumn, kind: Kind) -> Result<Values> {
    let refuse = |row: usize, what: &str| {
        let cell = quoted(column.cell(row).unwrap_or_default());
        Err(bad_cell(row, &column.name, &format!("{cell} is {what}; mend the cell or choose another kind")))
    };
    match kind {
        Kind::Number => match numbers(column) {
            Ok(numbers) => finite(column, numbers),
            Err(row) => refuse(row, "no number"),
        },
        Kind::Boolean => match booleans(column) {
            Ok(truths) => Ok(Values::Boolean(truths)),
            Err(row) => refuse(row, "neither true nor false"),
        },
        Kind::Date => match dates(column) {
            Some(dates) => Ok(dates),
            None => {
                let row = first_without_date(column);
                refuse(row, "no date in the format of the others, such as 2026-03-31 or 2026-03-31T23:59:58")
            }
        },
        Kind::Category => Ok(Values::Category(Strings::of(column.cells()))),
        Kind::Text => Ok(Values::Text(Strings::of(column.cells()))),
    }
}

/// The row of the first cell that is none, as the error.
fn booleans(column: &RawColumn) -> std::result::Result<Vec<Option<bool>>, usize> {
    let truth = |(row, cell): (usize, Option<&str>)| match cell {
        None => Ok(None),
        Some(cell) if cell.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(cell) if cell.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(row),
    };
    column.cells().enumerate().map(truth).collect()
}

/// The row of the first cell that is none, as the error.
fn numbers(column: &RawColumn) -> std::result::Result<Vec<f64>, usize> {
    let number = |(row, cell): (usize, Option<&str>)| match cell {
        None => Ok(f64::NAN),
        Some(cell) => cell.parse::<f64>().map_err(|_| row),
    };
    column.cells().enumerate().map(number).collect()
}

fn finite(column: &RawColumn, numbers: Vec<f64>) -> Result<Values> {
    match numbers.iter().position(|number| number.is_infinite()) {
        None => Ok(Values::Number(numbers)),
        Some(row) => {
            let cell = quoted(column.cell(row).unwrap_or_default());
            Err(bad_cell(row, &column.name, &format!("{cell} is not finite; leave the cell empty if it is unknown")))
        }
    }
}

fn warn_of_mixed(column: &RawColumn, first_bad: usize, warnings: &mut Vec<String>) {
    let (mut present, mut numbers) = (0_usize, 0_usize);
    for cell in column.cells().flatten() {
        present += 1;
        numbers += usize::from(cell.parse::<f64>().is_ok());
    }
    if numbers as f64 >= MIXED_SHARE * present as f64 {
        let cell = quoted(column.cell(first_bad).unwrap_or_default());
        warnings.push(format!(
            "column {}: {numbers} of {present} cells are numbers, but row {} has {cell}; the column is read as text",
            quoted(&column.name),
            first_bad + 1
        ));
    }
}

fn dates(column: &RawColumn) -> Option<Values> {
    let first = column.cells().flatten().next()?;
    let mut fitting = DateFormat::ALL.into_iter().filter(|format| format.pattern().len() == first.len());
    fitting.find_map(|format| {
        let seconds = |cell: Option<&str>| match cell {
            None => Some(None),
            Some(cell) => format.read(cell).map(Some),
        };
        let seconds: Option<Vec<_>> = column.cells().map(seconds).collect();
        seconds.map(|seconds| Values::Date(format, seconds))
    })
}

/// Of the format that fits the most rows before its first misfit.
fn first_without_date(column: &RawColumn) -> usize {
    let misfit = |format: DateFormat| {
        column.cells().position(|cell| cell.is_some_and(|cell| format.read(cell).is_none())).unwrap_or(0)
    };
    DateFormat::ALL.into_iter().map(misfit).max().unwrap_or(0)
}

fn are_sentences(strings: &Strings) -> bool {
    let levels = strings.levels();
    let words: usize = levels.iter().map(|level| level.split_whitespace().count()).sum();
    !levels.is_empty() && words >= TEXT_WORDS * levels.len() && 2 * levels.len() > strings.len()
}

//! A table in memory: typed columns of one length.

use std::collections::HashMap;

use super::{DateFormat, Kind};
use crate::{Error, Result};

/// Columns of one length, as they stand in the file; row 0 is the file's first row after the header.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: usize,
    /// What was odd while it was read; the preview shows it.
    pub(super) warnings: Vec<String>,
}

/// A column with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Not empty, and no other column's.
    pub name: String,
    /// One for each row.
    pub values: Values,
}

/// The cells of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Finite, or NaN where one is missing.
    Number(Vec<f64>),
    /// Names.
    Category(Strings),
    /// Sentences.
    Text(Strings),
    /// Seconds since 1970-01-01T00:00:00, without a time zone.
    Date(DateFormat, Vec<Option<i64>>),
    /// Truth values.
    Boolean(Vec<Option<bool>>),
}

/// Texts, each different one kept once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strings {
    levels: Vec<String>,
    of_row: Vec<u32>,
}

/// In place of a level's number where a cell is missing.
const MISSING: u32 = u32::MAX;

impl Table {
    /// A table of `columns`.
    ///
    /// # Errors
    /// [`Error::BadData`] if they differ in length or two have one name.
    pub fn new(columns: Vec<Column>) -> Result<Table> {
        let rows = columns.first().map_or(0, |column| column.values.len());
        for (index, column) in columns.iter().enumerate() {
            if column.values.len() != rows || columns[..index].iter().any(|other| other.name == column.name) {
                let name = super::quoted(&column.name);
                return Err(Error::BadData(format!("column {name} is there twice or of another length")));
            }
        }
        Ok(Table { columns, rows, warnings: Vec::new() })
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// All columns, in the file's order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of a name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What was odd while it was read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Values {
    /// How many cells.
    pub fn len(&self) -> usize {
        match self {
            Values::Number(numbers) => numbers.len(),
            Values::Category(strings) | Values::Text(strings) => strings.len(),
            Values::Date(_, seconds) => seconds.len(),
            Values::Boolean(truths) => truths.len(),
        }
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they are.
    pub fn kind(&self) -> Kind {
        match self {
            Values::Number(_) => Kind::Number,
            Values::Category(_) => Kind::Category,
            Values::Text(_) => Kind::Text,
            Values::Date(..) => Kind::Date,
            Values::Boolean(_) => Kind::Boolean,
        }
    }

    /// Whether the cell of `row` is missing. Panics if there is no such row.
    pub fn is_missing(&self, row: usize) -> bool {
        match self {
            Values::Number(numbers) => numbers[row].is_nan(),
            Values::Category(strings) | Values::Text(strings) => strings.get(row).is_none(),
            Values::Date(_, seconds) => seconds[row].is_none(),
            Values::Boolean(truths) => truths[row].is_none(),
        }
    }

    /// The cell of `row` as text, equal for equal cells; empty where it is missing. Panics if there is no such row.
    pub fn text(&self, row: usize) -> String {
        match self {
            Values::Number(numbers) if numbers[row].is_nan() => String::new(),
            Values::Number(numbers) => (numbers[row] + 0.0).to_string(),
            Values::Category(strings) | Values::Text(strings) => strings.get(row).unwrap_or_default().to_owned(),
            Values::Date(format, seconds) => seconds[row].map(|seconds| format.write(seconds)).unwrap_or_default(),
            Values::Boolean(truths) => truths[row].map(|truth| truth.to_string()).unwrap_or_default(),
        }
    }
}

impl Strings {
    /// Keeps the cells in their order; `None` is a missing one.
    pub fn of<'a>(cells: impl Iterator<Item = Option<&'a str>>) -> Strings {
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut strings = Strings::default();
        for cell in cells {
            let Some(cell) = cell else {
                strings.of_row.push(MISSING);
                continue;
            };
            let number = match numbers.get(cell) {
                Some(&number) => number,
                None => {
                    let number = strings.levels.len() as u32;
                    numbers.insert(cell.to_owned(), number);
                    strings.levels.push(cell.to_owned());
                    number
                }
            };
            strings.of_row.push(number);
        }
        strings
    }

    /// How many cells.
    pub fn len(&self) -> usize {
        self.of_row.len()
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.of_row.is_empty()
    }

    /// The cell of `row`; `None` where it is missing. Panics if there is no such row.
    pub fn get(&self, row: usize) -> Option<&str> {
        self.levels.get(self.of_row[row] as usize).map(String::as_str)
    }

    /// The different values, in the order in which they come first.
    pub fn levels(&self) -> &[String] {
        &self.levels
    }

    /// The number in [`Strings::levels`] of the cell of `row`; `None` where it is missing. Panics if there is no such row.
    pub fn level(&self, row: usize) -> Option<usize> {
        let number = self.of_row[row];
        (number != MISSING).then_some(number as usize)
    }
}

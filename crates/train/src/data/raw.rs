//! A table while it is read: cells as text, one stretch of memory for each column, under the limits.

use super::{Limits, bad_cell, over_limit, quoted};
use crate::{Error, Result};

/// A column's cells, one after another in one buffer.
#[derive(Debug, Default)]
pub(super) struct RawColumn {
    pub(super) name: String,
    bytes: String,
    ends: Vec<usize>,
    /// The format says that it holds texts, whatever they look like.
    pub(super) is_text: bool,
}

/// Columns that grow row by row.
#[derive(Debug)]
pub(super) struct RawTable {
    pub(super) columns: Vec<RawColumn>,
    pub(super) rows: usize,
    pub(super) warnings: Vec<String>,
    bytes: usize,
    limits: Limits,
}

impl RawColumn {
    /// The cell of `row`, without blanks around it; `None` where it is missing.
    pub(super) fn cell(&self, row: usize) -> Option<&str> {
        let begin = if row == 0 { 0 } else { self.ends[row - 1] };
        let cell = self.bytes[begin..self.ends[row]].trim();
        (!is_missing(cell)).then_some(cell)
    }

    /// All cells.
    pub(super) fn cells(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.ends.len()).map(|row| self.cell(row))
    }

    fn push(&mut self, cell: &str) {
        self.bytes.push_str(cell);
        self.ends.push(self.bytes.len());
    }
}

/// What stands for a cell without a value; the same words are missing to a served model.
pub(crate) const MISSING_WORDS: [&str; 10] = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?"];

fn is_missing(cell: &str) -> bool {
    MISSING_WORDS.contains(&cell)
}

impl RawTable {
    pub(super) fn new(limits: &Limits) -> RawTable {
        RawTable { columns: Vec::new(), rows: 0, warnings: Vec::new(), bytes: 0, limits: limits.clone() }
    }

    /// Adds a column, whose cells are missing in the rows before. Gives its number.
    pub(super) fn add_column(&mut self, name: &str) -> Result<usize> {
        let number = self.columns.len() + 1;
        if number > self.limits.columns_max {
            let what = format!("column {number} is one too many (row {})", self.rows + 1);
            return Err(over_limit(&what, "columns_max", self.limits.columns_max));
        }
        if name.len() > self.limits.cell_bytes_max {
            let what = format!("column {number} has a name of {} bytes", name.len());
            return Err(over_limit(&what, "cell_bytes_max", self.limits.cell_bytes_max));
        }
        let mut name = name.trim().to_owned();
        if name.is_empty() {
            name = format!("column_{number}");
            self.warnings.push(format!("column {number} has no name; it is called `{name}`"));
        }
        if let Some(other) = self.columns.iter().position(|column| column.name == name) {
            let name = quoted(&name);
            return Err(Error::BadData(format!(
                "columns {} and {number} are both named {name}; give each a name of its own",
                other + 1
            )));
        }
        self.columns.push(RawColumn { name, ends: vec![0; self.rows], ..RawColumn::default() });
        Ok(number - 1)
    }

    /// Adds a cell to a column that has none yet in the row that is read.
    pub(super) fn push(&mut self, column: usize, cell: &str) -> Result<()> {
        let row = self.rows;
        let column = &mut self.columns[column];
        if cell.len() > self.limits.cell_bytes_max {
            let what = format!("row {}, column {}: a cell of {} bytes", row + 1, quoted(&column.name), cell.len());
            return Err(over_limit(&what, "cell_bytes_max", self.limits.cell_bytes_max));
        }
        if cell.contains('\0') {
            return Err(bad_cell(row, &column.name, "a NUL byte, which no text has; is the file a binary one?"));
        }
        if column.ends.len() != row {
            return Err(bad_cell(row, &column.name, "the name comes twice in this row"));
        }
        column.push(cell);
        self.bytes += cell.len() + size_of::<usize>();
        if self.bytes > self.limits.memory_bytes_max {
            let what = format!("row {}: the cells so far take {} bytes", row + 1, self.bytes);
            return Err(over_limit(&what, "memory_bytes_max", self.limits.memory_bytes_max));
        }
        Ok(())
    }

    /// Ends a row; columns without a cell in it get a missing one.
    pub(super) fn end_row(&mut self) -> Result<()> {
        self.rows += 1;
        if self.rows > self.limits.rows_max {
            let what = format!("row {} is one too many", self.rows);
            return Err(over_limit(&what, "rows_max", self.limits.rows_max));
        }
        for column in &mut self.columns {
            if column.ends.len() < self.rows {
                column.push("");
                self.bytes += size_of::<usize>();
            }
        }
        Ok(())
    }
}

//! JSONL: an object a line, whose keys are the columns.
//!
//! A key that a line lacks is a missing cell, as `null` is. Values that are objects or arrays are refused: a table has no
//! place for them.

use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use super::raw::RawTable;
use super::{ReadSettings, Table, bad_cell, infer, over_limit};
use crate::{Error, Result};

/// Reads a file to its end.
pub(super) fn read(source: impl Read, settings: &ReadSettings) -> Result<Table> {
    let mut lines = BufReader::new(source);
    let mut table = RawTable::new(&settings.limits);
    let mut line = Vec::new();
    let line_bytes_max = settings.limits.cell_bytes_max.saturating_mul(4);
    for number in 1_u64.. {
        line.clear();
        let read = lines.by_ref().take(line_bytes_max as u64 + 1).read_until(b'\n', &mut line);
        let read =
            read.map_err(|source| Error::File { what: format!("reading line {number} of the table"), source })?;
        if read == 0 {
            break;
        }
        if line.len() > line_bytes_max {
            let what = format!("row {} (line {number}) has more than {line_bytes_max} bytes", table.rows + 1);
            return Err(over_limit(&what, "cell_bytes_max", settings.limits.cell_bytes_max));
        }
        let bytes = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
        if !bytes.trim_ascii().is_empty() {
            add(&mut table, bytes, number)?;
        }
    }
    if table.rows == 0 {
        return Err(Error::BadData("row 1: the file has no lines; write one JSON object a line".to_owned()));
    }
    infer::infer(table, &settings.kinds)
}

fn add(table: &mut RawTable, line: &[u8], number: u64) -> Result<()> {
    let row = table.rows;
    let at = || format!("row {} (line {number})", row + 1);
    let object = match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(Error::BadData(format!("{} is no object; write `{{\"column\": value}}`", at()))),
        Err(error) => return Err(Error::BadData(format!("{}, byte {}: {error}", at(), error.column()))),
    };
    for (name, value) in &object {
        let column = match table.columns.iter().position(|column| column.name == name.trim()) {
            Some(column) => column,
            None => table.add_column(name)?,
        };
        match value {
            Value::Null => table.push(column, "")?,
            Value::Bool(truth) => table.push(column, if *truth { "true" } else { "false" })?,
            Value::Number(value) => table.push(column, &value.to_string())?,
            Value::String(text) => {
                table.columns[column].is_text = true;
                table.push(column, text)?;
            }
            Value::Array(_) | Value::Object(_) => {
                let what = format!("the value is an object or array (line {number}); give its parts keys of their own");
                return Err(bad_cell(row, name, &what));
            }
        }
    }
    table.end_row()
}

//! Reading what users upload: tables (CSV, JSONL, Parquet) and pictures (archives of class folders, IDX).
//!
//! It owns formats, limits, the inference of types and the preview. It knows no task and no model. Every refusal names the
//! row and the column; rows count from 1, without the header. Start at [`Table::read`].

mod csv;
mod dates;
mod infer;
mod pictures;
mod raw;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub(crate) use dates::place;
pub use dates::{DateFormat, DateParts};
pub use pictures::Pictures;
pub(crate) use pictures::sorted_classes;
pub(crate) use raw::MISSING_WORDS;
pub use table::{Column, Strings, Table, Values};

/// Bounds on what is read. Beyond one of them the file is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Rows of a table, or pictures.
    pub rows_max: usize,
    /// Columns of a table.
    pub columns_max: usize,
    /// Bytes of one cell, and of one column's name.
    pub cell_bytes_max: usize,
    /// Bytes of all cells, or of all pictures at the size to which they are brought.
    pub memory_bytes_max: usize,
    /// Pixels of one picture as it comes.
    pub picture_pixels_max: u64,
    /// Files in an archive, folders and what is skipped counted too.
    pub entries_max: usize,
    /// Bytes of one file of an archive, unpacked.
    pub entry_bytes_max: u64,
    /// Bytes out of an archive for each byte in it.
    pub expansion_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rows_max: 10_000_000,
            columns_max: 4096,
            cell_bytes_max: 1 << 20,
            memory_bytes_max: 1 << 30,
            picture_pixels_max: 1 << 25,
            entries_max: 1_000_000,
            entry_bytes_max: 1 << 26,
            expansion_max: 200,
        }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Finite numbers.
    Number,
    /// Few different values, each of them a name.
    Category,
    /// Sentences.
    Text,
    /// Days, or points in time.
    Date,
    /// `true` or `false`.
    Boolean,
}

/// How a table is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadSettings {
    /// Between cells: `,`, `;`, a tab, `|`, or another ASCII character. Sniffed if it is not given.
    pub delimiter: Option<char>,
    /// Whether the first row holds names. Guessed if it is not given: it does unless one of its cells is a number or empty
    /// cells are all it has.
    pub header: Option<bool>,
    /// Kinds of columns by name; all others are inferred.
    pub kinds: BTreeMap<String, Kind>,
    /// Bounds.
    pub limits: Limits,
}

/// A value of a user's as it stands in a message: escaped, and cut where it is long.
pub(crate) fn quoted(value: &str) -> String {
    const SHOWN_CHARACTERS: usize = 40;
    let mut shown: String = value.chars().take(SHOWN_CHARACTERS).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    format!("`{}`", shown.escape_debug())
}

/// A refusal of a cell. `row` counts from 0 here, and from 1 in the message.
pub(crate) fn bad_cell(row: usize, column: &str, what: &str) -> Error {
    Error::BadData(format!("row {}, column {}: {what}", row + 1, quoted(column)))
}

/// A bound that was reached, with its name in the settings.
pub(crate) fn over_limit(what: &str, limit: &str, value: impl std::fmt::Display) -> Error {
    Error::LimitReached(format!("{what}; `{limit}` is {value}. Send less, or have the limit raised"))
}

impl Table {
    /// Reads CSV. See `csv.rs` for what is accepted.
    ///
    /// # Errors
    /// [`Error::BadData`] with row and column, [`Error::LimitReached`], [`Error::File`].
    pub fn read_csv(source: impl std::io::Read, settings: &ReadSettings) -> Result<Table> {
        csv::read(source, settings)
    }
}

//! Reading what users upload: tables (CSV, JSONL, Parquet) and pictures (archives of class folders, IDX).
//!
//! It owns formats, limits, the inference of types and the preview. It knows no task and no model. Every refusal names the
//! row and the column; rows count from 1, without the header. Start at [`Table::read`].

mod archive;
mod csv;
mod dates;
mod idx;
mod images;
mod infer;
mod jsonl;
mod parquet;
mod pictures;
mod preview;
mod raw;
mod table;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub(crate) use dates::place;
pub use dates::{DateFormat, DateParts};
pub use images::PictureSettings;
pub use pictures::Pictures;
pub(crate) use pictures::sorted_classes;
pub use preview::{ColumnPreview, NumbersPreview, Preview};
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

/// Formats of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Cells between delimiters.
    Csv,
    /// A JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The format of a file by its name's ending.
    pub fn of_name(name: &str) -> Option<Format> {
        let ending = name.rsplit_once('.')?.1.to_ascii_lowercase();
        match ending.as_str() {
            "csv" | "tsv" | "txt" => Some(Format::Csv),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            "parquet" | "pq" => Some(Format::Parquet),
            _ => None,
        }
    }
}

impl Table {
    /// Reads a file to its end. CSV and JSONL are read as they come, Parquet is taken into memory first.
    ///
    /// # Errors
    /// [`Error::BadData`] with row and column, [`Error::LimitReached`], [`Error::File`].
    pub fn read(source: impl Read, format: Format, settings: &ReadSettings) -> Result<Table> {
        match format {
            Format::Csv => csv::read(source, settings),
            Format::Jsonl => jsonl::read(source, settings),
            Format::Parquet => parquet::read(source, settings),
        }
    }

    /// [`Table::read`] of CSV.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn read_csv(source: impl Read, settings: &ReadSettings) -> Result<Table> {
        csv::read(source, settings)
    }
}

impl Pictures {
    /// Reads an archive (zip, tar, tar packed by gzip) to its end: a folder for each class, or pairs of IDX files.
    ///
    /// # Errors
    /// [`Error::BadData`] names the file and its row, or what is odd about the archive; [`Error::LimitReached`];
    /// [`Error::File`].
    pub fn read(source: impl Read + Seek, settings: &PictureSettings) -> Result<Pictures> {
        images::read(source, settings)
    }

    /// Reads two IDX files, packed by gzip or not.
    ///
    /// # Errors
    /// As [`Pictures::read`].
    pub fn read_idx(pictures: impl Read, labels: impl Read, limits: &Limits) -> Result<Pictures> {
        idx::read(pictures, labels, limits)
    }
}

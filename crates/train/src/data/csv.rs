//! CSV as RFC 4180 has it, and what spreadsheets make of it: other delimiters, a byte order mark, line breaks in quotes.
//!
//! Every row has as many cells as the first; every cell is UTF-8. A record is read into a buffer that grows no further than
//! the limits, whatever stands in the file.

use std::io::Read;

use csv_core::ReadRecordResult;

use super::raw::RawTable;
use super::{ReadSettings, Table, bad_cell, infer, over_limit, quoted};
use crate::{Error, Result};

/// How much of a file is looked at to guess its delimiter.
const SAMPLE_BYTES: usize = 1 << 16;
/// Records of the sample that are compared.
const SAMPLE_RECORDS: usize = 50;
const CHUNK_BYTES: usize = 1 << 16;
const DELIMITERS: [u8; 4] = *b",;\t|";

/// Reads a file to its end.
pub(super) fn read(mut source: impl Read, settings: &ReadSettings) -> Result<Table> {
    let mut sample = Vec::new();
    source.by_ref().take(SAMPLE_BYTES as u64).read_to_end(&mut sample).map_err(unreadable)?;
    refuse_other_files(&sample)?;
    let delimiter = match settings.delimiter {
        Some(delimiter) if delimiter.is_ascii() && !"\"\r\n".contains(delimiter) => delimiter as u8,
        Some(delimiter) => {
            let message = format!("{delimiter:?} cannot stand between cells; use an ASCII character that is no quote");
            return Err(Error::BadSpec { field: "delimiter".to_owned(), message });
        }
        None => sniff(&sample),
    };
    let mut records = Records::new(std::io::Cursor::new(sample).chain(source), delimiter, settings);
    let mut table = RawTable::new(&settings.limits);
    let Some(first) = records.next()? else {
        return Err(Error::BadData("the file has no rows".to_owned()));
    };
    let cells =
        first.iter().enumerate().map(|(index, cell)| utf8(cell, index, 0, 1, "")).collect::<Result<Vec<_>>>()?;
    if settings.header.unwrap_or_else(|| is_header(&cells)) {
        cells.iter().try_for_each(|name| table.add_column(name).map(|_| ()))?;
    } else {
        (1..=cells.len()).try_for_each(|number| table.add_column(&format!("column_{number}")).map(|_| ()))?;
        cells.iter().enumerate().try_for_each(|(index, cell)| table.push(index, cell))?;
        table.end_row()?;
    }
    while let Some(record) = records.next()? {
        add(&mut table, &record)?;
    }
    infer::infer(table, &settings.kinds)
}

/// One record: where it begins in the file, and its cells.
struct Record<'a> {
    line: u64,
    bytes: &'a [u8],
    ends: &'a [usize],
}

impl Record<'_> {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).map(|index| {
            let begin = if index == 0 { 0 } else { self.ends[index - 1] };
            &self.bytes[begin..self.ends[index]]
        })
    }
}

/// Takes records from a source one by one.
struct Records<'a, R> {
    source: R,
    reader: csv_core::Reader,
    chunk: Vec<u8>,
    /// The part of `chunk` that is not yet read.
    unread: std::ops::Range<usize>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    settings: &'a ReadSettings,
}

impl<'a, R: Read> Records<'a, R> {
    fn new(source: R, delimiter: u8, settings: &'a ReadSettings) -> Records<'a, R> {
        let reader = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        let (chunk, bytes, ends) = (vec![0; CHUNK_BYTES], vec![0; 1024], vec![0; 64]);
        Records { source, reader, chunk, unread: 0..0, bytes, ends, settings }
    }

    /// The next record; `None` after the last one. Empty lines are passed over.
    fn next(&mut self) -> Result<Option<Record<'_>>> {
        let line = self.reader.line();
        let (mut bytes, mut ends) = (0, 0);
        loop {
            if self.unread.is_empty() {
                let length = self.source.read(&mut self.chunk).map_err(unreadable)?;
                self.unread = 0..length;
            }
            let input = &self.chunk[self.unread.clone()];
            let (result, read, written, ended) =
                self.reader.read_record(input, &mut self.bytes[bytes..], &mut self.ends[ends..]);
            self.unread.start += read;
            (bytes, ends) = (bytes + written, ends + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.grow_bytes(line, ends)?,
                ReadRecordResult::OutputEndsFull => self.grow_ends(line)?,
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::Record => {
                    return Ok(Some(Record { line, bytes: &self.bytes[..bytes], ends: &self.ends[..ends] }));
                }
            }
        }
    }

    fn grow_bytes(&mut self, line: u64, cells: usize) -> Result<()> {
        let limits = &self.settings.limits;
        let most = limits.cell_bytes_max.saturating_mul(4).max(limits.columns_max.saturating_mul(64));
        let most = most.min(limits.memory_bytes_max);
        if self.bytes.len() > most {
            let what = format!(
                "the row at line {line} has more than {most} bytes, of which cell {} is a part; is a quote left open?",
                cells + 1
            );
            return Err(over_limit(&what, "cell_bytes_max", limits.cell_bytes_max));
        }
        self.bytes.resize(2 * self.bytes.len(), 0);
        Ok(())
    }

    fn grow_ends(&mut self, line: u64) -> Result<()> {
        let most = self.settings.limits.columns_max;
        if self.ends.len() > most {
            let what = format!("the row at line {line} has more than {} cells: column {} is too many", most, most + 1);
            return Err(over_limit(&what, "columns_max", most));
        }
        self.ends.resize(2 * self.ends.len(), 0);
        Ok(())
    }
}

fn add(table: &mut RawTable, record: &Record<'_>) -> Result<()> {
    let (row, columns, cells) = (table.rows, table.columns.len(), record.ends.len());
    if cells != columns {
        let at = format!("row {} (line {}) has {cells} cells, and the first row has {columns}", row + 1, record.line);
        let hint = match table.columns.get(cells) {
            Some(column) => format!("column {} is the first without one", quoted(&column.name)),
            None => format!("cell {} belongs to no column; is a delimiter inside a cell without quotes?", columns + 1),
        };
        return Err(Error::BadData(format!("{at}: {hint}")));
    }
    for (index, cell) in record.iter().enumerate() {
        let name = &table.columns[index].name;
        let cell = match std::str::from_utf8(cell) {
            Ok(cell) => cell,
            Err(_) => return utf8(cell, index, row, record.line, &name.clone()).map(|_| ()),
        };
        table.push(index, cell)?;
    }
    table.end_row()
}

/// The cell as text, or the refusal that names its place.
fn utf8(cell: &[u8], index: usize, row: usize, line: u64, name: &str) -> Result<String> {
    let Err(error) = std::str::from_utf8(cell) else {
        return Ok(String::from_utf8_lossy(cell).into_owned());
    };
    let name = if name.is_empty() { format!("number {}", index + 1) } else { name.to_owned() };
    let byte = cell.get(error.valid_up_to()).copied().unwrap_or_default();
    let what = format!("byte {byte:#04x} (line {line}) is not UTF-8; save the file as UTF-8 and send it again");
    Err(bad_cell(row, &name, &what))
}

/// A file of another kind gets a message of its own instead of one on its first odd cell.
fn refuse_other_files(sample: &[u8]) -> Result<()> {
    let what = match sample {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16 text; save the file as UTF-8 and send it again",
        [b'P', b'K', 3, 4, ..] => "a zip archive or a workbook; export the sheet as CSV",
        [b'P', b'A', b'R', b'1', ..] => "Parquet; name the format",
        [0x1f, 0x8b, ..] => "compressed by gzip; unpack it first",
        [] => "empty; send a header and at least one row",
        _ => return Ok(()),
    };
    Err(Error::BadData(format!("row 1, column 1: the file is {what}")))
}

/// The first row holds names if none of its cells is a number and at least one says something.
fn is_header(cells: &[String]) -> bool {
    let is_number = |cell: &String| cell.trim().parse::<f64>().is_ok();
    !cells.iter().any(is_number) && cells.iter().any(|cell| !cell.trim().is_empty())
}

/// The delimiter with which the most records have as many cells as the first one, and more than one; a comma if none has.
fn sniff(sample: &[u8]) -> u8 {
    let score = |delimiter: u8| {
        let counts = cells_of_records(sample, delimiter);
        match counts.first() {
            Some(&first) if first > 1 => (counts.iter().filter(|&&count| count == first).count(), first),
            _ => (0, 0),
        }
    };
    let best = DELIMITERS.into_iter().rev().max_by_key(|&delimiter| score(delimiter));
    best.filter(|&delimiter| score(delimiter).0 > 0).unwrap_or(b',')
}

fn cells_of_records(mut sample: &[u8], delimiter: u8) -> Vec<usize> {
    let mut reader = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
    let (mut bytes, mut ends, mut cells, mut counts) = ([0; 4096], [0; 512], 0, Vec::new());
    while counts.len() < SAMPLE_RECORDS {
        let (result, read, _, ended) = reader.read_record(sample, &mut bytes, &mut ends);
        sample = &sample[read..];
        cells += ended;
        match result {
            ReadRecordResult::Record => {
                counts.push(cells);
                cells = 0;
            }
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            ReadRecordResult::InputEmpty if !sample.is_empty() => {}
            ReadRecordResult::InputEmpty | ReadRecordResult::End => break,
        }
    }
    counts
}

fn unreadable(source: std::io::Error) -> Error {
    Error::File { what: "reading the table".to_owned(), source }
}

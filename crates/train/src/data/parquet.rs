//! Parquet: flat columns of numbers, texts, truth values, dates and times.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::basic::{LogicalType, Repetition, TimeUnit};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;

use super::raw::RawTable;
use super::{DateFormat, ReadSettings, Table, bad_cell, infer, over_limit, quoted};
use crate::{Error, Result};

/// Reads a file to its end. Its table of contents stands at the end, so it is all in memory at once.
pub(super) fn read(source: impl Read, settings: &ReadSettings) -> Result<Table> {
    let most = settings.limits.memory_bytes_max;
    let mut bytes = Vec::new();
    let read = source.take((most as u64).saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|source| Error::File { what: "reading the table".to_owned(), source })?;
    if bytes.len() > most {
        return Err(over_limit("the file is longer", "memory_bytes_max", most));
    }
    // The library panics on some broken files.
    let read = catch_unwind(AssertUnwindSafe(|| rows(Bytes::from(bytes), settings)));
    read.unwrap_or_else(|_| Err(Error::BadData("the Parquet file is broken; write it again".to_owned())))
}

fn rows(bytes: Bytes, settings: &ReadSettings) -> Result<Table> {
    let broken = |error: parquet::errors::ParquetError, row: usize| {
        Error::BadData(format!("row {}: the Parquet file cannot be read: {error}", row + 1))
    };
    let reader = SerializedFileReader::new(bytes).map_err(|error| broken(error, 0))?;
    let metadata = reader.metadata().file_metadata();
    let rows = usize::try_from(metadata.num_rows()).unwrap_or(0);
    if rows > settings.limits.rows_max {
        return Err(over_limit(&format!("{rows} rows"), "rows_max", settings.limits.rows_max));
    }
    let unpacked: i64 = reader.metadata().row_groups().iter().map(|group| group.total_byte_size().max(0)).sum();
    if unpacked as u64 > settings.limits.memory_bytes_max as u64 {
        let what = format!("{unpacked} bytes, unpacked");
        return Err(over_limit(&what, "memory_bytes_max", settings.limits.memory_bytes_max));
    }
    let mut table = RawTable::new(&settings.limits);
    let columns = metadata.schema().get_fields();
    let are_nanoseconds: Vec<bool> = columns.iter().map(|column| is_nanoseconds(column)).collect();
    for column in columns {
        check_flat(column)?;
        table.add_column(column.name())?;
    }
    for row in reader.get_row_iter(None).map_err(|error| broken(error, 0))? {
        let row = row.map_err(|error| broken(error, table.rows))?;
        for (column, (name, field)) in row.get_column_iter().enumerate() {
            let is_text = matches!(field, Field::Str(_) | Field::Bytes(_));
            let cell = cell(field, are_nanoseconds.get(column).copied().unwrap_or(false));
            let cell = cell.map_err(|what| bad_cell(table.rows, name, what))?;
            table.columns[column].is_text |= is_text;
            table.push(column, &cell)?;
        }
        table.end_row()?;
    }
    if table.rows == 0 {
        return Err(Error::BadData("row 1: the file has no rows".to_owned()));
    }
    infer::infer(table, &settings.kinds)
}

fn check_flat(column: &Type) -> Result<()> {
    let info = column.get_basic_info();
    let repeats = info.has_repetition() && info.repetition() == Repetition::REPEATED;
    if column.is_primitive() && !repeats {
        return Ok(());
    }
    let name = quoted(column.name());
    Err(Error::BadData(format!("row 1, column {name}: lists, maps and groups have no place in a table; leave it out")))
}

/// Such times come as plain numbers from the library.
fn is_nanoseconds(column: &Type) -> bool {
    match column.get_basic_info().logical_type_ref() {
        Some(LogicalType::Timestamp(time)) => time.unit == TimeUnit::NANOS,
        _ => false,
    }
}

/// The text of a cell, as it would stand in a CSV file; or what is wrong with it.
fn cell(field: &Field, is_nanoseconds: bool) -> std::result::Result<String, &'static str> {
    let time = |seconds: i64| DateFormat::Time.write(seconds);
    Ok(match field {
        Field::Null => String::new(),
        Field::Bool(value) => value.to_string(),
        Field::Byte(value) => value.to_string(),
        Field::Short(value) => value.to_string(),
        Field::Int(value) => value.to_string(),
        Field::Long(value) if is_nanoseconds => time(value.div_euclid(1_000_000_000)),
        Field::Long(value) => value.to_string(),
        Field::UByte(value) => value.to_string(),
        Field::UShort(value) => value.to_string(),
        Field::UInt(value) => value.to_string(),
        Field::ULong(value) => value.to_string(),
        Field::Float16(value) => value.to_f32().to_string(),
        Field::Float(value) => value.to_string(),
        Field::Double(value) => value.to_string(),
        Field::Str(value) => value.clone(),
        Field::Date(days) => DateFormat::YearMonthDay.write(i64::from(*days) * 86_400),
        Field::TimestampMillis(value) => time(value.div_euclid(1_000)),
        Field::TimestampMicros(value) => time(value.div_euclid(1_000_000)),
        Field::Bytes(value) => match std::str::from_utf8(value.data()) {
            Ok(text) => text.to_owned(),
            Err(_) => return Err("bytes that are no UTF-8 text; write the column as a string"),
        },
        Field::Decimal(_) | Field::TimeMillis(_) | Field::TimeMicros(_) => field.to_string(),
        _ => return Err("lists, maps and groups have no place in a table"),
    })
}

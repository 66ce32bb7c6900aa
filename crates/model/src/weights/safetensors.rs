//! The safetensors container: an 8-byte header length, a JSON header, then the tensors without a gap.
//!
//! Checked as the format's reference does: the tensors cover the data exactly, in order, none twice.

use super::file::WeightFile;
use crate::Error;
use orrery_kernels::quant::Format;
use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};
use std::fmt;

/// Longest header, in bytes: ten times that of the largest models. (The reference implementation takes 100 MB; parsed, a
/// hostile header takes over ten times its size.)
const HEADER_BYTES_MAX: u64 = 16 << 20;
/// Most tensors of a file, as in a GGUF file.
const ROWS_MAX: usize = 1 << 16;

/// A tensor of a safetensors file, under the name it has there.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    /// The data type's name in the file.
    pub data_type: String,
    pub shape: Vec<usize>,
    /// From the start of the file.
    pub offset: u64,
    pub bytes: usize,
}

impl Entry {
    /// The format, if it is one that weights can have.
    pub(super) fn format(&self) -> Result<Format, Error> {
        match self.data_type.as_str() {
            "F32" => Ok(Format::F32),
            "F16" => Ok(Format::F16),
            "BF16" => Ok(Format::BF16),
            other => Err(Error::Unsupported {
                what: "safetensors data type",
                found: format!("{other} (of `{}`)", self.name),
                supported: "F32, F16, BF16".to_owned(),
            }),
        }
    }
}

/// Reads and checks the header.
pub(super) fn read(file: &WeightFile) -> Result<Vec<Entry>, Error> {
    let Ok(prefix) = <[u8; 8]>::try_from(file.read(0, file.length().min(8) as usize)?) else {
        return Err(file.malformed(format!("{} bytes are too short for a safetensors file", file.length())));
    };
    let length = u64::from_le_bytes(prefix);
    let room = file.length() - 8;
    if length > room.min(HEADER_BYTES_MAX) {
        // A pickle or an archive with a safetensors name ends up here: say what it is.
        if file.is_pickle()? {
            return Err(file.refuse_format("no safetensors file"));
        }
        return Err(file.malformed(format!(
            "a safetensors header of {length} bytes is announced; at most {} are possible",
            room.min(HEADER_BYTES_MAX)
        )));
    }
    let json = file.read(8, length as usize)?;
    let header: Header =
        serde_json::from_slice(&json).map_err(|error| file.malformed(format!("safetensors header: {error}")))?;
    check(file, header, 8 + length)
}

fn check(file: &WeightFile, header: Header, data_start: u64) -> Result<Vec<Entry>, Error> {
    let mut rows = header.0;
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(pair) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(file.malformed(format!("tensor `{}` is there twice", pair[0].0)));
    }
    rows.sort_by_key(|(_, row)| row.data_offsets);
    let mut end = 0;
    let mut entries = Vec::new();
    for (name, row) in rows {
        let refused = |reason: String| file.malformed(format!("tensor `{name}`: {reason}"));
        let (begin, next) = row.data_offsets;
        if begin != end {
            let what = if begin < end { "overlaps the one before" } else { "leaves a gap before itself" };
            return Err(refused(format!("{what} (offset {begin}, expected {end})")));
        }
        let want = size(&row).ok_or_else(|| refused(format!("impossible type {} or shape", row.dtype)))?;
        if next.checked_sub(begin) != Some(want) {
            return Err(refused(format!("offsets {begin} to {next} do not hold its {want} bytes")));
        }
        let bytes = usize::try_from(want).map_err(|_| refused("too large for this machine".to_owned()))?;
        end = next;
        let shape = row.shape.iter().map(|size| *size as usize).collect();
        // Past the end of the file is found below, once, before anything is read.
        let offset = data_start.saturating_add(begin);
        entries.push(Entry { name, data_type: row.dtype, shape, offset, bytes });
    }
    let data = file.length() - data_start;
    if end != data {
        let what = if end > data { "the file is cut short" } else { "bytes trail the tensors" };
        return Err(file.malformed(format!("{what}: the tensors take {end} bytes, the file has {data}")));
    }
    Ok(entries)
}

/// Bytes of a tensor by its type and shape; `None` when they are no whole number or past `u64`.
fn size(row: &Row) -> Option<u64> {
    let bits: u64 = match row.dtype.as_str() {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
        "U16" | "I16" | "F16" | "BF16" => 16,
        "U32" | "I32" | "F32" => 32,
        "U64" | "I64" | "F64" | "C64" => 64,
        _ => return None,
    };
    let total = row.shape.iter().try_fold(bits, |product, size| product.checked_mul(*size))?;
    total.is_multiple_of(8).then_some(total / 8)
}

#[derive(Deserialize)]
struct Row {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The header's rows with duplicates kept, so that they can be refused; a map would drop them.
struct Header(Vec<(String, Row)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows;
        impl<'de> Visitor<'de> for Rows {
            type Value = Header;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with a row for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut rows = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<de::IgnoredAny>()?;
                    } else if rows.len() == ROWS_MAX {
                        return Err(de::Error::custom(format!("over {ROWS_MAX} tensors")));
                    } else {
                        rows.push((name, map.next_value()?));
                    }
                }
                Ok(Header(rows))
            }
        }
        deserializer.deserialize_map(Rows)
    }
}

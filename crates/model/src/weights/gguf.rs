//! The GGUF container, versions 2 and 3, little-endian (`docs/gguf.md` of ggml): metadata and tensor table.
//!
//! Only the header is read. Every count and length is held against the bytes that the file still has before anything
//! is allocated for it.

use super::file::WeightFile;
use super::{Stored, TensorInfo, overlap};
use crate::Error;
use orrery_kernels::quant::Format;
use std::collections::{HashMap, HashSet};

/// Longest key, in bytes (the specification's limit).
const KEY_BYTES_MAX: u64 = 65_535;
/// Longest tensor name, in bytes; GGML itself stops at 64.
const NAME_BYTES_MAX: u64 = 255;
const DIMENSIONS_MAX: u32 = 4;
/// Largest header that is read, in bytes: ten times that of the largest vocabularies. What is parsed takes a few times
/// as much memory, so the file's size alone would be too loose a bound for a large file.
const HEADER_BYTES_MAX: u64 = 256 << 20;
/// Bytes that a key-value pair and a tensor's row take at the least.
const PAIR_BYTES_MIN: u64 = 8 + 4 + 1;
const ROW_BYTES_MIN: u64 = 8 + 4 + 8 + 4 + 8;
/// Most tensors and most metadata pairs; a model of 1,024 layers has about 12,000 tensors.
const ROWS_MAX: u64 = 1 << 16;
/// Most elements of an array that is kept; the largest vocabularies have about 500,000 merges.
const ELEMENTS_KEPT_MAX: u64 = 1 << 22;
const ALIGNMENT_DEFAULT: u64 = 32;

/// A metadata value. Numbers of all widths are widened.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Floats(Vec<f32>),
    Integers(Vec<i32>),
    /// An array under a key that nobody reads: checked and passed over.
    Skipped,
}

/// The metadata and the tensor table of an opened file.
#[derive(Debug)]
pub(super) struct Container {
    pub values: HashMap<String, Value>,
    pub tensors: Vec<Stored>,
}

/// Reads and checks everything before the tensor data.
pub(super) fn read(file: &WeightFile) -> Result<Container, Error> {
    let mut header = Header { file, position: 0, buffer: Vec::new(), start: 0 };
    if file.length() < 4 || header.take::<4>()? != *b"GGUF" {
        return Err(file.refuse_format("a file that does not begin with `GGUF`"));
    }
    let version = header.u32()?;
    if !(2..=3).contains(&version) {
        let found = if version & 0xffff == 0 { "big-endian".to_owned() } else { version.to_string() };
        return Err(Error::Unsupported { what: "GGUF version", found, supported: "2, 3 (little-endian)".to_owned() });
    }
    let tensor_count = header.count("tensors", ROW_BYTES_MIN, ROWS_MAX)?;
    let pair_count = header.count("metadata pairs", PAIR_BYTES_MIN, ROWS_MAX)?;
    let values = header.pairs(pair_count)?;
    let alignment = alignment(file, &values)?;
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push(header.tensor(alignment)?);
    }
    place(file, &mut tensors, header.position.next_multiple_of(alignment))?;
    Ok(Container { values, tensors })
}

fn alignment(file: &WeightFile, values: &HashMap<String, Value>) -> Result<u64, Error> {
    match values.get("general.alignment") {
        None => Ok(ALIGNMENT_DEFAULT),
        Some(Value::Unsigned(value)) if value.is_power_of_two() && *value <= 1 << 31 => Ok(*value),
        Some(other) => Err(file.malformed(format!("`general.alignment` {other:?} is not a power of two"))),
    }
}

/// Turns offsets from the start of the data into offsets from the start of the file, all inside it and apart.
fn place(file: &WeightFile, tensors: &mut [Stored], data_start: u64) -> Result<(), Error> {
    let mut names = HashSet::new();
    for tensor in &mut *tensors {
        let name = &tensor.info.name;
        let begin = data_start.checked_add(tensor.offset);
        let end = begin.and_then(|begin| begin.checked_add(tensor.bytes as u64));
        match (begin, end) {
            (Some(begin), Some(end)) if end <= file.length() => tensor.offset = begin,
            _ => {
                return Err(file.malformed(format!(
                    "tensor `{name}` ({} bytes at {} of the data) lies past the end of the file of {} bytes",
                    tensor.bytes,
                    tensor.offset,
                    file.length()
                )));
            }
        }
        if !names.insert(name.as_str()) {
            return Err(file.malformed(format!("tensor `{name}` is there twice")));
        }
    }
    if let Some((first, second)) = overlap(tensors.iter()) {
        let (first, second) = (&first.info.name, &second.info.name);
        return Err(file.malformed(format!("tensors `{first}` and `{second}` overlap")));
    }
    Ok(())
}

/// Which arrays are kept, and as what.
fn array_of_interest(key: &str) -> bool {
    matches!(
        key,
        "tokenizer.ggml.tokens" | "tokenizer.ggml.scores" | "tokenizer.ggml.token_type" | "tokenizer.ggml.merges"
    )
}

/// A cursor over the file, buffered, that never goes past its end.
struct Header<'a> {
    file: &'a WeightFile,
    position: u64,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    start: u64,
}

const BUFFER_BYTES: u64 = 1 << 20;

impl Header<'_> {
    fn remaining(&self) -> u64 {
        self.file.length() - self.position
    }

    fn cut(&self, wanted: u64) -> Error {
        let (position, length) = (self.position, self.file.length());
        self.file.malformed(format!("{wanted} bytes are announced at byte {position}, but the file ends at {length}"))
    }

    /// The next `bytes` bytes.
    fn bytes(&mut self, bytes: u64) -> Result<&[u8], Error> {
        if bytes > self.remaining() {
            return Err(self.cut(bytes));
        }
        if self.position + bytes > HEADER_BYTES_MAX {
            let reason = format!("its metadata goes on past the limit of {HEADER_BYTES_MAX} bytes");
            return Err(self.file.malformed(reason));
        }
        let buffered = self.start + self.buffer.len() as u64;
        if self.position + bytes > buffered {
            let length = bytes.max(BUFFER_BYTES).min(self.remaining());
            self.buffer = self.file.read(self.position, length as usize)?;
            self.start = self.position;
        }
        let from = (self.position - self.start) as usize;
        self.position += bytes;
        Ok(&self.buffer[from..from + bytes as usize])
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N as u64)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    /// A count, at most `max`, of things that take at least `each` bytes in what is left of the file.
    fn count(&mut self, what: &str, each: u64, max: u64) -> Result<u64, Error> {
        let count = self.u64()?;
        let room = self.remaining() / each;
        if count > room {
            return Err(self.file.malformed(format!("{count} {what} are announced; the file has room for {room}")));
        }
        if count > max {
            return Err(self.file.malformed(format!("{count} {what} are over the limit of {max}")));
        }
        Ok(count)
    }

    /// A string's bytes; `max` bounds names, the file's end bounds the rest.
    fn string(&mut self, max: u64) -> Result<&[u8], Error> {
        let length = self.u64()?;
        if length > max {
            return Err(self.file.malformed(format!("a name of {length} bytes is over the limit of {max}")));
        }
        self.bytes(length)
    }

    fn name(&mut self, max: u64) -> Result<String, Error> {
        let name = std::str::from_utf8(self.string(max)?).map(str::to_owned);
        name.map_err(|_| self.file.malformed("a name is not UTF-8".to_owned()))
    }

    fn text(&mut self) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.string(u64::MAX)?).into_owned())
    }

    fn pairs(&mut self, count: u64) -> Result<HashMap<String, Value>, Error> {
        let mut values = HashMap::new();
        for _ in 0..count {
            let key = self.name(KEY_BYTES_MAX)?;
            let kind = self.u32()?;
            let value = if kind == ARRAY { self.array(&key)? } else { self.scalar(kind, &key)? };
            if values.contains_key(&key) {
                return Err(self.file.malformed(format!("key `{key}` is there twice")));
            }
            values.insert(key, value);
        }
        Ok(values)
    }

    fn scalar(&mut self, kind: u32, key: &str) -> Result<Value, Error> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(self.take::<1>()?[0])),
            1 => Value::Signed(i64::from(self.take::<1>()?[0] as i8)),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.take()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.take()?))),
            4 => Value::Unsigned(u64::from(self.u32()?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.take()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.take()?))),
            7 => Value::Bool(self.take::<1>()?[0] != 0),
            STRING => Value::Text(self.text()?),
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.take()?)),
            12 => Value::Float(f64::from_le_bytes(self.take()?)),
            _ => return Err(self.file.malformed(format!("key `{key}` has value type {kind}; known are 0 to 12"))),
        })
    }

    fn array(&mut self, key: &str) -> Result<Value, Error> {
        let kind = self.u32()?;
        let each = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            STRING | 10..=12 => 8,
            ARRAY => return Err(self.file.malformed(format!("key `{key}` is an array of arrays; none is known"))),
            _ => return Err(self.file.malformed(format!("key `{key}` has elements of unknown type {kind}"))),
        };
        let keep = array_of_interest(key);
        let count = self.count("array elements", each, if keep { ELEMENTS_KEPT_MAX } else { u64::MAX })?;
        match kind {
            STRING if keep => (0..count).map(|_| self.text()).collect::<Result<_, _>>().map(Value::Texts),
            STRING => {
                for _ in 0..count {
                    self.string(u64::MAX)?;
                }
                Ok(Value::Skipped)
            }
            4 | 5 if keep => Ok(Value::Integers(self.words(count, i32::from_le_bytes)?)),
            6 if keep => Ok(Value::Floats(self.words(count, f32::from_le_bytes)?)),
            _ => {
                self.position += count * each;
                Ok(Value::Skipped)
            }
        }
    }

    fn words<T>(&mut self, count: u64, word: impl Fn([u8; 4]) -> T) -> Result<Vec<T>, Error> {
        Ok(self.bytes(count * 4)?.as_chunks::<4>().0.iter().map(|raw| word(*raw)).collect())
    }

    fn tensor(&mut self, alignment: u64) -> Result<Stored, Error> {
        let name = self.name(NAME_BYTES_MAX)?;
        let refused = |reason: String| Error::Tensor { name: name.clone(), reason };
        let dimensions = self.u32()?;
        if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
            return Err(refused(format!("{dimensions} dimensions; 1 to {DIMENSIONS_MAX} are known")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(usize::try_from(self.u64()?).unwrap_or(usize::MAX));
        }
        let number = self.u32()?;
        let offset = self.u64()?;
        let format = Format::from_ggml(number).ok_or_else(|| unsupported(&name, number))?;
        if !shape[0].is_multiple_of(format.block_len()) {
            let block = format.block_len();
            return Err(refused(format!("rows of {} weights are not whole {format} blocks of {block}", shape[0])));
        }
        let elements = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let Some(elements) = elements.filter(|elements| *elements > 0) else {
            return Err(refused(format!("impossible dimensions {shape:?}")));
        };
        if !offset.is_multiple_of(alignment) {
            return Err(refused(format!("offset {offset} is not a multiple of the alignment {alignment}")));
        }
        shape.reverse();
        let bytes = format.bytes(elements);
        Ok(Stored { info: TensorInfo { name, format, shape }, file: 0, offset, bytes })
    }
}

const STRING: u32 = 8;
const ARRAY: u32 = 9;

fn unsupported(tensor: &str, number: u32) -> Error {
    Error::Unsupported {
        what: "tensor type",
        found: format!("{number} (of `{tensor}`)"),
        supported: Format::ALL.map(Format::name).join(", "),
    }
}

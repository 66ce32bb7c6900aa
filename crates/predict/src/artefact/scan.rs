//! Looks through a model in ONNX's format for files that it names, before ONNX Runtime sees it.
//!
//! The format is protocol buffers (https://protobuf.dev/programming-guides/encoding/, and onnx.proto of ONNX). Only the
//! messages that can hold a tensor are entered; nothing is built, so memory does not grow. Whatever is not understood is
//! refused. Start at [`scan`].

use super::files::is_plain;
use crate::error::{Error, Result, shown};
use std::collections::BTreeMap;

/// What a model asks for beyond its own bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// File name → how many of its bytes are wanted at least.
    pub external: BTreeMap<String, u64>,
    /// It quantises activations by the range over a whole batch.
    pub couples_rows: bool,
}

/// Messages in messages; graphs in attributes of graphs count two each.
const DEPTH_MAX: usize = 64;

/// The messages that are entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Function,
    Training,
}

impl Message {
    /// What the field `number` of this message holds, where it is entered.
    const fn child(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) | (Self::Training, 1 | 2) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            _ => return None,
        })
    }
}

/// Operators that choose one scale for all rows of a batch.
const COUPLING: [&[u8]; 2] = [b"DynamicQuantizeLinear", b"DynamicQuantizeMatMul"];
const NODE_OPERATOR: u64 = 4;
const TENSOR_EXTERNAL: u64 = 13;
const TENSOR_LOCATION: u64 = 14;

/// # Errors
/// [`Error::BadArtefact`]: no such format, or a file name that leads out of the artefact.
pub(super) fn scan(model: &[u8]) -> Result<Scan> {
    if model.get(4..8) == Some(b"ORTM") {
        return Err(bad("it is in ONNX Runtime's own format; give it in ONNX's"));
    }
    let mut scan = Scan::default();
    let mut has_graph = false;
    for field in Fields(model) {
        has_graph |= field?.number == 7;
    }
    if !has_graph {
        return Err(bad("it has no graph: it is not a model in ONNX's format"));
    }
    enter(Message::Model, model, 0, &mut scan)?;
    Ok(scan)
}

fn enter(message: Message, bytes: &[u8], depth: usize, scan: &mut Scan) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(bad("its graphs are nested too deeply"));
    }
    if message == Message::Tensor {
        return tensor(bytes, scan);
    }
    for field in Fields(bytes) {
        let Field { number, value: Value::Bytes(inner) } = field? else { continue };
        if let Some(child) = message.child(number) {
            enter(child, inner, depth + 1, scan)?;
        }
        scan.couples_rows |= message == Message::Node && number == NODE_OPERATOR && COUPLING.contains(&inner);
    }
    Ok(())
}

/// A tensor's external data, where it has such: each entry is a key and a value.
fn tensor(bytes: &[u8], scan: &mut Scan) -> Result<()> {
    let mut is_external = false;
    let mut location: Option<&[u8]> = None;
    let (mut offset, mut length) = (0_u64, 0_u64);
    for field in Fields(bytes) {
        match field? {
            Field { number: TENSOR_LOCATION, value: Value::Number(kind) } => is_external |= kind != 0,
            Field { number: TENSOR_EXTERNAL, value: Value::Bytes(entry) } => {
                is_external = true;
                let (key, value) = entry_of(entry)?;
                let count = || std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
                match key {
                    // The readers differ on which of two they take.
                    b"location" if location.is_some() => return Err(bad("a tensor names two files for its data")),
                    b"location" => location = Some(value),
                    b"offset" => {
                        offset = count().ok_or_else(|| bad("an offset into a file of weights is no number"))?
                    }
                    b"length" => length = count().ok_or_else(|| bad("a length in a file of weights is no number"))?,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    if !is_external {
        return Ok(());
    }
    let name = location.and_then(|name| std::str::from_utf8(name).ok());
    let name = name.ok_or_else(|| bad("a tensor's data lies outside the model, and no file is named"))?;
    // The same place by two spellings; without its prefix the name has to be plain.
    let name = name.strip_prefix("./").unwrap_or(name);
    if !is_plain(name) {
        let shown = shown(name);
        return Err(bad(&format!(
            "it wants data of the file `{shown}`; only plain names of files beside it are allowed"
        )));
    }
    let end = offset.checked_add(length).ok_or_else(|| bad("a place in a file of weights is past any end"))?;
    let wanted = scan.external.entry(name.to_owned()).or_default();
    *wanted = end.max(*wanted);
    Ok(())
}

fn entry_of(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields(bytes) {
        match field? {
            Field { number: 1, value: Value::Bytes(bytes) } => key = bytes,
            Field { number: 2, value: Value::Bytes(bytes) } => value = bytes,
            _ => {}
        }
    }
    Ok((key, value))
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Fixed-width numbers: none of them matters here.
    Fixed,
}

struct Field<'a> {
    number: u64,
    value: Value<'a>,
}

/// The fields of one message, in their order. After an error it ends.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| bad("it is cut short or broken: it is not a model in ONNX's format")))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<Field<'a>> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            // Groups: no message of ONNX has any.
            _ => return None,
        };
        // A field's number has 29 bits; readers differ on what is over that.
        (tag >> 3 != 0 && tag <= u64::from(u32::MAX)).then_some(Field { number: tag >> 3, value })
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }
}

fn bad(reason: &str) -> Error {
    Error::BadArtefact(format!("the model: {reason}"))
}

//! Tensors of the Open Inference Protocol: JSON, and the binary extension, in which bytes follow the JSON.
//!
//! Start at [`read`] and [`write`].

use crate::error::ApiError;
use orrery_platform::predict::{Content, NamedTensor, TensorAnswer, TensorRequest};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A request, and what its answer is to look like.
pub struct Infer {
    pub request: TensorRequest,
    pub id: Option<String>,
    binary: Binary,
}

/// Which outputs are sent as bytes.
#[derive(Default)]
struct Binary {
    all: bool,
    /// Outputs by name that say it themselves.
    named: Vec<(String, bool)>,
}

#[derive(Deserialize)]
struct Body {
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    data: Option<Value>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// Reads a body. `json_bytes`: how many of its bytes are JSON; the rest are tensors, in the order of the inputs.
pub fn read(model: String, body: &[u8], json_bytes: Option<usize>) -> Result<Infer, ApiError> {
    let length = json_bytes.unwrap_or(body.len());
    let (text, mut rest) = body.split_at_checked(length).ok_or_else(|| {
        ApiError::body(format!(
            "the header `Inference-Header-Content-Length` is {length}, over the body's {}",
            body.len()
        ))
    })?;
    let parsed: Body = serde_json::from_slice(text)
        .map_err(|error| ApiError::body(format!("the body is not a request for inference: {error}")))?;
    let inputs = parsed.inputs.into_iter().map(|input| input.read(&mut rest)).collect::<Result<Vec<_>, _>>()?;
    if !rest.is_empty() {
        return Err(ApiError::body(format!("{} bytes follow the last tensor", rest.len())));
    }
    for output in &parsed.outputs {
        if output.parameters.get("classification").is_some_and(|count| *count != json!(0)) {
            return Err(ApiError::unsupported("outputs", "the parameter `classification` is not built yet"));
        }
    }
    let flag = |parameters: &Map<String, Value>, name| parameters.get(name).and_then(Value::as_bool);
    let binary = Binary {
        all: flag(&parsed.parameters, "binary_data_output").unwrap_or(false),
        named: parsed
            .outputs
            .iter()
            .filter_map(|output| Some((output.name.clone(), flag(&output.parameters, "binary_data")?)))
            .collect(),
    };
    let outputs = parsed.outputs.into_iter().map(|output| output.name).collect();
    Ok(Infer { request: TensorRequest { model, inputs, outputs }, id: parsed.id, binary })
}

impl Input {
    fn read(self, rest: &mut &[u8]) -> Result<NamedTensor, ApiError> {
        let Self { name, shape, datatype, parameters, data } = self;
        let size = parameters.get("binary_data_size");
        let content = match (data, size) {
            (Some(data), None) => from_json(&datatype, &data),
            (None, Some(size)) => {
                let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
                let (bytes, left) = size
                    .and_then(|size| rest.split_at_checked(size))
                    .ok_or_else(|| bad(&name, "`binary_data_size` is not a number of bytes that follow the JSON"))?;
                *rest = left;
                if datatype == "BYTES" { texts(bytes) } else { Ok(Content::Numbers(bytes.to_vec())) }
            }
            _ => Err("send either `data` or the parameter `binary_data_size`".into()),
        };
        let content = content.map_err(|reason| bad(&name, &reason))?;
        Ok(NamedTensor { name, datatype, shape, content })
    }
}

fn bad(name: &str, reason: &str) -> ApiError {
    let name = crate::state::printable(name);
    ApiError::invalid(name.clone(), format!("the tensor `{name}`: {reason}"))
}

/// Elements of the binary form: the length in four bytes, then the text.
fn texts(mut bytes: &[u8]) -> Result<Content, String> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (text, rest) = rest.split_at_checked(length).ok_or("an element is longer than the bytes that are left")?;
        texts.push(String::from_utf8(text.to_vec()).map_err(|_| "an element is not UTF-8; models take text")?);
        bytes = rest;
    }
    if bytes.is_empty() { Ok(Content::Texts(texts)) } else { Err("a part of an element's length is left".into()) }
}

macro_rules! numbers {
    ($datatype:expr, $values:expr, $($name:literal: $type:ty, $read:ident;)*) => {
        match $datatype {
            $($name => $values.iter().try_fold(Vec::new(), |mut bytes, value| {
                let number = value.$read().and_then(|number| <$type>::try_from(number).ok());
                bytes.extend_from_slice(&number.ok_or_else(|| wrong($name))?.to_le_bytes());
                Ok(bytes)
            }).map(Content::Numbers),)*
            "FP32" => floats($values, "FP32", |number| (number as f32).to_le_bytes().to_vec()),
            "FP64" => floats($values, "FP64", |number| number.to_le_bytes().to_vec()),
            "BOOL" => {
                let bits = $values.iter().map(|value| value.as_bool().map(u8::from));
                bits.collect::<Option<_>>().map(Content::Numbers).ok_or_else(|| wrong("BOOL"))
            }
            "BYTES" => {
                let texts = $values.iter().map(|value| value.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().map(Content::Texts).ok_or_else(|| wrong("BYTES"))
            }
            "FP16" | "BF16" => Err("numbers of 16 bits have no form in JSON; send them as binary data".into()),
            _ => Err("there is no such datatype".into()),
        }
    };
}

fn wrong(datatype: &str) -> String {
    format!("an element of `data` is no {datatype}")
}

/// Elements in JSON, flat or nested.
fn from_json(datatype: &str, data: &Value) -> Result<Content, String> {
    let mut values = Vec::new();
    flatten(data, &mut values)?;
    let values = values.as_slice();
    numbers! { datatype, values,
        "UINT8": u8, as_u64; "UINT16": u16, as_u64; "UINT32": u32, as_u64; "UINT64": u64, as_u64;
        "INT8": i8, as_i64; "INT16": i16, as_i64; "INT32": i32, as_i64; "INT64": i64, as_i64;
    }
}

/// JSON has no number that is none: null stands for it.
fn floats(values: &[&Value], datatype: &str, bytes: impl Fn(f64) -> Vec<u8>) -> Result<Content, String> {
    let number = |value: &&Value| if value.is_null() { Some(f64::NAN) } else { value.as_f64() };
    let read: Option<Vec<Vec<u8>>> = values.iter().map(|value| number(value).map(&bytes)).collect();
    Ok(Content::Numbers(read.ok_or_else(|| wrong(datatype))?.concat()))
}

/// The depth is bounded: the JSON's own is.
fn flatten<'a>(data: &'a Value, values: &mut Vec<&'a Value>) -> Result<(), String> {
    let Value::Array(items) = data else { return Err("`data` must be a list".into()) };
    for item in items {
        match item {
            Value::Array(_) => flatten(item, values)?,
            item => values.push(item),
        }
    }
    Ok(())
}

/// An answer: its JSON, and the bytes that follow it, if any output is sent so.
pub fn write(infer: &Infer, answer: TensorAnswer) -> Result<(Vec<u8>, Option<Vec<u8>>), ApiError> {
    let mut bytes = None;
    let mut outputs = Vec::with_capacity(answer.outputs.len());
    for tensor in answer.outputs {
        let named = infer.binary.named.iter().find(|(name, _)| *name == tensor.name).map(|(_, binary)| *binary);
        let mut output = json!({"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape});
        if named.unwrap_or(infer.binary.all) {
            let raw = to_bytes(tensor.content);
            output["parameters"] = json!({"binary_data_size": raw.len()});
            bytes.get_or_insert_with(Vec::new).extend_from_slice(&raw);
        } else {
            output["data"] = to_json(&tensor.datatype, tensor.content).ok_or_else(|| {
                bad(&tensor.name, "numbers of 16 bits have no form in JSON; ask for it with `binary_data`")
            })?;
        }
        outputs.push(output);
    }
    let mut body = json!({"model_name": answer.model, "model_version": answer.version.to_string(), "outputs": outputs});
    if let Some(id) = &infer.id {
        body["id"] = json!(id);
    }
    Ok((body.to_string().into_bytes(), bytes))
}

fn to_bytes(content: Content) -> Vec<u8> {
    match content {
        Content::Numbers(bytes) => bytes,
        Content::Texts(texts) => texts.iter().fold(Vec::new(), |mut bytes, text| {
            bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
            bytes
        }),
    }
}

fn to_json(datatype: &str, content: Content) -> Option<Value> {
    let bytes = match content {
        Content::Texts(texts) => return Some(json!(texts)),
        Content::Numbers(bytes) => bytes,
    };
    macro_rules! list {
        ($type:ty, $size:literal) => {
            json!(bytes.as_chunks::<$size>().0.iter().map(|number| <$type>::from_le_bytes(*number)).collect::<Vec<_>>())
        };
    }
    Some(match datatype {
        "BOOL" => json!(bytes.iter().map(|byte| *byte != 0).collect::<Vec<_>>()),
        "UINT8" => list!(u8, 1),
        "UINT16" => list!(u16, 2),
        "UINT32" => list!(u32, 4),
        "UINT64" => list!(u64, 8),
        "INT8" => list!(i8, 1),
        "INT16" => list!(i16, 2),
        "INT32" => list!(i32, 4),
        "INT64" => list!(i64, 8),
        "FP32" => list!(f32, 4),
        "FP64" => list!(f64, 8),
        _ => return None,
    })
}

//! Tensors as they come and go: a name, a datatype of the Open Inference Protocol, a shape, and elements.

use super::refusal;
use crate::Error;
use orrery_predict::{Data, DataType, Port, Signature, Tensor};
use orrery_store::ModelVersion;

/// Elements, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Little-endian numbers one after another; a `BOOL` is a byte of 0 or 1.
    Numbers(Vec<u8>),
    /// Of `BYTES`.
    Texts(Vec<String>),
}

/// A tensor and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTensor {
    pub name: String,
    pub datatype: String,
    pub shape: Vec<usize>,
    pub content: Content,
}

/// Tensors for a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TensorRequest {
    /// `MODEL`, `MODEL@ALIAS` or `MODEL@VERSION`.
    pub model: String,
    pub inputs: Vec<NamedTensor>,
    /// Names of those that are wanted; all where there is none.
    pub outputs: Vec<String>,
}

/// What a model computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorAnswer {
    pub model: String,
    pub version: u32,
    pub outputs: Vec<NamedTensor>,
}

/// An input or output of a model; a dimension of −1 is one of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPort {
    pub name: String,
    pub datatype: String,
    pub shape: Vec<i64>,
}

/// What a model takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub model: String,
    pub version: u32,
    pub inputs: Vec<ModelPort>,
    pub outputs: Vec<ModelPort>,
}

impl NamedTensor {
    pub(super) fn into_tensor(self) -> Result<Tensor, Error> {
        let Self { name, datatype, shape, content } = self;
        let bad = |name: &str, reason: String| {
            let field = crate::reference::shown(name).to_string();
            Error::BadField { message: format!("`{field}`: {reason}"), field }
        };
        let Some(dtype) = DataType::from_name(&datatype) else {
            return Err(bad(&name, format!("there is no datatype `{}`", crate::reference::shown(&datatype))));
        };
        let data = match content {
            Content::Texts(texts) if dtype == DataType::Bytes => Some(Data::Bytes(texts)),
            Content::Numbers(bytes) => Data::from_le_bytes(dtype, &bytes),
            Content::Texts(_) => None,
        };
        let data = data.ok_or_else(|| bad(&name, format!("its data are not elements of {datatype}")))?;
        Tensor::new(name, shape, data).map_err(refusal)
    }

    pub(super) fn of(tensor: Tensor) -> Result<Self, Error> {
        let (name, datatype) = (tensor.name().to_owned(), tensor.dtype().name().to_owned());
        let shape = tensor.shape().to_vec();
        let content = match tensor.into_data() {
            Data::Bytes(texts) => Content::Texts(texts),
            data => Content::Numbers(data.to_le_bytes().ok_or_else(|| Error::internal("numbers that have no bytes"))?),
        };
        Ok(Self { name, datatype, shape, content })
    }
}

impl Described {
    pub(super) fn of(version: &ModelVersion, signature: &Signature) -> Self {
        let port = |port: &Port| ModelPort {
            name: port.name.clone(),
            datatype: port.dtype.name().to_owned(),
            shape: port.dims.clone(),
        };
        Self {
            model: version.name.clone(),
            version: version.version,
            inputs: signature.inputs.iter().map(port).collect(),
            outputs: signature.outputs.iter().map(port).collect(),
        }
    }
}

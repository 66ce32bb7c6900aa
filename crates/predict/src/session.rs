//! A model in ONNX Runtime: the [`Runner`] that computes for real.
//!
//! The library is given bytes, never paths, so that it opens no file. Start at [`Session::open`].

use crate::artefact::Artefact;
use crate::error::{Error, Result};
use crate::runner::Runner;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::signature::{Port, Signature};
use crate::tensor::{Data, DataType, Tensor, kinds};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{OutputSelector, RunOptions, SessionInputValue};
use ort::value::{DynValue, Outlet, TensorElementType, TensorRef, ValueType};

/// A loaded model.
pub(crate) struct Session {
    session: ort::session::Session,
    signature: Signature,
    /// Outputs that are no tensors, such as the list of maps that some converters of classifiers add, are not served.
    has_hidden_outputs: bool,
}

impl Session {
    /// Reads the model out of the artefact, whose files have been checked. Blocking.
    pub fn open(runtime: &Runtime, artefact: &Artefact, settings: &Settings) -> Result<Self> {
        let bad = |error: &dyn std::fmt::Display| Error::BadArtefact(format!("ONNX Runtime cannot load it: {error}"));
        let builder = ort::session::Session::builder(runtime.environment());
        let builder = builder.map_err(|error| Error::Internal(error.to_string()))?;
        let mut builder = configured(builder, settings)?;
        for (name, bytes) in artefact.external_files() {
            builder =
                builder.with_external_initializer_file_in_memory(name, bytes.clone()).map_err(|error| bad(&error))?;
        }
        let session = builder.commit_from_memory(artefact.model()).map_err(|error| bad(&error))?;
        let (inputs, hidden_inputs) = ports(session.inputs());
        let (outputs, hidden_outputs) = ports(session.outputs());
        if let Some(name) = hidden_inputs.first() {
            let reason = format!("its input `{name}` is not a tensor of a type that is served");
            return Err(Error::BadArtefact(reason));
        }
        if outputs.is_empty() {
            return Err(Error::BadArtefact("none of its outputs is a tensor of a type that is served".into()));
        }
        for name in &hidden_outputs {
            tracing::warn!(
                model = artefact.manifest().name,
                output = name,
                "an output that is no tensor is not served"
            );
        }
        let has_hidden_outputs = !hidden_outputs.is_empty();
        Ok(Self { session, signature: Signature { inputs, outputs }, has_hidden_outputs })
    }
}

fn configured(builder: SessionBuilder, settings: &Settings) -> Result<SessionBuilder> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if settings.threads == 0 { cores() } else { settings.threads };
    let cpu = ort::ep::CPU::default().with_arena_allocator(settings.arena).build();
    let configured = builder
        .with_execution_providers([cpu])?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(settings.spin)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_deterministic_compute(true)?
        // The bytes are ONNX's format and no other: that one has been looked through.
        .with_config_entry("session.load_model_format", "ONNX")?;
    Ok(configured)
}

/// A setting that the library does not take is our own fault.
impl From<ort::Error<SessionBuilder>> for Error {
    fn from(error: ort::Error<SessionBuilder>) -> Self {
        Self::Internal(format!("ONNX Runtime does not take its settings: {error}"))
    }
}

/// Tensors of types that are served, and the names of all others.
fn ports(outlets: &[Outlet]) -> (Vec<Port>, Vec<String>) {
    let mut ports = Vec::new();
    let mut hidden = Vec::new();
    for outlet in outlets {
        let port = match outlet.dtype() {
            ValueType::Tensor { ty, shape, .. } => data_type(*ty).map(|dtype| (dtype, shape.to_vec())),
            _ => None,
        };
        match port {
            Some((dtype, dims)) => ports.push(Port { name: outlet.name().to_owned(), dtype, dims }),
            None => hidden.push(outlet.name().to_owned()),
        }
    }
    (ports, hidden)
}

fn data_type(ty: TensorElementType) -> Option<DataType> {
    Some(match ty {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Float16 => DataType::Fp16,
        TensorElementType::Bfloat16 => DataType::Bf16,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::String => DataType::Bytes,
        _ => return None,
    })
}

impl Runner for Session {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &[usize]) -> Result<Vec<Tensor>> {
        let values = inputs.iter().map(value).collect::<Result<Vec<_>>>()?;
        let named: Vec<(&str, SessionInputValue<'_>)> = inputs.iter().map(Tensor::name).zip(values).collect();
        let names: Vec<&str> =
            outputs.iter().filter_map(|place| self.signature.outputs.get(*place)).map(|port| &*port.name).collect();
        let failed = |error: ort::Error| Error::Run(error.to_string());
        let all = names.len() == self.signature.outputs.len() && !self.has_hidden_outputs;
        let options;
        let mut results = if all {
            self.session.run(named).map_err(failed)?
        } else {
            let selector = names.iter().fold(OutputSelector::no_default(), |selector, name| selector.with(*name));
            options = RunOptions::new().map_err(failed)?.with_outputs(selector);
            self.session.run_with_options(named, &options).map_err(failed)?
        };
        names
            .iter()
            .map(|name| {
                let result = results.remove(name);
                result
                    .map_or_else(|| Err(Error::Internal(format!("no output `{name}` came back"))), |v| tensor(name, &v))
            })
            .collect()
    }
}

/// A view of a tensor's memory for the library; text is copied.
fn value(tensor: &Tensor) -> Result<SessionInputValue<'_>> {
    let shape = tensor.shape();
    let bad = |error: ort::Error| Error::bad_input(tensor.name(), error.to_string());
    macro_rules! view {
        ($($variant:ident, $type:ty, $name:literal, $bytes:literal;)*) => {
            match tensor.data() {
                $(Data::$variant(values) => TensorRef::from_array_view((shape, values.as_slice())).map(Into::into),)*
                Data::Bytes(values) => {
                    if let Some(place) = values.iter().position(|text| text.contains('\0')) {
                        return Err(Error::bad_input(tensor.name(), format!("element {place} holds a NUL character")));
                    }
                    ort::value::Tensor::from_string_array((shape, values.as_slice())).map(Into::into)
                }
            }
        };
    }
    kinds!(view).map_err(bad)
}

/// Copies an output out of the library's memory.
fn tensor(name: &str, value: &DynValue) -> Result<Tensor> {
    let odd = |reason: String| Error::Run(format!("its output `{name}` {reason}"));
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(odd("is not a tensor".into()));
    };
    let dims = shape.iter().map(|dim| usize::try_from(*dim)).collect::<Result<Vec<_>, _>>();
    let dims = dims.map_err(|_| odd(format!("has the shape {shape}")))?;
    let failed = |error: ort::Error| odd(error.to_string());
    macro_rules! copied {
        ($($variant:ident, $type:ty, $name:literal, $bytes:literal;)*) => {
            match data_type(*ty) {
                $(Some(DataType::$variant) => {
                    Data::$variant(value.try_extract_tensor::<$type>().map_err(failed)?.1.to_vec())
                })*
                Some(DataType::Bytes) => Data::Bytes(value.try_extract_strings().map_err(failed)?.1),
                None => return Err(odd(format!("has the type {ty}, which is not served"))),
            }
        };
    }
    Tensor::new(name, dims, kinds!(copied))
}

//! A model in ONNX Runtime: the [`Runner`] that computes for real.
//!
//! The library is given bytes, never paths, so that it opens no file. Start at [`Session::open`].

use crate::artefact::Artefact;
use crate::error::{Error, Result, shown};
use crate::runner::Runner;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::signature::{Port, Signature};
use crate::tensor::{Data, DataType, Tensor, kinds};
use crate::watch::Watch;
use ort::session::SessionInputValue;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{
    DynMap, DynMapValueType, DynSequenceValueType, DynValue, IntoTensorElementType, Outlet, TensorElementType,
    TensorRef, ValueType,
};

/// A loaded model.
pub(crate) struct Session {
    session: ort::session::Session,
    signature: Signature,
    watch: Watch,
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
        let odd_input = session.inputs().iter().find(|input| !matches!(input.dtype(), ValueType::Tensor { .. }));
        if let Some(input) = odd_input {
            return Err(Error::BadArtefact(format!("its input `{}` is not a tensor", shown(input.name()))));
        }
        let (inputs, hidden_inputs) = ports(session.inputs());
        let (outputs, hidden_outputs) = ports(session.outputs());
        if let Some(name) = hidden_inputs.first() {
            let reason = format!("its input `{}` is of a type that is not served", shown(name));
            return Err(Error::BadArtefact(reason));
        }
        if outputs.is_empty() {
            return Err(Error::BadArtefact("none of its outputs is a tensor of a type that is served".into()));
        }
        for name in &hidden_outputs {
            tracing::warn!(model = artefact.manifest().name, output = name, "an output of this kind is not served");
        }
        let watch = Watch::start(settings.run_limit())?;
        Ok(Self { session, signature: Signature { inputs, outputs }, watch })
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
            other => is_list_of_maps(other).then(|| (DataType::Fp32, vec![-1, -1])),
        };
        match port {
            Some((dtype, dims)) => ports.push(Port { name: outlet.name().to_owned(), dtype, dims }),
            None => hidden.push(outlet.name().to_owned()),
        }
    }
    (ports, hidden)
}

/// Label → probability for each row: what converters of scikit-learn's classifiers give by default. Served as numbers in the
/// order of the labels, which is that of their text or number.
fn is_list_of_maps(ty: &ValueType) -> bool {
    let ValueType::Sequence(inner) = ty else { return false };
    let key = matches!(**inner, ValueType::Map { key: TensorElementType::String | TensorElementType::Int64, .. });
    key && matches!(**inner, ValueType::Map { value: TensorElementType::Float32, .. })
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
        let Self { session, watch, signature } = self;
        watch
            .over(|options| {
                let mut results = session.run_with_options(named, options)?;
                Ok(wanted(&signature.outputs, outputs).map(|name| (name, results.remove(name))).collect::<Vec<_>>())
            })?
            .into_iter()
            .map(|(name, result)| {
                let lost = || Error::Internal(format!("no output `{name}` came back"));
                tensor(name, result.ok_or_else(lost)?)
            })
            .collect()
    }
}
/// The names of the outputs at `places`. The library computes all of them; only these are copied.
fn wanted<'a>(ports: &'a [Port], places: &'a [usize]) -> impl Iterator<Item = &'a str> {
    places.iter().filter_map(|place| ports.get(*place)).map(|port| &*port.name)
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
fn tensor(name: &str, value: DynValue) -> Result<Tensor> {
    let odd = |reason: String| Error::Run(format!("its output `{name}` {reason}"));
    if !matches!(value.dtype(), ValueType::Tensor { .. }) {
        return maps(name, value);
    }
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else { return Err(odd("is no tensor".into())) };
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

/// A list of maps becomes `[rows, labels]`.
fn maps(name: &str, value: DynValue) -> Result<Tensor> {
    let odd = |reason: String| Error::Run(format!("its output `{name}` {reason}"));
    let failed = |error: ort::Error| odd(error.to_string());
    let list = value.downcast::<DynSequenceValueType>().map_err(failed)?;
    let rows = list.try_extract_sequence::<DynMapValueType>().map_err(failed)?;
    let mut numbers = Vec::new();
    let mut width = None;
    for row in &rows {
        let is_text = matches!(row.dtype(), ValueType::Map { key: TensorElementType::String, .. });
        let found = if is_text { probabilities::<String>(row) } else { probabilities::<i64>(row) }.map_err(failed)?;
        if *width.get_or_insert(found.len()) != found.len() {
            return Err(odd("has rows of different labels".into()));
        }
        numbers.extend(found);
    }
    Tensor::new(name, [rows.len(), width.unwrap_or(0)], Data::Fp32(numbers))
}

/// The values of a map in the order of its keys.
fn probabilities<K: IntoTensorElementType + Clone + Ord + std::hash::Hash>(row: &DynMap) -> ort::Result<Vec<f32>> {
    let mut pairs = row.try_extract_key_values::<K, f32>()?;
    pairs.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(pairs.into_iter().map(|(_, value)| value).collect())
}
